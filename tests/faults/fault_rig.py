"""Three members in one process: real servers, the real lifecycle, capture, feed and clone; one log in memory.

What Raft and the links would do is done by the test's hand, so that a commit can be held at any stage and a
member killed at any moment, in a fraction of the time that a cluster of processes needs.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio.testing
from fault_workload import connect_to

from wolfscale.changes import Changes
from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD, account_statements, database_statement
from wolfscale.errors import InvariantError, WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.application import Application
from wolfscale.replication.clone import serve_clone
from wolfscale.replication.cluster import Peer
from wolfscale.replication.feed import Feed
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.managed import ManagedServer
from wolfscale.replication.notice import MemberNotice
from wolfscale.replication.record import RecordStore
from wolfscale.replication.recovery import create_data
from wolfscale.replication.roles import DatabaseState
from wolfscale.replication.server import Account
from wolfscale.testing.hold import HeldDatabase, LogView, SharedLog
from wolfscale.testing.single_server import ACCOUNT as NODE_ACCOUNT
from wolfscale.testing.single_server import OPTIONS

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.005
PROBE_SECONDS = 30.0
"""Long: a primary that a test holds back makes no progress."""
LEARN_SECONDS = 0.02
FEED_LOGIN = Account(user="feeder", password="s3cret")
SERVING = frozenset({DatabaseState.REPLICA, DatabaseState.PRIMARY})

Hook = Callable[["Member"], Awaitable[None]]


class Member:
    """One member; also the cluster as its lifecycle sees it. Lives from `start` to `crash`, again and again.

    Attributes:
        number: from 1; also its id.
        directory: its data directory.
        after_mark: awaited when a group that is no plain transaction was marked and is about to be sent.
        before_settling: awaited when it was sent, before anything waits for it to be applied.
        clone_reasons: why its data had to be cloned, over all its lives.
    """

    def __init__(self, rig: "Rig", number: int, directory: Path) -> None:
        self.rig = rig
        self.number = number
        self.directory = directory
        self.after_mark: Hook | None = None
        self.before_settling: Hook | None = None
        self.clone_reasons: list[str] = []
        self.notice = MemberNotice()
        self.alive = False
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._make_parts()

    def _make_parts(self) -> None:
        """Forget everything that is only in memory."""
        self.view = LogView(self.rig.log, self.number)
        server = ManagedServer(self.directory, account=NODE_ACCOUNT, options=OPTIONS)
        self.database = HeldDatabase(server, self.rig.log, self.number)
        self.records = RecordStore.open(self.directory / "record")
        self.intents = IntentMarks(self.records)
        self.feed = Feed(
            self.view,
            user=FEED_LOGIN.user,
            password=FEED_LOGIN.password,
            before_not_plain=self._before_not_plain,
            after_not_plain=self._after_not_plain,
        )
        self.lifecycle = Lifecycle(
            cluster=self,
            database=self.database,
            records=self.records,
            feed=self.feed,
            feed_login=FEED_LOGIN,
            intents=self.intents,
            application=Application(),
            probe_seconds=PROBE_SECONDS,
            founds=lambda: False,
        )

    async def _before_not_plain(self, gtid: Gtid, index: int) -> None:
        await self.lifecycle.served_groups.before_not_plain(gtid, index)
        if self.after_mark is not None:
            await self.after_mark(self)

    async def _after_not_plain(self, gtid: Gtid, index: int) -> None:
        if self.before_settling is not None:
            await self.before_settling(self)
        await self.lifecycle.served_groups.after_not_plain(gtid, index)

    # Its life

    def start(self) -> None:
        """Begin a new life."""
        assert not self.alive
        self._make_parts()
        self.alive = True
        self.notice = MemberNotice()
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self.rig.nursery.start_soon(self._live, self._scope, self._ended)

    async def _live(self, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.feed.run)
                    nursery.start_soon(self._learn)
                    await self.lifecycle.run()
        except* InvariantError:
            raise
        except* (WolfScaleError, OSError):
            # What a dying server still causes; a lifecycle never ends by itself.
            if not scope.cancel_called:
                raise
        finally:
            ended.set()

    async def _learn(self) -> None:
        await trio.sleep(LEARN_SECONDS)
        await self.rig.log.changes.wait_until(lambda: self.rig.log.leader is not None)
        self.view.learn()

    def kill_server(self) -> None:
        """`kill -9` of the server alone."""
        if self.database.process_id:
            os.kill(self.database.process_id, signal.SIGKILL)

    def kill(self) -> None:
        """`kill -9` of node and server; `wait_dead` follows."""
        self.kill_server()
        self.alive = False
        self._scope.cancel()

    async def wait_dead(self) -> None:
        """Wait until nothing of it runs."""
        with trio.CancelScope(shield=True):
            if self._scope.cancel_called:
                await self._ended.wait()
            await self.database.kill()

    # The cluster as the lifecycle sees it

    @property
    def changes(self) -> Changes:
        return self.rig.log.changes

    @property
    def log(self) -> ReplicatedLog:
        return self.view

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def is_leader(self) -> bool:
        return self.rig.log.leader == self.number

    @property
    def is_voter(self) -> bool:
        return True

    @property
    def term(self) -> int:
        return self.rig.log.term

    @property
    def term_start_committed(self) -> bool:
        return self.is_leader and self.view.commit_index > 0

    @property
    def votes_elsewhere(self) -> int:
        return len(self.rig.members) - 1

    def peers(self) -> Sequence[Peer]:
        return [
            Peer(id=str(other.number), name=other.name, address="", votes=True, notice=other.notice)
            for other in self.rig.members.values()
            if other is not self and other.alive
        ]

    def transfer_leadership(self, to: str | None = None) -> None:
        able = [other.number for other in self.rig.alive if other is not self]
        if self.is_leader and able:
            self.rig.log.elect(int(to) if to is not None else able[0])

    def publish(self, notice: MemberNotice) -> None:
        if self.alive:
            if notice.state is DatabaseState.CLONE_NEEDED and notice.reason not in self.clone_reasons:
                self.clone_reasons.append(notice.reason)
            self.notice = notice
            self.changes.notify()

    async def open_clone(self, donor: Peer) -> trio.abc.Stream:
        giver = self.rig.members[int(donor.id)]
        theirs, ours = trio.testing.memory_stream_pair()
        self.rig.nursery.start_soon(_give_clone, giver, theirs)
        return ours

    async def has_whole_log(self) -> bool:
        await self.rig.log.changes.wait_until(lambda: self.rig.log.leader is not None)
        self.view.learn()
        return True

    async def report_ready(self) -> None:
        await trio.lowlevel.checkpoint()

    # What tests ask of it

    def client(self, user: str = ACCOUNT) -> Any:
        """A client's connection to the server; blocks."""
        return connect_to(
            self.database.socket_path,
            user,
            PASSWORD if user == ACCOUNT else NODE_ACCOUNT.password,
            DATABASE if user == ACCOUNT else None,
        )


