"""Waiting for commits and reads, and the clock."""

import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.node.clock import MAX_TICKS_AT_ONCE, Ticker
from wolfscale.node.errors import NodeStopped
from wolfscale.node.waiters import CommitWaiters, ReadWaiters
from wolfscale.raft.errors import LogCompacted, NotLeader, ProposalDropped, ProposalUncertain
from wolfscale.raft.types import Index, Term


def term_at(index: Index) -> Term:
    if index < 5:
        raise LogCompacted(index, Index(4))
    return Term(2)


async def test_commit_waiter_learns_what_became_of_its_entry() -> None:
    waiters = CommitWaiters(term_at)
    kept = waiters.add(Index(7), Term(2), Index(0))
    replaced = waiters.add(Index(6), Term(1), Index(0))
    forgotten = waiters.add(Index(3), Term(1), Index(0))
    later = waiters.add(Index(8), Term(2), Index(0))
    waiters.advance(Index(7))
    assert await kept.wait() == 7
    with pytest.raises(ProposalDropped, match="gave way"):
        await replaced.wait()
    with pytest.raises(ProposalUncertain):
        await forgotten.wait()
    waiters.fail(NodeStopped("the node was stopped"))
    with pytest.raises(NodeStopped):
        await later.wait()
    assert await waiters.add(Index(7), Term(2), Index(7)).wait() == 7


@given(st.lists(st.integers(5, 30)), st.integers(5, 30))
def test_commit_waiters_are_released_up_to_the_commit_index(indexes: list[int], commit: int) -> None:
    waiters = CommitWaiters(term_at)
    outcomes = [(index, waiters.add(Index(index), Term(2), Index(0))) for index in indexes]
    waiters.advance(Index(commit))
    assert all(outcome.done == (index <= commit) for index, outcome in outcomes)


async def test_reads_of_one_round_share_one_question() -> None:
    asked: list[bytes] = []
    reads = ReadWaiters()
    first, second = reads.request(), reads.request()
    reads.ask(asked.append)
    third = reads.request()
    reads.ask(asked.append)
    reads.ask(asked.append)
    assert len(asked) == 2
    reads.confirm([(asked[0], Index(3)), (b"unknown", Index(1))])
    assert await first.wait() == await second.wait() == 3
    reads.leadership_ended(None)
    with pytest.raises(NotLeader):
        await third.wait()


async def test_read_that_cannot_be_asked_fails_at_once() -> None:
    def refuse(_context: bytes) -> None:
        raise NotLeader(None)

    reads = ReadWaiters()
    outcome = reads.request()
    reads.ask(refuse)
    with pytest.raises(NotLeader):
        await outcome.wait()
    unasked = reads.request()
    reads.stop(NodeStopped("the node was stopped"))
    with pytest.raises(NodeStopped):
        await unasked.wait()


@pytest.mark.autojump
async def test_ticker_gives_one_tick_an_interval() -> None:
    ticker = Ticker(0.1)
    started = trio.current_time()
    assert sum([await ticker.due() for _ in range(50)]) == 50
    assert trio.current_time() - started == pytest.approx(5.0)
    assert ticker.dropped == 0


async def test_ticker_does_not_make_up_for_a_stall() -> None:
    ticker = Ticker(0.01)
    await ticker.due()
    time.sleep(0.2)  # noqa: ASYNC251 (the stall itself)
    assert await ticker.due() == MAX_TICKS_AT_ONCE
    assert ticker.dropped >= 10
    assert await ticker.due() <= MAX_TICKS_AT_ONCE
