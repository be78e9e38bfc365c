"""START TRANSACTION READ ONLY on the local MariaDB: what runs where in it, how it ends, how it is lost."""

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import BOUNDS, Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, raw_client

from wolfscale.mysql.constants import Status

servers = shared_servers
pytestmark = pytest.mark.mariadb
START = "START TRANSACTION READ ONLY"


@pytest.fixture(autouse=True)
def table(servers: Pair) -> Iterator[None]:
    servers.primary.execute(
        "CREATE OR REPLACE TABLE demo.ro (id INT PRIMARY KEY)", "INSERT INTO demo.ro VALUES (1)"
    )
    servers.catch_up()
    yield
    servers.primary.execute("DROP TABLE demo.ro")


def _error(connection: Any, sql: str) -> tuple[int, str]:
    with pytest.raises(pymysql.err.MySQLError) as refused:
        rows(connection, sql)
    return int(refused.value.args[0]), str(refused.value.args[1])


def _counts(proxy: Cluster) -> tuple[int, int]:
    statistics = proxy.listener.statistics
    return statistics.local_statements, statistics.leader_statements


def _ids(connection: Any) -> list[int]:
    return [row[0] for row in rows(connection, "SELECT id FROM ro ORDER BY id")]


async def test_transaction_that_only_reads_never_troubles_the_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                for _ in range(2):
                    rows(connection, START)
                    assert connection.server_status & Status.IN_TRANS
                    assert _ids(connection) == [1]
                    servers.primary.execute("INSERT INTO demo.ro VALUES (2)")
                    servers.catch_up()
                    assert _ids(connection) == [1]
                    rows(connection, "SAVEPOINT a")
                    rows(connection, "SET SESSION lock_wait_timeout = 7")
                    rows(connection, "USE demo")
                    rows(connection, "ROLLBACK TO a")
                    connection.ping()
                    assert connection.server_status & Status.IN_TRANS
                    rows(connection, "COMMIT")
                    assert not connection.server_status & Status.IN_TRANS
                    assert _ids(connection) == [1, 2]
                    servers.primary.execute("DELETE FROM demo.ro WHERE id = 2")
                    servers.catch_up()

        await proxy.run(use)
        assert _counts(proxy)[1] == 0
        assert proxy.listener.statistics.leader_connections == 0


