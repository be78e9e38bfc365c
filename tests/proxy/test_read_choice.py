"""Where a proxy without a MariaDB of its own lets sessions read."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.read_choice import (
    MOVING_SHARE,
    Candidate,
    Delay,
    Limits,
    best_informed,
    committed,
    excess,
    is_uneven,
    leader_view,
    least_used,
    reader_view,
    readers,
)
from wolfscale.proxy.view import View

BASE = View(term=3, leader="a", leader_address="a:1", writable=True, committed_sequence=100, number=1)
FOLLOWER = Candidate(node="b", readable=True, applied_sequence=100, delay_seconds=0.0)
ANOTHER = dataclasses.replace(FOLLOWER, node="c")
LEADER = dataclasses.replace(FOLLOWER, node="a")
NOBODY_LEADS = msgspec.structs.replace(BASE, writable=False, leader=None)


def test_followers_that_keep_up_are_read_from() -> None:
    assert readers(BASE, [LEADER, FOLLOWER, ANOTHER], Limits()) == {"b", "c"}


@pytest.mark.parametrize(
    "worse", [{"readable": False}, {"delay_seconds": 2.1}, {"applied_sequence": 89}], ids=str
)
def test_follower_that_does_not_serve_or_keep_up_is_not(worse: dict[str, object]) -> None:
    candidates = [LEADER, dataclasses.replace(FOLLOWER, **worse), ANOTHER]  # type: ignore[arg-type]
    assert readers(BASE, candidates, Limits(transactions=10)) == {"c"}


def test_any_number_of_transactions_is_no_limit() -> None:
    behind = dataclasses.replace(FOLLOWER, applied_sequence=1)
    assert readers(BASE, [behind], Limits(transactions=0)) == {"b"}


def test_followers_of_which_none_keeps_up_go_on() -> None:
    late = dataclasses.replace(FOLLOWER, delay_seconds=60.0)
    assert readers(BASE, [LEADER, late], Limits()) == {"b"}


def test_leader_is_left_when_no_follower_is() -> None:
    far_behind = dataclasses.replace(FOLLOWER, applied_sequence=89)
    gone = dataclasses.replace(ANOTHER, readable=False)
    assert readers(BASE, [LEADER, far_behind, gone], Limits(transactions=10)) == frozenset()


def test_while_nobody_leads_any_server_is_better_than_none() -> None:
    far_behind = dataclasses.replace(FOLLOWER, applied_sequence=89)
    gone = dataclasses.replace(ANOTHER, readable=False)
    assert readers(NOBODY_LEADS, [far_behind, gone], Limits(transactions=10)) == {"b"}
    assert readers(NOBODY_LEADS, [far_behind, ANOTHER], Limits(transactions=10)) == {"c"}


def test_old_leader_is_a_follower_like_others() -> None:
    assert readers(NOBODY_LEADS, [LEADER, FOLLOWER], Limits()) == {"a", "b"}


def test_node_with_the_fewest_sessions_is_chosen() -> None:
    sessions = {"b": 3, "c": 2, "d": 2}
    assert least_used(sessions, sessions.__getitem__) == "c"
    assert least_used([], len) is None


@pytest.mark.parametrize(("sessions", "least"), [(1, 0), (3, 2), (100, 76), (0, 0)])
def test_spread_that_is_nearly_even_stays(sessions: int, least: int) -> None:
    assert excess(sessions, least) == 0


@given(st.lists(st.integers(0, 500), min_size=2, max_size=5))
def test_sessions_move_a_few_at_a_time_until_the_spread_is_even(counts: list[int]) -> None:
    for _ in range(1000):
        moves = [excess(count, min(counts)) for count in counts]
        if not any(moves):
            break
        before = counts[:]
        for number, most in enumerate(moves):
            assert most <= before[number] // MOVING_SHARE + 1
            for _ in range(most):
                other = counts.index(min(counts))
                if is_uneven(counts[number], counts[other]):
                    counts[number] -= 1
                    counts[other] += 1
        assert sum(counts) == sum(before)
        assert max(counts) <= max(before)
    # No session moves any more, and none has a server with a quarter more than another.
    assert max(counts) - min(counts) <= max(1, max(counts) // 4)


def test_newest_term_is_believed_and_then_the_leader_itself() -> None:
    old = View(node="a", term=3, leader="a", writable=True)
    follower = View(node="b", term=4, leader="c")
    leader = View(node="c", term=4, leader="c", writable=True)
    told = View(node="d", term=4, leader="c", writable=True)
    assert best_informed([old, follower]) is follower
    assert best_informed([old, follower, told]) is told
    assert best_informed([told, old, follower, leader]) is leader
    assert best_informed([told, View(node="b", term=4, leader="c", writable=True)], told) is told
    assert best_informed([], told) is None


def test_what_other_terms_know_as_committed_does_not_count() -> None:
    views = [
        View(node="a", term=4, committed_sequence=7),
        View(node="b", term=4, committed_sequence=9),
        View(node="c", term=5, committed_sequence=30),
        View(node="d", term=3, committed_sequence=20),
    ]
    assert committed(views[0], views) == 9


def test_session_sees_who_leads_and_how_far_its_own_server_is() -> None:
    node = View(node="b", term=2, number=2, applied_sequence=70, committed_sequence=80, readable=True)
    seen = reader_view(BASE, node, ready=True)
    assert (seen.node, seen.elsewhere, seen.database_ready, seen.is_leader) == ("b", True, True, False)
    assert (seen.term, seen.leader, seen.committed_sequence, seen.applied_sequence) == (3, "a", 100, 70)
    assert not reader_view(BASE, node, ready=False).database_ready
    assert reader_view(BASE, node, ready=True, crowded=True).crowded
    assert not reader_view(BASE, node, ready=False, crowded=True).crowded


def test_session_without_another_server_takes_the_leaders_for_its_own() -> None:
    alone = leader_view(BASE, alone=True)
    assert alone.is_leader
    assert alone.database_ready
    assert alone.node == ""
    # With followers it has to choose, and without a leader it has to wait.
    assert not leader_view(BASE, alone=False).database_ready
    assert not leader_view(NOBODY_LEADS, alone=True).is_leader


def test_server_that_has_everything_has_no_delay() -> None:
    delay = Delay()
    delay.update(10.0, committed=5, applied=5)
    assert delay.seconds(60.0) == 0.0


def test_delay_grows_until_what_was_committed_then_is_applied() -> None:
    delay = Delay()
    delay.update(10.0, committed=5, applied=4)
    delay.update(12.0, committed=90, applied=4)
    assert delay.seconds(13.0) == 3.0
    # The burst that came later is waited for from now on.
    delay.update(14.0, committed=90, applied=5)
    assert delay.seconds(14.0) == 0.0
    assert delay.seconds(15.0) == 1.0
    delay.update(16.0, committed=90, applied=90)
    assert delay.seconds(17.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.integers(0, 5), st.integers(0, 5)), max_size=50))
def test_delay_is_never_longer_than_since_the_server_last_had_everything(
    steps: list[tuple[float, int, int]],
) -> None:
    delay, now, committed_sequence, applied, level_at = Delay(), 0.0, 0, 0, 0.0
    for seconds, written, caught_up in steps:
        now += seconds
        committed_sequence += written
        applied = min(committed_sequence, applied + caught_up)
        delay.update(now, committed=committed_sequence, applied=applied)
        if applied == committed_sequence:
            level_at = now
            assert delay.seconds(now) == 0.0
        assert 0.0 <= delay.seconds(now) <= now - level_at
