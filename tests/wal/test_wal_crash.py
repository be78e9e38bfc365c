"""Power cuts and kills: what had been synced is there, whatever else the disk kept."""

import contextlib
import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wal_model import DIRECTORY, check, content, open_log, record, records, segment, settled

from wolfscale.testing.faulty_disk import Fault, FaultyDisk, PowerCut
from wolfscale.wal import Record, Wal, WalCorrupt, WalError, WalSyncFailed


def interrupted(
    disk: FaultyDisk, step: Callable[[Wal], None], operations: int, *, segment_bytes: int = 1 << 20
) -> FaultyDisk:
    """The disk after the step was stopped by a power cut at that operation, nothing lost or kept yet."""
    disk = disk.after_kill()
    log = open_log(disk, segment_bytes=segment_bytes)
    disk.stop_after = operations
    with pytest.raises(PowerCut):
        step(log)
    return disk


def operations_of(disk: FaultyDisk, step: Callable[[Wal], None], *, segment_bytes: int = 1 << 20) -> int:
    disk = disk.after_kill()
    log = open_log(disk, segment_bytes=segment_bytes)
    before = disk.operations
    step(log)
    return disk.operations - before


def every_outcome(disk: FaultyDisk, *, most: int = 8) -> list[FaultyDisk]:
    """Every subset of the unsynced steps; of many: every beginning, every gap and some at random."""
    count = disk.unsynced
    if count <= most:
        kept = [
            set(subset) for size in range(count + 1) for subset in itertools.combinations(range(count), size)
        ]
    else:
        kept = [set(range(size)) for size in range(count + 1)]
        kept += [set(range(count)) - {gap} for gap in range(count)]
        chance = random.Random(count)
        kept += [{place for place in range(count) if chance.random() < 0.5} for _ in range(60)]
    return [disk.after_power_cut(subset.__contains__) for subset in kept]


def prefixes(old: Sequence[Record], new: Sequence[Record]) -> list[list[Record]]:
    """What a log may be after an append of `new` to `old` that was not finished."""
    kept = [each for each in old if each.index < new[0].index]
    return [list(old)] + [kept + list(new[:count]) for count in range(len(new) + 1)]


@pytest.mark.parametrize("first", [6, 11])
@pytest.mark.parametrize("sector_bytes", [64, 512])
def test_append_cut_by_power_leaves_the_old_log_or_a_beginning_of_the_new(
    first: int, sector_bytes: int
) -> None:
    disk = FaultyDisk(sector_bytes=sector_bytes)
    log = open_log(disk)
    old = records(1, 10)
    log.append(old)
    new = [record(index, term=2, size=150, key=index) for index in range(first, first + 3)]

    def step(log: Wal) -> None:
        log.append(new)

    disk = settled(disk)
    allowed = prefixes(old, new)
    for operations in range(operations_of(disk, step)):
        for found in every_outcome(interrupted(disk, step, operations)):
            log = open_log(found)
            assert content(log) in allowed
            # It goes on from there, and what it says is durable by then.
            following = records(log.last_index + 1, 3, term=3)
            expected = content(log)
            check(open_log(found.after_power_cut(lambda place: False)), expected)
            log.append(following)
            check(open_log(found.after_power_cut(lambda place: False)), expected + following)


def test_append_of_several_batches_cut_by_power_leaves_whole_batches() -> None:
    disk = FaultyDisk(sector_bytes=32 << 10)
    log = open_log(disk)
    old = records(1, 10)
    log.append(old)
    chance = random.Random(1)
    new = [Record(index, 2, 2, index, chance.randbytes(90_000)) for index in range(8, 16)]

    def step(log: Wal) -> None:
        log.append(new)

    disk = settled(disk)
    allowed = prefixes(old, new)
    seen = set()
    for operations in range(operations_of(disk, step)):
        for found in every_outcome(interrupted(disk, step, operations)):
            what = content(open_log(found))
            assert what in allowed
            seen.add(len(what))
    assert len(seen) > 2


