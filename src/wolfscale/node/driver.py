"""Runs the Raft core: carries out each Ready's duties in their order, over a disk and a set of links.

One task takes Readys, one writes, one ticks. While a write is under way further Readys gather, and the
next write takes them all: one fsync serves whatever has arrived meanwhile. Whoever changes the core's
state only marks work; one pass of the loop serves everything that was marked in a scheduling round.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from wolfscale.changes import Changes
from wolfscale.errors import InvariantError, WolfScaleError
from wolfscale.node.clock import Ticker
from wolfscale.node.errors import NodeStopped
from wolfscale.node.waiters import CommitWaiters, ReadWaiters
from wolfscale.raft.core import Raft
from wolfscale.raft.log import LogReader
from wolfscale.raft.messages import Message
from wolfscale.raft.ready import Ready
from wolfscale.raft.types import Entry, HardState, Index, LogBase, Membership, NodeId, RaftConfig, Term

log = logging.getLogger(__name__)


class Storage(LogReader, Protocol):
    """The disk under the core; `wolfscale.node.storage.RaftStorage` is the real one."""

    @property
    def hard_state(self) -> HardState:
        """The durable term and vote."""
        ...

    def handed_out(self, entries: Sequence[Entry], base: LogBase | None = None) -> None:
        """Show what a Ready carries to readers, from now on and durable or not."""
        ...

    def persist(self, batches: Sequence[Ready]) -> None:
        """Make Readys durable, in order, with one fsync. Runs in a worker thread."""
        ...

    def find_sequence(self, sequence: int) -> Index | None:
        """The entry that carries the key `sequence`."""
        ...

    def truncate_prefix(self, index: Index, membership: Membership) -> None:
        """Drop entries up to `index` at most, whole segments only. Runs in a worker thread."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Driver:
    """Owns a Raft core and everything that happens around it inside one process.

    Args:
        config: what the core is told.
        storage: its disk.
        tick_interval: seconds between ticks.
        send: queues a message for a peer; never blocks.
        on_role: called when role, term, leader or membership have changed.
        changes: notified then, and when the commit index has moved.
    """

    def __init__(
        self,
        *,
        config: RaftConfig,
        storage: Storage,
        tick_interval: float,
        send: Callable[[NodeId, Message], None],
        on_role: Callable[[], None],
        changes: Changes,
    ) -> None:
        self._config = config
        self.storage = storage
        self.raft = self._new_raft()
        """The core; read it as you like, change it through this class."""
        self.changes = changes
        self.commit_index = storage.base.index
        """Committed, and durable here."""
        self.failure: WolfScaleError | OSError | None = None
        self.persists = 0
        """Writes so far; with `persisted_readys` it tells how well they are batched."""
        self.persisted_readys = 0
        self.dropped_ticks = 0
        """Ticks that a stall of the process swallowed."""
        self._tick_interval = tick_interval
        self._send = send
        self._on_role = on_role
        self._work = trio.Event()
        self._writable = trio.Event()
        self._queue: deque[Ready] = deque()
        self._writing = False
        self._queued_bytes = self._proposed_bytes = 0
        self._commits = CommitWaiters(storage.term)
        self._reads = ReadWaiters()
        self._role = (self.raft.is_leader, self.raft.term)
        self._scope = trio.CancelScope()
        self._limiter = trio.CapacityLimiter(1)
        self._stopped = False

    # Inputs

    def step(self, sender: NodeId, messages: Sequence[Message]) -> None:
        """Take a peer's messages."""
        try:
            for message in messages:
                self.raft.step(sender, message)
        except InvariantError as error:
            self.fail(error)
        self._work.set()

    def link_up(self, peer: NodeId) -> None:
        """A peer can be reached again."""
        self.raft.link_up(peer)
        self._work.set()

    def link_lost(self, peer: NodeId) -> None:
        """A peer's process is gone."""
        self.raft.link_lost(peer)
        self._work.set()

    def propose(self, datas: Sequence[bytes], *, term: int | None = None) -> Index:
        """Append entries; see `Raft.propose`. Returns at once.

        Raises:
            NodeStopped: this node is stopping.
        """
        self.check_running()
        index = self.raft.propose(datas, term=None if term is None else Term(term))
        self._proposed_bytes += sum(map(len, datas))
        self._work.set()
        return index

    def change_membership(self, membership: Membership) -> Index:
        """Append a membership; see `Raft.change_membership`.

        Raises:
            NodeStopped: this node is stopping.
        """
        self.check_running()
        index = self.raft.change_membership(membership)
        self._work.set()
        return index

    def transfer_leadership(self, to: NodeId | None) -> None:
        """Begin to hand leadership on; see `Raft.transfer_leadership`."""
        self.check_running()
        self.raft.transfer_leadership(to)
        self._work.set()

    async def wait_committed(self, index: int, term: int) -> None:
        """Wait until the entry is committed and durable here.

        A checkpoint; may be cancelled. Does not end with this node's leadership, but when it is known what
        became of the entry.

        Raises:
            ProposalDropped: another entry was committed in its place.
            ProposalUncertain: this log no longer tells.
            NodeStopped: this node stopped first: the outcome is unknown.
        """
        self.check_running()
        await self._commits.add(Index(index), Term(term), self.commit_index).wait()

    async def read_index(self) -> Index:
        """The index that a linearizable read must see, confirmed by a majority; on the leader only.

        Raises:
            NotLeader: this node does not lead, or no longer.
            NodeStopped: this node is stopping.
        """
        self.check_running()
        outcome = self._reads.request()
        self._work.set()
        return await outcome.wait()

    def _new_raft(self) -> Raft:
        return Raft(
            config=self._config,
            log=self.storage,
            hard_state=self.storage.hard_state,
            random=random.Random(),
        )

    async def install(self, base: LogBase) -> None:
        """Begin a log after a base, durably, before `run`; whatever the log held is dropped."""
        ready = Ready(
            number=0,
            hard_state=None,
            base=base,
            entries=(),
            messages=(),
            messages_after_persist=(),
            commit_index=None,
            reads=(),
            role_changed=True,
        )
        self.storage.handed_out((), base)
        await trio.to_thread.run_sync(self.storage.persist, [ready], limiter=self._limiter)
        self.raft = self._new_raft()

    async def truncate_prefix(self, index: Index) -> None:
        """Drop entries up to `index` at most; they must be committed. Waits for a write that is under way."""
        membership = self.raft.membership_at(index)
        await trio.to_thread.run_sync(self.storage.truncate_prefix, index, membership, limiter=self._limiter)
        self.raft.compact(self.storage.base.index)

    @property
    def unpersisted_bytes(self) -> int:
        """Bytes of entries that are waiting for the disk."""
        return self._queued_bytes + self._proposed_bytes

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the core until cancelled, or until it cannot go on.

        A write that is under way is waited for, even when cancelled.

        Raises:
            NodeStopped: the disk failed or an invariant broke; its cause is the error.
        """
        self._hurry_lone_voter()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tick)
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._loop)
                    self._work.set()
                    task_status.started()
        finally:
            self._stopped = True
            stopped = NodeStopped(self._reason())
            self._commits.fail(stopped)
            self._reads.stop(stopped)
            self.changes.notify()
        if self.failure is not None:
            raise stopped from self.failure

    def fail(self, error: WolfScaleError | OSError) -> None:
        """Stop because of an error that nothing can be done about."""
        if self.failure is None:
            log.critical("the node stops: %s", error)
            self.failure = error
        self._stopped = True
        self._scope.cancel()

    @property
    def running(self) -> bool:
        """Whether anything can be asked of this node still."""
        return not self._stopped

    def check_running(self) -> None:
        """Raise when nothing can be asked of this node any more.

        Raises:
            NodeStopped: it has stopped, or is about to.
        """
        if self._stopped:
            raise NodeStopped(self._reason())

    def _reason(self) -> str:
        return f"the node stopped: {self.failure}" if self.failure else "the node was stopped"

    def _hurry_lone_voter(self) -> None:
        """A cluster of one has nobody to wait for: let the first election timeout pass at once."""
        voters = self.raft.membership.voters()
        if len(voters) == 1 and voters[0].id == self.raft.id:
            ticks = 0
            while not self.raft.is_leader and ticks < 1000 and not self._has_stood():
                self.raft.tick()
                ticks += 1

    def _has_stood(self) -> bool:
        return self.raft.term > self.storage.hard_state.term

    async def _tick(self) -> None:
        ticker = Ticker(self._tick_interval)
        while True:
            due = await ticker.due()
            self.dropped_ticks = ticker.dropped
            try:
                for _ in range(due):
                    self.raft.tick()
            except InvariantError as error:
                self.fail(error)
            self._work.set()

    async def _loop(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            try:
                self._pass()
            except (InvariantError, OSError) as error:
                self.fail(error)

    def _pass(self) -> None:
        self._reads.ask(self.raft.read_index)
        while (ready := self.raft.ready()) is not None:
            self._take(ready)
        self._proposed_bytes = 0
        commit_index = min(self.raft.commit_index, self.raft.persisted_index)
        if commit_index > self.commit_index:
            self.commit_index = commit_index
            self._commits.advance(commit_index)
            self.changes.notify()

    def _take(self, ready: Ready) -> None:
        if ready.entries or ready.base is not None:
            self.storage.handed_out(ready.entries, ready.base)
        for peer, message in ready.messages:
            self._send(peer, message)
        if ready.reads:
            self._reads.confirm(ready.reads)
        if ready.role_changed:
            role = (self.raft.is_leader, self.raft.term)
            if role != self._role:
                self._role = role
                self._reads.leadership_ended(self.raft.leader)
            self._on_role()
            self.changes.notify()
        if ready.needs_persist or self._queue or self._writing:
            self._queue.append(ready)
            self._queued_bytes += _data_bytes(ready)
            self._writable.set()
        else:
            self.raft.persisted(ready.number)
            self._send_after(ready)

    async def _write(self) -> None:
        while True:
            await self._writable.wait()
            self._writable = trio.Event()
            batch, self._queue = list(self._queue), deque()
            if not batch:
                continue
            self._writing = True
            try:
                if any(ready.needs_persist for ready in batch):
                    await trio.to_thread.run_sync(
                        self.storage.persist, batch, abandon_on_cancel=False, limiter=self._limiter
                    )
                    self.persists += 1
                    self.persisted_readys += len(batch)
                self.raft.persisted(batch[-1].number)
            except (WolfScaleError, OSError) as error:
                self.fail(error)
                return
            finally:
                self._writing = False
            for ready in batch:
                self._queued_bytes -= _data_bytes(ready)
                self._send_after(ready)
            self._work.set()

    def _send_after(self, ready: Ready) -> None:
        for peer, message in ready.messages_after_persist:
            self._send(peer, message)


def _data_bytes(ready: Ready) -> int:
    return sum(len(entry.data) for entry in ready.entries)
