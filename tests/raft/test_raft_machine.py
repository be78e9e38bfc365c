"""Hypothesis drives clusters of three and five, one small step after another.

The checker looks at everything after each step, so there is little to assert here; a failing example is
shrunk to the few steps that matter.
"""

import os
from dataclasses import replace

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wolfscale.raft import NodeId, Suffrage
from wolfscale.testing.simulator import ELECTION_TICKS, Cluster, new_member

CHAOS = os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos"
MAX_MEMBERS = 7

PLACES = st.integers(0, 1 << 16)
"""A choice among whatever there is, modulo its number."""


class RaftMachine(RuleBasedStateMachine):
    cluster: Cluster

    @initialize(
        voters=st.sampled_from([3, 5]),
        learners=st.integers(0, 1),
        witnesses=st.integers(0, 1),
        seed=st.integers(0, 1 << 16),
        max_append_bytes=st.sampled_from([1, 1 << 20]),
    )
    def begin(self, voters: int, learners: int, witnesses: int, seed: int, max_append_bytes: int) -> None:
        self.cluster = Cluster(
            seed, voters=voters, learners=learners, witnesses=witnesses, max_append_bytes=max_append_bytes
        )
        self.proposals = 0

    def running(self, place: int) -> NodeId | None:
        running = self.cluster.running
        return running[place % len(running)] if running else None

    def member(self, place: int) -> NodeId:
        return list(self.cluster.members)[place % len(self.cluster.members)]

    def leading(self, place: int) -> NodeId | None:
        leaders = self.cluster.leaders
        return leaders[place % len(leaders)] if leaders else None

    @rule(count=st.integers(1, 30))
    def some_messages_arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.cluster.network))):
            self.cluster.deliver()

    @rule(place=PLACES, keep=st.booleans())
    def a_message_overtakes(self, place: int, keep: bool) -> None:
        if self.cluster.network:
            self.cluster.deliver(place % len(self.cluster.network), keep=keep)

    @rule(place=PLACES)
    def a_message_is_lost(self, place: int) -> None:
        if self.cluster.network:
            del self.cluster.network[place % len(self.cluster.network)]

    @rule(place=PLACES, ticks=st.integers(1, 2 * ELECTION_TICKS))
    def one_member_ticks(self, place: int, ticks: int) -> None:
        id = self.running(place)
        for _ in range(ticks if id else 0):
            assert id is not None
            self.cluster.tick(id)

    @rule(ticks=st.integers(1, ELECTION_TICKS))
    def all_goes_well_for_a_while(self, ticks: int) -> None:
        self.cluster.run(ticks)

    @rule(place=PLACES, count=st.integers(1, 3))
    def a_disk_finishes(self, place: int, count: int) -> None:
        id = self.running(place)
        if id is not None:
            self.cluster.persist(id, count)

    @rule(place=PLACES, count=st.integers(1, 3))
    def events_are_proposed(self, place: int, count: int) -> None:
        id = self.leading(place)
        if id is not None:
            for _ in range(count):
                self.proposals += 1
                self.cluster.propose(id, b"event-%d" % self.proposals)

    @rule(place=PLACES)
    def a_read_is_asked_for(self, place: int) -> None:
        id = self.leading(place)
        if id is not None:
            self.cluster.read(id)

    @rule(place=PLACES, noticed=st.booleans(), back=st.booleans())
    def a_member_crashes(self, place: int, noticed: bool, back: bool) -> None:
        id = self.running(place)
        if id is not None:
            (self.cluster.kill if noticed else self.cluster.crash)(id)
            if back:
                self.cluster.start(id)

    @precondition(lambda self: len(self.cluster.running) < len(self.cluster.members))
    @rule(place=PLACES)
    def a_member_starts(self, place: int) -> None:
        down = [id for id in self.cluster.members if id not in self.cluster.running]
        self.cluster.start(down[place % len(down)])

    @rule(first=PLACES, second=PLACES)
    def a_link_is_cut_one_way(self, first: int, second: int) -> None:
        if self.member(first) != self.member(second):
            self.cluster.block(self.member(first), self.member(second))

    @rule(places=st.lists(PLACES, min_size=1, max_size=3))
    def some_members_are_cut_off(self, places: list[int]) -> None:
        self.cluster.isolate(*{self.member(place): None for place in places})

    @rule()
    def the_links_are_mended(self) -> None:
        self.cluster.heal()

    @rule(first=PLACES, second=PLACES, up=st.booleans())
    def a_link_is_reset(self, first: int, second: int, up: bool) -> None:
        id, peer = self.running(first), self.member(second)
        if id is not None:
            self.cluster.act(id, lambda raft: raft.link_up(peer) if up else raft.link_lost(peer))

    @rule(place=PLACES, to=st.none() | PLACES)
    def leadership_is_handed_over(self, place: int, to: int | None) -> None:
        id = self.leading(place)
        if id is not None:
            self.cluster.transfer(id, None if to is None else self.member(to))

    @rule(place=PLACES, which=PLACES, suffrage=st.none() | st.sampled_from(Suffrage))
    def a_member_is_changed_or_removed(self, place: int, which: int, suffrage: Suffrage | None) -> None:
        id = self.leading(place)
        if id is not None:
            old = self.cluster.raft(id).membership
            chosen = old.members[which % len(old.members)]
            new = (
                old.without(chosen.id)
                if suffrage is None
                else old.with_member(replace(chosen, suffrage=suffrage))
            )
            self.cluster.change(id, new)

    @precondition(lambda self: len(self.cluster.members) < MAX_MEMBERS)
    @rule(place=PLACES, suffrage=st.sampled_from(Suffrage))
    def a_member_is_added(self, place: int, suffrage: Suffrage) -> None:
        id = self.leading(place)
        if id is not None:
            old = self.cluster.raft(id).membership
            self.cluster.change(id, old.with_member(new_member(old.next_number, suffrage)))

    @rule(place=PLACES)
    def a_log_is_compacted(self, place: int) -> None:
        id = self.running(place)
        if id is not None:
            self.cluster.compact(id)

    @invariant()
    def commits_are_within_the_log(self) -> None:
        for id in self.cluster.running:
            raft = self.cluster.raft(id)
            assert raft.persisted_index <= raft.last_index
            assert raft.commit_index <= raft.last_index

    def teardown(self) -> None:
        self.cluster.settle()
        self.cluster.propose(self.cluster.leader, b"after the storm")
        self.cluster.settle()


def test_machine_cluster_keeps_every_promise() -> None:
    settings = hypothesis.settings(
        max_examples=2000 if CHAOS else 40, stateful_step_count=100 if CHAOS else 40
    )
    run_state_machine_as_test(RaftMachine, settings=settings)
