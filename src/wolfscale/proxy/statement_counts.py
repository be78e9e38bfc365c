"""FOUND_ROWS() and ROW_COUNT() of a statement behind which the proxy has run a query of its own (pure).

Their values are put into the text that asks for them, as an id is for CONNECTION_ID(). GET DIAGNOSTICS takes
no value, so one that asks for ROW_COUNT becomes the SET that does the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.proxy.function_calls import text_around_calls
from wolfscale.proxy.lexer import LexerMode, Token, tokenize
from wolfscale.proxy.settings import split_list

_MENTION = re.compile(rb"\b(?:found_rows|row_count)\b", re.IGNORECASE)
_ABOUT_WARNINGS = re.compile(rb"\b(?:warnings|errors|warning_count|error_count|diagnostics)\b", re.IGNORECASE)
_LEAVES_FOUND_ROWS = re.compile(
    rb"\s*(?:SET|USE|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|INSERT|REPLACE|UPDATE|DELETE|GET|"
    rb"SHOW\s+(?:WARNINGS|ERRORS))\b(?!.*\b(?:SELECT|RETURNING|VALUES\s+ROW)\b)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class StatementCounts:
    """What the session's statements have left.

    Attributes:
        found_rows: FOUND_ROWS().
        row_count: ROW_COUNT(); None: the server tells it.
    """

    found_rows: int
    row_count: int | None


def asks_about_warnings(sql: bytes) -> bool:
    """Whether a text may ask about the warnings of the statement before."""
    return _ABOUT_WARNINGS.search(sql) is not None


def mentions_counts(sql: bytes) -> bool:
    """Whether a text may ask for either number."""
    return _MENTION.search(sql) is not None


def leaves_found_rows(sql: bytes) -> bool:
    """Whether FOUND_ROWS() is behind a statement what it was before it (tried with MariaDB 10.11)."""
    return _LEAVES_FOUND_ROWS.match(sql) is not None


def with_counts(sql: bytes, mode: LexerMode, counts: StatementCounts) -> bytes:
    """A text with the numbers in the place of the calls that ask for them."""
    if not mentions_counts(sql):
        return sql
    values = {"FOUND_ROWS": counts.found_rows}
    if counts.row_count is not None:
        values["ROW_COUNT"] = counts.row_count
    if "ROW_COUNT" in values and (assignments := _diagnostics(sql, mode, values["ROW_COUNT"])):
        return assignments
    for name, value in values.items():
        sql = (b"CAST(%d AS SIGNED)" % value).join(text_around_calls(sql, mode, name))
    return sql


def _diagnostics(sql: bytes, mode: LexerMode, row_count: int) -> bytes | None:
    """GET [CURRENT] DIAGNOSTICS @a = ROW_COUNT, @b = NUMBER as a SET."""
    tokens = [token for token in tokenize(sql.decode("latin-1"), mode).tokens if token.word != ";"]
    words = [token.word for token in tokens[:3]]
    if words[:2] == ["GET", "CURRENT"]:
        tokens = tokens[1:]
    elif words[:1] != ["GET"]:
        return None
    values = {"ROW_COUNT": b"%d" % row_count, "NUMBER": b"@@warning_count"}
    parts = [_set_item(sql, item, values) for item in split_list(tokens[2:])]
    known = [part for part in parts if part is not None]
    return b"SET " + b", ".join(known) if len(known) == len(parts) else None


def _set_item(sql: bytes, item: Sequence[Token], values: dict[str, bytes]) -> bytes | None:
    if len(item) < 4 or item[0].word != "@" or item[-1].word not in values or item[-2].word != "=":
        return None
    return sql[item[0].start : item[-2].end] + b" " + values[item[-1].word]
