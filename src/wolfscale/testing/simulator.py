"""A whole Raft cluster in one process: every member's disk, every message, and no time but what is asked for.

Nothing happens by itself. A test, or a seed (`raft_schedule`), takes one small step after another: deliver
this message, tick that member, let its disk finish, cut a link, crash it. After each step the checker looks
at everything.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wolfscale.raft import (
    Index,
    LogBase,
    Member,
    Membership,
    Message,
    NodeId,
    Raft,
    RaftConfig,
    RaftError,
    Ready,
    Suffrage,
    decode_message,
    encode_message,
)
from wolfscale.testing.raft_checker import Checker
from wolfscale.testing.raft_disk import Disk

ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2

SETTLE_ROUNDS = 40 * ELECTION_TICKS
"""Ticks after which an undisturbed cluster must have settled, by a wide margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message on its way."""

    sender: NodeId
    receiver: NodeId
    data: bytes

    @property
    def message(self) -> Message:
        """What is in it."""
        return decode_message(self.data)


class SimulatedMember:
    """One member: its disk, and its core while it runs."""

    def __init__(self, id: NodeId, base: LogBase) -> None:
        self.id = id
        self.disk = Disk(base)
        self.raft: Raft | None = None
        self.reads: list[tuple[bytes, Index]] = []

    @property
    def running(self) -> Raft:
        """The core of a member that is known to run."""
        assert self.raft is not None, f"{self.id} is down"
        return self.raft


class Cluster:
    """Members, the messages between them, and the checker.

    Args:
        seed: the members' randomness.
        voters: how many of the first members vote.
        learners: how many more only receive the log.
        witnesses: how many more are witnesses.
        raft: the core to run; tests put broken ones here.
        max_append_bytes: small values cut replication into many messages.
        sync: whether disks finish at once.
    """

    MAX_MESSAGES = 400
    """Messages that the network holds; the oldest ones are lost beyond it."""

    def __init__(
        self,
        seed: int,
        *,
        voters: int = 3,
        learners: int = 0,
        witnesses: int = 0,
        raft: type[Raft] = Raft,
        max_append_bytes: int = 64,
        sync: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.checker = Checker()
        self.network: deque[Envelope] = deque()
        self.blocked: set[tuple[NodeId, NodeId]] = set()
        self.members: dict[NodeId, SimulatedMember] = {}
        self.raft_type = raft
        self.max_append_bytes = max_append_bytes
        self.sync = sync
        self._contexts = 0
        suffrages = [Suffrage.VOTER] * voters + [Suffrage.LEARNER] * learners + [Suffrage.WITNESS] * witnesses
        self._birth = Membership(
            members=tuple(new_member(number, suffrage) for number, suffrage in enumerate(suffrages, 1)),
            next_number=len(suffrages) + 1,
        )
        for member in self._birth.members:
            self._add(member.id, LogBase(membership=self._birth))

    def _add(self, id: NodeId, base: LogBase) -> None:
        self.members[id] = SimulatedMember(id, base)
        self.start(id)

    # Looking

    @property
    def running(self) -> list[NodeId]:
        """The members that run."""
        return [id for id, member in self.members.items() if member.raft is not None]

    @property
    def leaders(self) -> list[NodeId]:
        """The running members that lead a term, latest term first."""
        leaders = [id for id in self.running if self.raft(id).is_leader]
        return sorted(leaders, key=lambda id: -self.raft(id).term)

    @property
    def leader(self) -> NodeId:
        """The leader of the latest term."""
        return self.leaders[0]

    def raft(self, id: NodeId) -> Raft:
        """A running member's core."""
        return self.members[id].running

    def datas(self, id: NodeId) -> list[bytes]:
        """The events in a member's log, committed or not."""
        log = self.members[id].disk.shown
        if log.last_index == log.base.index:
            return []
        entries = log.entries(Index(log.base.index + 1), log.last_index, 1 << 40)
        return [entry.data for entry in entries if entry.kind == 2]

    # One step of one member

    def act(self, id: NodeId, action: Callable[[Raft], object]) -> None:
        """Give a running member's core an input, carry out what comes of it, and check everything.

        A refusal (any `RaftError`) is an answer like others.
        """
        try:
            action(self.raft(id))
        except RaftError:
            pass
        finally:
            self._drain(id)

    def _drain(self, id: NodeId) -> None:
        member = self.members[id]
        while True:
            raft = member.running
            while (ready := raft.ready()) is not None:
                self._carry_out(member, raft, ready)
            self.checker.observe(id, raft, self._disks())
            if not (self.sync and member.disk.queue):
                return
            self._sync(member, len(member.disk.queue))

    def _disks(self) -> dict[NodeId, Disk]:
        return {id: member.disk for id, member in self.members.items()}

    def _carry_out(self, member: SimulatedMember, raft: Raft, ready: Ready) -> None:
        self.checker.before_show(member.id, raft, member.disk, ready)
        chain = 0
        if ready.base is not None:
            chain = self.checker.base_chain(ready.base.index, ready.base.term)
        member.disk.show(ready, chain)
        self.checker.after_show(member.id, member.disk, ready)
        self.checker.reads_done(member.id, ready.reads)
        member.reads += ready.reads
        self._send(member.id, ready.messages)

    def _sync(self, member: SimulatedMember, count: int) -> None:
        done = member.disk.sync(count)
        if not done:
            return
        member.running.persisted(done[-1].number)
        for ready in done:
            self._send(member.id, ready.messages_after_persist)

    def _send(self, sender: NodeId, messages: Iterable[tuple[NodeId, Message]]) -> None:
        for receiver, message in messages:
            if receiver in self.members and (sender, receiver) not in self.blocked:
                self.network.append(Envelope(sender=sender, receiver=receiver, data=encode_message(message)))
        while len(self.network) > self.MAX_MESSAGES:
            self.network.popleft()

    def tick(self, id: NodeId) -> None:
        """Let a tick pass for one member."""
        self.act(id, lambda raft: raft.tick())

    def persist(self, id: NodeId, count: int = 1 << 30) -> None:
        """Let a member's disk finish the oldest of what it was given."""
        self._sync(self.members[id], count)
        self._drain(id)

    def propose(self, id: NodeId, *datas: bytes) -> None:
        """Propose events at a member."""
        self.act(id, lambda raft: raft.propose(datas))

    def read(self, id: NodeId) -> bytes:
        """Ask a member for a read index; returns the context that its answer will have."""
        self._contexts += 1
        context = b"read-%d" % self._contexts
        self.checker.read_started(context)
        self.act(id, lambda raft: raft.read_index(context))
        return context

    def transfer(self, id: NodeId, to: NodeId | None = None) -> None:
        """Ask a member to hand leadership over."""
        self.act(id, lambda raft: raft.transfer_leadership(to))

    def change(self, id: NodeId, membership: Membership) -> None:
        """Ask a member for another membership; members that are new start, with nothing."""
        before = self.raft(id).membership_index
        self.act(id, lambda raft: raft.change_membership(membership))
        if self.raft(id).membership_index != before:
            for member in membership.members:
                if member.id not in self.members:
                    self._add(member.id, LogBase())

    def compact(self, id: NodeId) -> None:
        """Drop the part of a member's log that is committed and durable."""
        member, raft = self.members[id], self.raft(id)
        log = member.disk.shown
        index = Index(min(raft.commit_index, raft.persisted_index))
        durable = member.disk.durable
        if not (log.base.index < index <= durable.last_index and durable.base.index == log.base.index):
            return
        base = LogBase(index=index, term=log.term(index), membership=raft.membership_at(index))
        self.checker.before_compact(id, member.disk, base)
        member.disk.compact(base)
        self.act(id, lambda raft: raft.compact(index))

    # Faults

    def crash(self, id: NodeId) -> None:
        """Kill a member: what its disk had not finished is gone."""
        member = self.members[id]
        member.raft = None
        member.disk.crash()

    def start(self, id: NodeId) -> None:
        """Start a member from its disk."""
        member = self.members[id]
        member.raft = self.raft_type(
            config=RaftConfig(
                id=id,
                election_ticks=ELECTION_TICKS,
                heartbeat_ticks=HEARTBEAT_TICKS,
                max_append_bytes=self.max_append_bytes,
                max_inflight_bytes=4 * self.max_append_bytes,
                max_inflight_messages=4,
            ),
            log=member.disk.shown,
            hard_state=member.disk.hard_state,
            random=random.Random(self.random.getrandbits(64)),
        )
        self.checker.started(id, member.raft)
        self._drain(id)

    def kill(self, id: NodeId) -> None:
        """Crash a member in such a way that the others see its links close."""
        self.crash(id)
        for other in self.running:
            self.act(other, lambda raft: raft.link_lost(id))

    def block(self, sender: NodeId, receiver: NodeId) -> None:
        """Lose everything that one member says to another from now on."""
        self.blocked.add((sender, receiver))

    def isolate(self, *ids: NodeId) -> None:
        """Cut the links between these members and all others, both ways."""
        for inside in ids:
            for outside in self.members.keys() - set(ids):
                self.blocked |= {(inside, outside), (outside, inside)}

    def heal(self) -> None:
        """Mend all links."""
        self.blocked.clear()

    # The network

    def receive(self, envelope: Envelope) -> None:
        """Let a message arrive, unless its receiver is down or the link is cut."""
        if self.members[envelope.receiver].raft is None:
            return
        if (envelope.sender, envelope.receiver) in self.blocked:
            return
        self.act(envelope.receiver, lambda raft: raft.step(envelope.sender, envelope.message))

    def deliver(self, place: int = 0, *, keep: bool = False) -> None:
        """Deliver the message at a place in the network; `keep`: it will come again."""
        envelope = self.network[place]
        if not keep:
            del self.network[place]
        self.receive(envelope)

    def deliver_all(self) -> None:
        """Deliver in order until nothing is on its way and no disk has anything to do."""
        while True:
            while self.network:
                self.deliver()
            busy = [id for id in self.running if self.members[id].disk.queue]
            if not busy:
                return
            for id in busy:
                self.persist(id)

    # Orderly time

    def run(self, ticks: int, *, until: Callable[[], bool] = lambda: False) -> int:
        """Let time pass in an orderly way; returns the ticks it took until the predicate held, or all."""
        self.deliver_all()
        for passed in range(ticks):
            if until():
                return passed
            for id in self.running:
                self.tick(id)
            self.deliver_all()
        return ticks

    def settle(self) -> NodeId:
        """End all faults, and let time pass until one leader has committed on every member of the cluster."""
        self.heal()
        for id in self.members:
            if self.members[id].raft is None:
                self.start(id)
        ticks = self.run(SETTLE_ROUNDS, until=self._is_settled)
        assert ticks < SETTLE_ROUNDS, f"no agreement after {ticks} ticks: {self.describe()}"
        return self.leader

    def elect(self) -> NodeId:
        """Let time pass until there is a leader that has committed in its term, and return it."""
        self.run(SETTLE_ROUNDS, until=lambda: any(self.raft(id).term_start_committed for id in self.leaders))
        return self.leader

    def _is_settled(self) -> bool:
        if len(self.leaders) != 1 or not self.raft(self.leader).term_start_committed:
            return False
        leader = self.raft(self.leader)
        return all(
            self.raft(member.id).commit_index == leader.last_index
            and self.raft(member.id).leader == leader.id
            for member in leader.membership.members
        )

    def describe(self) -> str:
        """One line a member, for error messages."""
        lines = []
        for id, member in self.members.items():
            if member.raft is None:
                lines.append(f"{id}: down")
                continue
            status = member.raft.status()
            lines.append(
                f"{id}: {status.role.value} of term {status.term}, leader {status.leader}, "
                f"log {status.base_index}..{status.last_index}, committed {status.commit_index}, "
                f"members {[f'{m.id}:{m.suffrage.name}' for m in status.membership.members]}"
            )
        return "\n".join(["", *lines])


def node_id(number: int) -> NodeId:
    """The identity of a cluster's member of that number."""
    return NodeId(f"n{number}")


def new_member(number: int, suffrage: Suffrage = Suffrage.VOTER) -> Member:
    """A member to be added."""
    id = node_id(number)
    return Member(id=id, name=id, address=f"{id}:7400", number=number, suffrage=suffrage)


def ids(*numbers: int) -> Sequence[NodeId]:
    """The identities of several members."""
    return [node_id(number) for number in numbers]
