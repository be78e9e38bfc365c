"""PREPARE and EXECUTE IMMEDIATE from an expression: what MariaDB makes of them, with and without a proxy."""

from collections.abc import Callable

import pymysql
import pytest
from proxy_pair import PASSWORD, Pair, cluster, shared_servers
from pymysql.connections import Connection

from wolfscale.mysql.errors import ServerError
from wolfscale.proxy.judge import judge
from wolfscale.proxy.lexer import LexerMode, Tokens, tokenize
from wolfscale.proxy.statement_expressions import answer, error_of, has_settings, question

servers = shared_servers
_MODE = LexerMode()

STATEMENTS = (
    "EXECUTE IMMEDIATE CONCAT('SELECT ', '5 AS a')",
    "EXECUTE IMMEDIATE CONVERT('SELECT 1 AS c' USING utf8mb3)",
    "EXECUTE IMMEDIATE CONVERT('SELECT ? AS c' USING utf8mb3) USING 7",
    "EXECUTE IMMEDIATE ((CONCAT('SELECT ', '''é''' -- five\n)))",
    "EXECUTE IMMEDIATE _latin1 X'53454C4543542027E92720415320C3'",
    "EXECUTE IMMEDIATE CONCAT('')",
    "EXECUTE IMMEDIATE CONCAT(NULL)",
    "EXECUTE IMMEDIATE NULL",
    "PREPARE s FROM COALESCE(NULL)",
    "EXECUTE IMMEDIATE @unknown",
    "EXECUTE IMMEDIATE (SELECT 'SELECT 1')",
    "PREPARE s FROM (SELECT 'SELECT 1')",
    "EXECUTE IMMEDIATE a",
    "PREPARE s FROM a",
    "EXECUTE IMMEDIATE DEFAULT(a)",
    "EXECUTE IMMEDIATE MAX('SELECT 1 AS c')",
    "EXECUTE IMMEDIATE ROW('SELECT 1', 'SELECT 2')",
    "EXECUTE IMMEDIATE demo.not_there()",
    "PREPARE s FROM demo.not_there()",
    "EXECUTE IMMEDIATE CONCAT(_latin1'SELECT 1 AS c FROM ', _latin2 'DUAL')",
    "EXECUTE IMMEDIATE CONCAT('SELECT', ' FROM')",
    "SET STATEMENT max_sort_length = 1025 FOR EXECUTE IMMEDIATE CONCAT('SELECT ', @@max_sort_length)",
    "SET STATEMENT max_sort_length = 1025 FOR PREPARE s FROM CONCAT('SELECT ', @@max_sort_length)",
    "EXECUTE s",
    "/* a comment */ EXECUTE IMMEDIATE CONCAT('SELECT ', 6)",
    "/*!50000 EXECUTE IMMEDIATE */ CONCAT('SELECT ', 7)",
    "SELECT FOUND_ROWS()",
)


def _outcome(connection: "Connection[pymysql.cursors.Cursor]", sql: str) -> object:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return names, cursor.fetchall()
    except pymysql.err.MySQLError as error:
        return error.args


@pytest.mark.mariadb
async def test_they_are_what_they_are_without_a_proxy(servers: Pair) -> None:
    def outcomes(connect: Callable[[], "Connection[pymysql.cursors.Cursor]"]) -> list[object]:
        found: list[object] = []
        with connect() as connection:
            for mode in ("DEFAULT", "'ANSI,NO_BACKSLASH_ESCAPES'", "'EMPTY_STRING_IS_NULL'", "ORACLE"):
                _outcome(connection, f"SET sql_mode = {mode}")
                found += [(mode, sql, _outcome(connection, sql)) for sql in STATEMENTS]
        return found

    def direct() -> "Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(
            unix_socket=str(servers.primary.socket_path), user="app", password=PASSWORD, database="demo"
        )

    async with cluster(servers) as proxy:

        def client() -> None:
            for through, beside in zip(outcomes(proxy.connect), outcomes(direct), strict=True):
                assert through == beside

        await proxy.run(client)


@pytest.mark.mariadb
async def test_a_mode_for_one_statement_hides_nothing(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                _outcome(connection, r"SET @q = 'SET @a = \'\\\', sql_log_bin = 0, @b = \'\''")
                for verb in ("EXECUTE IMMEDIATE", "PREPARE s FROM"):
                    outcome = _outcome(
                        connection, f"SET STATEMENT sql_mode = 'NO_BACKSLASH_ESCAPES' FOR {verb} @q"
                    )
                    assert "WolfScale" in str(outcome)

        await proxy.run(client)


def _source(sql: str) -> tuple[Tokens, tuple[int, int]]:
    tokens = tokenize(sql, _MODE)
    source = judge(tokens, _MODE, "wolfscale").source
    assert source is not None
    return tokens, source


@pytest.mark.parametrize(
    ("sql", "asked", "settings"),
    [
        ("EXECUTE IMMEDIATE @q", "EXECUTE IMMEDIATE ", False),
        ("PREPARE execute FROM @q", "EXECUTE IMMEDIATE ", False),
        ("SET STATEMENT a = 1 FOR PREPARE `b` FROM @q", "SET STATEMENT a = 1 FOR EXECUTE IMMEDIATE ", True),
        ("/*!50000 EXECUTE IMMEDIATE */ @q", "EXECUTE IMMEDIATE ", False),
    ],
)
def test_the_question_keeps_what_stands_before(sql: str, asked: str, settings: bool) -> None:
    tokens, source = _source(sql)
    text = question(sql.encode(), tokens, source).decode()
    assert text.startswith(asked + "CONCAT('SELECT ''',")
    assert "((@q\n)" in text
    assert has_settings(tokens, source) == settings


def test_answers() -> None:
    assert answer([(b"X41",)]) == b"A"
    assert answer([(b"X",)]) == b""
    assert answer([(b"N",)]) is None
    assert answer([]) is None


def test_only_errors_that_name_the_clause_are_changed() -> None:
    tokens, source = _source("PREPARE s FROM a")
    unknown = ServerError(1054, "42S22", "Unknown column 'a' in 'EXECUTE IMMEDIATE'")
    assert error_of(unknown, tokens, source).message == "Unknown column 'a' in 'PREPARE..FROM'"
    syntax = ServerError(1064, "42000", "near 'EXECUTE IMMEDIATE'")
    assert error_of(syntax, tokens, source) is syntax
    tokens, source = _source("EXECUTE IMMEDIATE a")
    assert error_of(unknown, tokens, source) is unknown
