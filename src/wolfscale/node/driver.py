"""Runs the Raft core: carries out each Ready's duties in their order, over a disk and a set of links.

One task takes Readys, one writes, one ticks. While a write is under way further Readys gather, and the
next write takes them all: one fsync serves whatever has arrived meanwhile. Whoever changes the core's
state only marks work; one pass of the loop serves everything that was marked in a scheduling round.
"""

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.errors import InvariantError, WolfScaleError
from wolfscale.node.clock import Ticker
from wolfscale.node.elections import Elections
from wolfscale.node.errors import NodeStopped
from wolfscale.node.statistics import RaftStatistics
from wolfscale.node.storage import Batch, RaftStorage
from wolfscale.node.waiters import CommitWaiters, ReadWaiters
from wolfscale.raft.core import Raft
from wolfscale.raft.errors import RaftError
from wolfscale.raft.messages import Message
from wolfscale.raft.ready import Ready
from wolfscale.raft.types import Index, LogBase, Membership, NodeId, RaftConfig, Term
from wolfscale.wal.errors import WalFull, WalWriteFailed

log = logs.logger(__name__)

FULL_DISK_RETRY = 1.0
"""Seconds between attempts to write when the disk is full."""


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
        storage: RaftStorage,
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
        self.disk_problem: str | None = None
        """Why nothing can be written at the moment, which may pass."""
        self.dropped_ticks = 0
        """Ticks that a stall of the process swallowed."""
        self.statistics = RaftStatistics()
        self._elections = Elections(self.statistics)
        # The last index of each proposal that is not committed yet, when it was made, and its entries.
        self._uncommitted: deque[tuple[int, float, int]] = deque()
        self._tick_interval = tick_interval
        self._patience = tick_interval * config.election_ticks
        self._handed_on_at = float("-inf")
        self._send = send
        self._on_role = on_role
        self._work = trio.Event()
        self._writable = trio.Event()
        self._queue: deque[Ready] = deque()
        self._writing_since: float | None = None
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
        for message in messages:
            self._tell(self.raft.step, sender, message)
        self._work.set()

    def link_up(self, peer: NodeId) -> None:
        """A peer can be reached again."""
        self._tell(self.raft.link_up, peer)
        self._work.set()

    def link_lost(self, peer: NodeId) -> None:
        """A peer's process is gone."""
        self._tell(self.raft.link_lost, peer)
        self._work.set()

    def _tell(self, tell: Callable[..., None], *arguments: object) -> None:
        """Tell the core something; what it cannot stand stops the node."""
        if self._stopped:
            return
        try:
            tell(*arguments)
        except (WolfScaleError, OSError) as error:
            self.fail(error)
        except Exception as error:
            log.error("the core broke", error=error)
            self.fail(InvariantError(f"the core broke: {error!r}"))

    def propose(self, datas: Sequence[bytes], *, term: int | None = None) -> Index:
        """Append entries; see `Raft.propose`. Returns at once.

        Raises:
            NodeStopped: this node is stopping.
        """
        self.check_running()
        index = self.raft.propose(datas, term=None if term is None else Term(term))
        size = sum(map(len, datas))
        self._proposed_bytes += size
        self.statistics.proposals += len(datas)
        self.statistics.proposed_bytes += size
        self._uncommitted.append((index, time.perf_counter(), len(datas)))
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
            memberships=self.storage.memberships(),
        )

    async def install(self, base: LogBase) -> None:
        """Begin a log after a base, durably, before `run`; whatever the log held is dropped."""
        self.storage.handed_out((), base)
        await trio.to_thread.run_sync(self.storage.persist, [Batch(base=base)], limiter=self._limiter)
        self.raft = self._new_raft()

    async def truncate_prefix(self, index: Index) -> None:
        """Drop entries up to `index` at most; they must be committed. Waits for a write that is under way."""
        base = await trio.to_thread.run_sync(self.storage.truncate_prefix, index, limiter=self._limiter)
        self.raft.compact(base.index)

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
            log.error("the node stops", reason=str(error))
            self.failure = error
        self._stopped = True
        self._scope.cancel()

    @property
    def writing_for(self) -> float:
        """Seconds for which the write that is under way has lasted; 0 when there is none."""
        return 0.0 if self._writing_since is None else trio.current_time() - self._writing_since

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
            for _ in range(2 * self._config.election_ticks):
                if self.raft.term > self.storage.hard_state.term:
                    break
                self.raft.tick()

    async def _tick(self) -> None:
        ticker = Ticker(self._tick_interval)
        while True:
            due = await ticker.due()
            self.dropped_ticks = ticker.dropped
            for _ in range(due):
                self._tell(self.raft.tick)
            if self.writing_for > self._patience:
                self._hand_leadership_on()
            self._work.set()

    async def _loop(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            self._tell(self._pass)

    def _pass(self) -> None:
        self._reads.ask(self.raft.read_index)
        while (ready := self.raft.ready()) is not None:
            self._take(ready)
        self._proposed_bytes = 0
        commit_index = min(self.raft.commit_index, self.raft.persisted_index)
        if commit_index > self.commit_index:
            self.commit_index = commit_index
            self._commits.advance(commit_index)
            self._measure_commits(commit_index)
            self.changes.notify()

    def _measure_commits(self, commit_index: int) -> None:
        uncommitted = self._uncommitted
        now = time.perf_counter() if uncommitted else 0.0
        while uncommitted and uncommitted[0][0] <= commit_index:
            _, proposed_at, count = uncommitted.popleft()
            self.statistics.commit_seconds.observe(now - proposed_at, count)

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
                self._uncommitted.clear()
            self._elections.look(self.raft)
            self._on_role()
            self.changes.notify()
        if ready.needs_persist or self._queue or self._writing_since is not None:
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
            self._writing_since = trio.current_time()
            try:
                if any(ready.needs_persist for ready in batch):
                    await self._persist(batch)
                self.raft.persisted(batch[-1].number)
            except (WolfScaleError, OSError) as error:
                self.fail(error)
                return
            finally:
                self._writing_since = None
            for ready in batch:
                self._queued_bytes -= _data_bytes(ready)
                self._send_after(ready)
            self._work.set()

    async def _persist(self, batch: list[Ready]) -> None:
        while True:
            try:
                await trio.to_thread.run_sync(
                    self.storage.persist, batch, abandon_on_cancel=False, limiter=self._limiter
                )
            except (WalFull, WalWriteFailed) as error:
                # Nothing was written and nothing promised: there may be room again soon.
                if self.disk_problem is None:
                    log.error("the log cannot be written", reason=str(error))
                self.disk_problem = str(error)
                self._hand_leadership_on()
                await trio.sleep(FULL_DISK_RETRY)
            else:
                break
        self.disk_problem = None
        self.persists += 1
        self.persisted_readys += len(batch)

    def _hand_leadership_on(self) -> None:
        """A leader that cannot write holds up every commit that this node acknowledges.

        An attempt gets two election timeouts; while it lasts the core takes no proposals.
        """
        now = trio.current_time()
        if self.raft.is_leader and now - self._handed_on_at > 2 * self._patience:
            self._handed_on_at = now
            with contextlib.suppress(RaftError):
                self.raft.transfer_leadership(None)
            self._work.set()

    def _send_after(self, ready: Ready) -> None:
        for peer, message in ready.messages_after_persist:
            self._send(peer, message)


def _data_bytes(ready: Ready) -> int:
    return sum(len(entry.data) for entry in ready.entries)
