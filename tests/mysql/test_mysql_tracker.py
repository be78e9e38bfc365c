"""The tracker against a real server's recorded responses, whole, byte by byte and cut at random."""

import json
import random

import pytest
import response_scenarios as rs
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Command, Status
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.framing import PacketReader, packet, pieces
from wolfscale.mysql.results import (
    Column,
    Eof,
    Ok,
    build_column,
    build_eof,
    build_error,
    build_ok,
    build_text_result,
)
from wolfscale.mysql.tracker import ResponseTracker, ResultHead

RESPONSES: dict[str, dict[str, str]] = json.loads(rs.RECORDED.read_text())["responses"]
EACH_SCENARIO = pytest.mark.parametrize("scenario", rs.SCENARIOS, ids=lambda scenario: scenario.name)


def follow(
    name: str, scenario: rs.Scenario, received: bytes, cuts: list[int], head: ResultHead | None = None
) -> None:
    """Feed what a server sent, cut at these offsets; the ends found must use it up exactly."""
    tracker = ResponseTracker(rs.CAPABILITIES[name])
    steps = iter(rs.steps_with_ping(scenario))
    says: rs.Says | None = None
    for start, end in zip([0, *cuts], [*cuts, len(received)], strict=True):
        chunk = received[start:end]
        position = 0
        while position < len(chunk):
            while says is None or tracker.done:
                if says is not None:
                    rs.check(tracker, says, tracks=name != "plain")
                command, says = next(steps)
                tracker.begin(command[0], head, opens_cursor=opens_cursor(command))
            position = tracker.feed(chunk, position)
    assert tracker.done
    assert says is not None
    rs.check(tracker, says, tracks=name != "plain")
    assert next(steps, None) is None, "the responses ended too early"


def recorded(name: str, scenario: rs.Scenario) -> bytes:
    return bytes.fromhex(RESPONSES[scenario.name][name])


@EACH_SCENARIO
def test_recorded_response_fed_whole_ends_where_it_does(scenario: rs.Scenario) -> None:
    for name in scenario.only:
        follow(name, scenario, recorded(name, scenario), [])


@EACH_SCENARIO
def test_recorded_response_fed_byte_by_byte_ends_where_it_does(scenario: rs.Scenario) -> None:
    for name in scenario.only:
        received = recorded(name, scenario)
        follow(name, scenario, received, list(range(1, len(received))))


