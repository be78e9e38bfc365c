"""One node's MariaDB without a cluster: the real server, recovery and capture over a log in memory."""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.replication.capture import Capture
from wolfscale.replication.database import Database
from wolfscale.replication.decision import Outcome, Position, Recovery, decide
from wolfscale.replication.entry import decode_fragment, sequence_of
from wolfscale.replication.evidence import CommittedLog
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.log import EVENTS
from wolfscale.replication.managed import ManagedServer
from wolfscale.replication.record import BinlogPosition, RecordStore, Settled
from wolfscale.replication.recovery import begin_tenure, create_data, recover, settle_recovery
from wolfscale.replication.server import Account
from wolfscale.replication.settings import ServerOptions
from wolfscale.replication.settle import Settler, primary_position

ACCOUNT = Account(password='a node\'s "password"')
OPTIONS = ServerOptions(
    buffer_pool_mb=32,
    extra=(
        "--innodb-log-file-size=16M",
        "--innodb-use-native-aio=OFF",  # a machine has few such contexts, and tests start many servers
        "--key-buffer-size=1M",
        "--aria-pagecache-buffer-size=8M",
    ),
)
PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEntry:
    """One entry of a `MemoryLog`."""

    index: int
    term: int
    kind: int
    data: bytes


class MemoryLog:
    """A log that commits at once, or, while `held`, not."""

    unpersisted_bytes = 0

    def __init__(self) -> None:
        self.entries: list[MemoryEntry] = []
        self.first_index = 1
        self.changes = Changes()
        self.commit_index = 0
        self.held = False

    def propose(self, datas: Sequence[bytes], *, term: int) -> int:
        """Append entries; see `ReplicatedLog`."""
        for data in datas:
            self.entries.append(
                MemoryEntry(index=len(self.entries) + 1, term=term, kind=EVENTS, data=bytes(data))
            )
        if not self.held:
            self.commit()
        return len(self.entries)

    def commit(self) -> None:
        """Commit everything."""
        self.commit_index = len(self.entries)
        self.changes.notify()

    def truncate(self) -> None:
        """Drop what was not committed, as a new leader that lacks it does."""
        del self.entries[self.commit_index :]

    def read(self, first: int, last: int, max_bytes: int) -> Sequence[MemoryEntry]:
        """Committed entries; see `ReplicatedLog`."""
        assert self.first_index <= first <= last <= self.commit_index
        return self.entries[first - 1 : last]

    def term_at(self, index: int) -> int:
        """The term of an entry."""
        return self.entries[index - 1].term

    def find_sequence(self, sequence: int) -> int | None:
        """Where the group with a sequence number ends."""
        return next(
            (
                entry.index
                for entry in self.entries[self.first_index - 1 :]
                if sequence_of(entry.data) == sequence
            ),
            None,
        )

    def newest(self) -> Gtid:
        """The newest group, committed or not."""
        return decode_fragment(self.entries[-1].data).gtid


class Node:
    """A node's directory, server, record and log."""

    def __init__(self, directory: Path, log: MemoryLog | None = None) -> None:
        self.directory = directory
        self.log = log or MemoryLog()
        self.reopen()

    def reopen(self) -> None:
        """Forget everything that is only in memory, as a new process of the node does."""
        self.server = ManagedServer(self.directory, account=ACCOUNT, options=OPTIONS)
        self.database = Database(self.server)
        self.store = RecordStore.open(self.directory / "record")
        self.intents = IntentMarks(self.store)

    async def recover(self) -> Recovery:
        """Recover and boot the server."""
        return await recover(self.database, self.store, number=1)

    def decide(self, recovery: Recovery, *, complete: bool = True) -> Outcome:
        """Judge a recovery by record and log."""
        return decide(recovery, self.store.current, CommittedLog(self.log, complete=complete))

    async def boot(self) -> Position:
        """Recover, decide, and stand at the position."""
        outcome = self.decide(await self.recover())
        assert isinstance(outcome, Position), outcome
        await settle_recovery(self.database, self.store, outcome)
        return outcome

    async def boot_after_crash(self) -> Position:
        """Kill the server, and boot it as a new process does."""
        await self.database.kill()
        self.reopen()
        return await self.boot()

    async def crash(self) -> Recovery:
        """Kill the server like a dying machine, and recover as a new process."""
        await self.database.kill()
        self.reopen()
        return await self.recover()

    @asynccontextmanager
    async def primary(self, term: int) -> AsyncIterator["Primary"]:
        """Promote the running server for as long as the block lasts; it is not demoted at its end."""
        async with trio.open_nursery() as nursery:
            primary = Primary(self, term, nursery)
            await primary.promote()
            yield primary
            nursery.cancel_scope.cancel()