def test_new_segment_cut_by_power_leaves_the_old_log_or_the_new() -> None:
    disk = FaultyDisk(sector_bytes=512)
    log = open_log(disk, segment_bytes=100)
    old = records(1, 10)
    log.append(old)
    new = records(8, 5, term=2)

    def step(log: Wal) -> None:
        log.append(new)

    disk = settled(disk)
    allowed = prefixes(old, new)
    total = operations_of(disk, step, segment_bytes=100)
    assert total >= 9  # summary, header, name, batch: each written and synced
    for operations in range(total):
        for found in every_outcome(interrupted(disk, step, operations, segment_bytes=100)):
            log = open_log(found, segment_bytes=100)
            assert content(log) in allowed
            expected = [each for each in content(log) if each.index < 10] + records(10, 2, term=3)
            log.append(records(10, 2, term=3))
            check(open_log(found.after_power_cut(lambda place: False)), expected)


@pytest.mark.parametrize("after", [False, True])
def test_reset_cut_by_power_leaves_the_old_log_or_an_empty_one(after: bool) -> None:
    disk = FaultyDisk(sector_bytes=4096)
    log = open_log(disk, segment_bytes=200)
    old = [*records(1, 10), *records(11, 10)]
    log.append(old[:10])
    log.append(old[10:])

    def step(log: Wal) -> None:
        log.reset(100, 7, b"base")
        if after:
            log.append(records(101, 2, term=8))

    disk = settled(disk)
    seen = set()
    for operations in range(operations_of(disk, step, segment_bytes=200)):
        for found in every_outcome(interrupted(disk, step, operations, segment_bytes=200)):
            log = open_log(found)
            if log.base_index:
                assert (log.base_index, log.base_term, log.base_data) == (100, 7, b"base")
                assert content(log) in prefixes([], records(101, 2, term=8))
            else:
                check(log, old)
            seen.add(log.base_index)
    assert seen == {0, 100}


def test_truncate_prefix_cut_by_power_leaves_the_old_base_or_the_new() -> None:
    disk = FaultyDisk(sector_bytes=4096)
    log = open_log(disk, segment_bytes=200)
    old = records(1, 60)
    for first in range(0, 60, 10):
        log.append(old[first : first + 10])
    disk = settled(disk)

    def step(log: Wal) -> None:
        log.truncate_prefix(30, b"base")

    seen = set()
    for operations in range(operations_of(disk, step)):
        for found in every_outcome(interrupted(disk, step, operations)):
            log = open_log(found)
            check(log, old[log.base_index :])
            assert log.base_data == (b"base" if log.base_index else b"")
            seen.add(log.base_index)
    assert seen == {0, 30}


def test_log_begun_and_cut_by_power_is_empty() -> None:
    total = FaultyDisk(sector_bytes=4096)
    open_log(total)
    for operations in range(total.operations):
        disk = FaultyDisk(sector_bytes=4096)
        disk.stop_after = operations
        with pytest.raises(PowerCut):
            open_log(disk)
        for found in every_outcome(disk):
            log = open_log(found)
            check(log, [])
            log.append(records(1, 2))
            check(open_log(found.after_power_cut(lambda place: False)), records(1, 2))


def test_open_after_a_kill_makes_durable_what_it_found() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 3))
    disk.stop_after = 1
    with pytest.raises(PowerCut):
        log.append(records(4, 3))  # written, not synced
    disk = disk.after_kill()
    check(open_log(disk), records(1, 6))
    check(open_log(disk.after_power_cut(lambda step: False)), records(1, 6))


def test_open_after_a_failed_sync_makes_durable_what_it_found() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 3))
    disk.faults.append(Fault(operation="sync"))
    with pytest.raises(WalSyncFailed):
        log.append(records(4, 3))
    # The kernel holds the pages for clean: a second sync alone would write nothing.
    disk = disk.after_kill()
    check(open_log(disk), records(1, 6))
    check(open_log(disk.after_power_cut(lambda step: False)), records(1, 6))