async def test_changes_are_refused_inside_and_made_behind(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                rows(connection, START)
                assert _error(connection, "INSERT INTO ro VALUES (5)")[0] == 1792
                assert _ids(connection) == [1]
                rows(connection, "ROLLBACK")
                rows(connection, "INSERT INTO ro VALUES (5)")
                assert _ids(connection) == [1, 5]
                for ending in ("CREATE OR REPLACE TABLE ro2 (id INT)", "LOCK TABLES ro WRITE"):
                    # As in MariaDB these end the transaction.
                    rows(connection, START)
                    assert _ids(connection) == [1, 5]
                    rows(connection, ending)
                    assert not connection.server_status & Status.IN_TRANS
                    rows(connection, "UNLOCK TABLES")
                    rows(connection, "UPDATE ro SET id = id + 1 ORDER BY id DESC")
                    rows(connection, "UPDATE ro SET id = id - 1 ORDER BY id")
                rows(connection, "DROP TABLE ro2")

        await proxy.run(use)


async def test_what_is_no_plain_read_runs_beside_it_on_the_leader_and_may_write_nothing(
    servers: Pair,
) -> None:
    servers.primary.execute(
        "CREATE OR REPLACE FUNCTION demo.sneak() RETURNS INT "
        "BEGIN INSERT INTO demo.ro VALUES (9); RETURN 1; END"
    )
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET @kept = 5")
                rows(connection, START)
                local = _counts(proxy)[0]
                assert _ids(connection) == [1]
                assert _counts(proxy)[0] == local + 1
                assert rows(connection, "SELECT @kept") == [(5,)]
                assert _error(connection, "SELECT demo.sneak()")[0] == 1792
                assert _error(connection, "SELECT id FROM ro WHERE id = 1 FOR UPDATE")[0] == 1792
                assert rows(connection, "SHOW VARIABLES LIKE 'read_only'") == [("read_only", "OFF")]
                before = _counts(proxy)[0]
                assert _ids(connection) == [1]
                assert _counts(proxy)[0] == before + 1
                assert connection.server_status & Status.IN_TRANS
                rows(connection, "COMMIT")
                assert rows(connection, "SELECT @@in_transaction, @kept") == [(0, 5)]

        await proxy.run(use)
    servers.primary.execute("DROP FUNCTION demo.sneak")


@pytest.mark.parametrize("sql", ["BEGIN", "START TRANSACTION", START])
async def test_another_begin_ends_it(servers: Pair, sql: str) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                rows(connection, START)
                assert _ids(connection) == [1]
                rows(connection, sql)
                assert connection.server_status & Status.IN_TRANS
                if sql == START:
                    assert _error(connection, "INSERT INTO ro VALUES (5)")[0] == 1792
                else:
                    rows(connection, "INSERT INTO ro VALUES (5)")
                rows(connection, "COMMIT")
                assert _ids(connection) == ([1] if sql == START else [1, 5])

        await proxy.run(use)


@pytest.mark.parametrize(
    "before",
    [
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET autocommit = 0",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "SET SESSION wolfscale_consistency = 'leader'",
    ],
)
async def test_it_is_the_leaders_where_reads_are(servers: Pair, before: str) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                rows(connection, before)
                local = _counts(proxy)[0]
                rows(connection, START)
                assert _ids(connection) == [1]
                rows(connection, "COMMIT")
                assert _counts(proxy)[0] == local

        await proxy.run(use)


async def test_it_sees_what_the_session_wrote_before(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                for number in range(10, 60):
                    rows(connection, f"INSERT INTO ro VALUES ({number})")
                    rows(connection, START)
                    assert rows(connection, "SELECT COUNT(*) FROM ro") == [(number - 8,)]
                    rows(connection, "COMMIT")

        await proxy.run(use)
        assert _counts(proxy)[0] >= 100


async def test_prepared_reads_run_inside_it(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, MODERN_CLIENT) as client:
        statement = await client.prepare("SELECT CAST(id AS CHAR) FROM ro WHERE id = ?")
        await client.query(START)
        before = _counts(proxy)
        assert client.first_value(await client.execute(statement, [b"1"])) == b"1"
        assert proxy.listener.statistics.leader_statements == before[1]
        other = await client.prepare("SELECT CAST(COUNT(*) AS CHAR) FROM ro")
        assert client.first_value(await client.execute(other, [])) == b"1"
        assert _counts(proxy)[1] == before[1]
        await client.query("COMMIT")
        start, commit = await client.prepare(START), await client.prepare("COMMIT")
        before = _counts(proxy)
        for _ in range(2):
            await client.execute(start, [])
            assert client.first_value(await client.execute(other, [])) == b"1"
            await client.execute(commit, [])
        assert _counts(proxy) == (before[0] + 6, before[1])


async def test_loss_of_the_local_server_is_an_error_that_is_tried_again(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                for last in ("SELECT id FROM ro", "COMMIT"):
                    rows(connection, START)
                    assert _ids(connection) == [1]
                    for (id,) in servers.replica.execute(
                        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'"
                    ):
                        servers.replica.execute(f"KILL {id}")
                    assert _error(connection, last)[0] == 1213
                    assert rows(connection, "SELECT @@in_transaction") == [(0,)]
                rows(connection, "INSERT INTO ro VALUES (5)")
                assert _ids(connection) == [1, 5]

        await proxy.run(use)


async def test_transaction_in_the_way_of_a_new_definition_is_rolled_back(servers: Pair) -> None:
    bounds = BOUNDS.__class__(leader_seconds=20, replica_seconds=20, fence_seconds=0.2, apply_seconds=0.2)
    async with cluster(servers, bounds=bounds) as proxy:

        def use() -> None:
            with proxy.connect() as connection, proxy.connect() as bystander:
                rows(bystander, "SELECT 1")
                rows(connection, START)
                assert _ids(connection) == [1]
                servers.primary.execute("ALTER TABLE demo.ro ADD COLUMN more INT")
                servers.catch_up()
                assert _error(connection, "SELECT id FROM ro")[0] == 1213
                assert rows(connection, "SELECT id, more FROM ro") == [(1, None)]

        with trio.fail_after(120):
            await proxy.run(use)


async def test_reset_and_departure_end_it(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def use() -> None:
            with proxy.connect() as connection:
                rows(connection, START)
                assert _ids(connection) == [1]
                connection._execute_command(0x1F, b"")
                connection._read_ok_packet()
                rows(connection, "INSERT INTO ro VALUES (5)")
                rows(connection, START)
                assert _ids(connection) == [1, 5]
            servers.primary.execute("ALTER TABLE demo.ro ADD COLUMN more INT")
            servers.catch_up()

        await proxy.run(use)
