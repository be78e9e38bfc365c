"""The bearer tokens: made from the cluster's secret, or read from a file of the operator's.

Tokens are the cluster's, not a node's: an application that is sent to another node, by a load balancer or
after a failover, must be known there too. Every node has the cluster's secret, so each makes the same
three from it and nothing has to be copied or replicated; they stand in `api-tokens` in its data directory
for people to read. What is made from the secret can only be changed with it: whoever wants to change
tokens, or give each application one of its own, names a file in `tokens_file`.
"""

import hashlib
import hmac
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wolfscale import logs
from wolfscale.api.errors import TokenFileError
from wolfscale.api.scopes import Scope
from wolfscale.durability import replace_file
from wolfscale.keys import derived_key

log = logs.logger(__name__)

FILE_NAME: Final = "api-tokens"
MINIMUM_CHARACTERS: Final = 16
_MADE_BYTES: Final = 20
_GRANTED: Final = (Scope.READ, Scope.WRITE, Scope.ADMIN)
_WORDS: Final = {scope.word: scope for scope in _GRANTED}
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_HEADING: Final = """\
# The tokens for this cluster's HTTP side, the same on every node: made from the cluster's secret at each
# start, so that a change here is lost. For tokens of your own write a file like this one and name it in
# tokens_file in [api]. Each line is a right (read, write or admin) and a token.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token and what it allows."""

    scope: Scope
    value: str = field(repr=False)


class TokenList:
    """A fixed set of tokens, looked through in a time that tells nothing about them."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        # Of equal length whatever the tokens' is; a digest that leaks through timing tells no token.
        self._known = [(_digest(token.value), token.scope) for token in tokens]

    def scope_of(self, token: str) -> Scope | None:
        """What a token allows; None when it is unknown."""
        digest, found = _digest(token), None
        for known, scope in self._known:
            if hmac.compare_digest(known, digest):
                found = scope if found is None else max(found, scope)
        return found


class TokenFile:
    """The operator's tokens; the file is read again after each change, so that tokens can be exchanged.

    A file that has become unusable leaves the tokens that were read before in force, and a warning.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            TokenFileError: it cannot be used.
        """
        self._path = path
        self._seen = _identity(path)
        self._tokens = TokenList(self._read())

    def scope_of(self, token: str) -> Scope | None:
        """What a token allows; None when it is unknown."""
        identity = _identity(self._path)
        if identity != self._seen:
            self._seen = identity
            try:
                self._tokens = TokenList(self._read())
                log.info("read the tokens again", path=self._path)
            except TokenFileError as error:
                log.warning("the tokens read before stay in force", reason=str(error))
        return self._tokens.scope_of(token)

    def _read(self) -> Sequence[Token]:
        tokens = read_tokens(self._path)
        logs.hide(*(token.value for token in tokens))
        return tokens


def made_tokens(secret: bytes) -> tuple[Token, ...]:
    """The cluster's tokens, one for each right, as its secret determines them."""
    return tuple(
        Token(
            scope=scope,
            value=f"ws_{scope.word}_"
            + derived_key(secret, f"wolfscale api token {scope.word}")[:_MADE_BYTES].hex(),
        )
        for scope in _GRANTED
    )


def write_tokens(path: Path, tokens: Iterable[Token]) -> bool:
    """Have these tokens stand in a file (0600), whole or not at all; returns whether it had to be written.

    Raises:
        OSError: it cannot be written.
    """
    text = _HEADING + "".join(f"{token.scope.word} {token.value}\n" for token in tokens)
    try:
        if path.read_text(encoding="utf-8") == text and not path.stat().st_mode & _OPEN_TO_OTHERS:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    replace_file(path, text.encode(), mode=0o600)
    return True


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in a file: lines of `read`, `write` or `admin` and a token; `#` begins a comment.

    Raises:
        TokenFileError: it cannot be read, holds something else, or holds no token at all.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TokenFileError(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenFileError(path, None, "is not UTF-8 text") from error
    tokens = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            tokens.append(_parsed(path, number, words))
    if not tokens:
        raise TokenFileError(path, None, "holds no token")
    if path.stat().st_mode & stat.S_IROTH:
        log.warning("every user of this machine can read the tokens: chmod it to 0600", path=path)
    return tuple(tokens)


def _parsed(path: Path, number: int, words: Sequence[str]) -> Token:
    if len(words) != 2 or words[0] not in _WORDS:
        raise TokenFileError(path, number, "is not one of read, write and admin, a blank, and a token")
    scope, value = words
    if len(value) < MINIMUM_CHARACTERS:
        raise TokenFileError(path, number, f"the token has fewer than {MINIMUM_CHARACTERS} characters")
    if not _TOKEN.fullmatch(value):
        raise TokenFileError(path, number, "the token has other characters than letters, digits and ._~+/-")
    return Token(scope=_WORDS[scope], value=value)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
