"""User variables outlive the leader, whatever gave them their values, and reading them shows nowhere."""

import contextlib
import functools
from typing import Any

import pymysql
import pytest
from proxy_pair import PASSWORD, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT
from raw_client import raw_client

from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.proxy.variable_reads import VariableReads
from wolfscale.proxy.variable_values import list_query

servers = shared_servers
pytestmark = pytest.mark.mariadb

SHOWN = (
    "SELECT @a, CHARSET(@a), COLLATION(@a), COERCIBILITY(@a), HEX(@a), LENGTH(@a), CONCAT(@a) AS c, "
    "@a = @a AS e FOR UPDATE"
)
DEFINITION = "CREATE TEMPORARY TABLE wolfscale_shape AS SELECT @a AS a, COALESCE(@a) AS b"


def _shown(connection: Any) -> list[Any]:
    """All that can be seen of @a: its value, what it is, and the types of columns made from it."""
    with connection.cursor() as cursor:
        cursor.execute(SHOWN)
        fields = [(f.type_code, f.flags, f.charsetnr, f.scale, f.length) for f in cursor._result.fields]
        return [fields, cursor.fetchall()]


def _shape(connection: Any) -> Any:
    rows(connection, DEFINITION)
    return rows(connection, "SHOW CREATE TABLE wolfscale_shape")


def _expect(connection: Any, sql: str, errno: int) -> None:
    with pytest.raises(pymysql.err.MySQLError) as failure:
        rows(connection, sql)
    assert failure.value.args[0] == errno, failure.value


def _prepare(pair: Pair) -> None:
    pair.primary.execute(
        "USE demo",
        "CREATE OR REPLACE TABLE kinds (i INT, u BIGINT UNSIGNED, d DECIMAL(20,5), n DECIMAL(20), f DOUBLE, "
        "g FLOAT, s VARCHAR(10) CHARACTER SET latin1 COLLATE latin1_bin, w VARCHAR(9) CHARACTER SET utf16, "
        "b BLOB, m DATETIME(6), t TIME(3), y YEAR, k BIT(12), e ENUM('a','b'), j JSON, o UUID, p INET6)",
        "INSERT INTO kinds VALUES ()",
        "INSERT INTO kinds VALUES (-5, 18446744073709551615, 12.5, 7, 1e0/3, 1.1, 'caf\u00e9', 'w\u00e9', "
        "X'00FF27', '2020-01-02 03:04:05.678901', '12:13:14.5', 2021, b'101', 'b', '{\"a\":1}', "
        "'123e4567-e89b-12d3-a456-426655440000', '::1')",
        "CREATE OR REPLACE PROCEDURE assigns(OUT x INT) BEGIN SET @inside = 'in\u00e9'; SET x = 5; END",
        "CREATE OR REPLACE PROCEDURE assigns_and_warns() BEGIN SET @a = 'warned'; "
        "SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful'; END",
        "CREATE OR REPLACE PROCEDURE does_nothing() SELECT 1",
        "CREATE OR REPLACE TABLE loaded (i INT)",
    )
    pair.catch_up()


@pytest.fixture(scope="module", autouse=True)
def tables(servers: Pair) -> None:
    _prepare(servers)


ASSIGNMENTS = [
    "SET @a = 1 + 1",
    "SET @a = -9223372036854775807 - 1",
    "SET @a = CAST(7 AS UNSIGNED)",
    "SET @a = 1.50 + 0",
    "SET @a = 1e0 / 3",
    "SET @a = 1.5e300 * 2",
    "SET @a = 123456789.123456789e-20 + 0",
    "SET @a = CONCAT('x', '')",
    "SET @a = ''",
    "SET @a = 'it''s \\\\ \\n'",
    "SET @a = CONVERT('gr\u00f6\u00dfe' USING latin1) COLLATE latin1_german2_ci",
    "SET @a = CONVERT('\u20ac' USING ucs2) COLLATE ucs2_bin",
    "SET @a = _utf8mb4'x' COLLATE utf8mb4_uca1400_as_cs",
    "SET @a = X'00ff27'",
    "SET @a = _binary''",
    "SET @a = NOW(6)",
    "SET @a = USER()",
    "SET @a = NULL",
    "SET @a = (SELECT MAX(id) FROM t)",
    "SET @a = 1, time_zone = '+01:00'",
    "SELECT id INTO @a FROM t WHERE id = 3",
    "SELECT @a := id FROM t ORDER BY id",
    "SELECT @`a` := v FROM t WHERE id = 2",
    "DO @a := 4",
    "UPDATE t SET v = (@a := CONCAT(v, '')) WHERE id = 1",
    "GET DIAGNOSTICS @a = NUMBER",
    "EXECUTE IMMEDIATE 'SET @a = 3'",
    "EXECUTE IMMEDIATE CONCAT('SELECT 8 INTO ', '@a')",
    "BEGIN NOT ATOMIC DECLARE x INT; DECLARE c CURSOR FOR SELECT 9; OPEN c; FETCH c INTO x; SET @a = x; END",
    "BEGIN NOT ATOMIC DECLARE x INT DEFAULT 5; SET @a = x; END",
    "CALL assigns(@a)",
    "SET STATEMENT max_statement_time = 50 FOR SELECT 6 INTO @a",
    "SET @'a' = 1 + 2",
    "SET @A = REPEAT('y', 65536)",
    *(f"SELECT {column} INTO @a FROM kinds WHERE i IS NOT NULL" for column in "iudnfgswbmtykejop"),
    *(f"SELECT {column} INTO @a FROM kinds WHERE i IS NULL" for column in "iudnfswbmyej"),
]


