"""What the log's tests share: records, a log on a faulty disk, and what must hold of whatever is found."""

from collections.abc import Sequence
from pathlib import Path

from wolfscale.testing.faulty_disk import FaultyDisk
from wolfscale.wal import Record, Wal, WalOptions

DIRECTORY = Path("/log")


def record(index: int, *, term: int = 1, kind: int = 2, key: int = 0, size: int = 20) -> Record:
    data = (f"{index}.{term} " * (size // 4 + 1)).encode()[:size]
    return Record(index, term, kind, key, data)


def records(first: int, count: int, *, term: int = 1, size: int = 20, every_key: int = 2) -> list[Record]:
    """Consecutive records; every second one has its index as key."""
    return [
        record(index, term=term, key=index if index % every_key == 0 else 0, size=size)
        for index in range(first, first + count)
    ]


def open_log(disk: FaultyDisk, *, segment_bytes: int = 1 << 20, fsync: bool = True) -> Wal:
    options = WalOptions(segment_bytes=segment_bytes, fsync=fsync)
    return Wal.open(DIRECTORY, options=options, files=disk, now=lambda: 1000.0)


def content(log: Wal) -> list[Record]:
    """All records, read in one go."""
    return log.read(log.first_index, log.last_index, 1 << 40)


def check(log: Wal, expected: Sequence[Record]) -> None:
    """Every way of reading must agree with the list."""
    assert content(log) == list(expected)
    assert log.last_index == (expected[-1].index if expected else log.base_index)
    assert list(log.scan_backwards()) == list(expected)[::-1]
    greatest = None
    for each in expected:
        assert log.term_at(each.index) == each.term
        if each.key:
            greatest = each
            assert log.find_key(each.key) == each.index
        if greatest is not None:
            assert log.floor_key(greatest.key) == greatest.index
            assert log.floor_key(10**12, last=each.index) == greatest.index
            assert log.newest_key(each.index) == greatest.key
    for kind in {each.kind for each in expected} | {1}:
        assert log.of_kind(kind) == [each for each in expected if each.kind == kind]
    present = [info for info in log.segments() if info.last >= info.first]
    assert [(a.last + 1) for a in present[:-1]] == [b.first for b in present[1:]]
    if present:
        assert (present[0].first, present[-1].last) == (log.first_index, log.last_index)


def settled(disk: FaultyDisk) -> FaultyDisk:
    """The disk with everything on it durable."""
    return disk.after_power_cut(lambda step: True)


def segment(number: int) -> Path:
    return DIRECTORY / f"{number:020d}.wal"
