"""Looking into a log from outside."""

from pathlib import Path

import pytest
from wal_model import record, records

from wolfscale.wal import Wal, WalCorrupt, WalOptions
from wolfscale.wal.inspect import iterate_entries, read_base


def test_inspect_gives_what_the_log_holds_and_held(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=500))
    log.reset(10, 2, b"owner's")
    log.append(records(11, 20, size=100))
    log.append(records(31, 5, size=100))
    log.append([record(29, term=3, kind=1, key=1000)])
    log.append(records(30, 3, term=3, every_key=1000))
    # Beside the log that is open for writing:
    found = list(iterate_entries(tmp_path))
    live = [entry for entry in found if not entry.overwritten]
    assert [(entry.index, entry.term, entry.kind, entry.key, entry.data) for entry in live] == [
        (each.index, each.term, each.kind, each.key, each.data)
        for each in log.read(log.first_index, log.last_index, 1 << 20)
    ]
    assert [entry.index for entry in found if entry.overwritten] == list(range(29, 36))
    assert all(entry.raw_bytes == len(entry.data) + 21 for entry in found)
    for info in log.segments():
        stored = sum(entry.stored_bytes for entry in found if entry.segment == info.path)
        assert 0 < stored <= info.bytes
    base = read_base(tmp_path)
    assert (base.index, base.term, base.data) == (10, 2, b"owner's")
    log.close()


def test_inspect_of_an_overwrite_in_a_dropped_part_begins_after_it(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=400))
    log.append(records(1, 40))
    log.append(records(41, 5))
    log.append(records(20, 5, term=2))
    log.truncate_prefix(19, b"")
    assert [(entry.index, entry.overwritten) for entry in iterate_entries(tmp_path)] == [
        (index, False) for index in range(20, 25)
    ]
    log.close()


def test_inspect_beside_dropped_segments_goes_on(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=1))
    for index in range(1, 6):
        log.append([record(index)])
    entries = iterate_entries(tmp_path)
    assert next(entries).index == 1
    log.truncate_prefix(3, b"")
    log.append([record(6)])
    assert [entry.index for entry in entries] in ([4, 5], [2, 3, 4, 5])
    log.close()


def test_inspect_of_a_torn_tail_ends_quietly(tmp_path: Path) -> None:
    log = Wal.open(tmp_path)
    log.append(records(1, 3))
    log.append(records(4, 3))
    log.close()
    path = log.segments()[0].path
    path.write_bytes(path.read_bytes()[:-1])
    assert [entry.index for entry in iterate_entries(tmp_path)] == [1, 2, 3]
    path.write_bytes(b"")
    assert list(iterate_entries(tmp_path)) == []


def test_inspect_of_damage_names_the_place(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, options=WalOptions(segment_bytes=1))
    for index in range(1, 4):
        log.append([record(index)])
    log.close()
    path = log.segments()[1].path
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"?" + whole[101:])
    with pytest.raises(WalCorrupt) as caught:
        list(iterate_entries(tmp_path))
    assert (caught.value.file, caught.value.offset) == (path, 32)
    path.unlink()
    with pytest.raises(WalCorrupt, match="missing"):
        list(iterate_entries(tmp_path))


def test_inspect_of_no_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(WalCorrupt, match="no log here"):
        read_base(tmp_path)
