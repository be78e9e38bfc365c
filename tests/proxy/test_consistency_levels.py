"""How much a read must have seen, over real servers: the levels, a hint, a replica that lags."""

import dataclasses
import subprocess
from concurrent import futures
from typing import Any

import pymysql
import pytest
from proxy_pair import BOUNDS, PASSWORD, Cluster, Pair, cluster, rows, shared_servers

from wolfscale.proxy.consistency import Level

servers = shared_servers
pytestmark = pytest.mark.mariadb

COUNT = "SELECT COUNT(*) FROM t"


def local_reads(proxy: Cluster) -> int:
    return proxy.listener.statistics.local_statements


async def test_session_chooses_its_level_and_goes_back_to_the_default(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                assert rows(connection, "SELECT @@wolfscale_consistency") == [("node",)]
                rows(connection, "SET SESSION wolfscale_consistency = 'leader'")
                assert rows(connection, "SELECT @@wolfscale_consistency AS level") == [("leader",)]
                before = local_reads(proxy)
                for _ in range(3):
                    assert rows(connection, COUNT) == [(3,)]
                assert local_reads(proxy) == before
                rows(connection, "SET wolfscale_consistency = DEFAULT")
                assert rows(connection, COUNT) == [(3,)]
                assert local_reads(proxy) == before + 1
                with pytest.raises(
                    pymysql.err.Error, match="use one of node, session, eventual, strong, leader"
                ):
                    rows(connection, "SET wolfscale_consistency = 'often'")

        await proxy.run(client)


async def test_strong_read_waits_for_what_a_majority_confirms(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        servers.catch_up()
        proxy.confirmed = int(servers.primary.execute("SELECT @@gtid_binlog_pos")[0][0].rpartition("-")[2])

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET wolfscale_consistency = 'strong'")
                for _ in range(3):
                    assert rows(connection, COUNT) == [(3,)]
                proxy.confirmed = None
                with pytest.raises(pymysql.err.Error, match="No majority"):
                    rows(connection, COUNT)
                rows(connection, "SET wolfscale_consistency = 'session'")
                assert rows(connection, COUNT) == [(3,)]

        await proxy.run(client)
        assert proxy.positions_asked == 4
        assert local_reads(proxy) >= 4


async def test_strong_read_beside_the_leader_is_confirmed_too(servers: Pair) -> None:
    async with cluster(servers, leads=True) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                assert rows(connection, COUNT) == [(3,)]
                rows(connection, "SET wolfscale_consistency = 'strong'")
                with pytest.raises(pymysql.err.Error, match="No majority"):
                    rows(connection, COUNT)
                proxy.confirmed = 1
                assert rows(connection, COUNT) == [(3,)]

        await proxy.run(client)


async def test_hint_holds_for_its_own_query_only(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                before = local_reads(proxy)
                for _ in range(2):
                    query = "SELECT /* wolfscale_consistency = leader */ COUNT(*) FROM t"
                    assert rows(connection, query) == [(3,)]
                assert local_reads(proxy) == before
                assert rows(connection, COUNT) == [(3,)]
                assert local_reads(proxy) == before + 1

        await proxy.run(client)


async def test_read_waits_for_what_another_session_was_told(servers: Pair) -> None:
    async with cluster(servers, bounds=dataclasses.replace(BOUNDS, replica_seconds=60)) as proxy:
        servers.catch_up()

        def client() -> None:
            with proxy.connect() as writer, proxy.connect() as reader, futures.ThreadPoolExecutor() as pool:
                assert rows(reader, COUNT) == [(3,)]
                proxy.hold_applied = True
                rows(writer, "INSERT INTO t (v) VALUES ('seen')")
                [answer] = rows(reader, f"WOLFSCALE EXPLAIN {COUNT}")
                assert "once it has applied transaction" in answer[1]
                before = local_reads(proxy)
                rows(reader, "SET wolfscale_consistency = 'session'")
                rows(reader, COUNT)
                assert local_reads(proxy) == before + 1
                rows(reader, "SET wolfscale_consistency = DEFAULT")
                read = pool.submit(rows, reader, COUNT)
                while "Waiting for the local server" not in str(rows(writer, "SHOW WOLFSCALE SESSIONS")):
                    assert not read.done()
                proxy.hold_applied = False
                assert read.result(60) == [(4,)]
                assert local_reads(proxy) == before + 2
                rows(writer, "DELETE FROM t WHERE v = 'seen'")

        await proxy.run(client)


async def test_leader_reads_for_a_replica_that_has_not_what_another_session_was_told(servers: Pair) -> None:
    async with cluster(servers, bounds=dataclasses.replace(BOUNDS, replica_seconds=0.1)) as proxy:

        def client() -> None:
            with proxy.connect() as writer, proxy.connect() as reader:
                rows(reader, COUNT)
                proxy.hold_applied = True
                rows(writer, "INSERT INTO t (v) VALUES ('seen')")
                assert rows(reader, COUNT) == [(4,)]
                proxy.hold_applied = False
                rows(writer, "DELETE FROM t WHERE v = 'seen'")

        await proxy.run(client)
        assert proxy.listener.statistics.stale_reads == 1


async def test_eventual_read_does_not_wait_for_the_sessions_own_write(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, COUNT)
                proxy.hold_applied = True
                rows(connection, "UPDATE t SET v = v WHERE id = 1")
                rows(connection, "INSERT INTO t (v) VALUES ('late')")
                before = local_reads(proxy)
                rows(connection, "SET wolfscale_consistency = 'eventual'")
                rows(connection, COUNT)
                assert local_reads(proxy) == before + 1
                proxy.hold_applied = False
                rows(connection, "DELETE FROM t WHERE v = 'late'")

        await proxy.run(client)
        assert proxy.listener.statistics.stale_reads == 0


async def test_replica_too_far_behind_serves_no_reads(servers: Pair) -> None:
    async with cluster(servers, bounds=dataclasses.replace(BOUNDS, max_lag=5)) as proxy:

        def client() -> None:
            with proxy.connect() as connection, proxy.connect() as other:
                rows(connection, COUNT)
                proxy.hold_applied = True
                for _ in range(10):
                    rows(other, "UPDATE t SET v = CONCAT(v, '') WHERE id = 1")
                    rows(other, "INSERT INTO t (v) VALUES ('late')")
                rows(other, "DELETE FROM t WHERE v = 'late'")
                before = local_reads(proxy)
                assert rows(connection, COUNT) == [(3,)]
                assert local_reads(proxy) == before
                [answer] = rows(connection, f"WOLFSCALE EXPLAIN {COUNT}")
                assert "behind (max_lag)" in answer[1]
                proxy.hold_applied = False

        await proxy.run(client)
        assert proxy.listener.statistics.lagging_reads >= 1


async def test_configured_level_is_where_sessions_begin(servers: Pair) -> None:
    async with cluster(servers, bounds=dataclasses.replace(BOUNDS, consistency=Level.LEADER)) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET wolfscale_consistency = 'eventual'")
                rows(connection, COUNT)
                before = local_reads(proxy)
                assert before
                rows(connection, "SET wolfscale_consistency = DEFAULT")
                rows(connection, COUNT)
                assert local_reads(proxy) == before
                assert rows(connection, "SELECT @@wolfscale_consistency") == [("leader",)]

        await proxy.run(client)


async def test_own_answers_are_read_by_mariadbs_own_client(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> str:
            host, port = proxy.address
            command = [
                "mariadb",
                f"-h{host}",
                f"-P{port}",
                "-uapp",
                f"-p{PASSWORD}",
                "--skip-ssl",
                "-B",
                "demo",
            ]
            statements = "SHOW WOLFSCALE MEMBERS; SELECT @@wolfscale_consistency; WOLFSCALE EXPLAIN SELECT 1"
            return subprocess.run(
                [*command, "-e", statements], capture_output=True, text=True, timeout=60, check=True
            ).stdout

        said = await proxy.run(client)
        assert said.splitlines()[:5] == [
            "Name\tRole",
            "n\tfollower",
            "m\tleader",
            "@@wolfscale_consistency",
            "node",
        ]
        assert "a plain read outside a transaction" in said


async def test_explain_tells_where_a_statement_runs_and_why(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def explain(connection: Any, sql: str) -> tuple[str, ...]:
            [row] = rows(connection, f"WOLFSCALE EXPLAIN {sql}")
            return tuple(row)

        def client() -> None:
            with proxy.connect() as connection:
                assert explain(connection, COUNT)[:2] == ("this node", "a plain read outside a transaction")
                assert explain(connection, "SELECT * FROM t FOR UPDATE")[0] == "leader"
                assert explain(connection, "INSERT INTO t VALUES (1)")[0] == "leader"
                assert explain(connection, "CREATE TABLE x (i INT)")[4] == "yes"
                where, why, *_ = explain(connection, "SET GLOBAL server_id = 7")
                assert where == "nowhere"
                assert "server_id" in why
                rows(connection, "BEGIN")
                assert explain(connection, COUNT)[:2] == ("leader", "a transaction is open")
                rows(connection, "ROLLBACK")
                assert ("Wolfscale_node", "n") in rows(connection, "SHOW WOLFSCALE STATUS")
                assert [row[0] for row in rows(connection, "SHOW WOLFSCALE STATUS LIKE '%_term'")] == [
                    "Wolfscale_term"
                ]
                assert rows(connection, "SHOW WOLFSCALE MEMBERS") == [("n", "follower"), ("m", "leader")]

        await proxy.run(client)