def test_tail_cut_at_every_byte_is_cut_or_refused() -> None:
    disk = FaultyDisk(sector_bytes=16)
    log = open_log(disk)
    log.append(records(1, 3))
    mark = disk.content(DIRECTORY / "synced")
    synced = len(disk.content(segment(1)))
    log.append(records(4, 3))
    whole = disk.content(segment(1))
    disk = settled(disk)
    for size in range(len(whole)):
        cut = disk.copy().after_kill()
        cut.set_content(segment(1), whole[:size])
        with pytest.raises(WalCorrupt) as caught:
            open_log(cut)
        assert caught.value.file == segment(1)
        assert caught.value.offset <= size
        assert cut.content(segment(1)) == whole[:size]  # nothing was changed
        # The same with the last append not known as synced: a torn tail.
        cut.set_content(DIRECTORY / "synced", mark)
        if size >= synced:
            check(open_log(cut), records(1, 3))
        else:
            with pytest.raises(WalCorrupt):
                open_log(cut)


def test_damage_before_a_later_append_is_refused_though_the_mark_lags() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    mark = disk.content(DIRECTORY / "synced")
    for first in (1, 4, 7):
        log.append(records(first, 3))
    disk = settled(disk)
    disk.set_content(DIRECTORY / "synced", mark)
    whole = disk.content(segment(1))
    last = whole.rindex(b"\xf5WB1")
    for place in range(32, last):
        damaged = disk.after_kill()
        damaged.set_content(segment(1), whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(WalCorrupt) as caught:
            open_log(damaged)
        assert caught.value.file == segment(1)
        assert 32 <= caught.value.offset <= place


@given(
    seed=st.integers(0, 2**32),
    stop_after=st.integers(0, 120),
    segment_bytes=st.sampled_from([1, 150, 600, 1 << 20]),
    sector_bytes=st.sampled_from([64, 512]),
)
@example(seed=1, stop_after=119, segment_bytes=150, sector_bytes=64)
def test_log_cut_by_power_again_and_again_loses_nothing(
    seed: int, stop_after: int, segment_bytes: int, sector_bytes: int
) -> None:
    chance = random.Random(seed)
    disk = FaultyDisk(sector_bytes=sector_bytes)
    base, log_content = 0, list[Record]()
    for _ in range(4):
        log = open_log(disk, segment_bytes=segment_bytes)
        assert log.base_index == base
        check(log, log_content)
        disk.stop_after = chance.randrange(stop_after + 1)
        allowed = [(base, log_content)]
        term = log.term_at(log.last_index) + 1
        try:
            while True:
                last = log.last_index
                base = log.base_index
                log_content = content(log)
                allowed = [(base, log_content)]
                kind = chance.randrange(10)
                if kind == 0:
                    target = last + chance.randrange(5)
                    allowed.append((target, []))
                    log.reset(target, term, b"")
                elif kind == 1 and last > base:
                    index = chance.randint(base + 1, last)
                    moved = log.prefix_end(index)
                    allowed.append((moved, [each for each in log_content if each.index > moved]))
                    log.truncate_prefix(index, b"")
                else:
                    first = last + 1 if kind < 8 else chance.randint(base + 1, last + 1)
                    new = records(first, chance.randint(1, 5), term=term, size=chance.randrange(200))
                    allowed += [(base, each) for each in prefixes(log_content, new)]
                    log.append(new)
                    term += chance.randrange(2)
        except PowerCut:
            pass
        likely = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        disk = disk.after_power_cut(lambda step, likely=likely: chance.random() < likely)  # type: ignore[misc]
        log = open_log(disk, segment_bytes=segment_bytes)
        base, log_content = log.base_index, content(log)
        assert (base, log_content) in allowed
        log.close()


def test_log_without_fsync_survives_a_kill() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=100, fsync=False)
    for first in (1, 4, 7):
        log.append(records(first, 3))
    check(open_log(disk.after_kill()), records(1, 9))


def test_log_without_fsync_cut_by_power_is_a_beginning_or_refused() -> None:
    disk = FaultyDisk(sector_bytes=64)
    log = open_log(disk, segment_bytes=400)
    log.append(records(1, 2))
    log.close()
    disk = settled(disk)
    log = open_log(disk, segment_bytes=400, fsync=False)
    for first in (3, 5, 7):
        log.append(records(first, 2))
    for found in every_outcome(disk):
        try:
            what = content(open_log(found))
        except WalError:
            continue
        assert what == records(1, len(what))
        assert len(what) >= 2


