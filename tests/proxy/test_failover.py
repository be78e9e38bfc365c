"""What a client sees when the leader changes, and the second lock on the door."""

import contextlib
import functools
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, raw_client

from wolfscale.mysql.results import parse_error, parse_ok
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.connections import Connections
from wolfscale.proxy.execution import Executor

servers = shared_servers
pytestmark = pytest.mark.mariadb


async def _until(proxy: Cluster, condition: Any) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.005)


def _expect(connection: Any, sql: str, errno: int) -> str:
    with pytest.raises(pymysql.err.MySQLError) as failure:
        rows(connection, sql)
    assert failure.value.args[0] == errno, failure.value
    return str(failure.value)


async def test_idle_session_moves_to_the_new_leader_with_its_settings(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "SET time_zone = '+07:00'")
        await proxy.run(rows, connection, "UPDATE t SET v = 'one' WHERE id = 1")
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @@time_zone, DATABASE() FOR UPDATE") == [
            ("+07:00", "demo")
        ]
        assert proxy.listener.statistics.leader_connections == 2
        connection.close()


async def test_user_variables_set_to_literals_are_there_again_on_the_new_leader(servers: Pair) -> None:
    ask = "SELECT @a, @b, @c, @d, @e, HEX(@f), COLLATION(@b), @A + 1, CHARSET(@f) FOR UPDATE"
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, charset="utf8mb4"))
        for statement in (
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET @a = 1, @b = 'text', @c := -1.50",
            "SET @d = NULL; ",
            "SET @a = 41, @e = TRUE, @f = 'größe'",
            "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
        ):
            await proxy.run(rows, connection, statement)
        before = await proxy.run(rows, connection, ask)
        assert before[0][0] == 41
        assert before[0][6] == "utf8mb4_bin"
        proxy.change(term=2)
        assert await proxy.run(rows, connection, ask) == before
        # A new value is the one that is told next time.
        await proxy.run(rows, connection, "SET @a = 'other'")
        proxy.change(term=3)
        assert (await proxy.run(rows, connection, ask))[0][0] == "other"
        connection.close()


