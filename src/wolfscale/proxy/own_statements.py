"""Statements that are addressed to the proxy and not to MariaDB.

    WOLFSCALE EXPLAIN <statement>            where it would run, and why
    SHOW WOLFSCALE STATUS [LIKE '<pattern>'] what this session, this node and its proxy know
    SHOW WOLFSCALE MEMBERS                   the cluster's members
    SHOW WOLFSCALE SESSIONS                  the sessions of this node's proxy
    SHOW WOLFSCALE SETTINGS                  the global variables that clients have set for the cluster
    SET [SESSION] wolfscale_consistency = session | eventual | strong | leader | DEFAULT
    SELECT @@wolfscale_consistency

and the comment `/* wolfscale_consistency = strong */` in a query, which holds for that query. Pure: texts in,
what was asked out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize
from wolfscale.proxy.refused import starts_with
from wolfscale.proxy.settings import Scope, parse_assignments

ER_NOT_SUPPORTED = 1235
ER_WRONG_VALUE = 1231
VARIABLE = "WOLFSCALE_CONSISTENCY"
_LONGEST_BYTES = 1 << 16
_MENTION = re.compile(rb"wolfscale[ _\s](?!id)", re.IGNORECASE)
_HINT = re.compile(r"/\*\s*wolfscale_consistency\s*=\s*'?(\w*)'?\s*\*/", re.IGNORECASE)
_SCOPE_WORDS = ("SESSION", "LOCAL", "GLOBAL")


@dataclass(frozen=True, slots=True)
class Explain:
    """Where would this run?"""

    sql: bytes


@dataclass(frozen=True, slots=True)
class ShowStatus:
    """Names and values, those whose name is LIKE the pattern."""

    pattern: str | None


@dataclass(frozen=True, slots=True)
class ShowMembers:
    """The cluster's members."""


@dataclass(frozen=True, slots=True)
class ShowSessions:
    """The sessions of this node's proxy, by the ids that KILL takes."""


@dataclass(frozen=True, slots=True)
class ShowSettings:
    """The global variables that clients have set for the cluster."""


@dataclass(frozen=True, slots=True)
class Choose:
    """The session's level from now on; None: the configured one."""

    level: Level | None


@dataclass(frozen=True, slots=True)
class ShowLevel:
    """The session's level, as the value of a column.

    Attributes:
        column: its name.
    """

    column: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Not the proxy's own: a statement with a level of its own."""

    level: Level


Own = Explain | ShowStatus | ShowMembers | ShowSessions | ShowSettings | Choose | ShowLevel | Hint


def mentions_own(sql: bytes) -> bool:
    """Whether a text may be addressed to the proxy; if not, nothing here has to look at it."""
    return _MENTION.search(sql) is not None and len(sql) <= _LONGEST_BYTES


def own_statement(sql: bytes, mode: LexerMode) -> Own | None:
    """What a text asks of the proxy; None when it asks nothing.

    Raises:
        ProxyError: it is addressed to the proxy, and wrong.
    """
    text = sql.decode("latin-1")
    lexed = tokenize(text, mode)
    tokens = [token for token in lexed.tokens if token.word != ";" or token.kind is not TokenKind.SYMBOL]
    if starts_with(tokens, ("WOLFSCALE", "EXPLAIN")):
        if len(tokens) < 3:
            raise ProxyError(ER_NOT_SUPPORTED, "42000", "WOLFSCALE EXPLAIN needs a statement behind it")
        return Explain(sql[tokens[2].start :])
    if starts_with(tokens, ("SHOW", "WOLFSCALE")):
        return _show(tokens[2:])
    if starts_with(tokens, ("SET",)):
        return _choice(lexed.tokens)
    if starts_with(tokens, ("SELECT",)):
        column = _selected_level(tokens[1:], text)
        if column is not None:
            return ShowLevel(column)
    return _hint(text, lexed.tokens)


