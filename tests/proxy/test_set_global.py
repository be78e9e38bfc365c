"""SET GLOBAL through the proxy: the leader's MariaDB takes it, then the node is told to spread it."""

from typing import Any

import pymysql
import pymysql.cursors
import pytest
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT
from raw_client import MODERN_CLIENT, raw_client

servers = shared_servers
pytestmark = pytest.mark.mariadb


def _refusal(connection: Any, sql: str) -> int:
    with pytest.raises(pymysql.err.MySQLError) as refused:
        rows(connection, sql)
    return int(refused.value.args[0])


async def _with_client(proxy: Cluster, function: Any, **options: Any) -> None:
    def client() -> None:
        with proxy.connect(**options) as connection:
            function(connection)

    await proxy.run(client)


@pytest.mark.parametrize("leads", [False, True])
async def test_global_variables_are_spread_once_the_leader_has_taken_them(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:

        def use(connection: Any) -> None:
            rows(connection, "SET GLOBAL long_query_time = 2")
            assert rows(connection, "SELECT @@GLOBAL.long_query_time") == [(2.0,)]
            rows(
                connection,
                "SET SESSION lock_wait_timeout = 7, GLOBAL wait_timeout = 61, @@global.tmp_table_size = 0",
            )
            rows(connection, "/*!50000 SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED */")
            assert rows(connection, "SELECT @@lock_wait_timeout") == [(7,)]
            rows(connection, "SET GLOBAL long_query_time = DEFAULT, GLOBAL wait_timeout = 28800")
            rows(connection, "SET GLOBAL tmp_table_size = DEFAULT, GLOBAL tx_isolation = 'REPEATABLE-READ'")

        await _with_client(proxy, use)
    assert proxy.spread == [
        (1, ["LONG_QUERY_TIME"], [], "app"),
        (1, ["WAIT_TIMEOUT", "TMP_TABLE_SIZE"], [], "app"),
        (1, ["TX_ISOLATION"], [], "app"),
        (1, ["WAIT_TIMEOUT"], ["LONG_QUERY_TIME"], "app"),
        (1, ["TX_ISOLATION"], ["TMP_TABLE_SIZE"], "app"),
    ]


async def test_prepared_setting_is_spread_each_time_it_is_executed(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, MODERN_CLIENT) as client:
        statement = await client.prepare("SET GLOBAL long_query_time = 10")
        assert proxy.spread == []
        for _ in range(2):
            await client.execute(statement, [])
    assert proxy.spread == [(1, ["LONG_QUERY_TIME"], [], "app")] * 2


async def test_what_the_leader_refuses_is_not_spread(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def by_nobody(connection: Any) -> None:
            assert _refusal(connection, "SET GLOBAL long_query_time = 2") == 1227
            assert _refusal(connection, "SET GLOBAL no_such_variable = 2") == 1193

        def by_app(connection: Any) -> None:
            assert _refusal(connection, "SET GLOBAL long_query_time = 'x'") == 1232

        await _with_client(proxy, by_nobody, user="nopassword", password="", database=None)
        await _with_client(proxy, by_app)
    assert proxy.spread == []


async def test_setting_among_several_statements_is_spread_although_a_later_one_fails(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use(connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET GLOBAL long_query_time = 10; SELECT nonsense")
                with pytest.raises(pymysql.err.MySQLError):
                    cursor.nextset()

        await _with_client(proxy, use, client_flag=CLIENT.MULTI_STATEMENTS)
    assert proxy.spread == [(1, ["LONG_QUERY_TIME"], [], "app")]


async def test_client_is_told_when_the_cluster_may_not_keep_the_setting(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.no_settings = "no majority"

        def use(connection: Any) -> None:
            with pytest.raises(pymysql.err.MySQLError, match=r"no majority.*run the statement again"):
                rows(connection, "SET GLOBAL long_query_time = 10")
            proxy.no_settings = ""
            rows(connection, "SET GLOBAL long_query_time = 10")

        await _with_client(proxy, use)
    assert proxy.spread == [(1, ["LONG_QUERY_TIME"], [], "app")]


async def test_largest_packet_may_be_set_to_what_it_is(servers: Pair) -> None:
    before = servers.primary.execute("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    async with cluster(servers) as proxy:

        def use(connection: Any) -> None:
            rows(connection, "SET GLOBAL max_allowed_packet = 1073741824")
            for value in ("1073741823", "DEFAULT", "@a", "1 << 30", "'1073741824'"):
                assert _refusal(connection, f"SET GLOBAL max_allowed_packet = {value}") == 1227

        try:
            await _with_client(proxy, use)
            assert servers.primary.execute("SELECT @@GLOBAL.max_allowed_packet") == ((1 << 30,),)
        finally:
            servers.primary.execute(f"SET GLOBAL max_allowed_packet = {before}")
    assert proxy.spread == [(1, ["MAX_ALLOWED_PACKET"], [], "app")]


async def test_settings_are_shown(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use(connection: Any) -> None:
            with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                cursor.execute("SHOW WOLFSCALE SETTINGS")
                (row,) = cursor.fetchall()
            assert (row["Name"], row["Value"], row["Set_by"]) == ("long_query_time", "2.000000", "app")

        await _with_client(proxy, use)
