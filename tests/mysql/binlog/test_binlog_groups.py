import contextlib
import itertools

import pytest
from binlog_samples import (
    GROUPS,
    PLAIN,
    gtid_event,
    query_event,
    recorded_events,
    rows_event,
    transaction,
    xid_event,
)
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.errors import BinlogError, ChecksumMismatch
from wolfscale.mysql.binlog.events import build_heartbeat, build_rotate
from wolfscale.mysql.binlog.format import BinlogFormat, build_format_description
from wolfscale.mysql.binlog.groups import GroupAssembler, GroupEnd, GroupSlice
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import build_event


def assembled(events: list[bytes], assembler: GroupAssembler | None = None) -> list[GroupSlice]:
    assembler = assembler or GroupAssembler()
    return [piece for event in events for piece in assembler.receive(event)]


def joined(slices: list[GroupSlice]) -> dict[int, bytes]:
    groups: dict[int, bytes] = {}
    for piece in slices:
        groups[piece.gtid.sequence] = groups.get(piece.gtid.sequence, b"") + piece.data
    return groups


def only_end(slices: list[GroupSlice]) -> GroupEnd:
    assert slices
    end = slices[-1].end
    assert end is not None
    return end


def test_groups_of_a_recorded_file_are_found_with_their_kinds() -> None:
    slices = assembled(recorded_events(), GroupAssembler(file="bin.000001"))
    ends = {piece.gtid: piece.end for piece in slices}
    assert list(ends) == [Gtid(domain=0, server_id=7, sequence=number + 1) for number in range(GROUPS)]
    assert {gtid.sequence for gtid, end in ends.items() if end is not None and end.plain} == PLAIN
    assert all(end is not None and end.file == "bin.000001" for end in ends.values())
    statements = {
        gtid.sequence: end.statement.sql for gtid, end in ends.items() if end is not None and end.statement
    }
    assert statements[1] == "create database t"
    assert statements[13] == "XA COMMIT X'78',X'',1"
    assert statements[17].startswith("CREATE DEFINER=`root`@`localhost` event e on schedule")
    assert statements[20].startswith("create table l (i int comment 'long long")  # a compressed event
    assert sorted(set(range(1, GROUPS + 1)) - set(statements)) == [3, 4, 6, 7, 11, 16, 21]


def test_slices_of_a_recorded_file_joined_are_its_events() -> None:
    events = recorded_events()
    inside = [event for event in events if event[4] not in (4, 15, 161, 163)]
    assert b"".join(joined(assembled(events)).values()) == b"".join(inside)


@given(st.lists(st.lists(st.integers(0, 700), max_size=6), min_size=1, max_size=5), st.integers(1, 900))
def test_slices_are_bounded_and_numbered_and_only_the_last_has_an_end(
    groups: list[list[int]], slice_bytes: int
) -> None:
    events = [event for number, sizes in enumerate(groups) for event in transaction(number + 1, *sizes)]
    slices = assembled(events, GroupAssembler(slice_bytes=slice_bytes))
    assert b"".join(piece.data for piece in slices) == b"".join(events)
    for sequence in range(1, len(groups) + 1):
        own = [piece for piece in slices if piece.gtid.sequence == sequence]
        assert [piece.number for piece in own] == list(range(len(own)))
        assert all(len(piece.data) == slice_bytes and piece.end is None for piece in own[:-1])
        assert 0 < len(own[-1].data) <= slice_bytes
        assert own[-1].end is not None
        assert own[-1].end.end_position == sequence * 1000


@given(st.integers(0, 3), st.lists(st.integers(1, 400), max_size=12), st.integers(1, 900))
def test_event_in_parts_gives_what_the_whole_event_gives(
    which: int, cuts: list[int], slice_bytes: int
) -> None:
    events = [*transaction(1, 40, 900), gtid_event(2, 41), query_event(b"create table " + b"x" * 900)]
    whole = assembled(events, GroupAssembler(slice_bytes=slice_bytes))
    assembler = GroupAssembler(slice_bytes=slice_bytes)
    slices = []
    for number, event in enumerate(events):
        if number not in (1, 2, 5) or len(event) < 64:
            slices += assembler.receive(event)
            continue
        bounds = sorted({0, len(event), *(64 + cut for cut in cuts if 64 + cut < len(event))})
        if len(bounds) == 2:
            bounds = [0, 64, len(event)]
        for start, end in itertools.pairwise(bounds):
            slices += assembler.receive(event[start:end], first=start == 0, last=end == len(event))
    assert joined(slices) == joined(whole)
    assert [piece.end for piece in slices if piece.end and piece.gtid.sequence == 1] == [
        piece.end for piece in whole if piece.end and piece.gtid.sequence == 1
    ]
    statement = only_end(slices).statement
    assert statement is not None
    assert statement.sql.startswith("create table x")


def test_event_in_parts_cut_at_every_byte_is_whole_and_checked() -> None:
    event = rows_event(100)
    damaged = event[:80] + bytes((event[80] ^ 1,)) + event[81:]
    for cut in range(64, len(event)):
        assembler = GroupAssembler()
        assembler.receive(gtid_event(1, 0x0C))
        assembler.receive(event[:cut], first=True, last=False)
        assembler.receive(event[cut:], first=False, last=True)
        assert only_end(assembler.receive(xid_event(1))).plain
        assembler = GroupAssembler()
        assembler.receive(gtid_event(1, 0x0C))
        assembler.receive(damaged[:cut], first=True, last=False)
        with pytest.raises(ChecksumMismatch):
            assembler.receive(damaged[cut:], first=False, last=True)


