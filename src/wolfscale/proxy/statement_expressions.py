"""PREPARE and EXECUTE IMMEDIATE from an expression: how to learn the statement that it gives (pure).

MariaDB takes fewer expressions there than in a query: no subqueries, stored functions, aggregates or columns
(tried with 10.11), and its errors name the clause. So the expression is evaluated in an EXECUTE IMMEDIATE of
the proxy's own, whose statement can be nothing but a SELECT of hexadecimal digits, and under the same SET
STATEMENT as the client's.
"""

from wolfscale.mysql.errors import ServerError
from wolfscale.proxy.lexer import Token, Tokens

_VALUE = b"X"
_NULL = b"N"
_NAME_THE_CLAUSE = frozenset({1054, 1970})
"""ER_BAD_FIELD_ERROR and ER_SUBQUERIES_NOT_SUPPORTED."""


def question(sql: bytes, tokens: Tokens, source: tuple[int, int]) -> bytes:
    """The statement that answers with an expression's value.

    Args:
        sql: the client's text.
        tokens: it, lexed.
        source: where in it the expression begins and ends.
    """
    start, end = source
    # An executable comment around the verb would stay open: then it is asked without what stands before.
    before = b"" if tokens.executable_comment else sql[: _verb(tokens, start).start]
    return before + value_question(sql[start:end])


def value_question(expression: bytes) -> bytes:
    """The statement that answers with the value of an expression without subqueries and stored functions."""
    # The new line ends a comment that the expression may end with.
    value = b"HEX(CONVERT((" + expression + b"\n) USING utf8mb4))"
    # Not CONCAT, to which NULL is an empty text in sql_mode ORACLE.
    value = b"IFNULL(INSERT('" + _VALUE + b"?',2,1," + value + b"),'" + _NULL + b"')"
    return b"EXECUTE IMMEDIATE CONCAT('SELECT '''," + value + b",'''')"


def answer(rows: list[tuple[bytes | None, ...]]) -> bytes | None:
    """The expression's value, in UTF-8; None where it is NULL."""
    value = rows[0][0] if rows else None
    if value is None or value == _NULL:
        return None
    return bytes.fromhex(value[len(_VALUE) :].decode("ascii"))


def has_settings(tokens: Tokens, source: tuple[int, int]) -> bool:
    """Whether SET STATEMENT stands before the PREPARE or EXECUTE IMMEDIATE."""
    return _verb(tokens, source[0]) is not tokens.tokens[0]


def error_of(error: ServerError, tokens: Tokens, source: tuple[int, int]) -> ServerError:
    """The error of the question as the client's own statement would have got it."""
    return error_in("PREPARE..FROM", error) if _verb(tokens, source[0]).word == "PREPARE" else error


def error_in(clause: str, error: ServerError) -> ServerError:
    """The error of a question as another clause that has the expression would have got it."""
    if error.errno not in _NAME_THE_CLAUSE:
        return error
    message = error.message.replace("EXECUTE IMMEDIATE", clause, 1)
    return ServerError(error.errno, error.sqlstate, message)


def _verb(tokens: Tokens, start: int) -> Token:
    """The EXECUTE of EXECUTE IMMEDIATE, or the PREPARE of PREPARE name FROM, before an expression."""
    before = [token for token in tokens.tokens if token.end <= start]
    return before[-2] if before[-1].word == "IMMEDIATE" else before[-3]
