"""The ids of one node and of several, for any clock, any counts and restarts at any point."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wolfscale.errors import InvariantError
from wolfscale.ids import (
    EPOCH_MS,
    LEASE_MS,
    MARK_STEP_MS,
    MAX_COUNT,
    QUARANTINE_MS,
    AheadOfClock,
    IdGenerator,
    IdParts,
    IdTimeOverflow,
    LeaseNeeded,
    MarkNeeded,
    build_id,
    parse_id,
)
from wolfscale.ids.bits import MAX_ID, NODE_NUMBERS

NOW_MS = EPOCH_MS + 28_000_000_000
LAST_MS = EPOCH_MS + (1 << 41) - 1

counts = st.one_of(st.integers(1, 5), st.integers(1, MAX_COUNT))
steps = st.one_of(
    st.just(0), st.integers(-3, 3), st.integers(-10_000, 10_000), st.integers(-3 * LEASE_MS, 3 * LEASE_MS)
)


@dataclass
class Disk:
    """A mark as it was last synced."""

    mark_ms: int = EPOCH_MS


@dataclass
class Member:
    """A generator with its disk; does what it asks for, or gives up."""

    number: int
    disk: Disk = field(default_factory=Disk)
    given: list[int] = field(default_factory=list)
    connected: bool = True

    def __post_init__(self) -> None:
        self.generator = IdGenerator(self.number, mark_ms=self.disk.mark_ms)

    def restart(self) -> None:
        self.generator = IdGenerator(self.number, mark_ms=self.disk.mark_ms)

    def take(self, now_ms: int, count: int, *, dies_after_writing: bool = False) -> bool:
        """Give ids if that is possible now; says whether."""
        while (obstacle := self.generator.obstacle(now_ms, count)) is not None:
            match obstacle:
                case MarkNeeded(mark_ms=mark_ms):
                    self.disk.mark_ms = mark_ms
                    if dies_after_writing:
                        self.restart()
                        return False
                    self.generator.mark_written(mark_ms)
                case LeaseNeeded() if self.connected:
                    self.generator.extend_lease(now_ms)
                case _:
                    return False
        ids = self.generator.take(now_ms, count)
        assert len(ids) == count
        self.given += ids
        return True


class OneNode(RuleBasedStateMachine):
    """Whatever the clock does and whenever the node dies: ids ascend, and none comes twice."""

    @initialize(number=st.integers(1, 5000), start=st.integers(-10, 10_000))
    def begin(self, number: int, start: int) -> None:
        self.member = Member(number)
        self.now_ms = NOW_MS + start
        self.checked = 0
        self.last = -1

    @rule(step=steps)
    def clock_moves(self, step: int) -> None:
        self.now_ms += step

    @rule(count=counts)
    def takes(self, count: int) -> None:
        self.member.take(self.now_ms, count)

    @rule(count=counts)
    def dies_before_it_could_use_a_mark(self, count: int) -> None:
        self.member.take(self.now_ms, count, dies_after_writing=True)

    @rule()
    def restarts(self) -> None:
        self.member.restart()

    @rule(connected=st.booleans())
    def link_changes(self, connected: bool) -> None:
        self.member.connected = connected

    @rule()
    def sets_the_clock_right(self) -> None:
        self.member.connected = True
        self.now_ms = max(self.now_ms, self.member.generator.next_ms)
        assert self.member.take(self.now_ms, 1), "ids do not go on when the clock has come up again"

    @invariant()
    def ids_ascend_and_belong_to_the_node(self) -> None:
        if not hasattr(self, "member"):
            return
        new = self.member.given[self.checked :]
        self.checked = len(self.member.given)
        for id in new:
            assert id > self.last, "an id did not ascend"
            assert 0 < id <= MAX_ID
            self.last = id
        if new:
            parts = parse_id(new[-1])
            assert parts.node == self.member.number % NODE_NUMBERS
            assert parts.time_ms < self.member.disk.mark_ms, "an id has left the room that is on disk"


TestOneNode = OneNode.TestCase


@given(
    numbers=st.sets(st.integers(1, 5000), min_size=2, max_size=6),
    takes=st.lists(st.tuples(st.integers(0, 5), steps, counts), min_size=1, max_size=30),
)
def test_members_of_different_residues_never_give_the_same_id(
    numbers: set[int], takes: list[tuple[int, int, int]]
) -> None:
    by_residue = {number % NODE_NUMBERS: Member(number) for number in numbers}
    members = list(by_residue.values())
    now_ms = NOW_MS
    for which, step, count in takes:
        now_ms += step
        members[which % len(members)].take(now_ms, count)
    given_ids = [id for member in members for id in member.given]
    assert len(given_ids) == len(set(given_ids))


@given(
    before=st.lists(st.tuples(steps, counts), max_size=15),
    after_removal=st.lists(st.tuples(st.integers(0, LEASE_MS), counts), max_size=10),
    clock_error=st.integers(-LEASE_MS + 1, LEASE_MS - 1),
)
def test_successor_to_the_same_ten_bits_gives_none_of_the_ids_of_a_member_that_does_not_know_it_was_removed(
    before: list[tuple[int, int]], after_removal: list[tuple[int, int]], clock_error: int
) -> None:
    former = Member(7)
    clock = highest = NOW_MS
    for step, count in before:
        clock += step
        highest = max(highest, clock)
        former.take(clock, count)
    # It is cut off, and others remove it. Its clock and the successor's never differ by an hour.
    former.connected = False
    clock = highest
    removed_at = clock
    for step, count in after_removal:
        clock += step
        former.take(clock, count)
    successor = Member(7 + NODE_NUMBERS)
    successor.take(removed_at + clock_error + QUARANTINE_MS, 1)
    assert successor.given
    assert not former.given or former.given[-1] < successor.given[0]


@given(
    time=st.integers(EPOCH_MS, LAST_MS), node=st.integers(0, NODE_NUMBERS - 1), sequence=st.integers(0, 4095)
)
def test_parts_of_an_id_come_back(time: int, node: int, sequence: int) -> None:
    parts = IdParts(time_ms=time, node=node, sequence=sequence)
    id = build_id(parts)
    assert parse_id(id) == parts
    assert 0 <= id <= MAX_ID == (1 << 63) - 1


def test_id_is_41_bits_of_time_10_of_node_12_of_sequence() -> None:
    assert build_id(IdParts(time_ms=EPOCH_MS + 1, node=2, sequence=3)) == (1 << 22) + (2 << 12) + 3
    assert parse_id(MAX_ID).time.year == 2095


@pytest.mark.parametrize("id", [-1, 1 << 63])
def test_number_that_is_no_id_is_refused(id: int) -> None:
    with pytest.raises(ValueError, match="is no id"):
        parse_id(id)


def test_ids_carry_the_clock_while_it_runs() -> None:
    member = Member(3)
    for now_ms in (NOW_MS, NOW_MS + 1, NOW_MS + 70_000):
        assert member.take(now_ms, 2)
        assert [parse_id(id) for id in member.given[-2:]] == [
            IdParts(time_ms=now_ms, node=3, sequence=sequence) for sequence in (0, 1)
        ]


def test_full_millisecond_runs_over_into_the_next() -> None:
    member = Member(3)
    assert member.take(NOW_MS, MAX_COUNT)
    assert member.take(NOW_MS, 1)
    assert parse_id(member.given[-1]) == IdParts(time_ms=NOW_MS + 1, node=3, sequence=0)


def test_clock_that_steps_back_within_the_hour_stops_nothing() -> None:
    member = Member(3)
    assert member.take(NOW_MS, 1)
    assert member.take(NOW_MS - LEASE_MS + 10, 1)
    assert parse_id(member.given[-1]) == IdParts(time_ms=NOW_MS, node=3, sequence=1)


def test_clock_that_steps_back_further_stops_ids_until_it_is_near_again() -> None:
    member = Member(3)
    assert member.take(NOW_MS, 1)
    member.restart()
    now_ms = NOW_MS - LEASE_MS - 5_000
    assert not member.take(now_ms, 1)
    obstacle = member.generator.obstacle(now_ms, 1)
    assert isinstance(obstacle, AheadOfClock)
    assert obstacle.wait_ms <= 5_000 + MARK_STEP_MS + 2
    assert not member.take(now_ms + obstacle.wait_ms - 1, 1)
    assert member.take(now_ms + obstacle.wait_ms, 1)


def test_ids_in_steady_use_cost_one_mark_in_some_seconds() -> None:
    member = Member(3)
    marks = set()
    for now_ms in range(NOW_MS, NOW_MS + 60_000, 10):
        assert member.take(now_ms, 5)
        marks.add(member.disk.mark_ms)
    assert len(marks) <= 60_000 // MARK_STEP_MS + 1


def test_member_that_hears_from_no_majority_gives_ids_for_the_length_of_its_lease() -> None:
    member = Member(3)
    assert member.take(NOW_MS, 1)
    member.connected = False
    assert member.take(NOW_MS + LEASE_MS - 1, 1)
    assert not member.take(NOW_MS + LEASE_MS, 1)
    assert member.generator.obstacle(NOW_MS + LEASE_MS, 1) == LeaseNeeded()


def test_end_of_41_bits_is_an_overflow() -> None:
    member = Member(3)
    assert member.take(LAST_MS - 2, MAX_COUNT)
    with pytest.raises(OverflowError, match="September 2095"):
        member.take(LAST_MS + 1, 1)
    assert member.take(LAST_MS - 1, MAX_COUNT)
    with pytest.raises(IdTimeOverflow):
        member.take(LAST_MS - 1, 1)


def test_clock_before_the_epoch_gives_no_ids() -> None:
    member = Member(3)
    assert not member.take(0, 1)
    assert isinstance(member.generator.obstacle(0, 1), AheadOfClock)


@pytest.mark.parametrize("count", [0, -1, MAX_COUNT + 1])
def test_ids_that_nobody_may_ask_for_are_not_given(count: int) -> None:
    member = Member(3)
    assert member.take(NOW_MS, 1)
    with pytest.raises(InvariantError):
        member.generator.take(NOW_MS, count)