@pytest.mark.parametrize("character_set", ["utf8mb4", "latin1"])
async def test_variable_comes_back_with_its_value_type_and_collation(
    servers: Pair, character_set: str
) -> None:
    async with cluster(servers) as proxy:
        for statement in ASSIGNMENTS:
            connect = functools.partial(proxy.connect, charset=character_set)
            for turn, look in enumerate((_shown, _shape)):
                connection, twin = await proxy.run(connect), await proxy.run(connect)
                await proxy.run(rows, connection, "SET @a = 'before'")
                for one in (connection, twin):
                    await proxy.run(rows, one, statement.replace("NOW(6)", "'2026-11-26 01:02:03.000004'"))
                expected = await proxy.run(look, twin)
                proxy.change(term=proxy.views.current.term + 1)
                assert await proxy.run(look, connection) == expected, (statement, turn)
                connection._force_close()
                twin._force_close()
        assert proxy.listener.statistics.sessions_failed == 0


async def test_variables_that_only_a_procedure_names_come_back(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, charset="utf8mb4"))
        await proxy.run(rows, connection, "SET @`a b` = 1 + 1, @`c``d` = 'x', @e.f = 2, @1g = NULL")
        await proxy.run(rows, connection, "CALL assigns(@out)")
        proxy.change(term=2)
        ask = "SELECT @out, @inside, @`a b`, @`c``d`, @e.f, @1g FOR UPDATE"
        assert await proxy.run(rows, connection, ask) == [(5, "in\u00e9", 2, "x", 2, None)]
        connection.close()


async def test_prepared_statements_assign_too(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        number = await client.prepare("SELECT 'text' INTO @a")
        for _ in range(2):
            await client.execute(number)
        proxy.change(term=2)
        assert (await client.query("SELECT @a FOR UPDATE"))[2] == b"\x04text"


async def test_load_data_into_a_variable(servers: Pair, tmp_path: Any) -> None:
    source = tmp_path / "rows"
    source.write_text("1\tone\n2\ttwo\n")
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, local_infile=True))
        await proxy.run(
            rows, connection, f"LOAD DATA LOCAL INFILE '{source}' INTO TABLE loaded (i, @v) SET i = i + 0"
        )
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @v FOR UPDATE") == [("two",)]
        connection.close()


async def test_part_of_a_statement_that_failed_is_kept(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SET @a = 'old'")
        await proxy.run(_expect, connection, "SELECT v INTO @a FROM t ORDER BY id", 1172)
        before = await proxy.run(rows, connection, "SELECT @a FOR UPDATE")
        assert before != [("old",)]
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @a FOR UPDATE") == before
        connection.close()


async def test_set_names_behind_a_text_changes_nothing_of_it(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, charset="utf8mb4"))
        await proxy.run(rows, connection, "SET @a = 'gr\u00fcn', @b = 'x'")
        await proxy.run(rows, connection, "SET NAMES latin1 COLLATE latin1_german2_ci")
        ask = "SELECT COLLATION(@a), COLLATION(@b), HEX(@a) FOR UPDATE"
        before = await proxy.run(rows, connection, ask)
        assert before == [("utf8mb4_general_ci", "utf8mb4_general_ci", "6772C3BC6E")]
        proxy.change(term=2)
        assert await proxy.run(rows, connection, ask) == before
        connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SET @a = REPEAT('x', 1048577)",
        "SET @a = REPEAT('x', 600000), @b = REPEAT('y', 600000)",
        "BEGIN NOT ATOMIC FOR i IN 1 .. 2049 DO EXECUTE IMMEDIATE CONCAT('SET @v', i, ' = 1'); END FOR; END",
    ],
)
async def test_what_is_too_large_ends_the_session_until_it_is_smaller(servers: Pair, statement: str) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, statement)
        proxy.change(term=2)
        with pytest.raises(pymysql.err.MySQLError) as failure:
            await proxy.run(rows, connection, "SELECT 1 FOR UPDATE")
        assert failure.value.args[0] == 1927
        assert "this session's user variables of more than 1024 KiB went with it" in failure.value.args[1]
        connection._force_close()
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SET @a = REPEAT('x', 1048577)")
        await proxy.run(rows, connection, "SET @a = REPEAT('x', 10)")
        proxy.change(term=3)
        assert await proxy.run(rows, connection, "SELECT @a FOR UPDATE") == [("x" * 10,)]
        connection.close()


