"""`wolfscale_id()` in a client's text: a new id takes its place before anything else reads the text.

MariaDB knows no such function, and a stored one could not ask the node. So each call gets its value once a
statement, as NOW() does, however many rows the statement reads or writes; each of several calls in one
statement gets another. A call that stands where its value would be kept and used again (a stored program, a
view, a default) is refused. A prepared statement gets new ids at each execution.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wolfscale.proxy.backend import Backends
from wolfscale.proxy.classify import MAX_TEXT_BYTES
from wolfscale.proxy.errors import ControlLost, ProxyError
from wolfscale.proxy.function_calls import FunctionCall, find_calls, split_at
from wolfscale.proxy.id_requests import MAX_IDS
from wolfscale.proxy.lexer import LexerMode, Token, decode_sql, tokenize
from wolfscale.proxy.refused import ER_NOT_SUPPORTED_YET

ER_UNKNOWN_ERROR = 1105

_NAME = b"wolfscale_id"
_EXAMPLE = 1 << 62
"""Stands for an id while a statement is prepared: of the type and the width of all ids."""

_SHORT_BYTES = 256
"""Texts up to here are remembered: `SELECT wolfscale_id()` comes again and again."""

_PIECE_BYTES = 1 << 16

_ROWS = re.compile(rb"[\x00-\x20]*+(?i:insert|replace)[\x00-\x20]")


@dataclass(frozen=True, slots=True)
class IdTemplate:
    """A text with gaps in which ids belong.

    Attributes:
        parts: what stands before, between and behind the gaps.
    """

    parts: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """How many ids it takes."""
        return len(self.parts) - 1

    def fill(self, ids: Sequence[int]) -> bytes:
        """The text with these ids."""
        pieces = [self.parts[0]]
        for id, part in zip(ids, self.parts[1:], strict=True):
            pieces += (b"%d" % id, part)
        return b"".join(pieces)

    def example(self) -> bytes:
        """The text with numbers that are no ids: what it does to types, names and routing is the same."""
        return self.fill((_EXAMPLE,) * self.count)


def mentions_ids(sql: bytes) -> bool:
    """Whether a text may hold a call; if not, nothing here has to look at it."""
    if len(sql) <= _PIECE_BYTES:
        return _NAME in sql.lower()
    # A copy of a long text at a time is enough.
    starts = range(0, len(sql), _PIECE_BYTES)
    return any(_NAME in sql[start : start + _PIECE_BYTES + len(_NAME)].lower() for start in starts)


async def take_ids(backends: Backends, count: int) -> list[int]:
    """New ids, as many as a statement needs.

    Raises:
        ProxyError: there are none now.
    """
    ids: list[int] = []
    try:
        while len(ids) < count:
            ids += await backends.take_ids(min(MAX_IDS, count - len(ids)))
    except ControlLost as error:
        raise ProxyError(
            ER_UNKNOWN_ERROR,
            "HY000",
            f"wolfscale_id() has no value, so the statement was not executed: {error}",
        ) from error
    return ids


async def with_ids(sql: bytes, mode: LexerMode, character_set: str, backends: Backends) -> bytes:
    """The text with an id in the place of each call.

    Raises:
        ProxyError: a call stands where it must not, or there are no ids now.
    """
    template = id_template(sql, mode, character_set)
    if template is None:
        return sql
    return template.fill(await take_ids(backends, template.count))


def id_template(sql: bytes, mode: LexerMode, character_set: str = "") -> IdTemplate | None:
    """Where ids belong in a text; None when it calls for none.

    Raises:
        ProxyError: a call stands where it must not.
    """
    if not mentions_ids(sql):
        return None
    if not character_set and _ROWS.match(sql):
        calls = _calls_in_rows(sql, mode)
        if calls is not None:
            return _template(sql, calls)
    if len(sql) <= _SHORT_BYTES:
        return _short_template(sql, mode, character_set)
    return _lexed_template(sql, mode, character_set)


def _lexed_template(sql: bytes, mode: LexerMode, character_set: str) -> IdTemplate | None:
    if len(sql) > MAX_TEXT_BYTES:
        if any(found.lastgroup == "call" for found in _pattern(mode).finditer(sql)):
            raise _refusal(
                f"wolfscale_id() cannot stand in a statement of more than {MAX_TEXT_BYTES >> 20} MiB that is "
                "no plain INSERT or REPLACE: take the ids before (GET /ids, or SET @id = wolfscale_id())"
            )
        return None
    lexed = tokenize(decode_sql(sql, character_set), mode)
    calls = list(_calls(lexed.tokens)) if lexed.complete else []
    if calls and character_set and not sql.isascii():
        raise _refusal(
            f"wolfscale_id() cannot stand in a statement with {character_set} text: take the id before, as "
            "in SET @id = wolfscale_id()"
        )
    return _template(sql, calls)


_short_template = functools.lru_cache(maxsize=512)(_lexed_template)


def _template(sql: bytes, calls: Sequence[FunctionCall]) -> IdTemplate | None:
    return IdTemplate(split_at(sql, calls)) if calls else None


def _calls(tokens: Sequence[Token]) -> Iterator[FunctionCall]:
    for call in find_calls(tokens, _NAME.decode().upper()):
        if call.kept:
            raise _refusal(
                "wolfscale_id() gets its value before the statement is sent, so in a stored program, "
                "a view or a default it would be the same for ever: call it in the statement that "
                "writes the row"
            )
        yield call


def _calls_in_rows(sql: bytes, mode: LexerMode) -> list[FunctionCall] | None:
    """The calls in one INSERT or REPLACE, which may be long; None when it is not as plain as that."""
    calls = []
    for found in _pattern(mode).finditer(sql):
        match found.lastgroup:
            case "call":
                calls.append(FunctionCall(*found.span(), is_item=False))
            case "other":
                return None
    return calls


@functools.lru_cache(maxsize=16)
def _pattern(mode: LexerMode) -> re.Pattern[bytes]:
    """Finds what is quoted, calls as the group `call`, and as `other` what more than that depends on."""
    parts = []
    for quote in (b"'", b'"'):
        plain, escape = (rb"\\", rb"\\.|") if mode.escapes_between(quote.decode()) else (b"", b"")
        parts.append(quote + rb"(?:[^" + quote + plain + rb"]++|" + escape + quote * 2 + rb")*+" + quote)
    quoted = b"|".join(parts)
    comments = rb"\#[^\n]*+|--(?=[\x00-\x20\x7f]|\Z)[^\n]*+|/\*(?!M?!).*?\*/"
    name = rb"(?i:wolfscale_id)"
    names = rb"`(?:[^`]++|``)*+`|[.@][\x00-\x20]*+" + name
    alone = rb"(?<![\w$\x80-\xff])"
    call = alone + rb"(?P<call>" + name + rb"[\x00-\x20]*+\([\x00-\x20]*+\))"
    word = alone + rb"(?:" + name + rb"|(?i:select|returning))(?![\w$\x80-\xff])"
    other = rb"(?P<other>[;'\"`]|/\*|" + word + rb")"
    return re.compile(b"|".join((quoted, comments, names, call, other)), re.DOTALL)


def _refusal(message: str) -> ProxyError:
    return ProxyError(ER_NOT_SUPPORTED_YET, "42000", message)
