"""What a cluster costs when nothing is asked of it, and how much memory a large transaction takes."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from cluster_clients import Client
from cluster_comparing import assert_identical
from cluster_under_test import POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.cluster import Part
from wolfscale.demo.processes import processor_seconds, resident_bytes

pytestmark = pytest.mark.cluster

MEBIBYTE = 1 << 20
LARGE_MEBIBYTES = 200
ROWS_A_STATEMENT = 4
MOST_BEFORE = 120 * MEBIBYTE
MOST_DURING = 200 * MEBIBYTE

MEASURED_SECONDS = 10.0
IDLE_SHARE_OF_A_CORE = 0.02
GENEROUS = 3
"""The machine may be busy with other things, whose cache misses are counted as ours."""


async def test_idle_cluster_costs_next_to_nothing(cluster: ClusterUnderTest) -> None:
    await cluster.wait_level()
    processes = {number: cluster.process_ids(number) for number in cluster.numbers}
    before = {number: sum(map(processor_seconds, pids)) for number, pids in processes.items()}
    await trio.sleep(MEASURED_SECONDS)
    shares = {
        number: (sum(map(processor_seconds, pids)) - before[number]) / MEASURED_SECONDS
        for number, pids in processes.items()
    }
    assert all(share < IDLE_SHARE_OF_A_CORE * GENEROUS for share in shares.values()), shares


class PeakMemory:
    """The most memory that each process of each node's own had at once."""

    def __init__(self, cluster: ClusterUnderTest) -> None:
        self._processes = {number: cluster.process_ids(number, Part.NODE) for number in cluster.numbers}
        self._ended = threading.Event()
        self.peaks: dict[int, int] = {}
        self.measure()

    def measure(self) -> None:
        """Look once."""
        for number, pids in self._processes.items():
            most = max(map(resident_bytes, pids))
            self.peaks[number] = max(most, self.peaks.get(number, 0))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again while the block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.measure()


async def test_transaction_of_200_mebibytes_goes_through_in_bounded_memory(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.large (number INT PRIMARY KEY, data LONGBLOB)"])
    await cluster.wait_level()
    memory = PeakMemory(cluster)
    assert all(peak < MOST_BEFORE for peak in memory.peaks.values()), memory.peaks
    with memory.watched():
        connection = await trio.to_thread.run_sync(lambda: cluster.clients.connect(1, read_timeout=60))
        await trio.to_thread.run_sync(insert_large, connection)
        await cluster.wait_level()
    assert all(peak < MOST_DURING for peak in memory.peaks.values()), memory.peaks
    for number in cluster.numbers:
        assert await cluster.query(number, "SELECT COUNT(*) FROM demo.large") == ((LARGE_MEBIBYTES,),)
    await assert_identical(cluster)
    await cluster.on_writable(["DROP TABLE IF EXISTS demo.large"])


def insert_large(connection: Client) -> None:
    source = random.Random(2)
    with connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for first in range(0, LARGE_MEBIBYTES, ROWS_A_STATEMENT):
            rows = [(first + row, source.randbytes(MEBIBYTE)) for row in range(ROWS_A_STATEMENT)]
            cursor.executemany("INSERT INTO large VALUES (%s, _binary %s)", rows)
        cursor.execute("COMMIT")
