"""Tables that MariaDB logs in words of its own are the same on a replica, or are refused."""

from collections.abc import Callable
from typing import Any

import pymysql
import pytest
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT
from raw_client import raw_client

from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import parse_error
from wolfscale.proxy.written_tables import LOSSY_MODES

servers = shared_servers
pytestmark = pytest.mark.mariadb

REFUSED = 1235
TEMPORARY = (
    "CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY, n VARCHAR(20), l VARCHAR(9) CHARACTER SET latin2) "
    "COMMENT 'DEFAULT CHARSET=latin7'"
)
SELECTS = (
    "(id INT AUTO_INCREMENT PRIMARY KEY COMMENT 'key', v VARCHAR(9), w VARCHAR(9) CHARACTER SET latin2) "
    "ENGINE=Aria DEFAULT CHARACTER SET latin1 COMMENT 'all' SELECT 'caf\u00e9' AS v, 'x' || 'y' AS w"
)


@pytest.fixture(autouse=True)
def databases(servers: Pair) -> None:
    servers.primary.execute(
        "CREATE OR REPLACE DATABASE same CHARACTER SET utf8mb4",
        "CREATE OR REPLACE DATABASE other CHARACTER SET latin1",
        "CREATE OR REPLACE DATABASE collated CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "CREATE TABLE same.lasting (id INT PRIMARY KEY, n VARCHAR(20)) DEFAULT CHARACTER SET latin2",
    )
    servers.catch_up()


def _is_same(pair: Pair, table: str) -> bool:
    pair.catch_up()
    definitions = {
        server.execute(f"SHOW CREATE TABLE {table}")[0][1] for server in (pair.primary, pair.replica)
    }
    return (
        len(definitions) == 1
        and len({_contents(server, table) for server in (pair.primary, pair.replica)}) == 1
    )


def _contents(server: Any, table: str) -> Any:
    return server.execute(f"SELECT * FROM {table}")


def _tables(pair: Pair, schema: str) -> list[str]:
    return [row[0] for row in pair.primary.execute(f"SHOW TABLES FROM {schema}")]


def _refusal(connection: Any, sql: str) -> str:
    with pytest.raises(pymysql.err.MySQLError) as failure:
        rows(connection, sql)
    assert failure.value.args[0] == REFUSED, failure.value
    return str(failure.value.args[1])


def _session(proxy: Cluster, *statements: str, **options: Any) -> Any:
    connection = proxy.connect(**({"database": "same"} | options))
    for statement in statements:
        rows(connection, statement)
    return connection


async def _try(servers: Pair, work: Callable[[Cluster], None]) -> None:
    async with cluster(servers) as proxy:
        await proxy.run(work, proxy)


@pytest.mark.parametrize("statement", ["CREATE TABLE other.x LIKE tmp", "CREATE TABLE collated.x LIKE tmp"])
def test_fact_31_mariadb_logs_a_copy_of_a_temporary_table_without_its_character_set(
    servers: Pair, statement: str
) -> None:
    servers.primary.execute("USE same", TEMPORARY, statement)
    assert not _is_same(servers, statement.split()[2])


# Under MYSQL323 and MYSQL40 the text is none that a replica understands: it stops.
@pytest.mark.parametrize("mode", [mode for mode in LOSSY_MODES if not mode.startswith("MYSQL")])
def test_fact_31_mariadb_logs_a_table_made_from_a_query_as_the_sql_mode_shows_it(
    servers: Pair, mode: str
) -> None:
    servers.primary.execute(
        f"SET sql_mode='{mode}'",
        "CREATE TABLE same.shown (id INT AUTO_INCREMENT PRIMARY KEY, k INT, KEY (k) COMMENT 'k') "
        "ENGINE=Aria DEFAULT CHARACTER SET latin1 COMMENT 'c' SELECT 1 AS k",
    )
    assert not _is_same(servers, "same.shown")