async def test_many_and_long_variables_come_back(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SET " + ", ".join(f"@v{i} = {i} + 1" for i in range(1000)))
        await proxy.run(rows, connection, "SET @a = REPEAT('x', 4096), @b = REPEAT('y', 4097)")
        await proxy.run(rows, connection, "SET @c = REPEAT(_latin1 X'e9', 400000)")
        await proxy.run(rows, connection, "CALL does_nothing()")
        proxy.change(term=2)
        ask = "SELECT @v0, @v500, @v999, LENGTH(@a), LENGTH(@b), LENGTH(@c), HEX(RIGHT(@c, 1)) FOR UPDATE"
        assert await proxy.run(rows, connection, ask) == [(1, 501, 1000, 4096, 4097, 400000, "E9")]
        connection.close()


@pytest.mark.parametrize("character_set", ["utf8mb4", "latin1", "gbk"])
async def test_variables_with_names_that_are_not_ascii_come_back(servers: Pair, character_set: str) -> None:
    """Whatever the client's character set: also names that it cannot write."""
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, charset="utf8mb4"))
        await proxy.run(
            rows, connection, "SET @e = 1, @\u00e9 = 2, @`\u20ac \u0416` = CONCAT('\u20ac', ''), @\u00df = 3"
        )
        await proxy.run(rows, connection, "SET @\u00c9 = @\u00e9 + 2, @ss = 5, @e = 6")
        await proxy.run(rows, connection, f"SET NAMES {character_set}")
        await proxy.run(rows, connection, "SELECT 'x' INTO @plain")
        await proxy.run(rows, connection, "CALL does_nothing()")
        counted = await proxy.run(rows, connection, "SELECT @plain, @@character_set_client FOR UPDATE")
        proxy.change(term=2)
        assert (
            await proxy.run(rows, connection, "SELECT @plain, @@character_set_client FOR UPDATE") == counted
        )
        assert counted == [("x", character_set)]
        # A plain read on this node, in the same character set.
        assert await proxy.run(rows, connection, "SELECT @@character_set_client") == [(character_set,)]
        await proxy.run(rows, connection, "SET NAMES utf8mb4")
        ask = "SELECT @e, @\u00e9, @`\u20ac \u0416`, @\u00df, @ss FOR UPDATE"
        assert await proxy.run(rows, connection, ask) == [(6, 4, "\u20ac", 3, 5)]
        connection.close()


async def test_counts_behind_a_name_that_is_not_ascii_are_the_clients(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, charset="utf8mb4"))
        await proxy.run(rows, connection, "SELECT SQL_CALC_FOUND_ROWS @\u00e9 := id FROM t LIMIT 2")
        assert await proxy.run(rows, connection, "SELECT FOUND_ROWS(), ROW_COUNT()") == [(3, -1)]
        connection.close()


