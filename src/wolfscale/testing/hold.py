"""Holds a primary's commits back at a chosen stage on their way into the log, and out of it again.

`SharedLog` is one log in memory that all members of a test see, each through a `LogView`: what Raft would
promise, without Raft. `HeldDatabase` lets nothing more through of what its server sends to a capture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import trio

from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.replication.database import Database
from wolfscale.replication.entry import decode_fragment, sequence_of
from wolfscale.replication.log import EVENTS
from wolfscale.replication.server import Server

NOOP = 0
"""The kind of the entry that begins a leader's term."""


class Stage(Enum):
    """Where a commit waits."""

    NOT_CAPTURED = "not captured"
    """In the primary's binlog only."""
    CAPTURED = "captured"
    """In the leader's log, not on a majority."""
    COMMITTED = "committed"
    """Committed by the log; the primary has not heard of it."""


class NotLeading(WolfScaleError):
    """A member proposed in a term that it does not lead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedEntry:
    """One entry of a `SharedLog`."""

    index: int
    term: int
    kind: int
    data: bytes


class SharedLog:
    """The log of a whole cluster; one event loop uses it.

    Attributes:
        entries: all of them, from index 1.
        commit_index: what every member that is up to date knows to be committed.
        term: the present term.
        leader: the member that leads it; None during an election.
        held: commits wait at this stage; None: they pass.
        changes: notified when anything of this has moved.
    """

    def __init__(self) -> None:
        self.entries: list[SharedEntry] = []
        self.commit_index = 0
        self.term = 1
        self.leader: int | None = None
        self.held: Stage | None = None
        self.changes = Changes()
        self.acknowledged_index = 0
        self._sequences: dict[int, int] = {}

    def hold(self, stage: Stage) -> None:
        """Have commits wait from now on."""
        self.held = stage
        self.acknowledged_index = self.commit_index
        self.changes.notify()

    def release(self) -> None:
        """Let commits pass again; what the log holds is committed."""
        self.held = None
        self._commit()

    def propose(self, member: int, datas: Sequence[bytes], term: int) -> int:
        """Append entries for a member that leads.

        Raises:
            NotLeading: it does not.
        """
        if (member, term) != (self.leader, self.term):
            raise NotLeading(f"member {member} does not lead term {term}")
        for data in datas:
            self._append(EVENTS, data)
        if self.held is not Stage.CAPTURED:
            self._commit()
        return len(self.entries)

    def depose(self, *, keep: int | None = None) -> None:
        """Begin an election: nobody leads.

        Args:
            keep: how many uncommitted entries somebody else holds; None: all.
        """
        self.leader = None
        if keep is not None:
            last = self.commit_index + keep
            del self.entries[last:]
            self._sequences = {key: at for key, at in self._sequences.items() if at <= last}
        self.changes.notify()

    def elect(self, member: int) -> None:
        """Have a member lead the next term; its first entry, and all before it, is committed."""
        self.term += 1
        self.leader = member
        self._append(NOOP, b"")
        self._commit()

    def newest_sequence(self) -> int:
        """GTID sequence of the newest committed group."""
        return max((key for key, at in self._sequences.items() if at <= self.commit_index), default=0)

    def groups(self) -> list[str]:
        """The GTIDs of all complete groups that are committed."""
        return [
            str(decode_fragment(entry.data).gtid)
            for entry in self.entries[: self.commit_index]
            if entry.kind == EVENTS and sequence_of(entry.data)
        ]

    def find_sequence(self, sequence: int) -> int | None:
        """The index of the last fragment of a group."""
        return self._sequences.get(sequence)

    def _append(self, kind: int, data: bytes) -> None:
        index = len(self.entries) + 1
        self.entries.append(SharedEntry(index=index, term=self.term, kind=kind, data=bytes(data)))
        if kind == EVENTS and (sequence := sequence_of(data)):
            self._sequences[sequence] = index

    def _commit(self) -> None:
        self.commit_index = len(self.entries)
        self.changes.notify()


class LogView:
    """The shared log as one member sees it: `replication.log.ReplicatedLog`.

    A member that has just started knows of nothing that is committed until `learn`.
    """

    first_index = 1
    unpersisted_bytes = 0

    def __init__(self, log: SharedLog, member: int) -> None:
        self._log = log
        self._member = member
        self._knows = False

    @property
    def changes(self) -> Changes:
        """The shared log's."""
        return self._log.changes

    @property
    def commit_index(self) -> int:
        """What this member knows to be committed; on a leader whose ACKs are held, what it may answer."""
        if not self._knows:
            return 0
        if self._log.held is Stage.COMMITTED and self._log.leader == self._member:
            return self._log.acknowledged_index
        return self._log.commit_index

    def learn(self) -> None:
        """Hear from the leader what is committed."""
        if not self._knows:
            self._knows = True
            self._log.changes.notify()

    def propose(self, datas: Sequence[bytes], *, term: int) -> int:
        """Append entries; see `ReplicatedLog`."""
        return self._log.propose(self._member, datas, term)

    def read(self, first: int, last: int, max_bytes: int) -> Sequence[SharedEntry]:
        """Committed entries; see `ReplicatedLog`."""
        chosen: list[SharedEntry] = []
        size = 0
        for entry in self._log.entries[first - 1 : min(last, self._log.commit_index)]:
            size += len(entry.data)
            if chosen and size > max_bytes:
                break
            chosen.append(entry)
        return chosen

    def term_at(self, index: int) -> int:
        """The term of an entry."""
        return self._log.entries[index - 1].term

    def find_sequence(self, sequence: int) -> int | None:
        """Where a group ends."""
        return self._log.find_sequence(sequence)


class HeldStream(trio.abc.Stream):
    """A client's stream to a server that keeps a dump's bytes from the reader while something holds."""

    def __init__(self, stream: trio.abc.Stream, held: Callable[[], bool], changes: Changes) -> None:
        """Wrap a stream.

        Args:
            stream: the stream.
            held: whether bytes are to be kept back.
            changes: notified when that may have changed.
        """
        self._stream = stream
        self._held = held
        self._changes = changes
        self._dumps = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, and hand over when nothing is held."""
        data = await self._stream.receive_some(max_bytes)
        if data and self._dumps:
            await self._changes.wait_until(lambda: not self._held())
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; the command that begins a dump is noticed."""
        # 3 bytes of length and a sequence number precede the command (mysql/framing).
        self._dumps = self._dumps or data[4:5] == bytes((Command.BINLOG_DUMP,))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending may go on."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


class HeldDatabase(Database):
    """A member's database: what its server dumps to the capture can be held back."""

    def __init__(self, server: Server, log: SharedLog, member: int) -> None:
        super().__init__(server)
        self._log = log
        self._member = member

    async def connect(self) -> Connection:
        """Open a connection; see `Database.connect`."""
        connection = await super().connect()
        connection.packets.stream = HeldStream(connection.packets.stream, self._is_held, self._log.changes)
        return connection

    def _is_held(self) -> bool:
        return self._log.held is Stage.NOT_CAPTURED and self._log.leader == self._member
