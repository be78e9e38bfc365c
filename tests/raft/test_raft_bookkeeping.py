"""Quorums, progress and the queue of reads: the pure parts."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from wolfscale.raft import Index, NodeId, RaftConfig
from wolfscale.raft.progress import Progress, Stream
from wolfscale.raft.quorum import Tally, majority, reached_by_majority, tally
from wolfscale.raft.readindex import ReadQueue

CONFIG = RaftConfig(
    id=NodeId("n1"), election_ticks=10, heartbeat_ticks=2, max_inflight_bytes=100, max_inflight_messages=3
)


def a_stream(next_index: int = 1) -> Progress:
    progress = Progress(CONFIG, next_index=Index(next_index), now=0)
    progress.accepted(Index(next_index - 1))
    return progress


@given(st.lists(st.integers(0, 20), min_size=1, max_size=7))
def test_quorum_value_is_reached_by_a_majority_and_the_next_is_not(values: list[int]) -> None:
    reached = reached_by_majority(values)
    assert sum(value >= reached for value in values) >= majority(len(values))
    assert sum(value > reached for value in values) < majority(len(values))
    if len(values) % 2:
        assert reached == statistics.median(values)


def test_quorum_without_voters_reaches_nothing() -> None:
    assert reached_by_majority([]) == 0
    assert tally([], {}) is not Tally.WON


def test_tally_of_four_needs_three() -> None:
    assert tally("abcd", {"a": True, "b": True}) is Tally.PENDING
    assert tally("abcd", {"a": True, "b": True, "c": True}) is Tally.WON
    assert tally("abcd", {"a": False, "b": False}) is Tally.LOST


def test_tally_strangers_are_not_counted() -> None:
    assert tally("abc", {"a": True, "x": True, "y": True}) is Tally.PENDING


def test_progress_window_by_bytes_is_full_until_acknowledged() -> None:
    progress = a_stream()
    progress.sent(Index(4), 99)
    assert not progress.full
    progress.sent(Index(5), 1)
    assert progress.full
    progress.accepted(Index(4))
    assert (progress.full, progress.inflight_bytes) == (False, 1)


def test_progress_window_by_messages_is_full_until_acknowledged() -> None:
    progress = a_stream()
    for index in (1, 2, 3):
        progress.sent(Index(index), 0)
    assert progress.full
    progress.accepted(Index(3))
    assert not progress.full


def test_progress_refused_stream_begins_again_after_what_is_known() -> None:
    progress = a_stream(5)
    progress.sent(Index(9), 10)
    progress.rejected(Index(7), Index(6))
    assert (progress.stream, progress.next_index, progress.inflight_bytes) == (Stream.PROBE, 5, 0)


def test_progress_refusal_of_what_was_acknowledged_is_old() -> None:
    progress = a_stream(5)
    progress.sent(Index(9), 10)
    progress.rejected(Index(4), Index(1))
    assert (progress.stream, progress.next_index) == (Stream.REPLICATE, 10)


def test_progress_probe_waits_for_its_own_answer() -> None:
    progress = Progress(CONFIG, next_index=Index(9), now=0)
    progress.sent(Index(8), 0)
    assert progress.paused
    progress.rejected(Index(5), Index(2))
    assert progress.paused
    progress.rejected(Index(8), Index(3))
    assert (progress.paused, progress.next_index) == (False, 4)


def test_progress_probe_always_goes_back_at_least_one() -> None:
    progress = Progress(CONFIG, next_index=Index(9), now=0)
    progress.rejected(Index(8), Index(8))
    assert progress.next_index == 8


def test_read_queue_reads_between_rounds_share_the_next() -> None:
    reads = ReadQueue()
    reads.add(b"a", Index(1))
    reads.add(b"b", Index(2))
    assert reads.begin_round()
    assert not reads.begin_round()
    reads.add(b"c", Index(3))
    assert reads.begin_round()
    assert reads.confirmed(1) == [(b"a", 1), (b"b", 2)]
    assert reads.confirmed(1) == []
    assert reads.confirmed(2) == [(b"c", 3)]


def test_read_queue_early_reads_see_the_first_commit_of_the_term() -> None:
    reads = ReadQueue()
    reads.add(b"early", None)
    assert not reads.begin_round()
    reads.term_committed(Index(7))
    assert reads.begin_round()
    assert reads.confirmed(1) == [(b"early", 7)]