async def test_open_transaction_gets_the_retryable_error_once(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(connection.begin)
        await proxy.run(rows, connection, "UPDATE t SET v = 'lost' WHERE id = 2")
        proxy.change(term=2)
        await proxy.run(_expect, connection, "SELECT 1", 1213)
        assert await proxy.run(rows, connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
        assert proxy.listener.statistics.transactions_lost == 1
        connection.close()


async def test_transaction_in_which_nothing_has_run_begins_again_on_the_new_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        for begin in ("BEGIN", "START TRANSACTION", "START TRANSACTION READ WRITE"):
            # The second time each goes through the relay engine.
            for text in ("kept", "one"):
                await proxy.run(rows, connection, begin)
                proxy.change(term=proxy.views.current.term + 1)
                await proxy.run(rows, connection, f"UPDATE t SET v = '{text}' WHERE id = 1")
                assert await proxy.run(rows, connection, "SELECT @@in_transaction") == [(1,)]
                await proxy.run(connection.rollback)
                assert await proxy.run(rows, connection, "SELECT v FROM t WHERE id = 1") == [("one",)]
        assert proxy.listener.statistics.transactions_lost == 0
        connection.close()


@pytest.mark.parametrize("first", ["SELECT 1", "UPDATE t SET v = 'lost' WHERE id = 2", "SELECT nothing"])
async def test_transaction_in_which_anything_has_run_is_lost(servers: Pair, first: str) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        for _ in range(2):
            await proxy.run(connection.begin)
            with contextlib.suppress(pymysql.err.OperationalError):
                await proxy.run(rows, connection, first)
            proxy.change(term=proxy.views.current.term + 1)
            await proxy.run(_expect, connection, "SELECT 1", 1213)
        connection.close()


async def test_transaction_with_a_snapshot_is_never_begun_later(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        proxy.change(term=2)
        await proxy.run(_expect, connection, "SELECT 1", 1213)
        connection.close()


async def test_first_write_of_a_transaction_that_a_demoted_leader_refuses_runs_on_the_new_one(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that has not heard of the end yet sends it to a leader that is read-only already."""
    is_declined = Executor._is_declined
    declined = 0

    def count(*arguments: Any) -> bool:
        nonlocal declined
        found = is_declined(*arguments)
        declined += found
        return found

    monkeypatch.setattr(Executor, "_is_declined", count)
    servers.primary.execute(
        f"CREATE OR REPLACE USER plain@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON demo.* TO plain@'%'"
    )
    servers.catch_up()
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, user="plain"))
        # The second time the relay engine carries it.
        for turn, text in enumerate(("kept", "one"), 1):
            await proxy.run(rows, connection, "BEGIN")
            servers.primary.execute("SET GLOBAL read_only = 1")
            try:
                async with trio.open_nursery() as nursery:
                    update = f"UPDATE t SET v = '{text}' WHERE id = 1"
                    nursery.start_soon(proxy.run, rows, connection, update)
                    await _until(proxy, lambda turn=turn: declined == turn)
                    servers.primary.execute("SET GLOBAL read_only = 0")
                    proxy.change(term=turn + 1)
            finally:
                servers.primary.execute("SET GLOBAL read_only = 0")
            await proxy.run(connection.commit)
        assert await proxy.run(rows, connection, "SELECT v FROM t WHERE id = 1") == [("one",)]
        connection.close()


async def test_transaction_that_a_demoted_leader_refuses_in_its_middle_is_lost(servers: Pair) -> None:
    """The client is told what it may do about it, and its session goes on with the next transaction."""
    servers.primary.execute(
        f"CREATE OR REPLACE USER plain@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON demo.* TO plain@'%'"
    )
    servers.catch_up()
    async with cluster(servers) as proxy:
        connection = await proxy.run(functools.partial(proxy.connect, user="plain"))
        # The second time the relay engine carries it.
        for turn in range(2):
            await proxy.run(rows, connection, "BEGIN")
            await proxy.run(rows, connection, "UPDATE t SET v = 'lost' WHERE id = 1")
            servers.primary.execute("SET GLOBAL read_only = 1")
            try:
                await proxy.run(_expect, connection, "UPDATE t SET v = 'lost' WHERE id = 2", 1213)
            finally:
                servers.primary.execute("SET GLOBAL read_only = 0")
            assert proxy.listener.statistics.transactions_lost == turn + 1
            assert await proxy.run(rows, connection, "SELECT COUNT(*) FROM t WHERE v = 'lost'") == [(0,)]
        connection.close()


async def test_session_whose_leader_changes_while_it_waits_is_told_what_was_lost(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_leader, waits = Connections._open_leader, trio.Event()

    async def observed(self: Connections, **options: Any) -> BackendConnection:
        if not self.backends.views.current.writable:
            waits.set()
        return await open_leader(self, **options)

    monkeypatch.setattr(Connections, "_open_leader", observed)
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, "CREATE TEMPORARY TABLE x (a INT)")
        # A planned change: the old leader announces its end first, and its connection still stands.
        proxy.change(writable=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.run, _expect, connection, "SELECT 1 FOR UPDATE", 1927)
            await waits.wait()
            proxy.change(term=2, writable=True)
        connection._force_close()


async def test_rollback_of_a_lost_transaction_succeeds(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(connection.begin)
        await proxy.run(rows, connection, "UPDATE t SET v = 'lost' WHERE id = 2")
        proxy.change(term=2)
        await proxy.run(connection.rollback)
        assert await proxy.run(rows, connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
        connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMPORARY TABLE x (a INT)",
        "SET @a = REPEAT('x', 1048577)",
        "DO GET_LOCK('x', 1)",
        "LOCK TABLES t READ",
    ],
)
async def test_session_that_cannot_be_restored_is_told_and_closed(servers: Pair, statement: str) -> None:
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        await proxy.run(rows, connection, statement)
        proxy.change(term=2)
        assert "connect again" in await proxy.run(_expect, connection, "SELECT 1 FOR UPDATE", 1927)
        with pytest.raises(pymysql.err.OperationalError):
            await proxy.run(rows, connection, "SELECT 1")
        connection._force_close()


async def test_write_waits_for_a_leader_and_reads_go_on(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        connection, reader = await proxy.run(proxy.connect), await proxy.run(proxy.connect)
        proxy.change(writable=False, leader=None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.run, rows, connection, "UPDATE t SET v = 'one' WHERE id = 1")
            for _ in range(20):
                assert await proxy.run(rows, reader, "SELECT 1") == [(1,)]
            proxy.change(writable=True, term=2, leader="m")
        connection.close()
        reader.close()


async def test_statement_in_flight_when_the_leader_dies_has_an_unknown_outcome(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("SET autocommit = 1")
        await client.query("UPDATE t SET v = 'one' WHERE id = 1")
        await client.send(b"\x03UPDATE t SET v = 'one' WHERE id = 1 AND SLEEP(60) = 0")
        await _until(proxy, lambda: len(_sleeping(servers)) == 1)
        for stream in proxy.leader_streams:
            await trio.aclose_forcefully(stream)
        (answer,) = await client.answer(3)
        error = parse_error(answer)
        assert (error.errno, error.sqlstate) == (1180, "08007")
        servers.primary.execute(f"KILL {_sleeping(servers)[0]}")


async def test_unknown_outcome_is_told_by_the_command_line_client_in_words(servers: Pair) -> None:
    """Its library takes an error of a number that only clients give for a malformed packet."""
    async with cluster(servers) as proxy:
        host, port = proxy.address
        command = [
            *("mariadb", "--no-defaults", "--skip-ssl", f"-h{host}", f"-P{port}", "-uapp", f"-p{PASSWORD}"),
            *("demo", "-e", "UPDATE t SET v = 'one' WHERE id = 1 AND SLEEP(60) = 0"),
        ]
        async with trio.open_nursery() as nursery:

            async def client() -> None:
                ended = await trio.run_process(command, check=False, capture_stderr=True)
                assert b"(08007)" in ended.stderr
                assert b"look before trying again" in ended.stderr

            nursery.start_soon(client)
            await _until(proxy, lambda: len(_sleeping(servers)) == 1)
            proxy.change(term=2)
        servers.primary.execute(f"KILL {_sleeping(servers)[0]}")


async def test_old_leader_that_does_not_answer_is_cut_off(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.send(b"\x03UPDATE t SET v = 'one' WHERE id = 1 AND SLEEP(60) = 0")
        await _until(proxy, lambda: len(_sleeping(servers)) == 1)
        proxy.change(term=2)
        (answer,) = await client.answer(3)
        assert parse_error(answer).sqlstate == "08007"
        servers.primary.execute(f"KILL {_sleeping(servers)[0]}")
        # The session goes on in the new term.
        assert (await client.query("UPDATE t SET v = 'one' WHERE id = 1"))[0][0] == 0


def _sleeping(pair: Pair) -> list[int]:
    return [
        row[0]
        for row in pair.primary.execute(
            "SELECT id FROM information_schema.processlist WHERE info LIKE 'UPDATE%SLEEP(60)%'"
        )
    ]


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (v) VALUES ('x')",
        "INSERT INTO t (v) VALUES ('x') RETURNING id",
        "CREATE OR REPLACE TABLE locked (a INT)",
        "DO 1; DELETE FROM t WHERE id > 3",
    ],
)
async def test_no_ok_before_the_log_has_committed_the_gtid(
    servers: Pair, capabilities: int, sql: str
) -> None:
    capabilities |= 1 << 16
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        await client.query("INSERT INTO t (v) VALUES ('x')")
        proxy.hold_commits = True
        before = servers.primary.execute("SELECT @@gtid_binlog_pos")
        await client.send(b"\x03" + sql.encode())
        await _until(proxy, lambda: servers.primary.execute("SELECT @@gtid_binlog_pos") != before)
        with trio.move_on_after(0.3):
            await client.answer(3)
        assert not client.tracker.done
        proxy.hold_commits = False
        with trio.fail_after(60):
            while not client.tracker.done:
                client.tracker.packet(await client.packets.read())
        await client.query("DELETE FROM t WHERE id > 3")


async def test_ok_whose_term_ends_uncommitted_becomes_an_unknown_outcome(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("UPDATE t SET v = 'one' WHERE id = 1")
        proxy.hold_commits = True
        before = servers.primary.execute("SELECT @@gtid_binlog_pos")
        await client.send(b"\x03INSERT INTO t (v) VALUES ('y')")
        await _until(proxy, lambda: servers.primary.execute("SELECT @@gtid_binlog_pos") != before)
        # The next term's numbers prove nothing about this term's group.
        proxy.change(term=2, committed_sequence=1 << 40)
        (answer,) = await client.answer(3)
        assert parse_error(answer).sqlstate == "08007"
        assert proxy.listener.statistics.outcomes_unknown == 1
        proxy.hold_commits = False
        await client.query("DELETE FROM t WHERE id > 3")


async def test_stale_replica_lets_the_leader_answer(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.listener._bounds = type(proxy.listener._bounds)(replica_seconds=0.05)
        async with raw_client(proxy) as client:
            proxy.hold_applied = True
            await client.query("UPDATE t SET v = 'new' WHERE id = 1")
            packets = await client.query("SELECT v FROM t WHERE id = 1")
            assert b"\x03new" in packets
            assert proxy.listener.statistics.stale_reads == 1
            await client.query("UPDATE t SET v = 'one' WHERE id = 1")


async def test_local_server_that_dies_leaves_reads_to_the_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("SELECT 1")
        assert proxy.listener.statistics.leader_connections == 0
        proxy.change(database_ready=False)
        servers.replica.restart(kill=True)
        assert len(await client.query("SELECT 1")) == 4
        assert proxy.listener.statistics.leader_connections == 1
        proxy.change(database_ready=True)
        assert len(await client.query("SELECT 1")) == 4
    servers.catch_up()


async def test_session_without_a_local_server_is_served_by_the_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.change(database_ready=False)
        async with raw_client(proxy) as client:
            assert len(await client.query("SELECT 1")) == 4
            (ok,) = await client.query("UPDATE t SET v = 'one' WHERE id = 1")
            assert parse_ok(ok, client.connection.capabilities).info.startswith(b"Rows matched: 1")
        assert proxy.listener.statistics.local_statements == 0


async def test_node_that_leads_serves_reads_and_writes_on_one_connection(servers: Pair) -> None:
    async with cluster(servers, leads=True) as proxy, raw_client(proxy) as client:
        await client.query("UPDATE t SET v = 'one' WHERE id = 1")
        assert len(await client.query("SELECT v FROM t WHERE id = 1")) == 4
        assert proxy.listener.statistics.leader_connections == 0
        # Deposed: the old connection goes, reads and writes find their way.
        proxy.local = servers.replica
        proxy.leads = False
        proxy.change(is_leader=False, term=2, leader="m")
        assert len(await client.query("SELECT v FROM t WHERE id = 1")) == 4
        assert (await client.query("UPDATE t SET v = 'one' WHERE id = 1"))[0][0] == 0
        assert proxy.listener.statistics.local_statements == 1