async def test_copy_of_a_temporary_table_is_made_where_the_database_has_its_collation(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(proxy, TEMPORARY)
        for statement in (
            "CREATE TABLE plain LIKE tmp",
            "CREATE TABLE IF NOT EXISTS same.named LIKE same.tmp",
            "CREATE OR REPLACE TABLE `same`.`plain` ( LIKE `tmp` )",
            "CREATE TABLE other.kept LIKE lasting",
        ):
            rows(connection, statement)
        for table in ("same.plain", "same.named", "other.kept"):
            assert _is_same(servers, table)

    await _try(servers, work)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other.x LIKE tmp",
        "CREATE TABLE collated.x LIKE tmp",
        "CREATE OR REPLACE TABLE `other`.`x` (LIKE `same`.`tmp`)",
        "create table if not exists other . x like same . tmp",
        "CREATE TABLE other.x /* c */ LIKE .tmp",
        "CREATE /*!50000 TABLE other.x LIKE */ tmp",
        "SET STATEMENT max_statement_time=9 FOR CREATE TABLE other.x LIKE tmp",
        "EXECUTE IMMEDIATE 'CREATE TABLE other.x LIKE tmp'",
        "EXECUTE IMMEDIATE CONCAT('CREATE TABLE other.x ', 'LIKE tmp')",
        "BEGIN NOT ATOMIC CREATE TABLE other.x LIKE tmp; END",
        "BEGIN NOT ATOMIC CREATE TEMPORARY TABLE t2 (v TEXT); CREATE TABLE same.x LIKE t2; END",
        "IF 1 THEN CREATE TABLE other.x LIKE tmp; END IF",
        "SELECT 1; CREATE TABLE other.x LIKE tmp",
        "USE other; CREATE TABLE x LIKE same.tmp",
        "PREPARE s FROM 'CREATE TABLE other.x LIKE tmp'; EXECUTE s",
        "PREPARE s FROM 'SELECT 1'; CREATE TABLE other.x LIKE tmp",
        "ALTER DATABASE same CHARACTER SET latin1; CREATE TABLE same.x LIKE tmp",
        "CREATE TEMPORARY TABLE t2 (v TEXT); CREATE TABLE other.x LIKE t2",
        "SELECT 1; EXECUTE IMMEDIATE 'CREATE TABLE other.x LIKE tmp'",
    ],
)
async def test_copy_that_would_be_another_table_on_replicas_is_refused(servers: Pair, statement: str) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(proxy, TEMPORARY, client_flag=CLIENT.MULTI_STATEMENTS)
        assert "could make another table on the other servers" in _refusal(connection, statement)
        assert [*_tables(servers, "other"), *_tables(servers, "collated")] == []
        assert _tables(servers, "same") == ["lasting"]
        # The session goes on, and may do as it was told.
        rows(connection, "CREATE TABLE other.x (n VARCHAR(20)) DEFAULT CHARACTER SET utf8mb4")
        assert _is_same(servers, "other.x")

    await _try(servers, work)


