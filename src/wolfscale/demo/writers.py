"""Clients that write through the nodes' proxies and remember what was acknowledged, and when.

Each runs in a thread with PyMySQL, an independent client: what it was told is the truth to compare with.
"""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pymysql
import pymysql.cursors
import trio

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK

TABLE = "acknowledged"
CREATE_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (writer INT NOT NULL, number INT NOT NULL, "
    "written_at DATETIME(6) NOT NULL DEFAULT NOW(6), note VARCHAR(64) NOT NULL, PRIMARY KEY (writer, number))"
)
_CONNECT_TIMEOUT_SECONDS = 2
# A write that waits for a new leader is answered by the proxy long before this.
_READ_TIMEOUT_SECONDS = 30
_RETRY_SECONDS = 0.02

Client: TypeAlias = "pymysql.Connection[pymysql.cursors.Cursor]"
WriteKey = tuple[int, int]
"""A write's writer and its number, both part of the row that it makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A write whose OK the client has seen.

    Attributes:
        key: the row.
        port: the proxy that it went through.
        at: when the OK came, on the monotonic clock.
    """

    key: WriteKey
    port: int
    at: float


@dataclass(slots=True)
class Record:
    """What all writers of one run were told; safe to read while they run.

    Attributes:
        acknowledged: in the order of the OKs of each writer.
        unknown: writes that were sent and never answered with an OK; they may be there or not.
        errors: texts of the errors seen, with how often.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    unknown: set[WriteKey] = field(default_factory=set)
    errors: dict[str, int] = field(default_factory=dict)

    def keys(self) -> set[WriteKey]:
        """The rows that must be there."""
        return {write.key for write in self.acknowledged}

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time without any acknowledged write between two moments of the monotonic clock."""
        moments = sorted(write.at for write in list(self.acknowledged) if since <= write.at <= until)
        edges = [since, *moments, until]
        return max(later - earlier for earlier, later in itertools.pairwise(edges))

    def first_after(self, moment: float) -> float | None:
        """When the first write after a moment was acknowledged."""
        return min((write.at for write in list(self.acknowledged) if write.at > moment), default=None)


class Writers:
    """Runs writers until told to stop.

    Args:
        ports: the proxies; writer w begins with the w-th and goes to the next when its connection breaks.
        count: how many write at the same time.
        first_writer: the number of the first, so that several runs can share the table.
    """

    def __init__(self, ports: Sequence[int], *, count: int = 6, first_writer: int = 1) -> None:
        self.record = Record()
        self._ports = tuple(ports)
        self._count = count
        self._first_writer = first_writer
        self._stop = threading.Event()

    async def run(self) -> None:
        """Write until `stop`; cancelling tells the writers to stop and does not wait for them."""
        limiter = trio.CapacityLimiter(self._count)
        try:
            async with trio.open_nursery() as nursery:
                for offset in range(self._count):
                    nursery.start_soon(self._run_one, offset, limiter)
        finally:
            self._stop.set()

    async def _run_one(self, offset: int, limiter: trio.CapacityLimiter) -> None:
        await trio.to_thread.run_sync(
            self._write_until_stopped, offset, abandon_on_cancel=True, limiter=limiter
        )

    def stop(self) -> None:
        """Let every writer end after the write that it has under way."""
        self._stop.set()

    async def wait_acknowledged(self, more: int, *, timeout_seconds: float = 60.0) -> bool:
        """Wait until this many more writes are acknowledged; False when that did not happen in time."""
        wanted = len(self.record.acknowledged) + more
        with trio.move_on_after(timeout_seconds):
            # The writers are threads that must not be slowed down by waking a task at each write.
            while len(self.record.acknowledged) < wanted:
                await trio.sleep(_RETRY_SECONDS)
            return True
        return False

    def _write_until_stopped(self, offset: int) -> None:
        writer = self._first_writer + offset
        numbers = itertools.count(1)
        turn = offset % len(self._ports)
        for port in itertools.cycle(self._ports[turn:] + self._ports[:turn]):
            if self._stop.is_set():
                return
            try:
                connection = connect(port, connect_timeout=_CONNECT_TIMEOUT_SECONDS)
            except pymysql.err.MySQLError as error:
                self._count_error(error)
                self._stop.wait(_RETRY_SECONDS)
                continue
            try:
                self._write_through(connection, port, writer, numbers)
            finally:
                # PyMySQL's close() would send a packet and raise on a connection that is gone already.
                connection._force_close()  # type: ignore[attr-defined]

    def _write_through(self, connection: Client, port: int, writer: int, numbers: Iterator[int]) -> None:
        """Write until stopped or the connection breaks. Each number is used once, whatever became of it."""
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                number = next(numbers)
                try:
                    cursor.execute(
                        f"INSERT INTO {TABLE} (writer, number, note) VALUES (%s, %s, %s)",
                        (writer, number, f"writer {writer}, write {number}"),
                    )
                except pymysql.err.MySQLError as error:
                    self.record.unknown.add((writer, number))
                    self._count_error(error)
                    if isinstance(error, pymysql.err.InterfaceError) or not connection.open:
                        return
                    self._stop.wait(_RETRY_SECONDS)
                else:
                    self.record.acknowledged.append(
                        Acknowledged(key=(writer, number), port=port, at=time.monotonic())
                    )

    def _count_error(self, error: pymysql.err.MySQLError) -> None:
        code = error.args[0] if error.args else 0
        text = f"{code}: {error.args[-1]}" if error.args else type(error).__name__
        self.record.errors[text] = self.record.errors.get(text, 0) + 1


def connect(
    port: int,
    *,
    database: str | None = DATABASE,
    user: str = ACCOUNT,
    password: str = PASSWORD,
    connect_timeout: int = 10,
    read_timeout: int = _READ_TIMEOUT_SECONDS,
) -> Client:
    """A client of a node's proxy as the demo's account, autocommit on; blocks."""
    return pymysql.connect(
        host=LOOPBACK,
        port=port,
        user=user,
        password=password,
        database=database,
        autocommit=True,
        charset="utf8mb4",
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        write_timeout=read_timeout,
    )