async def _give_clone(giver: Member, stream: trio.abc.Stream) -> None:
    with contextlib.suppress(WolfScaleError, OSError, trio.BrokenResourceError):
        await serve_clone(giver.database, stream, tenure=lambda: giver.lifecycle.tenure)


class Rig:
    """The members and their log.

    Attributes:
        log: shared by all.
        members: by number.
        nursery: where members live.
    """

    def __init__(self, directory: Path, numbers: Sequence[int], nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.log = SharedLog()
        self.members = {number: Member(self, number, directory / str(number)) for number in numbers}

    @property
    def alive(self) -> list[Member]:
        """The members that live."""
        return [member for member in self.members.values() if member.alive]

    @property
    def leader(self) -> Member:
        """The member that leads."""
        assert self.log.leader is not None
        return self.members[self.log.leader]

    async def writable(self) -> Member:
        """Wait for a member that takes writes."""
        await until(lambda: any(member.lifecycle.writable for member in self.alive), self.describe)
        return self.leader

    async def level(self) -> None:
        """Wait until all members serve, one takes writes, and all have applied everything."""
        await until(self._is_level, self.describe)

    def _is_level(self) -> bool:
        newest = self.log.newest_sequence()
        return (
            len(self.alive) == len(self.members)
            and any(member.lifecycle.writable for member in self.alive)
            and all(
                member.lifecycle.state in SERVING and member.lifecycle.applied_sequence == newest
                for member in self.alive
            )
        )

    def describe(self) -> str:
        """What all members do."""
        return f"log at {self.log.newest_sequence()}, leader {self.log.leader}: " + "; ".join(
            f"{m.name} {'' if m.alive else 'dead '}{m.lifecycle.state.value} {m.lifecycle.applied_sequence} "
            f"{m.lifecycle.reason}"
            for m in self.members.values()
        )

    async def on_leader(self, *statements: str) -> None:
        """Run statements as the node's account on the member that takes writes."""
        member = await self.writable()
        connection = await member.database.connect()
        async with connection:
            for statement in statements:
                await connection.query(statement)

    async def differences(self) -> list[str]:
        """Compare everything that the servers hold, and see that all can be read; they must be level."""
        found = {m.name: await contents(m.database) for m in self.members.values()}
        keys = {key for held in found.values() for key in held}
        unreadable = {key for held in found.values() for key, value in held.items() if value == "None"}
        return [f"{key} cannot be read" for key in sorted(unreadable)] + [
            f"{key}: " + ", ".join(f"{name} {held.get(key, 'nothing')}" for name, held in found.items())
            for key in sorted(keys)
            if len({held.get(key) for held in found.values()}) > 1
        ]


TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type IN ('BASE TABLE', "
    "'SEQUENCE') AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
)
SYSTEM = {
    "columns": "SELECT table_schema, table_name, column_name, column_type FROM information_schema.columns "
    "WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')",
    "accounts": "SELECT user, host, priv FROM mysql.global_priv",
    "grants": "SELECT * FROM mysql.db",
    "table grants": "SELECT user, host, db, table_name, table_priv FROM mysql.tables_priv",
    "routines": "SELECT db, name, type, body FROM mysql.proc WHERE db NOT IN ('mysql', 'sys')",
    "views": "SELECT table_schema, table_name, view_definition FROM information_schema.views "
    "WHERE table_schema NOT IN ('mysql', 'sys')",
    "prepared": "XA RECOVER",
}


async def contents(database: Any) -> dict[str, str]:
    """Everything that a server holds, as texts by what it is."""
    held = {}
    async with await database.connect() as connection:
        for schema, table in (await connection.query(TABLES)).rows:
            name = f"`{schema}`.`{table}`"
            checksum = (await connection.query(f"CHECKSUM TABLE {name} EXTENDED")).rows[0][1]
            held[name] = str(checksum)
        for what, question in SYSTEM.items():
            held[what] = str(sorted((await connection.query(question)).rows, key=str))
    return held


async def until(condition: Callable[[], bool], describe: Callable[[], str] = str) -> None:
    """Wait for a condition, a minute at most."""
    with trio.move_on_after(LIMIT_SECONDS):
        while not condition():
            await trio.sleep(POLL_SECONDS)
        return
    raise AssertionError(f"in vain for {LIMIT_SECONDS:.0f} s: {describe()}")


_template: Path | None = None


def rig_scratch() -> Path:
    """A new directory, in memory where the machine has room for it: nothing here needs a disk."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    path = Path(tempfile.mkdtemp(prefix="wsf-", dir=place))
    path.chmod(0o711)
    return path


@asynccontextmanager
async def running_rig(members: int = 3) -> AsyncIterator[Rig]:
    """Members on identical data, the first one leading and writable, account and schema made."""
    directory = rig_scratch()
    rig: Rig | None = None
    try:
        first = directory / "1"
        first.mkdir(mode=0o711)
        server = ManagedServer(first, account=NODE_ACCOUNT, options=OPTIONS)
        await create_data(HeldDatabase(server, SharedLog(), 1), RecordStore.open(first / "record"))
        for number in range(2, members + 1):
            await trio.to_thread.run_sync(
                partial(subprocess.run, ["cp", "-a", str(first), str(directory / str(number))], check=True)
            )
        async with trio.open_nursery() as nursery:
            rig = Rig(directory, range(1, members + 1), nursery)
            for member in rig.members.values():
                member.start()
            rig.log.elect(1)
            await rig.on_leader(*account_statements(), database_statement())
            await rig.level()
            yield rig
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            if rig is not None:
                for member in rig.members.values():
                    await member.database.kill()
        shutil.rmtree(directory, ignore_errors=True)