async def test_refusal_names_both_collations(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(proxy, TEMPORARY.replace("tmp", "`t\u00e9 mp`"))
        assert _refusal(connection, "CREATE TABLE other.x LIKE `t\u00e9 mp`") == (
            "WolfScale does not allow this: CREATE TABLE `other`.`x` LIKE `t\u00e9 mp` could make another "
            "table on the other servers, since MariaDB's log leaves out a part of it; `t\u00e9 mp` is a "
            "temporary table in utf8mb4_general_ci, and the new table's database has latin1_swedish_ci, "
            "which the other servers would take: write the columns out, with DEFAULT CHARACTER SET utf8mb4 "
            "COLLATE utf8mb4_general_ci (SHOW CREATE TABLE shows them), or run ALTER DATABASE first"
        )

    await _try(servers, work)


async def test_statement_prepared_in_sql_is_looked_at_when_it_is_executed(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(
            proxy,
            "PREPARE copies FROM 'CREATE TABLE other.x LIKE lasting'",
            "EXECUTE copies",
            "DROP TABLE other.x",
            "CREATE TEMPORARY TABLE lasting (v TEXT)",
        )
        _refusal(connection, "EXECUTE copies")
        assert _tables(servers, "other") == []

    await _try(servers, work)


async def test_prepared_statement_is_looked_at_at_each_execution(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("CREATE OR REPLACE TABLE other.x LIKE same.lasting")
        assert (await client.execute(statement))[-1][0] == 0
        assert _is_same(servers, "other.x")
        await client.query("CREATE TEMPORARY TABLE same.lasting (v TEXT)")
        answer = await client.execute(statement)
        error: ServerError = parse_error(answer[-1])
        assert error.errno == REFUSED


async def test_copy_of_what_is_no_temporary_table_gets_the_servers_own_answer(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(proxy)
        for statement, errno in (
            ("CREATE TABLE other.x LIKE nothing", 1146),
            ("CREATE TABLE nowhere.x LIKE lasting", 1049),
            ("CREATE TABLE lasting LIKE lasting", 1066),
        ):
            with pytest.raises(pymysql.err.MySQLError) as failure:
                rows(connection, statement)
            assert failure.value.args[0] == errno

    await _try(servers, work)


async def test_copy_in_a_session_with_settings_of_its_own_is_looked_at(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        for setting in (
            "SET character_set_results = ucs2",
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "SET sql_select_limit = 0",
            "LOCK TABLES lasting READ",
            "BEGIN",
            "SET NAMES gbk",
        ):
            connection = _session(proxy, TEMPORARY, setting)
            _refusal(connection, "CREATE TABLE other.x LIKE tmp")
            connection.close()
        assert _tables(servers, "other") == []

    await _try(servers, work)


@pytest.mark.parametrize("mode", LOSSY_MODES)
async def test_table_made_from_a_query_is_the_same_on_replicas_in_any_sql_mode(
    servers: Pair, mode: str
) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(
            proxy, f"SET sql_mode = '{mode}'", client_flag=CLIENT.MULTI_STATEMENTS, charset="utf8mb4"
        )
        before = rows(connection, "SELECT @@sql_mode FOR UPDATE")
        rows(connection, f"CREATE TABLE made {SELECTS}")
        rows(connection, "CREATE OR REPLACE TABLE short AS VALUES (1), (2)")
        assert rows(connection, "SELECT @@sql_mode FOR UPDATE") == before
        assert rows(connection, "SELECT @@sql_mode") == before
        assert _is_same(servers, "same.made")
        assert _is_same(servers, "same.short")
        assert "AUTO_INCREMENT" in servers.replica.execute("SHOW CREATE TABLE same.made")[0][1]
        for nested in (
            f"SELECT 1; CREATE TABLE more {SELECTS}",
            f"BEGIN NOT ATOMIC CREATE TABLE more {SELECTS}; END",
            "EXECUTE IMMEDIATE 'CREATE TABLE more SELECT 1'",
        ):
            _refusal(connection, nested)
        rows(connection, TEMPORARY)
        _refusal(connection, "CREATE TABLE more LIKE tmp")

    await _try(servers, work)


async def test_table_made_from_a_query_prepared_in_another_sql_mode_is_the_same(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("USE same")
        statement = await client.prepare(f"CREATE OR REPLACE TABLE made {SELECTS}")
        await client.query("SET sql_mode = 'ANSI'")
        assert (await client.execute(statement))[-1][0] == 0
        assert _is_same(servers, "same.made")


async def test_sql_mode_that_a_text_sets_itself_is_looked_at(servers: Pair) -> None:
    def work(proxy: Cluster) -> None:
        connection = _session(proxy, client_flag=CLIENT.MULTI_STATEMENTS)
        for text in (
            "SET sql_mode = 'ANSI'; CREATE TABLE more ENGINE=Aria SELECT 1",
            "SET STATEMENT sql_mode = 'ANSI' FOR CREATE TABLE more ENGINE=Aria SELECT 1",
        ):
            _refusal(connection, text)
        rows(connection, "SELECT 1; CREATE TABLE more ENGINE=Aria SELECT 1")
        assert _is_same(servers, "same.more")
        rows(
            connection,
            "SET STATEMENT sql_mode = 'TRADITIONAL' FOR "
            "CREATE OR REPLACE TABLE more ENGINE=Aria COMMENT 'a' SELECT 1 AS a",
        )
        assert _is_same(servers, "same.more")

    await _try(servers, work)