@pytest.mark.parametrize(
    ("flags2", "plain"),
    [
        (0x04, True),
        (0x0C, True),
        (0x0E, True),  # a group commit
        (0x1C, True),  # waited for another
        (0x08, False),  # an engine that cannot roll back
        (0x0D, False),
        (0x2C, False),
        (0x4C, False),
        (0x8C, False),
    ],
)
def test_group_that_ends_in_xid_is_plain_by_its_flags(flags2: int, plain: bool) -> None:
    assert only_end(assembled(transaction(1, 10, flags2=flags2))).plain is plain


def test_group_over_two_engines_that_ends_in_commit_is_not_plain() -> None:
    slices = assembled([gtid_event(1, 0x0C), rows_event(5), query_event(b"COMMIT")])
    assert not only_end(slices).plain


@pytest.mark.parametrize(
    "sql", [b"COMMIT", b"ROLLBACK", b"XA COMMIT X'01',X'',1", b"XA ROLLBACK X'01',X'',1"]
)
def test_group_ends_with_a_statement_that_ends_a_transaction(sql: bytes) -> None:
    assert only_end(assembled([gtid_event(1, 0x08), rows_event(5), query_event(sql)])).end_position == 500


@pytest.mark.parametrize("sql", [b"BEGIN", b"INSERT INTO t VALUES ('COMMIT')", b"COMMITMENT", b"SAVEPOINT a"])
def test_group_does_not_end_with_another_statement(sql: bytes) -> None:
    assembler = GroupAssembler()
    assert not assembled([gtid_event(1, 0x08), query_event(sql)], assembler)
    assert assembler.open_group == (Gtid(domain=0, server_id=7, sequence=1), 0x08)


def test_ack_flag_on_an_event_that_looks_inner_ends_the_group_as_not_plain() -> None:
    assembler = GroupAssembler()
    assembler.receive(gtid_event(1, 0x0C))
    end = only_end(assembler.receive(rows_event(5, end_position=77), acknowledge=True))
    assert (end.plain, end.acknowledge, end.end_position) == (False, True, 77)
    assert assembler.ends_by_flag == 1
    assert only_end(assembled(transaction(2, 1), assembler)).plain


def test_group_without_ack_flag_is_no_less_complete() -> None:
    end = only_end(assembled(transaction(1, 1)))
    assert end.plain
    assert not end.acknowledge


def test_group_that_begins_before_the_last_one_ended_is_refused() -> None:
    assembler = GroupAssembler()
    assembler.receive(gtid_event(1, 0x0C))
    with pytest.raises(BinlogError, match="the end of group 0-7-1 is missing"):
        assembler.receive(gtid_event(2, 0x0C))
    with pytest.raises(BinlogError, match="the end of group 0-7-1 is missing"):
        assembler.receive(build_rotate("bin.000002", server_id=7))


def test_event_outside_any_group_is_refused() -> None:
    with pytest.raises(BinlogError, match="outside any GTID group"):
        GroupAssembler().receive(rows_event(5))


def test_incident_is_refused_with_what_it_means() -> None:
    with pytest.raises(BinlogError, match="lost events"):
        GroupAssembler().receive(build_event(26, b"\x01\0\0", server_id=7))


def test_heartbeat_within_a_group_changes_nothing() -> None:
    events = transaction(1, 5)
    events.insert(1, build_heartbeat("bin.000001", server_id=7, end_position=9))
    assert joined(assembled(events)) == {1: b"".join(transaction(1, 5))}


def test_rotate_and_format_are_remembered() -> None:
    assembler = GroupAssembler()
    assembler.receive(build_rotate("bin.000007", server_id=7))
    assembler.receive(build_format_description(BinlogFormat(server_version="11.4.2-MariaDB"), server_id=7))
    assert assembler.file == "bin.000007"
    assert assembler.format == BinlogFormat(server_version="11.4.2-MariaDB")
    assert only_end(assembled(transaction(1, 1), assembler)).file == "bin.000007"


@pytest.mark.parametrize("cut", [5, 18, 25])
def test_whole_event_of_the_wrong_length_is_refused(cut: int) -> None:
    with pytest.raises(BinlogError):
        GroupAssembler().receive(gtid_event(1, 4)[:cut])


def test_parts_that_are_longer_or_shorter_than_the_event_are_refused() -> None:
    event = rows_event(200)
    for second, last in ((event[100:] + b"x", True), (event[100:-1], True), (event[100:] + b"x", False)):
        assembler = GroupAssembler()
        assembler.receive(gtid_event(1, 0x0C))
        assembler.receive(event[:100], first=True, last=False)
        with pytest.raises(BinlogError):
            assembler.receive(second, first=False, last=last)
    with pytest.raises(BinlogError, match="beginning of an event is missing"):
        GroupAssembler().receive(b"x" * 70, first=False, last=True)


def test_fact_04_event_whose_last_part_is_empty_is_whole() -> None:
    """A payload of exactly 16 MiB - 1 ends with an empty packet."""
    event = rows_event(200)
    assembler = GroupAssembler()
    assembler.receive(gtid_event(1, 0x0C))
    assembler.receive(event, first=True, last=False)
    assembler.receive(b"", first=False, last=True)
    assert b"".join(piece.data for piece in assembler.receive(xid_event(9))) == b"".join(
        [gtid_event(1, 0x0C), event, xid_event(9)]
    )


@given(st.binary(max_size=80), st.booleans(), st.booleans(), st.booleans())
def test_assembler_given_any_bytes_takes_or_refuses_them(
    data: bytes, first: bool, last: bool, acknowledge: bool
) -> None:
    assembler = GroupAssembler(checksums=False)
    for _ in range(2):
        with contextlib.suppress(BinlogError):
            assembler.receive(data, first=first, last=last, acknowledge=acknowledge)
