import contextlib
import zlib

import pytest
from binlog_samples import gtid_event, query_event, recorded_events, sequences, server_ids
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.errors import BinlogError, ChecksumMismatch
from wolfscale.mysql.binlog.events import (
    MAX_STATEMENT_BYTES,
    build_gtid_list,
    build_heartbeat,
    build_rotate,
    parse_gtid_event,
    parse_gtid_list,
    parse_query,
    parse_rotate,
    query_text,
)
from wolfscale.mysql.binlog.format import (
    POST_HEADER_LENGTHS,
    BinlogFormat,
    ChecksumAlgorithm,
    build_format_description,
    parse_format_description,
)
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import EventType, build_event, check_checksum, parse_header

file_names = st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1, max_size=40)


@given(
    st.integers(1, 255),
    st.binary(max_size=200),
    server_ids,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
)
def test_event_built_and_parsed_is_the_same(
    kind: int, body: bytes, server_id: int, flags: int, position: int
) -> None:
    event = build_event(kind, body, server_id=server_id, flags=flags, end_position=position, timestamp=9)
    header = parse_header(event)
    assert (header.type, header.server_id, header.flags, header.end_position, header.timestamp) == (
        kind,
        server_id,
        flags,
        position,
        9,
    )
    assert header.length == len(event)
    check_checksum(event)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_event_with_a_flipped_byte_does_not_match_its_checksum(offset: int, flip: int) -> None:
    event = bytearray(build_event(16, b"12345678", server_id=1))
    offset %= len(event)
    event[offset] ^= flip
    with pytest.raises(ChecksumMismatch):
        check_checksum(bytes(event))


def test_every_recorded_event_matches_its_checksum() -> None:
    events = recorded_events()
    assert len(events) > 60
    for event in events:
        check_checksum(event)


def test_event_shorter_than_a_checksum_is_refused() -> None:
    with pytest.raises(BinlogError):
        check_checksum(b"x" * 22)
    with pytest.raises(BinlogError):
        parse_header(b"x" * 18)
    with pytest.raises(BinlogError, match="5 bytes long"):
        parse_header(b"\0" * 9 + b"\5\0\0\0" + b"\0" * 10)


@given(file_names)
def test_rotate_built_and_parsed_is_the_same(file: str) -> None:
    assert parse_rotate(build_rotate(file, server_id=1)) == file


@given(st.lists(st.builds(Gtid, domain=server_ids, server_id=server_ids, sequence=sequences), max_size=5))
def test_gtid_list_built_and_parsed_is_the_same(position: list[Gtid]) -> None:
    assert parse_gtid_list(build_gtid_list(position, server_id=1)) == tuple(position)


def test_gtid_list_that_claims_too_much_is_refused() -> None:
    with pytest.raises(BinlogError, match="claims 9 entries"):
        parse_gtid_list(build_event(EventType.GTID_LIST, b"\x09\0\0\0", server_id=1))


@given(sequences, server_ids, server_ids, st.integers(0, 255))
def test_gtid_event_is_read(sequence: int, domain: int, server_id: int, flags2: int) -> None:
    event = gtid_event(sequence, flags2, domain=domain, server_id=server_id)
    parsed = parse_gtid_event(event, server_id)
    assert parsed.gtid == Gtid(domain=domain, server_id=server_id, sequence=sequence)
    assert parsed.flags2 == flags2


def test_heartbeat_names_file_and_position() -> None:
    event = build_heartbeat("bin.000003", server_id=4, end_position=0xFFFFFFFF)
    assert parse_header(event).end_position == 0xFFFFFFFF
    assert event[19:-4] == b"bin.000003"


def test_recorded_format_description_is_read_and_built_alike() -> None:
    recorded = recorded_events()[0]
    parsed, checksum = parse_format_description(recorded)
    assert parsed == BinlogFormat(server_version="10.11.19-MariaDB-0+deb12u1-log")
    assert checksum is ChecksumAlgorithm.CRC32
    built = build_format_description(parsed, server_id=7)
    assert len(built) == len(recorded)
    # All but header, creation time and checksum are the same.
    assert built[19:71] == recorded[19:71]
    assert built[75:-4] == recorded[75:-4]


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=50), st.binary(max_size=250))
def test_format_built_and_parsed_is_the_same(version: str, lengths: bytes) -> None:
    binlog_format = BinlogFormat(server_version=version, post_header_lengths=lengths)
    parsed, checksum = parse_format_description(build_format_description(binlog_format, server_id=1))
    assert parsed == binlog_format
    assert checksum is ChecksumAlgorithm.CRC32


def test_usual_lengths_cover_the_types_up_to_171() -> None:
    assert len(POST_HEADER_LENGTHS) == 171
    assert POST_HEADER_LENGTHS[EventType.QUERY - 1] == 13
    assert POST_HEADER_LENGTHS[EventType.GTID - 1] == 19


@pytest.mark.parametrize("cut", [0, 30, 80])
def test_format_description_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(BinlogError):
        parse_format_description(recorded_events()[0][:cut])


@given(st.binary(max_size=40), st.binary(max_size=60), st.binary(max_size=200))
def test_query_event_is_read(database: bytes, variables: bytes, sql: bytes) -> None:
    event = query_event(sql, database=database, variables=variables)
    statement = parse_query(event, end=len(event) - 4)
    assert query_text(event, len(event) - 4) == sql
    assert statement.sql == sql.decode(errors="replace")
    assert statement.database == database.decode(errors="replace")


@given(st.binary(min_size=1, max_size=3000))
def test_compressed_query_is_read(sql: bytes) -> None:
    compressed = b"\x82" + len(sql).to_bytes(2, "big") + zlib.compress(sql)
    event = query_event(compressed, kind=165)
    assert parse_query(event, end=len(event) - 4, compressed=True).sql == sql.decode(errors="replace")


def test_compressed_query_that_grows_without_end_is_bounded() -> None:
    bomb = b"\x84" + (1 << 22).to_bytes(4, "big") + zlib.compress(b"x" * (1 << 22))
    event = query_event(bomb, kind=165)
    assert len(parse_query(event, end=len(event) - 4, compressed=True).sql) == MAX_STATEMENT_BYTES


@pytest.mark.parametrize("text", [b"", b"plain", b"\x81", b"\x81\x05nonsense"])
def test_compressed_query_of_nonsense_is_refused_or_empty(text: bytes) -> None:
    event = query_event(text, kind=165)
    if text == b"\x81":
        assert parse_query(event, end=len(event) - 4, compressed=True).sql == ""
        return
    with pytest.raises(BinlogError):
        parse_query(event, end=len(event) - 4, compressed=True)


@given(st.binary(max_size=60))
def test_query_event_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    event = build_event(2, body, server_id=1)
    for compressed in (False, True):
        with contextlib.suppress(BinlogError):
            parse_query(event, end=len(event) - 4, compressed=compressed)


@given(st.binary(max_size=120))
def test_events_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_rotate, parse_gtid_list, parse_format_description, check_checksum, parse_header):
        with contextlib.suppress(BinlogError):
            parse(data)
