"""Copies of one node's data for scenarios of one statement each, and what is done with them."""

import copy
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from fault_kinds import SETUP
from fault_rig import FEED_LOGIN, contents

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Connection
from wolfscale.replication.decision import Position
from wolfscale.replication.feed import Feed
from wolfscale.replication.recovery import create_data, settle_recovery, stop_in_order
from wolfscale.testing.single_server import MemoryLog, Node, Primary, until_true

STUCK_SECONDS = 0.3
"""How long a statement that stands in a queue is given to get further than it should."""


class CannotApply(WolfScaleError):
    """A replica stopped; the node would clone it."""


class Template:
    """Data of a node that was primary, has the set-up and was stopped in good order; scenarios copy it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = MemoryLog()

    async def make(self) -> None:
        path = self.directory / "template"
        path.mkdir(mode=0o711)
        node = Node(path, self.log)
        try:
            await create_data(node.database, node.store)
            await node.boot()
            async with node.primary(5) as primary:
                await primary.execute(*SETUP)
                await node.database.set_read_only(True)
                last = Position(gtid=self.log.newest(), index=self.log.commit_index)
                assert await stop_in_order(node.database, node.store, last)
        finally:
            await node.database.kill()

    @asynccontextmanager
    async def node(
        self, name: str, log: MemoryLog | None = None, *, path: Path | None = None
    ) -> AsyncIterator[Node]:
        """A node of its own on a copy of the data."""
        path = path or self.directory / name
        await trio.to_thread.run_sync(
            partial(subprocess.run, ["cp", "-a", str(self.directory / "template"), str(path)], check=True)
        )
        if log is None:
            log = copy.copy(self.log)
            log.entries = list(self.log.entries)
        node = Node(path, log)
        try:
            yield node
        finally:
            await node.database.kill()
            shutil.rmtree(path, ignore_errors=True)


async def send_in_vain(primary: Primary, session: Connection, statement: str) -> None:
    """Send a statement that will not be answered, and wait until it has come as far as it can."""
    database = primary.node.database
    end = (await database.binlog_end()).offset
    primary.nursery.start_soon(_run_until_killed, session, statement)

    async def has_grown() -> bool:
        return (await database.binlog_end()).offset > end

    with trio.move_on_after(STUCK_SECONDS):
        await until_true(has_grown)


async def _run_until_killed(session: Connection, statement: str) -> None:
    try:
        await session.query(statement)
    except WolfScaleError:
        return
    finally:
        await session.packets.aclose_forcefully()
    raise AssertionError(f"{statement} was answered without an acknowledgement")


async def replay(node: Node) -> None:
    """Give a server everything that the log holds behind its position."""
    feed = Feed(node.log, user=FEED_LOGIN.user, password=FEED_LOGIN.password)
    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run)
        host, port = await feed.wait_listening()
        await node.database.start_replica(
            host=host, port=port, user=FEED_LOGIN.user, password=FEED_LOGIN.password
        )
        newest = node.log.newest()

        async def is_level() -> bool:
            status = await node.database.replica_status()
            if status.sql_errno or status.io_errno:
                raise CannotApply(status.sql_error or status.io_error)
            return await node.database.position() == newest

        await until_true(is_level)
        await node.database.stop_replica()
        nursery.cancel_scope.cancel()


async def differences(template: Template, node: Node, position: Position) -> list[str]:
    """What a recovered server holds differently, given the rest of the log, from an untouched replica.

    Empty as well where the log could not be applied: that is no silent difference.
    """
    await settle_recovery(node.database, node.store, position)
    try:
        await replay(node)
    except CannotApply:
        return []
    async with template.node("reference", node.log) as reference:
        await reference.boot()
        await replay(reference)
        found, wanted = await contents(node.database), await contents(reference.database)
    return [
        f"{what}: {found.get(what, 'nothing')} instead of {wanted.get(what, 'nothing')}"
        for what in sorted({*found, *wanted})
        if found.get(what) != wanted.get(what)
    ]
