"""Misfortune from a seed: what happens to a simulated cluster, tick after tick.

`python -m wolfscale.testing.raft_schedule SEED [TICKS]` plays one seed again.
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

LOOKS = 3
"""How often, each tick, the messages and the disks are looked at: a round trip may take less than a tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad things are in one run: chances, for each tick and cluster unless it says otherwise."""

    clock: float = 0.9
    """That a member's clock ticks with the others'."""
    deliver: float = 0.7
    """That a message arrives when it is looked at, which is thrice a tick; the others come later."""
    lose: float = 0.02
    """That a message that arrives was lost instead."""
    repeat: float = 0.02
    """That a message that arrives will arrive again."""
    sync: float = 0.6
    """That a member's disk finishes something when it is looked at, which is thrice a tick."""
    propose: float = 0.3
    read: float = 0.1
    crash: float = 0.01
    bounce: float = 0.01
    start: float = 0.05
    block: float = 0.02
    isolate: float = 0.01
    heal: float = 0.04
    depose: float = 0.01
    lose_link: float = 0.01
    restore_link: float = 0.02
    transfer: float = 0.01
    change: float = 0.02
    compact: float = 0.02


def any_weather(chance: random.Random) -> Weather:
    """Another weather for each run: faults that are there all the time hide those that need calm."""
    return Weather(
        clock=chance.choice([0.5, 0.9, 1.0]),
        deliver=chance.choice([0.1, 0.3, 0.7, 0.95]),
        lose=chance.choice([0.0, 0.02, 0.2]),
        repeat=chance.choice([0.0, 0.02, 0.2]),
        sync=chance.choice([0.1, 0.6, 1.0]),
        propose=chance.choice([0.05, 0.3, 1.0]),
        read=chance.choice([0.0, 0.1, 0.5]),
        crash=chance.choice([0.0, 0.01, 0.03]),
        bounce=chance.choice([0.0, 0.01, 0.1]),
        block=chance.choice([0.0, 0.02, 0.1]),
        isolate=chance.choice([0.0, 0.01, 0.03]),
        heal=chance.choice([0.02, 0.04, 0.1]),
        depose=chance.choice([0.0, 0.01, 0.1]),
        lose_link=chance.choice([0.0, 0.01, 0.1]),
        transfer=chance.choice([0.0, 0.01, 0.1]),
        change=chance.choice([0.0, 0.02, 0.1]),
        compact=chance.choice([0.0, 0.02, 0.1]),
    )


class Schedule:
    """One seed's run of one cluster."""

    def __init__(self, seed: int, *, weather: Weather | None = None, raft: type[Raft] = Raft) -> None:
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
        self.weather = weather or any_weather(self._random)
        self._is_seeded = weather is None and raft is Raft
        self._events: list[tuple[float, Callable[[], None]]] = [
            (self.weather.propose, self._propose),
            (self.weather.read, self._read),
            (self.weather.crash, self._crash),
            (self.weather.bounce, self._bounce),
            (self.weather.start, self._start),
            (self.weather.block, self._block),
            (self.weather.isolate, self._isolate),
            (self.weather.heal, self.cluster.heal),
            (self.weather.depose, self._depose),
            (self.weather.lose_link, self._lose_link),
            (self.weather.restore_link, self._restore_link),
            (self.weather.transfer, self._transfer),
            (self.weather.change, self._change),
            (self.weather.compact, self._compact),
        ]

    def run(self, ticks: int) -> None:
        """Let so many ticks pass, then end all faults and see that the cluster agrees and works.

        Raises:
            Violation: a promise was broken; a note tells how to play it again.
        """
        passed = 0
        try:
            while passed < ticks:
                passed += 1
                self._tick()
            self.cluster.settle()
            self.cluster.propose(self.cluster.leader, b"after the storm")
            self.cluster.settle()
        except (Violation, InvariantError, AssertionError) as error:
            again = (
                f"python -m wolfscale.testing.raft_schedule {self.seed} {ticks}"
                if self._is_seeded
                else f"Schedule({self.seed}, weather={self.weather}, raft={self.cluster.raft_type.__name__})"
                f".run({ticks})"
            )
            error.add_note(
                f"tick {passed} of seed {self.seed}; to play it again:\n    {again}{self.cluster.describe()}"
            )
            raise

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance

    def _tick(self) -> None:
        for id in self.cluster.running:
            if self._happens(self.weather.clock):
                self.cluster.tick(id)
        for chance, event in self._events:
            if self._happens(chance):
                event()
        for _ in range(LOOKS):
            self._deliver()
            for id in self.cluster.running:
                if self._happens(self.weather.sync):
                    self.cluster.persist(id, self._random.choice([1, 2, 1 << 30]))

    def _deliver(self) -> None:
        """Look at each message that is on its way, in any order."""
        network = self.cluster.network
        waiting = list(network)
        network.clear()
        self._random.shuffle(waiting)
        for envelope in waiting:
            if not self._happens(self.weather.deliver):
                network.append(envelope)
            elif not self._happens(self.weather.lose):
                if self._happens(self.weather.repeat):
                    network.append(envelope)
                self.cluster.receive(envelope)

    def _any_running(self) -> NodeId | None:
        running = self.cluster.running
        return self._random.choice(running) if running else None

    def _any_leader(self) -> NodeId | None:
        """Mostly the newest leader; now and then one that does not know yet that it is none."""
        leaders = self.cluster.leaders
        return self._random.choice(leaders) if leaders else None

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

    def _bounce(self) -> None:
        """Crash, and be back at once, noticed or not."""
        id = self._any_running()
        if id is not None:
            self._random.choice([self.cluster.crash, self.cluster.kill])(id)
            self.cluster.start(id)

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

    def _depose(self) -> None:
        """Cut off the leader, which the others notice at once, and nobody else."""
        id = self._any_leader()
        if id is not None:
            self.cluster.heal()
            self.cluster.isolate(id)
            for other in self.cluster.running:
                self.cluster.act(other, lambda raft: raft.link_lost(id))

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
    ticks = int(arguments[1]) if len(arguments) > 1 else 300
    schedule = Schedule(seed)
    schedule.run(ticks)
    print(f"seed {seed}: {ticks} ticks, every promise kept{schedule.cluster.describe()}")


if __name__ == "__main__":
    main(sys.argv[1:])
