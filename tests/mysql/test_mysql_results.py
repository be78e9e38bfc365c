import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.constants import Capability, Status
from wolfscale.mysql.errors import RemoteProtocolError, ServerError
from wolfscale.mysql.results import (
    Column,
    Eof,
    Ok,
    build_column,
    build_eof,
    build_error,
    build_ok,
    build_result_end,
    build_text_result,
    build_text_row,
    parse_column,
    parse_eof,
    parse_error,
    parse_ok,
    parse_text_row,
    rewrite_ok,
)
from wolfscale.mysql.session_track import (
    SessionChanges,
    TrackerType,
    build_session_changes,
    parse_session_changes,
)

TRACK = int(Capability.SESSION_TRACK)

# MariaDB 10.11.19's answer to an INSERT on a connection with CLIENT_SESSION_TRACK, unix socket.
RECORDED_OK = bytes.fromhex("00010b0240000000130011096c6173745f6774696406302d372d3133")

numbers = st.integers(0, 300) | st.integers(0, 2**64 - 1)
shorts = st.integers(0, 0xFFFF)
texts = st.binary(max_size=300)
changes = st.builds(
    SessionChanges,
    gtid=st.none() | st.just("0-7-42"),
    schema=st.none() | texts,
    variables=st.dictionaries(texts.filter(lambda name: name != b"last_gtid"), texts, max_size=3),
    state_changed=st.booleans(),
    transaction_state=st.none() | texts,
    transaction_characteristics=st.none() | texts,
)
oks = st.builds(
    Ok,
    affected_rows=numbers,
    last_insert_id=numbers,
    status=shorts.map(lambda bits: bits & ~Status.SESSION_STATE_CHANGED),
    warnings=shorts,
    info=texts,
    header=st.sampled_from([0, 0xFE]),
)


def without_state_bit(ok: Ok) -> Ok:
    return Ok(
        affected_rows=ok.affected_rows,
        last_insert_id=ok.last_insert_id,
        status=ok.status & ~Status.SESSION_STATE_CHANGED,
        warnings=ok.warnings,
        info=ok.info,
        header=ok.header,
    )


@given(changes)
def test_session_changes_round_trip(told: SessionChanges) -> None:
    assert parse_session_changes(build_session_changes(told)) == told


@given(st.binary(max_size=60))
def test_session_changes_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_session_changes(data)
    except RemoteProtocolError as error:
        assert str(error).startswith("malformed packet")  # noqa: PT017


def test_session_changes_of_an_unknown_kind_are_skipped() -> None:
    data = b"\x09\x03abc" + build_session_changes(SessionChanges(schema=b"app"))
    assert parse_session_changes(data) == SessionChanges(schema=b"app")


def test_newer_session_changes_override_older_ones() -> None:
    older = SessionChanges(gtid="0-7-1", schema=b"a")
    newer = build_session_changes(SessionChanges(gtid="0-7-2"))
    assert parse_session_changes(newer, older) == SessionChanges(gtid="0-7-2", schema=b"a")


def test_two_variables_in_one_item_are_both_read() -> None:
    item = b"\x0aautocommit\x02ON\x09last_gtid\x050-7-3"
    data = bytes((TrackerType.SYSTEM_VARIABLES, len(item))) + item
    told = parse_session_changes(data)
    assert told.gtid == "0-7-3"
    assert told.variables == {b"autocommit": b"ON"}


@given(oks, changes)
def test_ok_round_trips_with_tracking(ok: Ok, told: SessionChanges) -> None:
    data = build_session_changes(told)
    with_data = Ok(
        affected_rows=ok.affected_rows,
        last_insert_id=ok.last_insert_id,
        status=ok.status | (Status.SESSION_STATE_CHANGED if data else 0),
        warnings=ok.warnings,
        info=ok.info,
        session_data=data,
        header=ok.header,
    )
    parsed = parse_ok(build_ok(with_data, TRACK), TRACK)
    assert parsed == with_data
    assert parsed.session_changes == told


@pytest.mark.parametrize("capabilities", [0, TRACK])
def test_text_of_an_ok_has_a_length(capabilities: int) -> None:
    ok = Ok(affected_rows=2, info=b"Records: 2")
    assert build_ok(ok, capabilities) == b"\x00\x02\x00\x02\x00\x00\x00\x0aRecords: 2"


@given(oks)
def test_ok_round_trips_without_tracking(ok: Ok) -> None:
    assert parse_ok(build_ok(ok, 0), 0) == ok


