"""Captures on a real primary. The log is a double that commits when a test says so."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from capture_clients import acknowledged, captured, clients_of, sequences, waiting_sessions
from memory_log import MemoryLog
from replication_servers import LIMIT_SECONDS, PRIMARY, TERM, capturing, connector, run

from wolfscale.mysql.binlog.events import Statement
from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid
from wolfscale.mysql.client import Connection
from wolfscale.replication.capture import Capture
from wolfscale.replication.entry import decode_fragment
from wolfscale.replication.errors import BinlogGap, Diverged, LeadershipLost
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(arguments=PRIMARY) as primary:
        primary.execute("SET GLOBAL rpl_semi_sync_master_enabled=0")
        primary.execute(
            "CREATE DATABASE t",
            "CREATE TABLE t.a (i INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)",
            "SET GLOBAL rpl_semi_sync_master_enabled=1",
        )
        yield primary


def position(server: ScratchMariaDB) -> Gtid:
    ((text,),) = server.execute("SELECT @@GLOBAL.gtid_binlog_pos")
    return parse_gtid(text)


@pytest.fixture
def start(server: ScratchMariaDB) -> Gtid:
    return position(server)


async def test_commit_is_neither_visible_nor_answered_before_the_log_has_it(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    log.hold = True
    async with capturing(server, log, start=start) as capture, clients_of(server) as clients:
        before = await run(server, "SELECT COUNT(*) FROM t.a")
        clients.start("INSERT INTO a (b) VALUES ('waits')")
        await captured(capture, start.sequence + 1)
        await waiting_sessions(server, 1)
        assert sequences(log) == [start.sequence + 1]
        assert capture.acknowledged == start
        assert clients.done == 0
        assert await run(server, "SELECT COUNT(*) FROM t.a") == before
        log.release()
        await clients.wait_done(1)
        await acknowledged(capture, start.sequence + 1)
        assert await run(server, "SELECT COUNT(*) FROM t.a") != before
        group = capture.acknowledged_group
        assert group is not None
        assert (group.gtid, group.index, group.plain) == (capture.acknowledged, 1, True)
    assert capture.statistics.acknowledgements == 1


async def test_fragment_has_the_place_where_its_group_ends(server: ScratchMariaDB, start: Gtid) -> None:
    log = MemoryLog(term=TERM)
    async with capturing(server, log, start=start), await server.connect() as admin:
        await run(server, "INSERT INTO t.a (b) VALUES ('x')")
        status = (await admin.query("SHOW MASTER STATUS")).mappings()[0]
        await run(server, "FLUSH BINARY LOGS")
        await run(server, "INSERT INTO t.a (b) VALUES ('x')")
        rotated = (await admin.query("SHOW MASTER STATUS")).mappings()[0]
    first, second = (decode_fragment(entry.data) for entry in log.entries)
    assert (first.file, str(first.end_position)) == (status["File"], status["Position"])
    assert (second.file, str(second.end_position)) == (rotated["File"], rotated["Position"])
    assert first.file != second.file
    assert first.format is not None
    assert first.format.server_version == await run(server, "SELECT VERSION()")


async def test_one_acknowledgement_serves_a_whole_batch(server: ScratchMariaDB, start: Gtid) -> None:
    log = MemoryLog(term=TERM)
    log.hold = True
    async with capturing(server, log, start=start) as capture, clients_of(server) as clients:
        clients.start("INSERT INTO a (b) VALUES ('one')")
        await captured(capture, start.sequence + 1)
        clients.start("INSERT INTO a (b) VALUES ('many')", count=20)
        await waiting_sessions(server, 21)
        log.release()
        await clients.wait_done(21)
        await acknowledged(capture, start.sequence + 21)
    assert capture.statistics.groups == 21
    assert capture.statistics.acknowledgements < 21
    assert sequences(log) == [start.sequence + 1 + number for number in range(21)]


async def test_waiting_clients_survive_reconnects_and_are_released(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    log.hold = True
    async with capturing(server, log, start=start) as capture, clients_of(server) as clients:
        clients.start("INSERT INTO a (b) VALUES ('waits')", count=3)
        await captured(capture, start.sequence + 1)
        await waiting_sessions(server, 3)
        for _ in range(2):
            old = capture.connection_id
            resent = capture.statistics.resent
            await run(server, f"KILL {old}")
            with trio.fail_after(LIMIT_SECONDS):
                while capture.connection_id == old or capture.statistics.resent == resent:
                    await trio.sleep(0.01)
        assert clients.done == 0
        log.release()
        await clients.wait_done(3)
        await acknowledged(capture, start.sequence + 3)
    assert capture.statistics.connections == 3
    assert sequences(log) == [start.sequence + 1 + number for number in range(3)]


async def test_client_whose_acknowledgement_was_lost_is_released_by_the_next_connection(
    server: ScratchMariaDB, start: Gtid
) -> None:
    lost: list[bytes] = []

    async def connect() -> Connection:
        connection = await server.connect()
        if not lost:

            async def lose(data: bytes) -> None:
                await trio.lowlevel.checkpoint()
                lost.append(data)

            # From the dump on, nothing but acknowledgements is sent this way.
            original = connection.packets.command

            async def command(payload: bytes) -> None:
                await original(payload)
                if payload[0] == 0x12:
                    packets.lose = lose

            packets = _Losing(connection.packets)
            packets.command = command
            connection.packets = packets  # type: ignore[assignment]
        return connection

    log = MemoryLog(term=TERM)
    async with capturing(server, log, start=start, connect=connect) as capture, clients_of(server) as clients:
        clients.start("INSERT INTO a (b) VALUES ('waits')")
        await acknowledged(capture, start.sequence + 1)
        assert len(lost) == 1
        await waiting_sessions(server, 1)
        await run(server, f"KILL {capture.connection_id}")
        await clients.wait_done(1)
    assert capture.statistics.connections == 2


class _Losing:
    """A packet stream that loses what is sent raw once `lose` is set."""

    def __init__(self, packets: Any) -> None:
        self._packets = packets
        self.lose: Any = None
        self.command: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packets, name)

    async def send_raw(self, data: bytes) -> None:
        await (self.lose or self._packets.send_raw)(data)


async def test_new_capture_of_the_same_term_skips_what_the_log_holds(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    log.hold = True
    async with clients_of(server) as clients:
        async with capturing(server, log, start=start) as first:
            clients.start("INSERT INTO a (b) VALUES ('waits')")
            await captured(first, start.sequence + 1)
        async with capturing(server, log, start=start) as second:
            await captured(second, start.sequence + 1)
            log.release()
            await clients.wait_done(1)
    assert sequences(log) == [start.sequence + 1]
    assert (second.statistics.groups, second.statistics.resent) == (0, 1)


async def _ended(capture: Capture) -> Exception:
    with trio.fail_after(LIMIT_SECONDS):
        try:
            await capture.run()
        except Exception as error:
            return error
    raise AssertionError("the capture goes on")


def _release(server: ScratchMariaDB) -> None:
    """Let go whoever waits for an acknowledgement that will not come."""
    server.execute("SET GLOBAL rpl_semi_sync_master_enabled=0", "SET GLOBAL rpl_semi_sync_master_enabled=1")


async def test_capture_ends_when_the_log_takes_no_more_from_its_term(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM + 1)
    async with clients_of(server) as clients:
        clients.start("INSERT INTO a (b) VALUES ('never acknowledged')")
        error = await _ended(Capture(connect=connector(server), log=log, term=TERM, start=start))
        assert isinstance(error, LeadershipLost)
        assert error.term == TERM
        assert clients.done == 0
        await trio.to_thread.run_sync(_release, server)


async def test_group_that_another_leader_replaced_is_never_acknowledged(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    log.hold = True
    capture = Capture(connect=connector(server), log=log, term=TERM, start=start)
    async with clients_of(server) as clients:
        clients.start("INSERT INTO a (b) VALUES ('never acknowledged')")
        errors = []

        async def watch() -> None:
            errors.append(await _ended(capture))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await captured(capture, start.sequence + 1)
            log.truncate(1)
            log.append(b"", term=TERM + 1, kind=0)
            log.commit()
        assert isinstance(errors[0], LeadershipLost)
        assert capture.acknowledged == start
        assert clients.done == 0
        await trio.to_thread.run_sync(_release, server)


async def test_group_of_another_server_id_is_a_divergence(server: ScratchMariaDB, start: Gtid) -> None:
    log = MemoryLog(term=TERM)
    async with clients_of(server) as clients:
        clients.start("SET SESSION server_id=99", "INSERT INTO a (b) VALUES ('not ours')")
        error = await _ended(Capture(connect=connector(server), log=log, term=TERM, start=start))
        assert isinstance(error, Diverged)
        assert error.gtid == Gtid(domain=0, server_id=99, sequence=start.sequence + 1)
        assert log.entries == []
        await trio.to_thread.run_sync(_release, server)


async def test_start_that_the_primary_does_not_know_is_a_gap(server: ScratchMariaDB) -> None:
    unknown = Gtid(domain=0, server_id=5, sequence=10**9)
    error = await _ended(
        Capture(connect=connector(server), log=MemoryLog(term=TERM), term=TERM, start=unknown)
    )
    assert isinstance(error, BinlogGap)
    assert error.after == unknown


async def test_hook_is_called_in_order_for_what_is_not_plain_and_holds_nobody_up(
    server: ScratchMariaDB, start: Gtid
) -> None:
    calls: list[tuple[int, str]] = []
    go = trio.Event()

    async def after(gtid: Gtid, statement: Statement | None) -> None:
        calls.append((gtid.sequence - start.sequence, statement.sql if statement else ""))
        await go.wait()

    log = MemoryLog(term=TERM)
    async with capturing(server, log, start=start, after_not_plain=after) as capture:
        await run(
            server,
            "CREATE TABLE m (i INT) ENGINE=Aria",
            "INSERT INTO a (b) VALUES ('plain')",
            "INSERT INTO m VALUES (1)",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM m",
            "DROP EVENT e",
            "DROP TABLE m",
            database="t",
        )
        assert capture.acknowledged is not None
        assert capture.acknowledged.sequence == start.sequence + 6
        go.set()
        with trio.fail_after(LIMIT_SECONDS):
            while len(calls) < 5:
                await trio.sleep(0.01)
    assert [number for number, _ in calls] == [1, 3, 4, 5, 6]
    assert calls[0][1].startswith("CREATE TABLE m")
    assert "event e ON SCHEDULE" in calls[2][1] or "EVENT e ON SCHEDULE" in calls[2][1]
    assert calls[3][1] == "DROP EVENT e"
    assert capture.statistics.not_plain == 5


async def test_reading_waits_while_the_disk_is_behind(server: ScratchMariaDB, start: Gtid) -> None:
    log = MemoryLog(term=TERM)
    async with (
        capturing(server, log, start=start, unpersisted_limit_bytes=1000) as capture,
        clients_of(server) as clients,
    ):
        log.unpersisted_bytes = 1001
        clients.start("INSERT INTO a (b) VALUES (REPEAT('x', 30000000))")
        with trio.fail_after(LIMIT_SECONDS):
            while capture.statistics.pauses == 0:
                await trio.sleep(0.01)
        fragments = capture.statistics.fragments
        for _ in range(20):
            log.changes.notify()
            await trio.sleep(0.005)
        assert capture.statistics.fragments == fragments
        assert clients.done == 0
        log.unpersisted_bytes = 0
        log.changes.notify()
        await clients.wait_done(1)


async def test_capture_connects_again_after_the_server_was_restarted() -> None:
    log = MemoryLog(term=TERM)
    async with ScratchMariaDB(arguments=PRIMARY) as primary, capturing(primary, log) as capture:
        await run(primary, "CREATE DATABASE t")
        await trio.to_thread.run_sync(primary.restart)
        await run(primary, "CREATE TABLE t.a (i INT)")
        assert capture.statistics.connections == 2
    assert sequences(log) == [1, 2]