def steps_of_every_kind() -> dict[str, Callable[[Wal], None]]:
    return {
        "append": lambda log: log.append(records(35, 20, term=2)),
        "reset": lambda log: log.reset(100, 7, b"base"),
        "truncate_prefix": lambda log: log.truncate_prefix(15, b"base"),
    }


@pytest.mark.parametrize("name", steps_of_every_kind())
def test_open_after_a_kill_anywhere_makes_durable_what_it_found(name: str) -> None:
    step = steps_of_every_kind()[name]
    disk = FaultyDisk(sector_bytes=4096)
    log = open_log(disk, segment_bytes=150)
    for first in (1, 11, 21, 31):
        log.append(records(first, 10))
    for operations in range(operations_of(disk, step, segment_bytes=150)):
        found = interrupted(disk, step, operations, segment_bytes=150).after_kill()
        log = open_log(found, segment_bytes=150)
        base, expected = log.base_index, content(log)
        for later in (found, found.after_kill()):
            log = open_log(later.after_power_cut(lambda place: False), segment_bytes=150)
            assert log.base_index == base
            check(log, expected)


def big(first: int, count: int, *, term: int) -> list[Record]:
    """Records that take a batch each, of the same length whatever they hold."""
    chance = random.Random(first * 1000 + term)
    return [Record(index, term, 2, 0, chance.randbytes(200_000)) for index in range(first, first + count)]


def test_append_that_failed_never_comes_back_behind_a_later_one() -> None:
    old, new = records(1, 10), big(11, 1, term=3)
    for operations in range(1, 7):
        disk = FaultyDisk(sector_bytes=32 << 10)
        log = open_log(disk)
        log.append(old)
        disk.sync_directory(DIRECTORY)
        disk.faults.append(Fault(operation="write", written=1 << 20))
        disk.stop_after = operations
        with contextlib.suppress(PowerCut):
            with pytest.raises(WalError):
                log.append(big(11, 2, term=2))
            log.append(new)
        for found in every_outcome(disk):
            assert content(open_log(found)) in [*prefixes(old, big(11, 2, term=2)), *prefixes(old, new)]


def test_damage_within_an_append_before_a_later_one_is_refused_though_the_mark_lags() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    mark = disk.content(DIRECTORY / "synced")
    log.append(big(1, 3, term=1))
    place = len(disk.content(segment(1))) - 1
    log.append(records(4, 1))
    disk = settled(disk)
    disk.set_content(DIRECTORY / "synced", mark)
    whole = disk.content(segment(1))
    disk.set_content(segment(1), whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(WalCorrupt) as caught:
        open_log(disk)
    assert "written later" in caught.value.why


@pytest.mark.parametrize("emptied", ["reset", "truncate_prefix"])
def test_first_append_of_an_emptied_log_cut_by_power_is_a_torn_tail(emptied: str) -> None:
    new = big(10, 3, term=2)
    for operations in range(3):
        disk = FaultyDisk(sector_bytes=32 << 10)
        log = open_log(disk, segment_bytes=40)  # full after one batch
        for first in range(1, 10):
            log.append(records(first, 1))
        disk.faults.append(Fault(operation="write", skip=3))
        with pytest.raises(WalError):
            log.append(records(10, 1))  # a new segment was made, that is all
        if emptied == "reset":
            log.reset(9, 1, b"")
            log.append(records(10, 1))
            log.reset(9, 1, b"")
        else:
            log.truncate_prefix(9, b"")
        assert (log.base_index, log.last_index) == (9, 9)
        disk.stop_after = operations + (4 if emptied == "reset" else 0)
        with contextlib.suppress(PowerCut):
            log.append(new)
        for found in every_outcome(disk):
            log = open_log(found)
            assert content(log) in prefixes([], new)
            assert [len(found.content(info.path)) for info in log.segments()] == [
                info.bytes for info in log.segments()
            ]
