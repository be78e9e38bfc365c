"""A node's ids: number, lease and mark, from a place in a cluster that the test decides on."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
import trio

from wolfscale.app.ids import MARK_FILE, Mark, NodeIds
from wolfscale.changes import Changes
from wolfscale.ids import EPOCH_MS, LEASE_MS, MAX_COUNT, QUARANTINE_MS, IdError, IdsUnavailable, parse_id

NOW_MS = EPOCH_MS + 28_000_000_000


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # The mock clock would jump over every deadline while a thread works.
    async def run_here(function: Callable[..., Any], *arguments: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_here)


class FakePlace:
    """A member as long as the test says so."""

    def __init__(self, number: int, *, majority: bool = True) -> None:
        self.changes = Changes()
        self.number = number
        self.majority = majority
        self.asked = 0

    async def confirm(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.majority and self.number != 0

    def become(self, number: int) -> None:
        self.number = number
        self.changes.notify()


class Clock:
    """Runs with trio's, and can be set."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def __call__(self) -> int:
        return NOW_MS + self.shift_ms + round(1000 * trio.current_time())


@asynccontextmanager
async def ids_of(place: FakePlace, directory: Path, clock: Clock | None = None) -> AsyncIterator[NodeIds]:
    clock = clock or Clock()
    ids = NodeIds(place, directory, clock=clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ids.run)
        yield ids
        nursery.cancel_scope.cancel()


@pytest.mark.autojump
async def test_ids_ascend_across_restarts_however_the_clock_is_set_back(tmp_path: Path) -> None:
    clock, given = Clock(), []
    place = FakePlace(5)
    for shift_ms in (0, 0, -1000, -60_000, 5, 100_000, -500_000):
        clock.shift_ms += shift_ms
        async with ids_of(place, tmp_path, clock) as ids:
            for count in (1, 3, MAX_COUNT, 1):
                given += await ids.take(count)
    assert given == sorted(set(given))
    assert {parse_id(id).node for id in given} == {5}


@pytest.mark.autojump
async def test_mark_is_on_disk_before_ids_are_given(tmp_path: Path) -> None:
    async with ids_of(FakePlace(5), tmp_path) as ids:
        assert not (tmp_path / MARK_FILE).exists()
        for _ in range(100):
            taken = await ids.take(10)
            mark = msgspec.json.decode((tmp_path / MARK_FILE).read_bytes(), type=Mark)
            assert mark.number == 5
            assert parse_id(taken[-1]).time_ms < mark.mark_ms
            await trio.sleep(0.1)


@pytest.mark.autojump
async def test_many_who_ask_at_once_get_different_ids(tmp_path: Path) -> None:
    given: list[int] = []

    async def ask() -> None:
        for _ in range(20):
            given.extend(await ids.take(7))

    async with ids_of(FakePlace(5), tmp_path) as ids:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert len(given) == len(set(given)) == 7000 == ids.given


@pytest.mark.autojump
async def test_node_that_is_no_member_gives_none_until_it_is_one(tmp_path: Path) -> None:
    place = FakePlace(0)
    async with ids_of(place, tmp_path) as ids:
        with pytest.raises(IdsUnavailable, match="no member of its cluster"):
            await ids.take(1)
        place.become(9)
        assert parse_id((await ids.take(1))[0]).node == 9
        place.become(0)
        with pytest.raises(IdsUnavailable, match="no member of its cluster"):
            await ids.take(1)


@pytest.mark.autojump
async def test_node_without_a_majority_gives_ids_until_its_lease_ends(tmp_path: Path) -> None:
    place = FakePlace(5)
    async with ids_of(place, tmp_path) as ids:
        await ids.take(1)
        place.majority = False
        await trio.sleep(LEASE_MS / 1000 / 2)
        await ids.take(1)
        await trio.sleep(LEASE_MS / 1000 / 2)
        with pytest.raises(IdsUnavailable, match="no majority"):
            await ids.take(1)
        place.majority = True
        await ids.take(1)


@pytest.mark.autojump
async def test_restarted_node_gives_none_before_a_majority_has_answered(tmp_path: Path) -> None:
    place = FakePlace(5, majority=False)
    async with ids_of(place, tmp_path) as ids:
        with pytest.raises(IdsUnavailable, match="no majority"):
            await ids.take(1)


