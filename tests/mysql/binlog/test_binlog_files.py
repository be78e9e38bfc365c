from pathlib import Path

import pytest
from binlog_samples import GROUPS, PLAIN, RECORDED, transaction
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.files import FileScan, scan_file
from wolfscale.mysql.binlog.format import BinlogFormat, build_format_description
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import build_event
from wolfscale.testing.mariadb import ScratchMariaDB


def scan(tmp_path: Path, data: bytes, **options: object) -> FileScan:
    path = tmp_path / "bin.000001"
    path.write_bytes(data)
    return scan_file(path, **options)  # type: ignore[arg-type]


def test_recorded_file_is_read_whole() -> None:
    found = scan_file(RECORDED)
    assert [group.gtid.sequence for group in found.groups] == list(range(1, GROUPS + 1))
    assert {group.gtid.sequence for group in found.groups if group.plain} == PLAIN
    assert (found.damage, found.incomplete, found.end_position) == (None, None, found.size)


def test_only_groups_that_are_not_plain_are_kept_when_asked() -> None:
    found = scan_file(RECORDED, only_not_plain=True)
    assert {group.gtid.sequence for group in found.groups} == set(range(1, GROUPS + 1)) - PLAIN


def test_scan_from_a_groups_end_gives_what_follows() -> None:
    whole = scan_file(RECORDED)
    for number, group in enumerate(whole.groups):
        assert scan_file(RECORDED, start=group.end_position).groups == whole.groups[number + 1 :]


def test_file_cut_anywhere_gives_the_groups_before_the_cut(tmp_path: Path) -> None:
    data = RECORDED.read_bytes()
    whole = scan_file(RECORDED)
    for cut in range(1, len(data), 37):
        found = scan(tmp_path, data[:cut])
        expected = [group for group in whole.groups if group.end_position <= cut]
        assert list(found.groups) == expected
        assert found.end_position <= max(cut, 4)
        last_end = expected[-1].end_position if expected else 0
        if found.incomplete is not None:
            assert found.incomplete.gtid.sequence == len(expected) + 1
        elif found.damage is None:
            assert cut <= 4 or last_end == cut or not expected or found.end_position == cut


def test_incomplete_group_is_told_with_what_its_flags_say(tmp_path: Path) -> None:
    data = RECORDED.read_bytes()
    ends = [group.end_position for group in scan_file(RECORDED).groups]
    plain = scan(tmp_path, data[: ends[3] - 10]).incomplete
    assert plain is not None
    assert (plain.gtid.sequence, plain.plain) == (4, True)
    other = scan(tmp_path, data[: ends[11] - 10]).incomplete
    assert other is not None
    assert (other.gtid.sequence, other.plain) == (12, False)


def test_tail_of_zeros_is_torn_off(tmp_path: Path) -> None:
    """A power cut leaves blocks of zeros where a file had grown and its data was not written."""
    data = RECORDED.read_bytes()
    end = scan_file(RECORDED).groups[9].end_position
    found = scan(tmp_path, data[:end] + bytes(len(data) - end))
    assert len(found.groups) == 10
    assert found.end_position == end
    assert found.damage is not None


@given(st.integers(256, 10600), st.integers(1, 255))
def test_flipped_byte_never_changes_what_is_told_silently(offset: int, flip: int) -> None:
    path = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    data = bytearray(RECORDED.read_bytes())
    data[offset] ^= flip
    target = path / f"wolfscale-test-flip-{offset}-{flip}.bin"
    target.write_bytes(data)
    try:
        found = scan_file(target)
    finally:
        target.unlink()
    whole = scan_file(RECORDED)
    assert found.groups == whole.groups[: len(found.groups)]
    assert found.damage is not None


def test_file_without_checksums_is_read(tmp_path: Path) -> None:
    head = bytearray(build_format_description(BinlogFormat(server_version="10.11.19-MariaDB"), server_id=7))
    body = bytes(head[19:-5]) + b"\0"
    events = [build_event(15, body, server_id=7)]
    for event in transaction(5, 10, 20):
        length = len(event) - 4
        events.append(event[:9] + length.to_bytes(4, "little") + event[13:-4])
    found = scan(tmp_path, b"\xfebin" + b"".join(events))
    assert [(group.gtid, group.plain) for group in found.groups] == [
        (Gtid(domain=0, server_id=7, sequence=5), True)
    ]


@pytest.mark.parametrize("data", [b"", b"\xfe", b"\xfebin"])
def test_file_that_was_hardly_begun_has_no_groups(tmp_path: Path, data: bytes) -> None:
    found = scan(tmp_path, data)
    assert found.groups == ()
    assert found.incomplete is None


def test_encrypted_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BinlogError, match="encrypted"):
        scan(tmp_path, b"\xfdbin1234")
    start = RECORDED.read_bytes()[: 4 + 252]
    with pytest.raises(BinlogError, match="encrypted"):
        scan(tmp_path, start + build_event(164, b"\x01" + b"k" * 16, server_id=7))


def test_file_that_is_no_binlog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BinlogError, match="no binlog"):
        scan(tmp_path, b"hello world")


@pytest.mark.mariadb
def test_file_of_a_killed_server_is_read_to_its_end() -> None:
    with ScratchMariaDB(arguments=["--log-bin=bin", "--server-id=9", "--binlog-format=ROW"]) as server:
        server.execute(
            "CREATE DATABASE t",
            "CREATE TABLE t.a (i INT PRIMARY KEY, b LONGBLOB)",
            "INSERT INTO t.a VALUES (1, REPEAT('x', 3000000))",
            "CREATE USER u",
        )
        server.kill9()
        found = scan_file(server.data_directory / "bin.000001")
    assert [(group.gtid.sequence, group.plain) for group in found.groups] == [
        (1, False),
        (2, False),
        (3, True),
        (4, False),
    ]
    assert found.damage is None
