"""SET STATEMENT, whose values MariaDB tells as those of the session: they hold for the statement only."""

import pymysql
import pytest
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers, told_settings
from pymysql.constants import CLIENT
from raw_client import raw_client

servers = shared_servers
pytestmark = pytest.mark.mariadb


def test_fact_28_mariadb_tells_the_value_of_set_statement_and_not_its_end(servers: Pair) -> None:
    with told_settings(servers.primary) as (connection, told):
        told("SET sql_mode = '', session_track_system_variables = 'sql_mode'")
        assert told("SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1") == {b"sql_mode": b"ANSI_QUOTES"}
        assert told("DO 1") == {}
        assert rows(connection, "SELECT @@sql_mode") == [("",)]


@pytest.mark.parametrize(
    "sql",
    [
        "SET STATEMENT sql_mode = 'ANSI_QUOTES', max_statement_time = 9 FOR DO 1",
        "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT 1 FOR UPDATE",
        "/*!50000 SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1 */",
        "EXECUTE IMMEDIATE 'SET STATEMENT sql_mode = ''ANSI_QUOTES'' FOR DO 1'",
        "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1; DO 2",
        "BEGIN NOT ATOMIC SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1; END",
        "CREATE OR REPLACE TABLE passing SELECT 1 AS i",
    ],
)
@pytest.mark.parametrize("mode", ["PIPES_AS_CONCAT", "ORACLE"])
async def test_session_reads_on_in_its_own_sql_mode(servers: Pair, sql: str, mode: str) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
            rows(connection, f"SET sql_mode = {mode}")
            [(before,)] = rows(connection, "SELECT @@sql_mode FOR UPDATE")
            with connection.cursor() as cursor:
                cursor.execute(sql)
                while cursor.nextset():
                    pass
            assert rows(connection, "SELECT @@sql_mode") == [(before,)]
            assert rows(connection, "SELECT @@sql_mode FOR UPDATE") == [(before,)]

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


async def test_mode_that_is_set_behind_a_passing_one_stays(servers: Pair) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1; SET sql_mode = 'PIPES_AS_CONCAT'"
            )
            while cursor.nextset():
                pass
            assert rows(connection, "SELECT @@sql_mode") == [("PIPES_AS_CONCAT",)]

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


async def test_engine_for_one_statement_is_not_the_next_one_s(servers: Pair) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:
            rows(connection, "SET STATEMENT default_storage_engine = Aria FOR DO 1")
            rows(connection, "CREATE OR REPLACE TABLE passing (i INT)")
            assert "ENGINE=InnoDB" in rows(connection, "SHOW CREATE TABLE passing")[0][1]

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


async def test_prepared_statement_s_settings_end_with_it(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR DO 1")
        assert (await client.execute(statement))[-1][0] == 0
        answer = await client.query("SELECT CONCAT(IF(@@sql_mode LIKE '%ANSI%', 'passing', 'its own'))")
        assert any(b"its own" in packet for packet in answer)


async def test_questions_of_the_proxy_s_own_leave_the_sql_mode_alone(servers: Pair) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:
            rows(connection, "CREATE OR REPLACE TABLE passing (i INT)")
            rows(connection, "SET sql_mode = 'ANSI_QUOTES'")
            rows(connection, "CREATE OR REPLACE TABLE passed LIKE passing")
            rows(connection, "SET default_storage_engine = Aria")
            # Text is still read by it: what is in double quotes is a name.
            with pytest.raises(pymysql.err.MySQLError, match="WolfScale"):
                rows(connection, 'SET "sql_log_bin" = 0')

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)
