"""Writers that go on whatever happens to the cluster, and the judgement of what became of their writes."""

import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pymysql
import trio
from cluster_clients import Client
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

WriteKey = tuple[int, int]
"""A write's writer and its number, both part of each row that it makes."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS demo.written (writer INT, number INT, note VARCHAR(64) NOT NULL, "
    "at DATETIME(6) NOT NULL DEFAULT NOW(6), chance DOUBLE NOT NULL DEFAULT RAND(), "
    "name CHAR(36) NOT NULL DEFAULT UUID(), PRIMARY KEY (writer, number))",
    "CREATE TABLE IF NOT EXISTS demo.keyless (writer INT, number INT, padding VARCHAR(200))",
    "CREATE TABLE IF NOT EXISTS demo.parents (writer INT, number INT, PRIMARY KEY (writer, number))",
    "CREATE TABLE IF NOT EXISTS demo.children (writer INT, number INT, child INT, "
    "FOREIGN KEY (writer, number) REFERENCES demo.parents (writer, number) "
    "ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE IF NOT EXISTS demo.totals (writer INT PRIMARY KEY, transactions INT NOT NULL)",
)
TRANSACTION_EVERY = 4
"""Each so-many-th write is a transaction over all tables; the others are single rows."""


@dataclass(slots=True)
class Record:
    """What all writers were told; may be read while they run.

    Attributes:
        acknowledged: writes whose OK the client has seen.
        unknown: writes that were sent and not answered with an OK: they may be there or not.
        errors: the errors seen, with how often.
    """

    acknowledged: set[WriteKey] = field(default_factory=set)
    unknown: set[WriteKey] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)


class Writers:
    """Threads that write one row or one transaction after another through any node that takes them."""

    _next_writer = itertools.count(1)

    def __init__(self, cluster: ClusterUnderTest, count: int = 4) -> None:
        self.record = Record()
        self._cluster = cluster
        self._stop = threading.Event()
        self._numbers = [next(self._next_writer) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._write_until_stopped, args=(writer,), daemon=True)
            for writer in self._numbers
        ]

    @property
    def writers(self) -> list[int]:
        """The numbers of these writers, which no other writer of the process has."""
        return self._numbers

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """End after the write that is under way; returns when all have ended."""
        self._stop.set()
        with trio.fail_after(PATIENCE):
            while any(thread.is_alive() for thread in self._threads):
                await trio.sleep(POLL_SECONDS)

    async def wait_acknowledged(self, more: int = 100) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = len(self.record.acknowledged) + more
        with trio.move_on_after(PATIENCE):
            while len(self.record.acknowledged) < wanted:
                await trio.sleep(POLL_SECONDS)
            return
        missing = wanted - len(self.record.acknowledged)
        raise AssertionError(
            f"{missing} of {more} writes not acknowledged in {PATIENCE:.0f} s; {dict(self.record.errors)}"
        )

    def _write_until_stopped(self, writer: int) -> None:
        numbers = itertools.count(1)
        nodes = list(self._cluster.numbers)
        turn = writer % len(nodes)
        for node in itertools.cycle(nodes[turn:] + nodes[:turn]):
            if self._stop.is_set():
                return
            try:
                connection = self._cluster.clients.connect(node)
            except (pymysql.err.MySQLError, OSError) as error:
                self._count(error)
                self._stop.wait(POLL_SECONDS)
                continue
            try:
                self._write_through(connection, writer, numbers)
            finally:
                # PyMySQL's close() raises on a connection that is gone already.
                connection._force_close()  # type: ignore[attr-defined]

    def _write_through(self, connection: Client, writer: int, numbers: Iterator[int]) -> None:
        while not self._stop.is_set():
            key = (writer, next(numbers))
            try:
                _write(connection, key)
            except pymysql.err.MySQLError as error:
                self.record.unknown.add(key)
                self._count(error)
                self._stop.wait(POLL_SECONDS)
                return
            self.record.acknowledged.add(key)

    def _count(self, error: Exception) -> None:
        self.record.errors[" ".join(str(part) for part in error.args)[:200]] += 1


def _write(connection: Client, key: WriteKey) -> None:
    writer, number = key
    with connection.cursor() as cursor:
        insert = "INSERT INTO written (writer, number, note) VALUES (%s, %s, %s)"
        if number % TRANSACTION_EVERY:
            cursor.execute(insert, (*key, f"write {number}"))
            return
        cursor.execute("BEGIN")
        cursor.execute(insert, (*key, f"transaction {number}"))
        cursor.execute("INSERT INTO keyless VALUES (%s, %s, REPEAT('x', 100))", key)
        cursor.execute("INSERT INTO parents VALUES (%s, %s)", key)
        cursor.execute("INSERT INTO children VALUES (%s, %s, 1), (%s, %s, 2)", (*key, *key))
        cursor.execute("DELETE FROM parents WHERE writer = %s AND number < %s", (writer, number - 40))
        cursor.execute(
            "INSERT INTO totals VALUES (%s, 1) ON DUPLICATE KEY UPDATE transactions = transactions + 1",
            (writer,),
        )
        cursor.execute("COMMIT")


@asynccontextmanager
async def writers_running(cluster: ClusterUnderTest, count: int = 4) -> AsyncIterator[Writers]:
    """Writers that write while the block runs, and have stopped after it."""
    await cluster.on_writable(TABLES)
    writers = Writers(cluster, count)
    writers.start()
    try:
        await writers.wait_acknowledged(100)
        yield writers
    finally:
        with trio.CancelScope(shield=True):
            await writers.stop()


async def assert_nothing_lost(cluster: ClusterUnderTest, writers: Writers) -> None:
    """Each server holds exactly the acknowledged writes, perhaps some unknown ones, each of them whole."""
    await cluster.wait_level()
    numbers = ", ".join(str(writer) for writer in writers.writers)
    where = f"WHERE writer IN ({numbers})"
    for node in cluster.numbers:
        written, keyless, totals = await cluster.run_on(
            node,
            [
                f"SELECT writer, number FROM demo.written {where}",
                f"SELECT writer, number FROM demo.keyless {where}",
                f"SELECT writer, transactions FROM demo.totals {where}",
            ],
        )
        present = {(row[0], row[1]) for row in written}
        lost = writers.record.acknowledged - present
        invented = present - writers.record.acknowledged - writers.record.unknown
        assert not lost, f"node-{node} has lost {len(lost)} acknowledged writes: {sorted(lost)[:5]}"
        assert not invented, f"node-{node} has {len(invented)} rows nobody sent: {sorted(invented)[:5]}"
        transactions = Counter(key for key in present if key[1] % TRANSACTION_EVERY == 0)
        assert Counter((row[0], row[1]) for row in keyless) == transactions, f"node-{node}: half transactions"
        assert dict(totals) == Counter(writer for writer, _ in transactions), f"node-{node}: totals differ"
