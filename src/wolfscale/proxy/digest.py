"""Texts without their literals, and what is known of them: the hot half of classification."""

import re

from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.statement import Statement

MAX_KEY_BYTES = 16 * 1024

_HASH, _SLASH, _DASH, _QUOTE, _DOUBLE_QUOTE, _BACKTICK = b"#/-'\"`"

# A pattern that begins with a set of characters is looked for by memchr's likes, one that begins with a look
# behind is tried at each byte: hence the look behind the first digit's back.
_NUMBER = rb"[0-9](?<![\w$@\x80-\xff][0-9])[0-9]*+(?:\.[0-9]*+)?+(?![\w$\x80-\xff])"
_substitute = re.compile(_NUMBER).sub
_LISTS = re.compile(rb"(?:\?\s*+,\s*+){2,}")


def _literals(mode: LexerMode) -> re.Pattern[bytes]:
    escape = rb"\\.|" if mode.backslash_escapes else b""
    plain = rb"\\" if mode.backslash_escapes else b""
    single = rb"'(?:[^'" + plain + rb"]++|" + escape + rb"'')*+'"
    double = rb'"(?:[^"' + plain + rb"]++|" + escape + rb'"")*+"'
    names = rb"`[^`]*+`"
    strings = single
    if mode.ansi_quotes:
        names += rb'|"[^"]*+"'  # a backslash is nothing special in a name
    else:
        strings += b"|" + double
    return re.compile(b"(" + names + b")|" + strings + b"|" + _NUMBER, re.DOTALL)


def has_comment(sql: bytes) -> bool:
    """Whether a comment may be in it; comments may hold anything, only the lexer removes them properly."""
    # A single byte is looked for by its number: `b"#" in sql` first tries the bytes as a number, and fails.
    return _HASH in sql or (_SLASH in sql and b"/*" in sql) or (_DASH in sql and b"--" in sql)


class Digests:
    """What is known of texts that are read in one mode, by their digest.

    Attributes:
        statements: by digest, the oldest first.
    """

    __slots__ = ("_literals", "statements")

    def __init__(self, mode: LexerMode) -> None:
        self._literals = _literals(mode)
        self.statements: dict[bytes, Statement] = {}

    def digest(self, sql: bytes) -> bytes:
        """A text that has no comment, literals replaced: texts with the same digest are classified alike."""
        if _QUOTE in sql or _DOUBLE_QUOTE in sql or _BACKTICK in sql:
            digest = self._literals.sub(rb"\1?", sql)
        else:
            digest = _substitute(b"?", sql)
        return digest if len(digest) <= 200 else _LISTS.sub(b"?+", digest)

    def find(self, sql: bytes) -> Statement | None:
        """What is known of a text; nothing if a comment may be in it."""
        # The same as `has_comment` and `digest`, without the calls: this runs for each statement.
        if _HASH in sql or (_SLASH in sql and b"/*" in sql) or (_DASH in sql and b"--" in sql):
            return None
        if _QUOTE in sql or _DOUBLE_QUOTE in sql or _BACKTICK in sql:
            return self.statements.get(self.digest(sql))
        digest = _substitute(b"?", sql)
        if len(digest) > 200:
            digest = _LISTS.sub(b"?+", digest)
        return self.statements.get(digest)

    def remember(self, digest: bytes, statement: Statement, *, entries: int) -> None:
        """Keep a classification, if it holds for all texts of this digest; at most so many entries."""
        # CONNECTION_ID() gets its value in the session's task, so nobody else may recognise such a text.
        if statement.cacheable and len(digest) <= MAX_KEY_BYTES and b"connection_id" not in digest.lower():
            if len(self.statements) >= entries:
                del self.statements[next(iter(self.statements))]
            self.statements[digest] = statement
