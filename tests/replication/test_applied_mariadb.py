"""The applied tracker on a real replica."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from memory_log import MemoryLog
from replication_servers import (
    LIMIT_SECONDS,
    PRIMARY,
    TERM,
    capturing,
    connector,
    feeding,
    follow,
    replica_arguments,
    run,
)

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.replication.applied import AppliedTracker
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ScratchMariaDB, ScratchMariaDB, MemoryLog]]:
    with (
        ScratchMariaDB(arguments=PRIMARY) as primary,
        ScratchMariaDB(arguments=replica_arguments()) as replica,
    ):
        yield primary, replica, MemoryLog(term=TERM)


@asynccontextmanager
async def tracking(tracker: AppliedTracker) -> AsyncIterator[AppliedTracker]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tracker.run)
        yield tracker
        nursery.cancel_scope.cancel()


async def selects(server: ScratchMariaDB) -> int:
    """How many SELECT statements a server has run."""
    async with await server.connect() as admin:
        return int((await admin.query("SHOW GLOBAL STATUS LIKE 'Com_select'")).rows[0][1] or 0)


Servers = tuple[ScratchMariaDB, ScratchMariaDB, MemoryLog]


async def test_tracker_follows_the_replica_without_asking_while_it_is_level(servers: Servers) -> None:
    primary, replica, log = servers
    tracker = AppliedTracker(connector(replica), log)
    async with capturing(primary, log), feeding(log) as feed, tracking(tracker):
        await follow(replica, feed)
        await run(primary, "CREATE DATABASE t", "CREATE TABLE t.a (i INT)")
        with trio.fail_after(LIMIT_SECONDS):
            await tracker.wait_applied(2)
        assert await run(replica, "SELECT @@gtid_slave_pos") == f"0-{TERM}-2"
        before = await selects(replica)
        for _ in range(50):
            log.changes.notify()
            await trio.sleep(0.001)
        log.append(b"", term=TERM, kind=0)
        log.commit()
        await trio.sleep(0.02)
        assert await selects(replica) == before
        for number in range(10):
            await run(primary, f"INSERT INTO t.a VALUES ({number})")
            with trio.fail_after(LIMIT_SECONDS):
                await tracker.wait_applied(3 + number)
            assert await run(replica, f"SELECT COUNT(*) FROM t.a WHERE i = {number}") == "1"
        # One question a group, and the count's own.
        assert await selects(replica) - before <= 30


async def test_tracker_tells_of_the_way_while_the_replica_catches_up(servers: Servers) -> None:
    primary, replica, log = servers
    tracker = AppliedTracker(connector(replica), log)
    async with (
        capturing(primary, log, start=Gtid(domain=0, server_id=TERM, sequence=12)),
        feeding(log) as feed,
    ):
        await follow(replica, feed, position=f"0-{TERM}-12")
        await run(replica, "STOP SLAVE SQL_THREAD")
        async with await primary.connect() as client:
            for number in range(500):
                await client.query(f"INSERT INTO t.a VALUES ({number})")
        seen: list[int] = []

        async def watch() -> None:
            while True:
                await tracker.changes.wait()
                seen.append(tracker.applied_sequence)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(tracker.run)
            with trio.fail_after(LIMIT_SECONDS):
                await tracker.wait_applied(12)
            assert tracker.applied_sequence == 12
            await run(replica, "START SLAVE SQL_THREAD")
            with trio.fail_after(LIMIT_SECONDS):
                await tracker.wait_applied(512)
            nursery.cancel_scope.cancel()
    assert seen == sorted(seen)
    assert seen[-1] == 512


async def test_tracker_connects_again_after_the_replica_was_restarted(servers: Servers) -> None:
    primary, replica, log = servers
    tracker = AppliedTracker(connector(replica), log)
    async with (
        capturing(primary, log, start=Gtid(domain=0, server_id=TERM, sequence=512)),
        feeding(log) as feed,
        tracking(tracker),
    ):
        with trio.fail_after(LIMIT_SECONDS):
            await tracker.wait_applied(512)
        await trio.to_thread.run_sync(lambda: replica.restart(kill=True))
        await follow(replica, feed, position=f"0-{TERM}-512")
        await run(primary, "INSERT INTO t.a VALUES (-1)")
        with trio.fail_after(LIMIT_SECONDS):
            await tracker.wait_applied(513)


async def test_reset_tells_of_an_older_position() -> None:
    async def connect() -> Connection:
        raise ConnectionLost("nobody is there")

    tracker = AppliedTracker(connect, MemoryLog())
    tracker.reset(Gtid(domain=0, server_id=1, sequence=9))
    assert tracker.applied_sequence == 9
    tracker.reset(None)
    assert tracker.applied_sequence == 0