@pytest.mark.autojump
async def test_node_that_slept_for_hours_asks_before_it_gives_ids(tmp_path: Path) -> None:
    clock, place = Clock(), FakePlace(5)
    async with ids_of(place, tmp_path, clock) as ids:
        await ids.take(1)
        clock.shift_ms += 5 * LEASE_MS
        asked = place.asked
        await ids.take(1)
        assert place.asked > asked


@pytest.mark.autojump
async def test_idle_node_asks_the_cluster_a_few_times_an_hour_only(tmp_path: Path) -> None:
    place = FakePlace(5)
    async with ids_of(place, tmp_path):
        await trio.sleep(3600)
        assert place.asked < 10


@pytest.mark.autojump
async def test_clock_far_behind_the_last_ids_is_told_as_the_reason(tmp_path: Path) -> None:
    clock, place = Clock(), FakePlace(5)
    async with ids_of(place, tmp_path, clock) as ids:
        await ids.take(1)
        clock.shift_ms -= 2 * LEASE_MS
        await ids.take(1)
    async with ids_of(place, tmp_path, clock) as ids:
        with pytest.raises(IdsUnavailable, match="set the clock right") as caught:
            await ids.take(1)
        assert caught.value.retry_ms >= LEASE_MS
        clock.shift_ms += LEASE_MS + 10_000
        await ids.take(1)


@pytest.mark.autojump
async def test_number_whose_ten_bits_were_used_waits_and_goes_on_waiting_after_a_restart(
    tmp_path: Path,
) -> None:
    clock, place = Clock(), FakePlace(1030)
    async with ids_of(place, tmp_path, clock) as ids:
        await trio.sleep(1)
        with pytest.raises(IdsUnavailable, match="begins in 120 minutes") as caught:
            await ids.take(1)
        assert caught.value.retry_ms <= QUARANTINE_MS
        await trio.sleep(QUARANTINE_MS / 1000 / 2)
    async with ids_of(place, tmp_path, clock) as ids:
        await trio.sleep(1)
        with pytest.raises(IdsUnavailable, match="begins in 60 minutes"):
            await ids.take(1)
        await trio.sleep(QUARANTINE_MS / 1000 / 2)
        assert parse_id((await ids.take(1))[0]).node == 6


@pytest.mark.autojump
async def test_new_member_on_an_old_disk_begins_behind_the_old_mark(tmp_path: Path) -> None:
    clock = Clock()
    async with ids_of(FakePlace(5), tmp_path, clock) as ids:
        (old,) = await ids.take(1)
    clock.shift_ms -= 10_000
    async with ids_of(FakePlace(6), tmp_path, clock) as ids:
        (new,) = await ids.take(1)
    assert parse_id(new).node == 6
    assert parse_id(new).time_ms > parse_id(old).time_ms


@pytest.mark.autojump
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"number": 5, "mark_ms": 99999999999999999}', b"\xff" * 40],
    ids=["empty", "cut", "beyond", "noise"],
)
async def test_damaged_mark_is_waited_out(tmp_path: Path, content: bytes) -> None:
    clock = Clock()
    async with ids_of(FakePlace(5), tmp_path, clock) as ids:
        (old,) = await ids.take(1)
    (tmp_path / MARK_FILE).write_bytes(content)
    async with ids_of(FakePlace(5), tmp_path, clock) as ids:
        await trio.sleep(1)
        with pytest.raises(IdsUnavailable, match="damaged"):
            await ids.take(1)
        await trio.sleep(QUARANTINE_MS / 1000)
        assert (await ids.take(1))[0] > old


@pytest.mark.autojump
async def test_full_disk_is_told_as_the_reason_and_ids_go_on_afterwards(tmp_path: Path) -> None:
    async with ids_of(FakePlace(5), tmp_path) as ids:
        full = OSError(errno.ENOSPC, "No space left on device")
        with (
            patch("wolfscale.app.ids.replace_file", side_effect=full),
            pytest.raises(IdsUnavailable, match="No space left"),
        ):
            await ids.take(1)
        await ids.take(1)


@pytest.mark.autojump
@pytest.mark.parametrize("count", [0, -3, MAX_COUNT + 1])
async def test_count_out_of_bounds_is_refused(tmp_path: Path, count: int) -> None:
    async with ids_of(FakePlace(5), tmp_path) as ids:
        with pytest.raises(IdError, match="ask for 1 to 4096"):
            await ids.take(count)
        await ids.take(1)
