"""SET @@name = value, which MariaDB's session tracking does not tell, is known to the proxy all the same."""

from typing import Any

import pymysql
import pytest
from proxy_pair import Pair, cluster, rows, shared_servers, told_settings
from pymysql.constants import CLIENT
from raw_client import raw_client

from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.untold_settings import may_be_untold, with_scopes

servers = shared_servers


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("SET @@sql_mode = ''", "SET @@SESSION.sql_mode = ''"),
        ("set @@`Sql_Mode`:=1,@@wait_timeout=5", "set @@SESSION.`Sql_Mode`:=1,@@SESSION.wait_timeout=5"),
        ("SET /*!40101 @@storage_engine= */ Aria", "SET /*!40101 @@SESSION.storage_engine= */ Aria"),
        ("SELECT 1; SET autocommit=1, @@sql_mode=''", "SELECT 1; SET autocommit=1, @@SESSION.sql_mode=''"),
        ("BEGIN NOT ATOMIC SET @@sql_mode=''; END", "BEGIN NOT ATOMIC SET @@SESSION.sql_mode=''; END"),
        ("SET @@session.sql_mode = '', @@global.sql_mode = ''", None),
        ("SET @a = @@sql_mode, sql_mode = ''", None),
        ("SET @a = (SELECT 1, @@sql_mode = '')", None),
        ("SET STATEMENT max_statement_time = 1 FOR SELECT 1, @@sql_mode = ''", None),
        ("SELECT 1, @@sql_mode = ''", None),
        ("CREATE PROCEDURE p() SET @@sql_mode = ''", None),
        ("SET @a = '@@sql_mode = '", None),
        ("SELECT 1", None),
        ("@@sql_mode = 1", None),
    ],
)
def test_session_is_written_where_a_set_leaves_it_out(sql: str, written: str | None) -> None:
    text = sql.encode()
    assert (with_scopes(text, LexerMode(), "") if may_be_untold(text) else text) == (written or sql).encode()


def test_bytes_that_are_no_text_of_the_character_set_stay() -> None:
    assert with_scopes(b"SET @@sql_mode='\xff\xff'", LexerMode(), "gbk") == b"SET @@sql_mode='\xff\xff'"
    assert (
        with_scopes(b"SET @@sql_mode='\x81\x5c'", LexerMode(), "gbk") == b"SET @@SESSION.sql_mode='\x81\x5c'"
    )


async def _try_reading(servers: Pair, *statements: str) -> None:
    """What reads differently under ANSI_QUOTES is refused as what the server would make of it."""
    async with cluster(servers) as proxy:

        def work() -> None:
            with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
                for sql in statements:
                    _all(connection, sql)
                with pytest.raises(pymysql.err.MySQLError) as refused:
                    rows(connection, 'SET @a = 1, "sql_log_bin" = 0')
                assert refused.value.args[0] == 1227
                assert "WolfScale" in refused.value.args[1]

        await proxy.run(work)


def _all(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "statements",
    [
        ("SET @@sql_mode = 'ANSI_QUOTES'",),
        ("SELECT 1; SET @@sql_mode = 'ANSI_QUOTES'",),
        ("EXECUTE IMMEDIATE 'SET @@sql_mode = ''ANSI_QUOTES'''",),
        ("SET @q = 'SET @@sql_mode = ''ANSI_QUOTES'''", "EXECUTE IMMEDIATE @q"),
    ],
)
async def test_text_is_read_by_the_sql_mode_that_a_set_without_scope_gave(
    servers: Pair, statements: tuple[str, ...]
) -> None:
    await _try_reading(servers, *statements)


@pytest.mark.mariadb
async def test_prepared_set_without_scope_is_known(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SET @@default_storage_engine = 'Aria'")
        assert (await client.execute(statement))[-1][0] == 0
        await client.query("CREATE OR REPLACE DATABASE untold")
        await client.query("CREATE TABLE untold.t (i INT)")
        servers.catch_up()
        for server in (servers.primary, servers.replica):
            assert "ENGINE=Aria" in server.execute("SHOW CREATE TABLE untold.t")[0][1]


@pytest.mark.mariadb
async def test_engine_that_a_procedure_set_without_scope_is_known(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def work() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE OR REPLACE DATABASE untold")
                rows(connection, "USE untold")
                rows(connection, "CREATE PROCEDURE p() SET @@default_storage_engine = 'Aria'")
                rows(connection, "CALL p()")
                rows(connection, "CREATE TABLE t (i INT)")
            servers.catch_up()
            for server in (servers.primary, servers.replica):
                assert "ENGINE=Aria" in server.execute("SHOW CREATE TABLE untold.t")[0][1]

        await proxy.run(work)


@pytest.mark.mariadb
def test_fact_28_mariadb_does_not_tell_a_set_without_scope(servers: Pair) -> None:
    with told_settings(servers.primary) as (_, told):
        told("SET session_track_system_variables = 'sql_mode'")
        assert told("SET sql_mode = ''") == {b"sql_mode": b""}
        assert told("SET @@session.sql_mode = 'ANSI'")
        assert told("SET @@sql_mode = ''") == {}