@EACH_SCENARIO
def test_recorded_response_after_another_with_the_same_head_ends_where_it_does(scenario: rs.Scenario) -> None:
    head = ResultHead()
    for _ in range(2):
        for name in scenario.only:
            received = recorded(name, scenario)
            follow(name, scenario, received, [], head)
            follow(name, scenario, received, [len(received) // 2], head)
            follow(name, scenario, received, [], head)


@EACH_SCENARIO
def test_recorded_response_cut_at_random_ends_where_it_does(scenario: rs.Scenario) -> None:
    chosen = random.Random(scenario.name)
    for name in scenario.only:
        received = recorded(name, scenario)
        for _ in range(5):
            count = min(chosen.randint(1, 9), len(received) - 1)
            follow(name, scenario, received, sorted(chosen.sample(range(1, len(received)), count)))


@EACH_SCENARIO
def test_recorded_response_fed_by_packet_starts_says_the_same(scenario: rs.Scenario) -> None:
    for name in scenario.only:
        reader = PacketReader()
        reader.feed(recorded(name, scenario))
        tracker = ResponseTracker(rs.CAPABILITIES[name])
        for command, says in rs.steps_with_ping(scenario):
            tracker.begin(command[0], opens_cursor=opens_cursor(command))
            while not tracker.done:
                payload = reader.next()
                assert payload is not None
                whole = payload[0] in (0x00, 0xFE, 0xFF)
                tracker.packet(payload if whole else payload[:16], len(payload))
            rs.check(tracker, says, tracks=name != "plain")
        assert reader.next() is None


@pytest.mark.mariadb
async def test_real_server_answers_as_recorded() -> None:
    fresh = (await rs.record_all())["responses"]
    for name, scenario in rs.cases():
        follow(name, scenario, bytes.fromhex(fresh[scenario.name][name]), [])


def wire(*payloads: bytes) -> bytes:
    return b"".join(packet(payload, number + 1) for number, payload in enumerate(payloads))


def tracked(capabilities: int, command: int, *payloads: bytes) -> ResponseTracker:
    tracker = ResponseTracker(capabilities)
    tracker.begin(command)
    data = wire(*payloads)
    assert tracker.feed(data) == len(data)
    return tracker


@pytest.mark.parametrize("deprecates_eof", [False, True])
@pytest.mark.parametrize("cut", [1, 5, 1 << 16, MAX_PACKET_PAYLOAD, MAX_PACKET_PAYLOAD + 6, 1 << 30])
def test_row_of_several_packets_is_one_row(deprecates_eof: bool, cut: int) -> None:
    capabilities = int(Capability.DEPRECATE_EOF) if deprecates_eof else 0
    value = b"\xfe\xff\0" * 6_000_000
    payloads = build_text_result([Column(name=b"a")], [[value], [b"x"]], capabilities)
    data = b"".join(b"".join(pieces(payload, 0)) for payload in payloads) + b"next"
    tracker = ResponseTracker(capabilities)
    tracker.begin(Command.QUERY)
    start = 0
    view = memoryview(data)
    sizes = iter([cut] * 12)
    while not tracker.done:
        size = next(sizes, 1 << 24)
        used = tracker.feed(bytes(view[start : start + size]))
        start += used
    assert start == len(data) - 4
    assert tracker.rows


def test_row_that_ends_with_an_empty_continuation_is_followed() -> None:
    row = b"\xfe" + (MAX_PACKET_PAYLOAD - 9).to_bytes(8, "little") + bytes(MAX_PACKET_PAYLOAD - 9)
    data = packet(b"\1", 1) + packet(build_column(Column(name=b"a")), 2) + packet(build_eof(Eof()), 3)
    data += b"".join(pieces(row, 4))
    assert data.endswith(b"\0\0\0\5")
    data += packet(build_eof(Eof(status=3)), 6)
    tracker = ResponseTracker(0)
    tracker.begin(Command.QUERY)
    assert tracker.feed(data) == len(data)
    assert tracker.done
    assert tracker.status == 3


def test_progress_report_is_no_error() -> None:
    # MariaDB sql/protocol.cc, net_send_progress_packet: 0xFF, 0xFFFF, strings, stage, stages, progress, text.
    progress = b"\xff\xff\xff\x01\x01\x02\x10\x27\x00\x05stage"
    tracker = tracked(int(Capability.MARIADB_PROGRESS), Command.QUERY, progress, progress)
    assert not tracker.done
    data = wire(build_ok(Ok(affected_rows=3), 0))
    assert tracker.feed(data) == len(data)
    assert tracker.done
    assert tracker.error is None
    assert tracker.affected_rows == 3


def test_progress_report_among_rows_is_no_error() -> None:
    payloads = build_text_result([Column(name=b"a")], [[b"x"]], 0)
    payloads.insert(3, b"\xff\xff\xff\x01\x01\x02\x10\x27\x00\x05stage")
    tracker = tracked(0, Command.QUERY, *payloads)
    assert tracker.done
    assert tracker.error is None


def test_change_of_user_waits_for_the_client_between_challenge_and_ok() -> None:
    tracker = tracked(0, Command.CHANGE_USER, b"\xfemysql_native_password\0" + b"s" * 20 + b"\0")
    assert not tracker.done
    assert tracker.awaiting_client
    data = packet(build_ok(Ok(), 0), 3)
    assert tracker.feed(data) == len(data)
    assert tracker.done
    assert not tracker.awaiting_client


def test_change_of_user_refused_is_an_error() -> None:
    tracker = tracked(0, Command.CHANGE_USER, build_error(1045, "28000", "Access denied"))
    assert tracker.done
    assert tracker.error is not None
    assert tracker.error.errno == 1045


def test_request_for_a_file_waits_for_the_client() -> None:
    tracker = tracked(0, Command.QUERY, b"\xfb/tmp/file")
    assert tracker.awaiting_client
    assert not tracker.done
    data = packet(build_error(1148, "42000", "no"), 9)
    assert tracker.feed(data) == len(data)
    assert tracker.done
    assert not tracker.awaiting_client


def test_bytes_behind_the_end_are_left_alone() -> None:
    tracker = ResponseTracker(0)
    assert tracker.feed(b"anything") == 0
    tracker.begin(Command.PING)
    ok = packet(build_ok(Ok(), 0), 1)
    assert tracker.feed(ok + b"\x05\0\0") == len(ok)
    assert tracker.done


def test_error_keeps_the_status_of_before() -> None:
    tracker = tracked(0, Command.QUERY, build_ok(Ok(status=3), 0))
    tracker.begin(Command.QUERY)
    tracker.feed(packet(build_error(1064, "42000", "no"), 1))
    assert tracker.done
    assert tracker.status & Status.IN_TRANS


def test_large_counts_are_read_too() -> None:
    tracker = tracked(
        0, Command.QUERY, build_ok(Ok(affected_rows=70_000, last_insert_id=2**40, warnings=9), 0)
    )
    assert (tracker.affected_rows, tracker.last_insert_id, tracker.warnings) == (70_000, 2**40, 9)


def test_begin_before_the_end_is_our_mistake() -> None:
    tracker = ResponseTracker(0)
    tracker.begin(Command.QUERY)
    with pytest.raises(LocalProtocolError):
        tracker.begin(Command.QUERY)


@pytest.mark.parametrize("command", [Command.BINLOG_DUMP, Command.BINLOG_DUMP_GTID])
def test_endless_response_is_not_tracked(command: Command) -> None:
    with pytest.raises(LocalProtocolError):
        ResponseTracker(0).begin(command)


@pytest.mark.parametrize("command", [Command.QUIT, Command.STMT_CLOSE, Command.STMT_SEND_LONG_DATA])
def test_command_without_response_is_done_at_once(command: Command) -> None:
    tracker = ResponseTracker(0)
    tracker.begin(command)
    assert tracker.done


def test_decisive_packet_given_by_its_start_alone_is_our_mistake() -> None:
    tracker = ResponseTracker(0)
    tracker.begin(Command.PING)
    with pytest.raises(LocalProtocolError):
        tracker.packet(build_ok(Ok(), 0)[:3], 7)


@given(
    st.sampled_from([*Command, 0x40]), st.sampled_from(list(rs.CAPABILITIES.values())), st.binary(max_size=80)
)
def test_tracker_fed_any_bytes_stays_within_them_or_raises(command: int, caps: int, data: bytes) -> None:
    tracker = ResponseTracker(caps)
    try:
        tracker.begin(command)
        position = tracker.feed(data)
    except (RemoteProtocolError, LocalProtocolError):
        return
    assert 0 <= position <= len(data)
    assert tracker.done or position == len(data)


@given(st.sampled_from([0, int(Capability.DEPRECATE_EOF)]), st.data())
def test_tracker_fed_any_packets_in_any_pieces_ends_at_the_same_place(caps: int, data: st.DataObject) -> None:
    heads = st.sampled_from(
        [b"\0", b"\1", b"\2", b"\xfb", b"\xfc\1\0", b"\xfe", b"\xff\1\0", b"\xfe\0\0\2\0"]
    )
    body = st.builds(bytes.__add__, heads, st.binary(max_size=12))
    received = wire(*data.draw(st.lists(body, max_size=10)))
    command = data.draw(
        st.sampled_from([Command.QUERY, Command.STMT_PREPARE, Command.FIELD_LIST, Command.STMT_FETCH])
    )
    outcomes = []
    for size in (len(received) or 1, 1):
        tracker = ResponseTracker(caps)
        tracker.begin(command)
        position = 0
        try:
            while position < len(received) and not tracker.done:
                position += tracker.feed(received[position : position + size])
            outcomes.append((position, tracker.done, tracker.status, tracker.rows, str(tracker.error)))
        except RemoteProtocolError as error:
            outcomes.append(str(error))  # type: ignore[arg-type]
    assert outcomes[0] == outcomes[1]


@given(
    st.booleans(),
    st.booleans(),
    st.lists(
        st.sampled_from(
            [b"\1x", b"\0", b"\xfb", b"\xfe", b"\xff\1\0", b"\xfe\0\0\2\0", b"\xfe\0\0\x0a\0", b""]
        )
        | st.binary(max_size=9),
        max_size=2,
    ),
    st.booleans(),
    st.integers(0, 30),
)
def test_what_an_earlier_result_was_like_changes_nothing_about_a_later_one(
    learnt_eof: bool, deprecates_eof: bool, bodies: list[bytes], ends: bool, cut: int
) -> None:
    """The earlier one had one row; the later one begins like it and goes on as it likes."""
    capabilities = [int(Capability.DEPRECATE_EOF) if flag else 0 for flag in (learnt_eof, deprecates_eof)]
    *before, _, behind = build_text_result([Column(name=b"a")], [[b"x"]], capabilities[0])
    head = ResultHead()
    earlier = ResponseTracker(capabilities[0])
    earlier.begin(Command.QUERY, head)
    earlier.feed(wire(*before, b"\1x", behind))
    assert head.end
    received = wire(*before, *bodies, *([behind] if ends else []))
    received = received[: len(received) - cut] if cut < 15 else received
    outcomes = []
    for known in (None, head, head):
        tracker = ResponseTracker(capabilities[1])
        tracker.begin(Command.QUERY, known)
        try:
            position = tracker.feed(received)
        except (RemoteProtocolError, LocalProtocolError) as error:
            outcomes.append(str(error))
            continue
        said = [
            getattr(tracker, name) for name in ("status", "warnings", "columns", "rows", "changes", "done")
        ]
        outcomes.append(f"{position} {said} {tracker.error} {tracker.awaiting_client}")
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.sampled_from([b"a", b"\xfb", b"\xfd", b"\xfe", b"\xff"]),
            st.integers(1, 40),
        ),
        max_size=8,
    ),
    st.booleans(),
    st.integers(0, 3),
)
def test_runs_of_rows_end_where_they_do(
    runs: list[tuple[int, bytes, int]], deprecates_eof: bool, cut: int
) -> None:
    """Rows of one length, of neighbouring lengths, and whose values look like ends and errors."""
    capabilities = int(Capability.DEPRECATE_EOF) if deprecates_eof else 0
    rows = [[first * length, b"v"] for length, first, count in runs for _ in range(count)]
    columns = [Column(name=b"a"), Column(name=b"b")]
    payloads = build_text_result(columns, rows, capabilities)
    # Binary rows, as of prepared statements, begin with 0, text rows with a length.
    data = b"".join(packet(payload, number + 1 & 0xFF) for number, payload in enumerate(payloads))
    for step in (len(data), 4096, 97 + cut):
        tracker = ResponseTracker(capabilities)
        tracker.begin(Command.QUERY)
        position = 0
        while not tracker.done:
            chunk = (data + b"\x05\0\0\1behind")[position : position + step]
            position += tracker.feed(chunk)
        assert position == len(data)
        assert tracker.rows is bool(rows)
        assert tracker.error is None
