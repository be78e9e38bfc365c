from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.errors import InvariantError
from wolfscale.raft import Entry, EntryKind, Index, LogBase, LogCompacted, Term
from wolfscale.raft.log import RaftLog
from wolfscale.testing.raft_disk import ChainedLog


def entries(first: int, *terms: int, size: int = 1) -> list[Entry]:
    return [
        Entry(index=Index(index), term=Term(term), kind=EntryKind.EVENTS, data=b"x" * size)
        for index, term in enumerate(terms, first)
    ]


def hand_out(log: RaftLog, reader: ChainedLog, number: int) -> None:
    base, tail = log.hand_out()
    if base is not None:
        reader.reset(base, 0)
    if tail:
        reader.write(tail)
    log.awaiting(number)


def a_log(*terms: int, base: int = 0, base_term: int = 0) -> tuple[RaftLog, ChainedLog]:
    reader = ChainedLog(LogBase(index=Index(base), term=Term(base_term)))
    if terms:
        reader.write(entries(base + 1, *terms))
    return RaftLog(reader), reader


def test_log_appended_entries_are_durable_only_when_persisted() -> None:
    log, reader = a_log()
    log.append(entries(1, 1, 1))
    assert (log.last_index, log.persisted_index) == (2, 0)
    hand_out(log, reader, 1)
    assert log.persisted_index == 0
    log.persisted(1)
    assert log.persisted_index == 2


def test_log_overwritten_entries_take_back_what_earlier_readys_prove() -> None:
    log, reader = a_log()
    log.append(entries(1, 1, 1, 1, 1))
    hand_out(log, reader, 1)
    log.append(entries(3, 2))
    hand_out(log, reader, 2)
    log.persisted(1)
    assert log.persisted_index == 2
    log.persisted(2)
    assert log.persisted_index == 3


def test_log_overwriting_durable_entries_lowers_the_persisted_index() -> None:
    log, _ = a_log(1, 1, 1)
    log.append(entries(2, 2))
    assert (log.last_index, log.last_term, log.persisted_index) == (2, 2, 1)


def test_log_overwriting_the_tail_keeps_its_start() -> None:
    log, reader = a_log(1)
    log.append(entries(2, 1, 1, 1))
    log.append(entries(3, 2))
    assert [log.term(Index(index)) for index in range(4)] == [0, 1, 1, 2]
    hand_out(log, reader, 1)
    assert reader.last_index == 3


def test_log_installed_base_is_durable_only_when_persisted() -> None:
    log, reader = a_log(1, 1, 1)
    log.install(LogBase(index=Index(10), term=Term(2)))
    assert (log.last_index, log.last_term, log.term(Index(10)), log.persisted_index) == (10, 2, 2, 0)
    log.append(entries(11, 3))
    hand_out(log, reader, 1)
    assert log.base.index == 10
    log.persisted(1)
    assert log.persisted_index == 11


def test_log_term_below_base_is_compacted() -> None:
    log, _ = a_log(3, 4, base=5, base_term=2)
    with pytest.raises(LogCompacted):
        log.term(Index(4))


def test_log_term_beyond_the_end_is_a_bug() -> None:
    log, _ = a_log(1)
    with pytest.raises(InvariantError):
        log.term(Index(2))


def test_log_append_with_a_hole_is_a_bug() -> None:
    log, _ = a_log(1)
    with pytest.raises(InvariantError):
        log.append(entries(3, 1))


def test_log_append_over_the_base_is_a_bug() -> None:
    log, _ = a_log(1, base=5)
    with pytest.raises(InvariantError):
        log.append(entries(5, 1))


def test_log_entries_span_handed_out_and_tail() -> None:
    log, _ = a_log(1, 1)
    log.append(entries(3, 1, 1))
    assert [entry.index for entry in log.entries(Index(2), Index(4), 100)] == [2, 3, 4]
    assert [entry.index for entry in log.entries(Index(2), Index(4), 2)] == [2, 3]
    assert [entry.index for entry in log.entries(Index(1), Index(2), 100)] == [1, 2]


def test_log_entries_one_is_given_however_large() -> None:
    log, _ = a_log(1)
    log.append(entries(2, 1, 1, size=50))
    assert [entry.index for entry in log.entries(Index(1), Index(3), 1)] == [1]
    assert [entry.index for entry in log.entries(Index(2), Index(3), 1)] == [2]


TERMS = st.lists(st.integers(1, 5), min_size=1, max_size=12).map(sorted)


@given(TERMS, TERMS)
def test_log_agreement_is_never_below_the_true_one(mine: Sequence[int], theirs: Sequence[int]) -> None:
    """Follower and leader each find a place, in turn; the place cannot be too low for logs that match."""
    follower, _ = a_log(*mine)
    leader, _ = a_log(*theirs)
    shared = 0
    while shared < min(len(mine), len(theirs)) and mine[shared] == theirs[shared]:
        shared += 1
    hint_index, hint_term = follower.find_agreement(leader.last_index, leader.last_term)
    agreement, term = leader.find_agreement(hint_index, hint_term)
    assert agreement >= shared
    assert agreement <= hint_index <= len(mine)
    assert leader.term(agreement) == term <= hint_term


@given(st.data())
def test_log_random_overwrites_read_back_as_a_plain_list(data: st.DataObject) -> None:
    log, reader = a_log()
    model: list[int] = []
    term = 1
    for number in range(1, 12):
        first = data.draw(st.integers(1, len(model) + 1))
        if first <= len(model):
            term += 1
        count = data.draw(st.integers(1, 4))
        log.append(entries(first, *[term] * count))
        model[first - 1 :] = [term] * count
        if data.draw(st.booleans()):
            hand_out(log, reader, number)
        if data.draw(st.booleans()):
            log.persisted(data.draw(st.integers(0, number)))
        assert log.last_index == len(model)
        assert [log.term(Index(index + 1)) for index in range(len(model))] == model
        assert log.persisted_index <= reader.last_index
        assert [e.term for e in log.entries(Index(1), log.last_index, 1 << 20)] == model
