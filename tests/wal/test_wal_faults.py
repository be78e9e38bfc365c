"""Writes and syncs that fail: nothing is half done, and a sync that failed is never tried again."""

import errno
from collections.abc import Callable

import pytest
from wal_model import DIRECTORY, check, open_log, records, settled

from wolfscale.testing.faulty_disk import Fault, FaultyDisk
from wolfscale.wal import StableFile, Wal, WalCorrupt, WalFull, WalSyncFailed, WalWriteFailed


@pytest.mark.parametrize("written", [0, 1, 30, 10_000])
@pytest.mark.parametrize(("number", "failure"), [(errno.ENOSPC, WalFull), (errno.EIO, WalWriteFailed)])
def test_append_whose_write_fails_leaves_the_log_as_it_was(
    written: int, number: int, failure: type[Exception]
) -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 5))
    disk.faults.append(Fault(operation="write", number=number, written=written))
    with pytest.raises(failure, match="nothing was appended"):
        log.append(records(4, 5, term=2, size=500))
    check(log, records(1, 5))
    check(open_log(disk.after_kill()), records(1, 5))
    log.append(records(6, 2))
    check(log, records(1, 7))
    check(open_log(disk.after_power_cut(lambda step: False)), records(1, 7))


def test_append_to_a_full_disk_succeeds_once_there_is_room() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=3000)
    expected = records(1, 0)
    disk.capacity_bytes = 40_000
    step = 10
    for _ in range(3):
        failed = 0
        while not failed:
            more = records(len(expected) + 1, step, size=200)
            try:
                log.append(more)
                expected += more
            except WalFull:
                failed += 1
        check(log, expected)
        with pytest.raises(WalFull):
            log.append(records(len(expected) + 1, 2000, size=200))
        check(log, expected)
        check(open_log(settled(disk)), expected)
        disk.capacity_bytes += 5000
    check(log, expected)


def test_prefix_of_a_full_log_can_be_dropped() -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=3000)
    for first in range(1, 2000, 20):
        log.append(records(first, 20, size=200))
    disk.capacity_bytes = sum(len(disk.content(path)) for path in disk.paths())
    with pytest.raises(WalFull):
        log.append(records(2001, 2000))
    log.truncate_prefix(1000, b"new base")
    assert log.base_index > 900
    log.append(records(2001, 200))
    assert log.last_index == 2200
    check(open_log(settled(disk)), log.read(log.first_index, log.last_index, 1 << 30))


@pytest.mark.parametrize(
    ("operation", "skip"),
    [("write", 0), ("create", 0), ("write", 2), ("write", 3)],
    ids=["summary", "name", "header", "batch"],
)
def test_new_segment_that_cannot_be_made_leaves_the_log_as_it_was(operation: str, skip: int) -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=1)
    log.append(records(1, 5))
    disk.faults.append(Fault(operation=operation, number=errno.ENOSPC, skip=skip))
    if skip == 2:
        disk.faults.append(Fault(operation="remove"))
    with pytest.raises(WalFull):
        log.append(records(6, 5))
    check(log, records(1, 5))
    check(open_log(settled(disk.after_kill())), records(1, 5))
    disk.faults.clear()
    log.append(records(6, 5))
    log.append(records(11, 5))
    check(log, records(1, 15))
    check(open_log(settled(disk)), records(1, 15))


def append(log: Wal) -> None:
    log.append(records(21, 2))


def reset(log: Wal) -> None:
    log.reset(50, 2, b"base")


def truncate(log: Wal) -> None:
    log.truncate_prefix(15, b"base")


@pytest.mark.parametrize(
    ("step", "operation", "skip"),
    [
        (append, "sync", 0),
        (append, "sync", 1),
        (append, "sync", 2),
        (append, "sync_directory", 0),
        (reset, "sync", 0),
        (reset, "sync_directory", 0),
        (truncate, "sync", 0),
        (truncate, "sync_directory", 0),
    ],
)
def test_sync_that_failed_ends_all_writing(step: Callable[[Wal], None], operation: str, skip: int) -> None:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=150)
    for first in (1, 11):
        log.append(records(first, 10))
    disk.faults.append(Fault(operation=operation, skip=skip))
    with pytest.raises(WalSyncFailed, match="start this node again"):
        step(log)
    for again in (append, reset, truncate):
        with pytest.raises(WalSyncFailed):
            again(log)
    # Reading goes on, and nothing that had been appended before is lost.
    check(log, records(1, 20))
    for keep in (False, True):
        found = open_log(disk.after_power_cut(lambda place, keep=keep: keep))  # type: ignore[misc]
        if found.base_index < 50:
            assert found.last_index >= 20
            assert found.read(found.first_index, 20, 1 << 20) == records(
                found.first_index, 21 - found.first_index
            )


def test_write_that_cannot_be_taken_back_ends_all_writing() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 5))
    disk.faults += [Fault(operation="write", written=100), Fault(operation="truncate")]
    with pytest.raises(WalSyncFailed):
        log.append(records(6, 5))
    with pytest.raises(WalSyncFailed):
        log.append(records(6, 5))
    check(open_log(settled(disk)), records(1, 5))


def test_mark_that_cannot_be_written_only_lags() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    log.append(records(1, 5))
    disk.faults.append(Fault(operation="write", skip=1))
    log.append(records(6, 5))
    check(log, records(1, 10))
    check(open_log(disk.after_power_cut(lambda step: False)), records(1, 10))


def test_stable_file_reads_what_was_written_last() -> None:
    disk = FaultyDisk()
    file = StableFile(disk, DIRECTORY / "small", magic=b"12345678")
    assert file.read() is None
    for payload in (b"", b"abc", bytes(10_000), b"d"):
        file.write(payload)
        assert file.read() == payload
        again = StableFile(disk.after_power_cut(lambda step: False), file.path, magic=b"12345678")
        assert again.read() == payload


def test_stable_file_of_another_kind_is_refused() -> None:
    disk = FaultyDisk()
    StableFile(disk, DIRECTORY / "small", magic=b"12345678").write(b"abc")
    with pytest.raises(WalCorrupt, match="small, byte 0"):
        StableFile(disk, DIRECTORY / "small", magic=b"87654321").read()


def test_stable_file_on_a_full_disk_is_still_replaced_but_not_lengthened() -> None:
    disk = FaultyDisk()
    file = StableFile(disk, DIRECTORY / "small", magic=b"12345678")
    file.write(b"old")
    disk.capacity_bytes = 0
    file.write(b"new")
    assert file.read() == b"new"
    with pytest.raises(WalFull):
        file.write(bytes(100_000))
    assert file.read() == b"new"
    disk.capacity_bytes = None
    file.write(bytes(100_000))
    assert file.read() == bytes(100_000)
