"""KILL, taken apart (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize
from wolfscale.proxy.splitting import split_statements

_SAME_ANSWER = b"DO 0"
"""What MariaDB answers as it does a KILL: an OK of no rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What a KILL asks for; one of `id`, `user` and `expression` says whom.

    Attributes:
        connection: whether the session ends, not only its statement.
        by_query_id: `id` is a statement's, as MariaDB counts them.
        id: a session's.
        user: all sessions of an account's name.
        expression: gives the id; to be evaluated.
    """

    connection: bool
    by_query_id: bool = False
    id: int | None = None
    user: str | None = None
    expression: bytes | None = None


def parse_kill(sql: bytes, mode: LexerMode) -> Kill | None:
    """KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] expression | USER name; None when it is no such thing."""
    tokens: Sequence[Token] = [
        token for token in tokenize(sql.decode("latin-1"), mode).tokens if token.word != ";"
    ]
    if not tokens or tokens[0].word != "KILL":
        return None
    rest = tokens[1:]
    if rest and rest[0].word in ("HARD", "SOFT"):
        rest = rest[1:]
    connection = by_query_id = False
    if rest and rest[0].word == "QUERY":
        rest = rest[1:]
        by_query_id = len(rest) > 1 and rest[0].word == "ID"
        rest = rest[1:] if by_query_id else rest
    else:
        connection = True
        if rest and rest[0].word == "CONNECTION":
            rest = rest[1:]
    if not rest:
        return None
    if rest[0].word == "USER" and not by_query_id:
        return _kill_user(rest[1:], connection=connection)
    if len(rest) == 1 and rest[0].kind is TokenKind.NUMBER and rest[0].value.isdigit():
        return Kill(connection=connection, by_query_id=by_query_id, id=int(rest[0].value))
    return Kill(connection=connection, by_query_id=by_query_id, expression=sql[rest[0].start : rest[-1].end])


def first_kill(sql: bytes, mode: LexerMode) -> tuple[bytes, bytes] | None:
    """Take a KILL of one session off the beginning of a text of several statements.

    Returns:
        The KILL, and the text for MariaDB with a statement in its place that answers alike; None when the
        text begins with something else, or with a KILL USER, whose answer counts.
    """
    tokens = tokenize(sql.decode("latin-1"), mode)
    parts = split_statements(tokens.tokens)
    if len(parts) < 2 or tokens.executable_comment or not tokens.complete:
        return None
    start, end = parts[0][0].start, parts[0][-1].end
    if tokens.tokens[0].start != start:
        return None  # MariaDB ends with the empty statement that is the first
    kill = parse_kill(sql[start:end], mode)
    if kill is None or kill.user is not None:
        return None
    return sql[start:end], sql[:start] + _SAME_ANSWER + sql[end:]


def _kill_user(tokens: Sequence[Token], *, connection: bool) -> Kill | None:
    """The name, without the host: sessions know by which name they have logged in."""
    if not tokens or not tokens[0].value:
        return None
    name = tokens[0].value.encode("latin-1").decode(errors="replace")
    return Kill(connection=connection, user=name)
