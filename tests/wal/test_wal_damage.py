"""Bytes that change on the disk: what was synced is read back, or an error names the file and the place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wal_model import DIRECTORY, check, content, open_log, record, records, segment, settled

from wolfscale.testing.faulty_disk import FaultyDisk
from wolfscale.wal import Record, Wal, WalCorrupt, WalOptions


def damaged_content(disk: FaultyDisk) -> list[Record] | WalCorrupt:
    """All that the log gives, or the error that came instead."""
    try:
        log = open_log(disk)
        for each in log.segments():
            assert each.last >= each.first - 1
        log.floor_key(10**9)
        log.of_kind(1)
        return content(log)
    except WalCorrupt as error:
        return error


def some_log() -> tuple[FaultyDisk, list[Record]]:
    disk = FaultyDisk()
    log = open_log(disk, segment_bytes=300)
    expected = [*records(1, 40, size=30), record(41, kind=1, size=50)]
    for first in range(0, 41, 4):
        log.append(expected[first : first + 4])
    log.append(records(38, 6, term=2))
    log.truncate_prefix(9, b"the owner's data")
    expected = expected[:37] + records(38, 6, term=2)
    log.close()
    assert len(log.segments()) > 2
    return settled(disk), expected[log.base_index :]


LOG, EXPECTED = some_log()
MATTERS = [path for path in LOG.paths() if path.parent == DIRECTORY and not path.name.endswith(".next")]


@pytest.mark.parametrize("path", MATTERS, ids=lambda path: path.name)
def test_log_with_one_bit_flipped_is_whole_or_refused(path: Path) -> None:
    whole = LOG.content(path)
    refused = 0
    for place in range(0, len(whole), 1 if len(whole) < 3000 else 7):
        disk = LOG.copy()
        disk.set_content(path, whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        found = damaged_content(disk)
        if isinstance(found, WalCorrupt):
            refused += 1
            assert found.file == path
            assert 0 <= found.offset <= place
            assert str(found.offset) in str(found)
        else:
            assert found == EXPECTED
    assert refused > 10


@pytest.mark.parametrize("path", MATTERS, ids=lambda path: path.name)
def test_log_with_a_file_cut_short_is_whole_or_refused(path: Path) -> None:
    whole = LOG.content(path)
    for size in range(0, len(whole), 1 if len(whole) < 3000 else 13):
        disk = LOG.copy()
        disk.set_content(path, whole[:size])
        found = damaged_content(disk)
        if isinstance(found, WalCorrupt):
            assert found.file == path
            assert 0 <= found.offset <= len(whole)
        else:
            assert found == EXPECTED


@pytest.mark.parametrize("path", MATTERS, ids=lambda path: path.name)
def test_log_with_a_file_missing_is_refused(path: Path) -> None:
    disk = LOG.copy()
    disk.delete(path)
    found = damaged_content(disk)
    assert isinstance(found, WalCorrupt)
    assert found.file == path
    assert "missing" in found.why


@given(data=st.data())
def test_log_damaged_anywhere_is_whole_or_refused(data: st.DataObject) -> None:
    disk = LOG.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(MATTERS))
        whole = disk.content(path)
        place = data.draw(st.integers(0, max(0, len(whole) - 1)))
        patch = data.draw(st.one_of(st.binary(min_size=1, max_size=20), st.just(bytes(512))))
        if data.draw(st.booleans()):
            disk.set_content(path, (whole[:place] + patch + whole[place + len(patch) :])[: len(whole)])
        else:
            disk.set_content(path, whole[:place] + patch)
    found = damaged_content(disk)
    assert isinstance(found, WalCorrupt) or found == EXPECTED


def test_log_with_segments_exchanged_is_refused() -> None:
    disk = LOG.copy()
    names = [path for path in MATTERS if path.suffix == ".wal"]
    first, second = disk.content(names[0]), disk.content(names[1])
    disk.set_content(names[0], second)
    disk.set_content(names[1], first)
    assert isinstance(damaged_content(disk), WalCorrupt)


def test_log_that_holds_bytes_of_a_log_as_data_is_not_fooled() -> None:
    disk = FaultyDisk()
    log = open_log(disk)
    for first in (1, 2, 3):
        log.append(records(first, 1))
    inner = disk.content(segment(1))
    outer = FaultyDisk()
    log = Wal.open(DIRECTORY, options=WalOptions(compression=False), files=outer)
    log.append(records(1, 1))
    mark, synced = outer.content(DIRECTORY / "synced"), len(outer.content(segment(1)))
    log.append([Record(2, 1, 2, 0, inner)])
    # The last append is torn: its header is gone, but not its data, which looks like appends that came later.
    outer = settled(outer)
    whole = outer.content(segment(1))
    assert inner in whole[synced + 64 :]
    outer.set_content(segment(1), whole[:synced] + bytes(64) + whole[synced + 64 :])
    outer.set_content(DIRECTORY / "synced", mark)
    check(open_log(outer), records(1, 1))