QUESTIONS = (
    "SELECT ROW_COUNT()",
    "SELECT FOUND_ROWS(), ROW_COUNT() + 0, 'FOUND_ROWS()'",
    "SHOW WARNINGS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT @@warning_count, @@error_count",
    "SELECT LAST_INSERT_ID(), @@identity",
    "SELECT @@insert_id, @@in_transaction, @@last_gtid IS NULL",
    "INSERT INTO asked (a) VALUES (ROW_COUNT())",
)
ASKED_ABOUT = (
    ("SELECT SQL_CALC_FOUND_ROWS @a := id FROM numbers ORDER BY id LIMIT 2",),
    ("SELECT id INTO @a FROM numbers WHERE id = 3",),
    ("SELECT id INTO @a FROM numbers WHERE id = 3000",),
    ("SELECT id INTO @a FROM numbers",),
    ("SELECT * FROM numbers LIMIT 3 FOR UPDATE", "SET @a = 1 + 1"),
    (
        "SELECT * FROM numbers LIMIT 3 FOR UPDATE",
        "SET @a = 1 + 1",
        "SET @a = @a + 1",
        "SET @b = 'x'",
        "BEGIN",
    ),
    ("SELECT * FROM numbers LIMIT 3 FOR UPDATE", "SET @a = 1 + 1", "SELECT 7"),
    ("SET @a = (SELECT MAX(id) FROM numbers)",),
    ("SELECT @a := 1/0, CAST('x' AS INT)",),
    ("SET sql_mode = ''", "INSERT INTO numbers (v) SELECT @a := REPEAT('x', 30) FROM seq_1_to_2"),
    ("UPDATE numbers SET v = (@a := 'new') WHERE id < 3",),
    ("CALL assigns(@a)",),
    ("CALL assigns_and_warns()",),
    ("EXECUTE IMMEDIATE 'SELECT id FROM numbers LIMIT 2'",),
    ("SET @a = 1 + 1", "SELECT nothing"),
    ("BEGIN", "SET autocommit = 0", "SET @a = 2 * 2", "COMMIT", "SET @a = 2 * 3"),
)


async def test_reading_them_shows_nowhere(servers: Pair) -> None:
    """What a client may ask about a statement is told as by a server without a proxy before it."""
    reset = (
        "CREATE OR REPLACE TABLE numbers (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
        "INSERT INTO numbers (v) VALUES ('a'), ('b'), ('c'), ('d')",
        "CREATE OR REPLACE TABLE asked (a INT)",
    )

    def ask(connect: Any, statements: tuple[str, ...], question: str) -> Any:
        if any(word in statement for statement in statements for word in ("INSERT", "UPDATE numbers")):
            servers.primary.execute("USE demo", *reset)
        connection = connect()
        try:
            for statement in statements:
                # Some fail, and are asked about too.
                with contextlib.suppress(pymysql.err.MySQLError):
                    rows(connection, statement)
            if question.startswith("INSERT"):
                rows(connection, question)
                found = rows(connection, "SELECT a FROM asked FOR UPDATE")
                rows(connection, "ROLLBACK")
                rows(connection, "DELETE FROM asked")
                rows(connection, "COMMIT")
                return found
            with connection.cursor() as cursor:
                cursor.execute(question)
                return [field[0] for field in cursor.description], cursor.fetchall()
        finally:
            connection._force_close()

    servers.primary.execute("USE demo", *reset)
    async with cluster(servers) as proxy:
        port = servers.primary.port
        assert port is not None

        def direct() -> Any:
            options: dict[str, Any] = {"user": "app", "password": PASSWORD, "database": "demo"}
            return pymysql.connect(host="127.0.0.1", port=port, autocommit=None, **options)

        for statements in ASKED_ABOUT:
            for question in QUESTIONS:
                expected = await proxy.run(ask, direct, statements, question)
                found = await proxy.run(ask, proxy.connect, statements, question)
                assert found == expected, (statements, question)


async def test_get_diagnostics_tells_the_row_count_of_the_clients_statement(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SELECT 5 INTO @a")
        await proxy.run(rows, connection, "GET CURRENT DIAGNOSTICS @n = ROW_COUNT, @c = NUMBER")
        assert await proxy.run(rows, connection, "SELECT @n, @c") == [(1, 0)]
        connection.close()


async def test_prepared_question_about_the_rows_found(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        number = await client.prepare("SELECT CONCAT(FOUND_ROWS(), ' ', ROW_COUNT())")

        async def ask() -> bytes:
            # Text's length, and before that the packet's kind and the row's NULLs.
            answer = await client.execute(number)
            return next(payload[3:] for payload in answer if payload[:2] == b"\0\0" and b" " in payload)

        await client.query("SELECT SQL_CALC_FOUND_ROWS @a := id FROM t LIMIT 1")
        assert await ask() == b"3 -1"
        assert await ask() == b"1 -1"
        await client.query("SELECT 5 INTO @a")
        assert await ask() == b"0 1"


async def test_sessions_without_variables_ask_nothing_more(servers: Pair) -> None:
    """A statement without an assignment costs no query more, also in a session that has variables."""
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)

        def questions() -> int:
            return int(rows(connection, "SHOW SESSION STATUS LIKE 'Questions'")[0][1])

        def use() -> None:
            rows(connection, "SET @a = 1 + 1")
            rows(connection, "SELECT @a FOR UPDATE")
            before = questions()
            for _ in range(5):
                rows(connection, "UPDATE t SET v = 'one' WHERE id = 1")
                rows(connection, "SELECT @a FOR UPDATE")
                rows(connection, "SELECT * FROM t WHERE id = @a")
                rows(connection, "SET @b = 7")
            assert questions() == before + 21
            rows(connection, "SET @a = @a + 1")
            assert questions() == before + 24

        await proxy.run(use)
        connection.close()


async def test_several_statements_in_one_text(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, client_flag=CLIENT.MULTI_STATEMENTS))

        def use() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET @a = 1; SELECT @b := 'x'; SELECT 3 INTO @c")
                while cursor.nextset():
                    pass

        await proxy.run(use)
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @a, @b, @c FOR UPDATE") == [(1, "x", 3)]
        connection.close()


