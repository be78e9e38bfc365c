"""A read on a follower after the session's own write sees it, however busy the cluster is."""

import itertools
import threading
import time

import pytest
import trio
from cluster_under_test import ClusterUnderTest
from cluster_writing import assert_nothing_lost, writers_running

pytestmark = pytest.mark.cluster

READS = 10_000
SECONDS = 60.0
"""The test ends here at the latest, with as many reads as were made; the count is printed."""
LEAST_READS = 200
SESSIONS = 12
TABLE = "CREATE OR REPLACE TABLE demo.own (session INT PRIMARY KEY, number INT NOT NULL)"


class Tally:
    """What all sessions have done."""

    def __init__(self) -> None:
        self.reads = 0
        self.missed: list[str] = []
        self._lock = threading.Lock()
        self._until = time.monotonic() + SECONDS

    def note(self, session: int, expected: int, found: object) -> None:
        with self._lock:
            self.reads += 1
            if found != expected:
                self.missed.append(f"session {session} wrote {expected} and read {found}")

    @property
    def over(self) -> bool:
        return self.reads >= READS or bool(self.missed) or time.monotonic() > self._until


def _write_and_read(cluster: ClusterUnderTest, node: int, session: int, tally: Tally) -> None:
    connection = cluster.clients.connect(node)
    try:
        with connection.cursor() as cursor:
            for number in itertools.count(1):
                if tally.over:
                    return
                cursor.execute("REPLACE INTO own VALUES (%s, %s)", (session, number))
                # Cheap for the cluster, so that the other reads come while others write.
                for _ in range(4):
                    cursor.execute("SELECT number FROM own WHERE session = %s", (session,))
                    [(found,)] = cursor.fetchall()
                    tally.note(session, number, found)
    finally:
        connection._force_close()  # type: ignore[attr-defined]


async def test_reads_on_followers_never_miss_their_sessions_own_write_under_load(
    cluster: ClusterUnderTest,
) -> None:
    await cluster.on_writable([TABLE])
    await cluster.wait_level()
    followers = cluster.followers(await cluster.wait_writable())
    before = {node: await _selects(cluster, node) for node in followers}
    async with writers_running(cluster) as writers:
        tally = Tally()
        limiter = trio.CapacityLimiter(SESSIONS)
        async with trio.open_nursery() as nursery:
            for session in range(SESSIONS):
                node = followers[session % len(followers)]
                nursery.start_soon(_in_thread, cluster, node, session, tally, limiter)
        local = sum([await _selects(cluster, node) - before[node] for node in followers])
    print(
        f"{tally.reads} reads after own writes; the followers' servers ran {local} SELECTs, their nodes' too"
    )
    assert tally.missed == []
    assert tally.reads >= LEAST_READS
    assert local >= tally.reads * 0.9, "the leader answered what the followers should have"
    await assert_nothing_lost(cluster, writers)


async def _in_thread(
    cluster: ClusterUnderTest, node: int, session: int, tally: Tally, limiter: trio.CapacityLimiter
) -> None:
    await trio.to_thread.run_sync(_write_and_read, cluster, node, session, tally, limiter=limiter)


async def _selects(cluster: ClusterUnderTest, node: int) -> int:
    """How many SELECTs a node's own server has carried out."""
    return int((await cluster.query(node, "SHOW GLOBAL STATUS LIKE 'Com_select'"))[0][1])
