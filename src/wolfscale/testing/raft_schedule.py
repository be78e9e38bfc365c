"""Misfortune from a seed: which small step a simulated cluster takes next, thousands of times.

`python -m wolfscale.testing.raft_schedule SEED [STEPS]` plays one seed again.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from wolfscale.errors import InvariantError
from wolfscale.raft import NodeId, Raft, Suffrage
from wolfscale.testing.raft_checker import Violation
from wolfscale.testing.simulator import Cluster, new_member

MAX_MEMBERS = 6
SLOW_DISK = 0.3
"""The part of the steps in which a member's disk finishes only some of what it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """How often each kind of step is taken, relative to the others; 0 is never."""

    deliver: float = 40
    tick: float = 16
    persist: float = 16
    propose: float = 5
    read: float = 2
    drop: float = 2
    repeat: float = 2
    reorder: float = 3
    crash: float = 0.5
    start: float = 2
    block: float = 0.4
    isolate: float = 0.3
    heal: float = 0.8
    lose_link: float = 0.5
    restore_link: float = 0.5
    transfer: float = 0.3
    change: float = 0.6
    compact: float = 0.5
    flood: float = 0.6


class Schedule:
    """One seed's run of one cluster."""

    def __init__(self, seed: int, *, odds: Odds | None = None, raft: type[Raft] = Raft) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        voters = self._random.choice([3, 3, 5])
        self.cluster = Cluster(
            seed,
            voters=voters,
            learners=self._random.choice([0, 0, 1]),
            witnesses=self._random.choice([0, 0, 1]) if voters == 3 else 0,
            raft=raft,
            max_append_bytes=self._random.choice([1, 64, 1 << 20]),
        )
        self._proposals = 0
        odds = odds or Odds()
        steps: list[tuple[Callable[[], None], float]] = [
            (self._deliver, odds.deliver),
            (self._tick, odds.tick),
            (self._persist, odds.persist),
            (self._propose, odds.propose),
            (self._read, odds.read),
            (self._drop, odds.drop),
            (self._repeat, odds.repeat),
            (self._reorder, odds.reorder),
            (self._crash, odds.crash),
            (self._start, odds.start),
            (self._block, odds.block),
            (self._isolate, odds.isolate),
            (self.cluster.heal, odds.heal),
            (self._lose_link, odds.lose_link),
            (self._restore_link, odds.restore_link),
            (self._transfer, odds.transfer),
            (self._change, odds.change),
            (self._compact, odds.compact),
            (self._flood, odds.flood),
        ]
        self._steps = [step for step, _ in steps]
        self._weights = [weight for _, weight in steps]

    def run(self, steps: int) -> None:
        """Take so many steps, then end all faults and see that the cluster agrees and works.

        Raises:
            Violation: a promise was broken; the message tells how to play it again.
        """
        taken = 0
        try:
            for step in self._random.choices(self._steps, self._weights, k=steps):
                taken += 1
                step()
            self.cluster.settle()
            self.cluster.propose(self.cluster.leader, b"after the storm")
            self.cluster.settle()
        except (Violation, InvariantError, AssertionError) as error:
            error.add_note(
                f"step {taken} of seed {self.seed}; to play it again:\n"
                f"    python -m wolfscale.testing.raft_schedule {self.seed} {steps}"
                f"{self.cluster.describe()}"
            )
            raise

    def _any_running(self) -> NodeId | None:
        running = self.cluster.running
        return self._random.choice(running) if running else None

    def _any_leader(self) -> NodeId | None:
        """Mostly the newest leader; now and then one that does not know yet that it is none."""
        leaders = self.cluster.leaders
        return self._random.choice(leaders) if leaders else None

    def _place(self) -> int:
        return self._random.randrange(len(self.cluster.network))

    def _deliver(self) -> None:
        if self.cluster.network:
            self.cluster.deliver()

    def _reorder(self) -> None:
        if self.cluster.network:
            self.cluster.deliver(self._place())

    def _repeat(self) -> None:
        if self.cluster.network:
            self.cluster.deliver(self._place(), keep=True)

    def _drop(self) -> None:
        if self.cluster.network:
            del self.cluster.network[self._place()]

    def _flood(self) -> None:
        """A moment in which everything works: without it nothing interesting is ever reached."""
        for _ in range(self._random.randrange(1, 40)):
            self._deliver()
            if self._random.random() < SLOW_DISK and (id := self._any_running()):
                self.cluster.persist(id)

    def _tick(self) -> None:
        for id in self.cluster.running:
            if self._random.random() < 0.6:
                self.cluster.tick(id)

    def _persist(self) -> None:
        id = self._any_running()
        if id is not None:
            slow = self._random.random() < SLOW_DISK
            self.cluster.persist(id, 1 if slow else 1 << 30)

    def _propose(self) -> None:
        id = self._any_leader()
        if id is not None:
            for _ in range(self._random.randrange(1, 4)):
                self._proposals += 1
                self.cluster.propose(id, b"event-%d" % self._proposals)

    def _read(self) -> None:
        id = self._any_leader()
        if id is not None:
            self.cluster.read(id)

    def _crash(self) -> None:
        id = self._any_running()
        if id is not None:
            self._random.choice([self.cluster.crash, self.cluster.kill])(id)

    def _start(self) -> None:
        down = [id for id, member in self.cluster.members.items() if member.raft is None]
        if down:
            self.cluster.start(self._random.choice(down))

    def _pair(self) -> tuple[NodeId, NodeId]:
        first, second = self._random.sample(list(self.cluster.members), 2)
        return first, second

    def _block(self) -> None:
        self.cluster.block(*self._pair())

    def _isolate(self) -> None:
        members = list(self.cluster.members)
        self.cluster.isolate(*self._random.sample(members, self._random.randrange(1, len(members))))

    def _lose_link(self) -> None:
        id, peer = self._pair()
        if self.cluster.members[id].raft is not None:
            self.cluster.act(id, lambda raft: raft.link_lost(peer))

    def _restore_link(self) -> None:
        id, peer = self._pair()
        if self.cluster.members[id].raft is not None:
            self.cluster.act(id, lambda raft: raft.link_up(peer))

    def _transfer(self) -> None:
        id = self._any_leader()
        if id is not None:
            self.cluster.transfer(id, self._random.choice([None, *self.cluster.members]))

    def _change(self) -> None:
        id = self._any_leader()
        if id is None:
            return
        old = self.cluster.raft(id).membership
        suffrage = self._random.choice(list(Suffrage))
        if len(self.cluster.members) < MAX_MEMBERS + 2 and self._random.random() < 0.3:
            if len(old.members) < MAX_MEMBERS:
                self.cluster.change(id, old.with_member(new_member(old.next_number, suffrage)))
        elif self._random.random() < 0.3:
            self.cluster.change(id, old.without(self._random.choice(old.members).id))
        else:
            self.cluster.change(
                id, old.with_member(replace(self._random.choice(old.members), suffrage=suffrage))
            )

    def _compact(self) -> None:
        id = self._any_running()
        if id is not None:
            self.cluster.compact(id)


def main(arguments: list[str]) -> None:
    """Play one seed."""
    seed = int(arguments[0])
    steps = int(arguments[1]) if len(arguments) > 1 else 3000
    schedule = Schedule(seed)
    schedule.run(steps)
    print(f"seed {seed}: {steps} steps, every promise kept{schedule.cluster.describe()}")


if __name__ == "__main__":
    main(sys.argv[1:])