async def test_leader_that_is_lost_before_the_values_are_read_ends_the_session(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*arguments: Any) -> None:
        raise ConnectionLost("gone")

    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        monkeypatch.setattr(VariableReads, "_read_from", lost)
        await proxy.run(rows, connection, "SET @a = 1 + 1")
        proxy.change(term=2)
        await proxy.run(_expect, connection, "SELECT @a FOR UPDATE", 1927)
        connection._force_close()


async def test_server_without_the_list_loses_only_sessions_with_variables(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = list_query().replace(b"USER_VARIABLES", b"NO_SUCH_TABLE")
    monkeypatch.setattr("wolfscale.proxy.variable_reads.list_query", lambda: query)
    async with cluster(servers) as proxy:
        plain, assigning = await proxy.run(proxy.connect), await proxy.run(proxy.connect)
        await proxy.run(rows, assigning, "SET @a = 1")
        for connection in (plain, assigning):
            await proxy.run(rows, connection, "CALL does_nothing()")
        proxy.change(term=2)
        assert await proxy.run(rows, plain, "SELECT 1 FOR UPDATE") == [(1,)]
        await proxy.run(_expect, assigning, "SELECT 1 FOR UPDATE", 1927)
        plain.close()
        assigning._force_close()


async def test_list_does_not_clear_warnings_and_comes_when_they_were_asked_for(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "CALL assigns_and_warns()")
        for _ in range(2):
            assert len(await proxy.run(rows, connection, "SHOW WARNINGS")) == 1
        await proxy.run(rows, connection, "UPDATE t SET v = 'one' WHERE id = 1")
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @a FOR UPDATE") == [("warned",)]
        connection.close()


async def test_bounds_of_the_session_do_not_stop_the_list(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SET max_join_size = 1, sql_big_selects = 0, sql_select_limit = 0")
        await proxy.run(rows, connection, "CALL assigns(@a)")
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @a LIMIT 1 FOR UPDATE") == [(5,)]
        connection.close()


async def test_locks_that_are_given_back_leave_variables_to_be_restored(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        for statement in ("LOCK TABLES t READ", "SET @a = 1 + 1", "UNLOCK TABLES"):
            await proxy.run(rows, connection, statement)
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @a FOR UPDATE") == [(2,)]
        connection.close()


async def test_session_that_was_reset_has_no_variables(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("SET @a = 'text', @b = 1 + 1")
        await client.command(bytes((Command.RESET_CONNECTION,)))
        proxy.change(term=2)
        assert (await client.query("SELECT @a FOR UPDATE"))[2] == b"\xfb"
        await client.query("SET @a = 1 + 1")
        proxy.change(term=3)
        assert (await client.query("SELECT @a FOR UPDATE"))[2] == b"\x012"


async def test_variables_are_read_and_told_in_any_sql_mode(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        for mode in ("ORACLE", "ANSI,NO_BACKSLASH_ESCAPES", "EMPTY_STRING_IS_NULL", "TRADITIONAL"):
            await proxy.run(rows, connection, f"SET sql_mode = '{mode}'")
            await proxy.run(
                rows, connection, "SET @a = 7 - 5, @b = CONCAT('x', '\\\\'), @c = 1.5 * 2, @d = LEFT('x', 0)"
            )
            ask = "SELECT @a, @b, @c, @d FROM dual FOR UPDATE"
            before = await proxy.run(rows, connection, ask)
            proxy.change(term=proxy.views.current.term + 1)
            assert await proxy.run(rows, connection, ask) == before, mode
        connection.close()
