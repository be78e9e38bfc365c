"""Sessions that ask for ids at the same time, some of which go away while they wait."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.id_requests import MAX_IDS, IdRequests


class Node:
    """Counts up; answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gate = trio.Event()
        self.failure = ""
        self.next = 1

    async def ask(self, count: int) -> list[int]:
        self.asked.append(count)
        await self.gate.wait()
        if self.failure:
            raise ControlLost(self.failure)
        assert 1 <= count <= MAX_IDS
        self.next += count
        return list(range(self.next - count, self.next))


async def test_those_who_ask_during_a_request_share_the_next() -> None:
    node = Node()
    requests = IdRequests(node.ask)
    taken: list[list[int]] = []

    async def take(count: int) -> None:
        taken.append(await requests.take(count))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, 1)
        await trio.testing.wait_all_tasks_blocked()
        for count in (2, 3, 4):
            nursery.start_soon(take, count)
            await trio.testing.wait_all_tasks_blocked()
        assert node.asked == [1]
        node.gate.set()
    assert node.asked == [1, 9]
    assert sorted(taken) == [[1], [2, 3], [4, 5, 6], [7, 8, 9, 10]]


async def test_more_than_one_request_may_hold_is_asked_for_in_several() -> None:
    node = Node()
    node.gate.set()
    requests = IdRequests(node.ask)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(requests.take, MAX_IDS // 2 + 1)
    assert node.next == 1 + 5 * (MAX_IDS // 2 + 1)
    assert max(node.asked) <= MAX_IDS


async def test_failure_is_everybodys_who_waited_for_that_request_only() -> None:
    node = Node()
    node.failure = "the clock is wrong"
    requests = IdRequests(node.ask)
    failed: list[str] = []

    async def fail() -> None:
        with pytest.raises(ControlLost, match="the clock is wrong") as caught:
            await requests.take(1)
        failed.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        node.gate.set()
    assert len(failed) == 3
    node.failure = ""
    assert await requests.take(1) == [1]


@given(
    counts=st.lists(st.integers(1, MAX_IDS), min_size=1, max_size=12),
    cancelled=st.sets(st.integers(0, 11)),
    answered_first=st.booleans(),
)
def test_whoever_stays_gets_ids_and_nobody_the_same(
    counts: Sequence[int], cancelled: set[int], answered_first: bool
) -> None:
    taken: dict[int, list[int]] = {}

    async def run() -> None:
        node = Node()
        requests = IdRequests(node.ask)
        scopes = [trio.CancelScope() for _ in counts]

        async def take(number: int) -> None:
            with scopes[number]:
                taken[number] = await requests.take(counts[number])

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(len(counts)):
                    nursery.start_soon(take, number)
                await trio.testing.wait_all_tasks_blocked()
                if answered_first:
                    node.gate.set()
                for number in cancelled & set(range(len(counts))):
                    scopes[number].cancel()
                    await trio.lowlevel.checkpoint()
                node.gate.set()
            assert await requests.take(1) == [node.next - 1]

    trio.run(run)
    for number, count in enumerate(counts):
        if number not in cancelled:
            assert len(taken[number]) == count
    everything = [id for ids in taken.values() for id in ids]
    assert len(everything) == len(set(everything))
    assert all(ids == sorted(ids) for ids in taken.values())
