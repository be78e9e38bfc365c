"""`wolfscale wal inspect` on logs written by the log itself."""

from pathlib import Path

import pytest

from wolfscale.cli import main
from wolfscale.cli.exits import Exit
from wolfscale.mysql.binlog.format import BinlogFormat
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.raft.codec import encode_membership
from wolfscale.raft.types import EntryKind, Member, Membership, NodeId, Suffrage
from wolfscale.replication.entry import Fragment, encode_fragment, sequence_of
from wolfscale.wal import Record, Wal, WalOptions

FORMAT = BinlogFormat(server_version="10.11.19-MariaDB-log")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["wal", "inspect", *arguments])
    return int(ended.value.code or 0)


def events(
    index: int, term: int, sequence: int, *, number: int = 0, last: bool = True, plain: bool = True
) -> Record:
    data = encode_fragment(
        Fragment(
            gtid=Gtid(domain=0, server_id=term, sequence=sequence),
            flags2=0,
            number=number,
            is_last=last,
            plain=last and plain,
            file="bin.000001" if last else "",
            end_position=4711 if last else 0,
            format=FORMAT if number == 0 else None,
            body=b"x" * 1000,
        )
    )
    return Record(index=index, term=term, kind=EntryKind.EVENTS, key=sequence_of(data), data=data)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A node's data directory whose log holds one of each kind, and something overwritten."""
    member = Member(id=NodeId("a.1"), name="a", address="h:1", number=1, suffrage=Suffrage.VOTER)
    membership = encode_membership(Membership(members=(member,), next_number=2))
    wal = Wal.open(tmp_path / "raft" / "wal", options=WalOptions())
    wal.append(
        [
            Record(index=1, term=1, kind=EntryKind.MEMBERSHIP, key=0, data=membership),
            Record(index=2, term=1, kind=EntryKind.NOOP, key=0, data=b""),
            events(3, 1, 1),
            events(4, 1, 2, last=False),
        ]
    )
    wal.append([events(4, 2, 2, plain=False), events(5, 2, 3, last=False), events(6, 2, 3, number=1)])
    wal.close()
    return tmp_path


def test_inspect_prints_each_entry_with_gtid_and_sizes(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log)) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[2:-1]]
    assert [row[:3] for row in rows] == [
        ["1", "1", "membership"],
        ["2", "1", "noop"],
        ["3", "1", "events"],
        ["4", "1", "events"],
        ["4", "2", "events"],
        ["5", "2", "events"],
        ["6", "2", "events"],
    ]
    assert lines[2].endswith("a (voter)")
    assert "0-1-1" in lines[4]
    assert lines[4].endswith("bin.000001:4711")
    assert lines[5].endswith("fragment 0, goes on, overwritten")
    assert lines[6].endswith("not plain")
    assert lines[7].endswith("fragment 0, goes on")
    assert "6 entries, 1 to 6, 1 overwritten ones beside them; 3 event groups" in lines[-1]
    assert "in 1 segments" in lines[-1]


def test_inspect_of_a_range_and_of_the_totals(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log / "raft" / "wal"), "--first", "5", "--last", "5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["5"]
    assert run(str(log), "--summary") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_inspect_finds_the_log_of_the_configuration(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "wolfscale.toml"
    config.write_text(f'[node]\nid = "a"\ndata_dir = "{log}"\n')
    assert run("--config", str(config), "--summary") == 0
    assert "3 event groups" in capsys.readouterr().out


def test_inspect_without_a_log_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path)) == Exit.FAILED
    error = capsys.readouterr().err
    assert f"there is no log in {tmp_path}" in error
    assert "next: name a node's data directory" in error


def test_inspect_of_a_damaged_log_names_file_and_offset(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = log / "raft" / "wal" / "base"
    base.write_bytes(b"?" * 4096)
    assert run(str(log)) == Exit.FAILED
    error = capsys.readouterr().err
    assert str(base) in error
    assert "Traceback" not in error


def test_inspect_of_an_unreadable_entry_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wal = Wal.open(tmp_path, options=WalOptions())
    wal.append(
        [
            Record(index=1, term=1, kind=EntryKind.EVENTS, key=0, data=b"nonsense"),
            Record(index=2, term=1, kind=9, key=0, data=b""),
        ]
    )
    wal.close()
    assert run(str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "cannot be read" in lines[2]
    assert "kind 9" in lines[3]
