"""Clients of a primary whose commits wait, for the tests of captures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from memory_log import MemoryLog
from replication_servers import LIMIT_SECONDS, run

from wolfscale.replication.capture import Capture
from wolfscale.replication.entry import decode_fragment
from wolfscale.testing.mariadb import ScratchMariaDB


def sequences(log: MemoryLog) -> list[int]:
    """The sequences of the complete groups of a log."""
    fragments = [decode_fragment(entry.data) for entry in log.entries]
    return [fragment.gtid.sequence for fragment in fragments if fragment.is_last]


class Clients:
    """Clients that each run statements in a task of their own."""

    def __init__(self, server: ScratchMariaDB, nursery: trio.Nursery) -> None:
        self.done = 0
        self.failed: list[Exception] = []
        self._server = server
        self._nursery = nursery
        self._changed = trio.Event()

    def start(self, *statements: str, count: int = 1) -> None:
        for _ in range(count):
            self._nursery.start_soon(self._run, statements)

    async def _run(self, statements: tuple[str, ...]) -> None:
        await run(self._server, *statements, database="t")
        self.done += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_done(self, count: int) -> None:
        with trio.fail_after(LIMIT_SECONDS):
            while self.done < count:
                await self._changed.wait()


@asynccontextmanager
async def clients_of(server: ScratchMariaDB) -> AsyncIterator[Clients]:
    async with trio.open_nursery() as nursery:
        yield Clients(server, nursery)


async def captured(capture: Capture, sequence: int) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        await capture.changes.wait_until(
            lambda: capture.captured is not None and capture.captured.sequence >= sequence
        )


async def acknowledged(capture: Capture, sequence: int) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        await capture.changes.wait_until(
            lambda: capture.acknowledged is not None and capture.acknowledged.sequence >= sequence
        )


async def waiting_sessions(server: ScratchMariaDB, count: int) -> None:
    """Wait until so many sessions wait for an ACK, or behind one that does."""
    async with await server.connect() as admin:
        with trio.fail_after(LIMIT_SECONDS):
            while True:
                found = await admin.value(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE command='Query' "
                    "AND (state LIKE '%semi-sync%' OR state='Commit')"
                )
                if found is not None and int(found) >= count:
                    return
                await trio.sleep(0.01)