class Primary:
    """A capturing primary and its clients."""

    def __init__(self, node: Node, term: int, nursery: trio.Nursery) -> None:
        self.node = node
        self.term = term
        self.nursery = nursery
        self.capture: Capture
        self.settler: Settler

    async def promote(self) -> None:
        """Take the steps of a promotion in their order."""
        node, database = self.node, self.node.database
        position = await database.position()
        await begin_tenure(database, node.store, self.term)
        await database.set_position(position)
        await database.set_server_id(self.term)
        await database.enable_semi_sync()
        self.capture = Capture(connect=database.connect, log=node.log, term=self.term, start=position)
        self.nursery.start_soon(self._capture)
        connection_id = await self.capture.wait_registered()
        await until_true(lambda: database.is_semi_sync_client(connection_id))
        await database.write_marker(self.term, "node-1")
        await database.set_read_only(False)
        self.settler = Settler(
            database, node.store, node.intents, primary_position(database, self.acknowledged)
        )

    async def _capture(self) -> None:
        try:
            await self.capture.run()
        except WolfScaleError:
            if self.node.server.process_id:
                raise

    def acknowledged(self) -> Settled | None:
        """What a settler may vouch for: the newest acknowledged group."""
        group = self.capture.acknowledged_group
        if group is None:
            return None
        return Settled(
            gtid=str(group.gtid),
            index=group.index,
            binlog=BinlogPosition(file=group.file, offset=group.end_position),
        )

    async def execute(self, *statements: str) -> None:
        """Run statements of a client to their end, and its session's: a prepared XA is its own until then."""
        async with await self.client() as client:
            number = client.connection_id
            for statement in statements:
                await client.query(statement)

        async def has_ended() -> bool:
            sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {number}"
            return await self.node.database.value(sql) == "0"

        await until_true(has_ended)

    async def client(self) -> Connection:
        """A client's session, as the node's account."""
        return await self.node.database.connect()

    async def leave_waiting(self, statement: str, *before: str) -> None:
        """Send a statement whose group reaches the binlog and is not acknowledged.

        Args:
            statement: the one that waits.
            before: run in its session first.
        """
        client = await self.client()
        for each in before:
            await client.query(each)
        end = (await self.node.database.binlog_end()).offset
        self.nursery.start_soon(_run_until_killed, client, statement)
        await until_true(lambda: self._binlog_grew(end))

    async def leave_group_waiting(self, statements: Sequence[str]) -> None:
        """Send transactions that reach the binlog in one group commit and are not acknowledged.

        Of transactions sent one after the other only the first would be in the binlog; the rest queue
        behind it.
        """
        database = self.node.database
        await database.query("SET GLOBAL binlog_commit_wait_usec=600000000")
        await database.query(f"SET GLOBAL binlog_commit_wait_count={len(statements)}")
        end = (await database.binlog_end()).offset
        for statement in statements:
            self.nursery.start_soon(_run_until_killed, await self.client(), statement)
        await until_true(lambda: self._binlog_grew(end))
        await database.query("SET GLOBAL binlog_commit_wait_count=0")

    async def send(self, statement: str) -> None:
        """Send a statement that may or may not get as far as the binlog; returns when it got stuck."""
        client = await self.client()
        self.nursery.start_soon(_run_until_killed, client, statement)
        await until_true(lambda: self._is_stuck(client.connection_id))

    async def _is_stuck(self, connection_id: int) -> bool:
        rows = (await self.node.database.query("SHOW PROCESSLIST")).mappings()
        return any(row["Id"] == str(connection_id) and row["State"] in _STUCK_STATES for row in rows)

    async def _binlog_grew(self, before: int) -> bool:
        return (await self.node.database.binlog_end()).offset > before

    async def captured_everything(self) -> None:
        """Wait until the capture has all that the binlog holds now; fails after a minute."""
        written = await self.node.database.binlog_position()
        assert written is not None

        def has_it() -> bool:
            captured = self.capture.captured
            return captured is not None and captured.sequence >= written.sequence

        with trio.fail_after(PATIENCE_SECONDS):
            await self.capture.changes.wait_until(has_it)


async def _run_until_killed(client: Connection, statement: str) -> None:
    try:
        await client.query(statement)
    except WolfScaleError:
        pass
    finally:
        await client.packets.aclose_forcefully()


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a question to the server; fails after a minute."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not await condition():
            await trio.sleep(0.005)


_STUCK_STATES = frozenset(
    {"Commit", "Writing to binlog", "Waiting for semi-sync ACK from slave", "Sending data", "Update"}
)

_template: Path | None = None


def scratch(prefix: str = "ws-node-") -> Path:
    """A new directory with a short path that the user mysql can walk through."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    path.chmod(0o711)
    return path


@asynccontextmanager
async def fresh_node() -> AsyncIterator[Node]:
    """A node whose data was just created; its server is not running. Killed and removed at the end."""
    template = await _made_template()
    directory = scratch()
    node: Node | None = None
    try:
        await trio.to_thread.run_sync(
            lambda: subprocess.run(
                ["cp", "-a", "--reflink=auto", f"{template}/.", str(directory)],
                check=True,
            )
        )
        node = Node(directory)
        yield node
    finally:
        if node is not None:
            await node.database.kill()
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def scratch_node(log: MemoryLog) -> AsyncIterator[Node]:
    """A node without data, over a log of another's. Killed and removed at the end."""
    directory = scratch()
    node = Node(directory, log)
    try:
        yield node
    finally:
        await node.database.kill()
        shutil.rmtree(directory, ignore_errors=True)


async def _made_template() -> Path:
    global _template  # noqa: PLW0603
    if _template is None:
        path = scratch("ws-made-")
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        node = Node(path)
        await create_data(node.database, node.store)
        _template = path
    return _template