@given(oks, changes)
def test_ok_rewritten_for_a_client_without_tracking_loses_only_the_changes(
    ok: Ok, told: SessionChanges
) -> None:
    received = build_ok(
        Ok(
            affected_rows=ok.affected_rows,
            last_insert_id=ok.last_insert_id,
            status=ok.status,
            warnings=ok.warnings,
            info=ok.info,
            session_data=build_session_changes(told),
            header=ok.header,
        ),
        TRACK,
    )
    sent = rewrite_ok(received, TRACK, 0)
    assert parse_ok(sent, 0) == without_state_bit(ok)
    assert rewrite_ok(received, TRACK, TRACK) is received
    assert rewrite_ok(sent, 0, 0) is sent


def test_recorded_ok_with_a_gtid_becomes_the_one_without() -> None:
    ok = parse_ok(RECORDED_OK, TRACK)
    assert ok.session_changes == SessionChanges(gtid="0-7-13")
    assert build_ok(ok, TRACK) == RECORDED_OK
    assert rewrite_ok(RECORDED_OK, TRACK, 0) == b"\x00\x01\x0b\x02\x00\x00\x00"


@given(st.binary(max_size=40), st.sampled_from([0, TRACK]))
def test_ok_of_any_bytes_is_read_or_refused(data: bytes, capabilities: int) -> None:
    try:
        parse_ok(data, capabilities)
    except RemoteProtocolError as error:
        assert error.errno == 1835  # noqa: PT017


@given(st.integers(1, 65535), st.text(max_size=40))
def test_error_round_trips(errno: int, message: str) -> None:
    error = parse_error(build_error(errno, "42S02", message))
    assert (error.errno, error.sqlstate, error.message) == (errno, "42S02", message)


def test_error_message_that_is_no_utf8_is_still_read() -> None:
    assert parse_error(b"\xff\x28\x04#42000caf\xe9").message == "caf�"


def test_error_names_number_and_state_in_its_text() -> None:
    assert str(ServerError(1062, "23000", "Duplicate entry")) == "1062 (23000): Duplicate entry"


@given(shorts, shorts)
def test_eof_round_trips(warnings: int, status: int) -> None:
    eof = Eof(warnings=warnings, status=status)
    assert parse_eof(build_eof(eof)) == eof
    assert build_result_end(eof, 0) == build_eof(eof)


def test_end_of_rows_where_eof_is_deprecated_is_an_ok() -> None:
    end = build_result_end(Eof(warnings=3, status=2), int(Capability.DEPRECATE_EOF))
    assert end == b"\xfe\0\0\x02\0\x03\0"


@given(
    st.builds(
        Column,
        name=texts,
        original_name=texts,
        schema=texts,
        table=texts,
        original_table=texts,
        type=st.integers(0, 255),
        collation=shorts,
        length=st.integers(0, 2**32 - 1),
        flags=shorts,
        decimals=st.integers(0, 255),
        extended=st.none() | texts,
    )
)
def test_column_round_trips(column: Column) -> None:
    capabilities = int(Capability.MARIADB_EXTENDED_METADATA) if column.extended is not None else 0
    assert parse_column(build_column(column), capabilities) == column


@given(st.lists(st.none() | st.binary(max_size=300), max_size=6))
def test_text_row_round_trips(values: list[bytes | None]) -> None:
    assert parse_text_row(build_text_row(values), len(values)) == tuple(values)


@pytest.mark.parametrize("payload", [b"", b"\x01a\x01b\x01c", b"\x05a"])
def test_text_row_of_the_wrong_length_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_text_row(payload, 2)


@pytest.mark.parametrize("parse", [parse_eof, parse_error, lambda payload: parse_ok(payload, 0)])
def test_packet_of_another_kind_is_refused(parse: object) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(b"\x01\0\0\0\0\0\0")  # type: ignore[operator]


@pytest.mark.parametrize("mysql", [0, int(Capability.MYSQL)])
@pytest.mark.parametrize("extended", [0, int(Capability.MARIADB_EXTENDED_METADATA)])
def test_definitions_of_a_text_result_are_read_under_its_capabilities(mysql: int, extended: int) -> None:
    capabilities = int(Capability.DEPRECATE_EOF) | mysql | extended
    _, definition, _, _ = build_text_result([Column(name=b"n")], [(b"1",)], capabilities)
    assert parse_column(definition, capabilities).name == b"n"
