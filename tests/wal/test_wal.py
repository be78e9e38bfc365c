"""What the log does on a disk that works."""

import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from wal_model import check, content, open_log, record, records, segment

from wolfscale.errors import InvariantError
from wolfscale.testing.faulty_disk import FaultyDisk
from wolfscale.wal import Record, Wal, WalBusy, WalOptions, WalOutOfRange


def test_log_new_is_empty(tmp_path: Path) -> None:
    log = Wal.open(tmp_path / "a" / "log")
    assert (log.base_index, log.base_term, log.base_data, log.first_index, log.last_index) == (
        0,
        0,
        b"",
        1,
        0,
    )
    assert log.segments() == []
    assert log.find_key(1) is None
    check(log, [])
    log.close()


@pytest.mark.parametrize("compression", [True, False])
def test_log_reopened_holds_what_was_appended(tmp_path: Path, compression: bool) -> None:
    options = WalOptions(compression=compression, segment_bytes=2000)
    log = Wal.open(tmp_path, options=options)
    expected = records(1, 200, size=100)
    for first in range(0, 200, 5):
        log.append(expected[first : first + 5])
    check(log, expected)
    assert len(log.segments()) > 2
    log.close()
    log = Wal.open(tmp_path, options=options)
    check(log, expected)
    log.append(records(201, 5))
    log.close()
    check(Wal.open(tmp_path, options=options), expected + records(201, 5))


def test_log_compressed_is_smaller(tmp_path: Path) -> None:
    sizes = []
    for compression in (True, False):
        log = Wal.open(tmp_path / str(compression), options=WalOptions(compression=compression))
        log.append(records(1, 100, size=1000))
        sizes.append(log.segments()[0].bytes)
        log.close()
    assert sizes[0] * 5 < sizes[1]


def test_log_opened_twice_refuses_the_second(tmp_path: Path) -> None:
    log = Wal.open(tmp_path)
    with pytest.raises(WalBusy, match="another process"):
        Wal.open(tmp_path)
    log.close()
    Wal.open(tmp_path).close()


def test_append_makes_one_write_and_one_sync() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 10))
    before = disk.operations
    log.append(records(11, 3000, size=1000))
    # One write, one sync, and the mark of what was synced, which is not waited for.
    assert disk.operations - before == 3
    check(log, records(1, 10) + records(11, 3000, size=1000))


@pytest.mark.parametrize("size", [0, 1, 300 << 10, 2 << 20])
def test_append_takes_records_of_any_size(tmp_path: Path, size: int) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=1 << 20))
    expected = [Record(index, 1, 2, index, os.urandom(size)) for index in range(1, 5)]
    log.append(expected[:3])
    log.append(expected[3:])
    log.close()
    log = Wal.open(tmp_path)
    check(log, expected)
    log.close()


def test_append_of_nothing_does_nothing() -> None:
    log = open_log(FaultyDisk())
    log.append([])
    assert log.segments() == []


@pytest.mark.parametrize(
    "wrong",
    [
        records(12, 1),
        records(0, 1),
        [record(11), record(13)],
        [record(11, key=10)],
        [record(11, key=12), record(12, key=12)],
        [record(6, key=4)],
    ],
)
def test_append_that_does_not_follow_is_refused(wrong: list[Record]) -> None:
    log = open_log(FaultyDisk())
    log.append(records(1, 10))
    with pytest.raises(InvariantError):
        log.append(wrong)
    check(log, records(1, 10))


def test_append_within_the_log_replaces_what_follows() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=300)
    log.append(records(1, 5))
    log.append(records(6, 5))
    log.append([*records(11, 5), record(16, kind=1)])
    log.append(records(8, 2, term=2))
    expected = records(1, 7) + records(8, 2, term=2)
    check(log, expected)
    log.append(records(10, 1, term=2))
    expected += records(10, 1, term=2)
    check(log, expected)
    check(open_log(disk.after_kill(), segment_bytes=300), expected)
    log.append(records(1, 1, term=3))
    check(log, records(1, 1, term=3))
    check(open_log(disk.after_kill()), records(1, 1, term=3))


def test_read_gives_what_fits_but_one_at_least() -> None:
    log = open_log(FaultyDisk(), segment_bytes=500)
    expected = records(1, 100, size=10)
    for first in range(0, 100, 4):
        log.append(expected[first : first + 4])
    assert log.read(50, 100, 0) == expected[49:50]
    assert log.read(50, 100, 10) == expected[49:50]
    assert log.read(50, 100, 29) == expected[49:51]
    assert log.read(50, 60, 1000) == expected[49:60]
    assert log.read(51, 50, 1000) == []
    for first, last in [(0, 5), (5, 101), (101, 101)]:
        with pytest.raises(WalOutOfRange):
            log.read(first, last, 1000)
    for index in (-1, 101):
        with pytest.raises(WalOutOfRange):
            log.term_at(index)


def test_floor_key_finds_the_nearest_below() -> None:
    log = open_log(FaultyDisk(), segment_bytes=200)
    for index in range(1, 50):
        log.append([record(index, key=index * 10 if index % 7 == 0 else 0)])
    assert log.floor_key(69) is None
    assert log.floor_key(70) == log.floor_key(139) == 7
    assert log.floor_key(10**18) == 49
    assert log.floor_key(10**18, last=48) == 42
    assert log.floor_key(100, last=6) is None
    assert log.find_key(71) is None
    assert log.find_key(140) == 14