def _show(tokens: Sequence[Token]) -> Own:
    if starts_with(tokens, ("MEMBERS",)) and len(tokens) == 1:
        return ShowMembers()
    if starts_with(tokens, ("SESSIONS",)) and len(tokens) == 1:
        return ShowSessions()
    if starts_with(tokens, ("SETTINGS",)) and len(tokens) == 1:
        return ShowSettings()
    if starts_with(tokens, ("STATUS",)):
        if len(tokens) == 1:
            return ShowStatus(None)
        if len(tokens) == 3 and tokens[1].word == "LIKE" and tokens[2].kind is TokenKind.STRING:
            return ShowStatus(tokens[2].value)
    raise ProxyError(
        ER_NOT_SUPPORTED,
        "42000",
        "Use SHOW WOLFSCALE STATUS [LIKE 'pattern'], or MEMBERS, SESSIONS or SETTINGS in its place",
    )


def _choice(tokens: Sequence[Token]) -> Own | None:
    tokens = tokens[:-1] if tokens[-1].word == ";" else tokens
    assignments = parse_assignments(tokens[1:]) or []
    chosen = [item for item in assignments if item.name == VARIABLE and item.scope is not Scope.USER]
    if not chosen:
        return None
    if len(assignments) > 1:
        raise ProxyError(
            ER_NOT_SUPPORTED,
            "42000",
            "SET wolfscale_consistency must come by itself, since it is the proxy's",
        )
    if chosen[0].scope is Scope.GLOBAL:
        raise ProxyError(
            ER_NOT_SUPPORTED,
            "42000",
            "wolfscale_consistency has no global value: set consistency under [proxy] in wolfscale.toml",
        )
    value = chosen[0].tokens
    if len(value) == 1 and value[0].kind is TokenKind.WORD and value[0].word == "DEFAULT":
        return Choose(None)
    named = value[0].value or value[0].word if len(value) == 1 else ""
    return Choose(_level(named))


def _level(name: str) -> Level:
    try:
        return Level(name.lower())
    except ValueError:
        levels = ", ".join(Level)
        raise ProxyError(
            ER_WRONG_VALUE,
            "42000",
            f"Variable 'wolfscale_consistency' can't be set to the value of '{name}': use one of {levels}",
        ) from None


def _selected_level(tokens: Sequence[Token], text: str) -> str | None:
    words = [token.word for token in tokens]
    if words[:1] != ["@@"]:
        return None
    rest = words[1:]
    if len(rest) > 2 and rest[0] in _SCOPE_WORDS and rest[1] == ".":
        rest = rest[2:]
    if rest[:1] != [VARIABLE]:
        return None
    end = len(words) - len(rest) + 1
    column = text[tokens[0].start : tokens[end - 1].end]
    alias = tokens[end:]
    if alias and alias[0].word == "AS":
        alias = alias[1:]
    if not alias:
        return column
    if len(alias) == 1 and alias[0].kind in (TokenKind.WORD, TokenKind.QUOTED, TokenKind.STRING):
        return alias[0].value or text[alias[0].start : alias[0].end]
    raise ProxyError(
        ER_NOT_SUPPORTED,
        "42000",
        "SELECT @@wolfscale_consistency must come by itself, since it is the proxy's",
    )


def _hint(text: str, tokens: Sequence[Token]) -> Hint | None:
    for found in _HINT.finditer(text):
        # What looks like a comment may stand in a string.
        if not any(token.start <= found.start() < token.end for token in tokens):
            return Hint(_level(found[1]))
    return None


def is_like(name: str, pattern: str) -> bool:
    """MariaDB's LIKE, as SHOW STATUS uses it: `%`, `_`, `\\` before either; case does not count."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wildcards = {"%": ".*", "_": "."}
    expression = "".join(
        re.escape(part[1:]) if len(part) > 1 else wildcards.get(part, re.escape(part)) for part in parts
    )
    return re.fullmatch(expression, name, re.IGNORECASE | re.DOTALL) is not None