def test_of_kind_finds_rare_records_without_reading_the_log() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=2000)
    rare = [record(index, kind=1) for index in (3, 40, 41, 77)]
    for index in range(1, 100):
        log.append([next((each for each in rare if each.index == index), record(index, size=200))])
    assert log.of_kind(1) == rare
    assert open_log(disk.after_kill()).of_kind(1) == rare
    log.append([record(77, term=2)])
    assert log.of_kind(1) == rare[:3]
    assert log.of_kind(31) == log.of_kind(200) == []


def test_truncate_prefix_drops_whole_segments_only() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=300)
    for first in range(1, 100, 3):
        log.append(records(first, 3, term=first))
    infos = log.segments()
    assert log.prefix_end(infos[2].last - 1) == infos[1].last
    log.truncate_prefix(infos[2].last - 1, b"members")
    assert (log.base_index, log.base_data) == (infos[1].last, b"members")
    assert log.segments() == infos[2:]
    expected = [each for first in range(1, 100, 3) for each in records(first, 3, term=first)]
    check(log, expected[log.base_index :])
    assert log.base_term == log.term_at(log.base_index) == expected[log.base_index - 1].term
    reopened = open_log(disk.after_kill())
    assert (reopened.base_index, reopened.base_data) == (infos[1].last, b"members")
    check(reopened, expected[log.base_index :])
    assert not any(segment(number) in disk.paths() for number in (1, 2))
    log.truncate_prefix(infos[2].last - 1, b"nothing goes, so this is not stored")
    assert log.base_data == b"members"
    log.truncate_prefix(10**9, b"all but the segment in use")
    assert log.base_index == log.segments()[0].first - 1
    with pytest.raises(WalOutOfRange):
        log.read(1, 1, 1)
    assert log.newest_key(0) == log.newest_key(log.base_index)


def test_truncate_prefix_keeps_what_follows_overwritten_records() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=400)
    log.append(records(1, 40))
    log.append(records(41, 5))
    log.append(records(20, 5, term=2))  # in segment 2, behind records that it overwrites
    log.append(records(25, 30, term=2))
    log.append(records(55, 2, term=2))
    log.truncate_prefix(19, b"x")
    assert log.base_index == 19
    expected = records(20, 35, term=2) + records(55, 2, term=2)
    check(log, expected)
    check(open_log(disk.after_kill()), expected)


def test_truncate_prefix_drops_segments_that_are_wholly_overwritten() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=1)
    log.append(records(1, 5))
    log.append(records(6, 5))
    log.append(records(11, 5))
    log.append(records(6, 5, term=2))
    log.truncate_prefix(5, b"x")
    assert len(log.segments()) == 1
    check(log, records(6, 5, term=2))
    check(open_log(disk.after_kill()), records(6, 5, term=2))


def test_reset_begins_again_after_a_base() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.reset(7, 3, b"first")
    assert (log.base_index, log.base_term, log.base_data, log.last_index) == (7, 3, b"first", 7)
    log.append(records(8, 5))
    log.reset(4, 2, b"second")
    check(log, [])
    assert log.term_at(4) == 2
    log.append(records(5, 1))
    check(log, records(5, 1))
    reopened = open_log(disk.after_kill())
    assert (reopened.base_index, reopened.base_term, reopened.base_data) == (4, 2, b"second")
    check(reopened, records(5, 1))


def test_segments_tell_when_they_were_made(tmp_path: Path) -> None:
    clock = iter(range(100, 200))
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=1), now=lambda: float(next(clock)))
    for index in range(1, 4):
        log.append([record(index)])
    log.close()
    infos = Wal.open(tmp_path).segments()
    assert [(info.first, info.last, info.created) for info in infos] == [
        (1, 1, 100.0),
        (2, 2, 101.0),
        (3, 3, 102.0),
    ]
    assert [info.bytes for info in infos] == [info.path.stat().st_size for info in infos]


def test_log_beside_appends_reads_what_was_there(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=20_000, fsync=False))
    failures: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            term = 1
            for first in range(1, 3000, 10):
                log.append(records(first, 14, term=term))
                term += 1  # the next append overwrites four records
                if first % 500 == 1:
                    log.truncate_prefix(first - 300, b"")
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        last = log.last_index - 4  # what is below is not overwritten any more
        try:
            found = log.read(max(1, last - 100), last, 1 << 20) if last > 0 else []
            for each in found:
                assert each.data.startswith(f"{each.index}.{each.term}".encode())
                assert log.term_at(each.index) == each.term
            if found and found[-1].key:
                assert log.find_key(found[-1].key) == found[-1].index
        except WalOutOfRange:
            pass
    thread.join()
    assert failures == []
    assert [each.index for each in content(log)] == list(range(log.first_index, log.last_index + 1))
    log.close()


def test_log_of_many_small_records_takes_little_memory(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(compression=False, segment_bytes=1 << 19, fsync=False))
    tracemalloc.start()
    try:
        for first in range(1, 100_000, 2000):
            log.append(
                [Record(index, 1, 2, index, b"a small record") for index in range(first, first + 2000)]
            )
        assert log.read(50_000, 50_010, 1 << 20)[0].index == 50_000
        assert log.find_key(77_777) == 77_777
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(info.bytes for info in log.segments()) > 3 << 20
    # Two decoded batches near the last reads are nearly all of it.
    assert held < 3 << 20
    log.close()
