"""The shortcut without a server: what it lets through, and what comes out for every shape of response."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shortcut_session import ANYTHING, PLAIN_READ, PLAIN_WRITE, READ, WRITE, Following, following

from wolfscale.mysql.client import DEFAULT_CAPABILITIES
from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.framing import PacketReader, packet
from wolfscale.mysql.results import Column, Ok, build_error, build_ok, build_text_result, parse_ok
from wolfscale.mysql.session_track import SessionChanges, build_session_changes
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.proxy.relay import Rewriter
from wolfscale.proxy.shortcut import Verdict
from wolfscale.proxy.statement import Effect, Kind, Statement

sys.path.append(str(Path(__file__).parent.parent / "mysql"))
import response_scenarios as rs

RESPONSES: dict[str, dict[str, str]] = json.loads(rs.RECORDED.read_text())["responses"]
TRACKING = int(DEFAULT_CAPABILITIES | Capability.SESSION_TRACK)
OLD = int(DEFAULT_CAPABILITIES & ~(Capability.SESSION_TRACK | Capability.DEPRECATE_EOF))
EACH_SCENARIO = pytest.mark.parametrize("scenario", rs.SCENARIOS, ids=lambda scenario: scenario.name)
RELAYED = frozenset({Command.QUERY, Command.STMT_EXECUTE})


def wire(*payloads: bytes, first: int = 1) -> bytes:
    return b"".join(packet(payload, number + first & 0xFF) for number, payload in enumerate(payloads))


def result(capabilities: int, *values: bytes, status: int = 2) -> bytes:
    rows = [[value] for value in values]
    return wire(*build_text_result([Column(name=b"v")], rows, capabilities, status=status))


def ok(gtid: str | None = None, *, status: int = 2, capabilities: int = TRACKING) -> bytes:
    changes = build_session_changes(SessionChanges(gtid=gtid)) if gtid else b""
    flags = status | (int(Status.SESSION_STATE_CHANGED) if gtid else 0)
    return wire(build_ok(Ok(status=flags, session_data=changes, affected_rows=1), capabilities))


@pytest.mark.parametrize("leader", [False, True])
@EACH_SCENARIO
def test_recorded_response_comes_out_as_it_came_in(scenario: rs.Scenario, leader: bool) -> None:
    """Whole, byte by byte and cut at random; the first command of each scenario that may be relayed."""
    chosen = random.Random(scenario.name)
    for name in scenario.only:
        capabilities = rs.CAPABILITIES[name]
        for response, command in responses(name, scenario):
            cuts = [
                [],
                list(range(1, len(response))),
                *([sorted(chosen.sample(range(len(response)), 3))] * 3),
            ]
            for cut in cuts:
                session = following(capabilities, committed_sequence=1 << 40)
                session.begin(session.writer if leader else session.reader, ANYTHING, command)
                received, verdict = fed(session, response, cut)
                if verdict in (Verdict.SLOW, Verdict.REPLAY):
                    # Handed over whole from there on, nothing lost: what was let through is its beginning.
                    assert response.startswith(received)
                else:
                    assert verdict is Verdict.DONE
                    assert received == response


@EACH_SCENARIO
def test_recorded_response_loses_its_tracking_for_clients_that_do_not_know_it(scenario: rs.Scenario) -> None:
    for name in scenario.only:
        capabilities = rs.CAPABILITIES[name]
        if not capabilities & Capability.SESSION_TRACK:
            continue
        client = capabilities & ~int(Capability.SESSION_TRACK)
        for response, command in responses(name, scenario):
            expected = Rewriter(capabilities, client).feed(response)
            for cut in ([], list(range(1, len(response)))):
                session = following(capabilities, client, committed_sequence=1 << 40)
                session.begin(session.reader, ANYTHING, command)
                received, verdict = fed(session, response, cut)
                if verdict is Verdict.DONE:
                    assert received == expected


def responses(name: str, scenario: rs.Scenario) -> Iterator[tuple[bytes, int]]:
    """The recorded response to each command that the shortcut may let through."""
    received = bytes.fromhex(RESPONSES[scenario.name][name])
    tracker, position = ResponseTracker(rs.CAPABILITIES[name]), 0
    for command, _ in scenario.steps:
        tracker.begin(command[0], opens_cursor=opens_cursor(command))
        start, position = position, tracker.feed(received, position)
        if command[0] in RELAYED and start < position and not opens_cursor(command):
            yield received[start:position], command[0]


def fed(session: Following, response: bytes, cuts: list[int]) -> tuple[bytes, Verdict]:
    """What the client gets of a response that comes in pieces, and how it ends."""
    shortcut, out = session.shortcut, bytearray()
    verdict = Verdict.SEND
    for start, end in zip([0, *cuts], [*cuts, len(response)], strict=True):
        if start == end:
            continue
        assert verdict is Verdict.SEND, "the response goes on behind its end"
        verdict = shortcut.response(response[start:end])
        if verdict in (Verdict.SEND, Verdict.DONE):
            out += shortcut.data
            shortcut.sent = shortcut.sent or bool(shortcut.data)
        elif verdict is Verdict.SLOW:
            break
    return bytes(out), verdict


def test_text_that_was_never_seen_is_left_to_the_task() -> None:
    session = following(TRACKING)
    assert session.query(READ) is Verdict.SLOW
    session.know(READ)
    assert session.query(b"SELECT v FROM t WHERE id = 2") is Verdict.SEND
    assert session.shortcut.connection is session.reader


def test_plain_change_goes_to_the_leader() -> None:
    session = following(TRACKING)
    session.know(WRITE)
    assert session.query(WRITE) is Verdict.SEND
    assert session.shortcut.connection is session.writer


@pytest.mark.parametrize(
    "text",
    [
        b"CREATE TABLE x (a INT)",  # an intent mark
        b"SET time_zone = '+01:00'",
        b"SET @a = 1",
        b"USE demo",
        b"SHOW WARNINGS",
        b"CREATE TEMPORARY TABLE x (a INT)",
        b"CALL p()",
        b"STOP SLAVE",
        b"GRANT ALL ON *.* TO x",
        b"LOCK TABLES t READ",
        b"DO GET_LOCK('a', 1)",
        b"PREPARE s FROM @q",
        b"SELECT 1 /* comment */",
    ],
)
def test_statement_that_takes_more_is_left_to_the_task(text: bytes) -> None:
    session = following(TRACKING)
    session.know(text)
    assert session.query(text) is Verdict.SLOW
    assert session.shortcut.connection is None


def test_read_goes_where_the_session_must_read() -> None:
    session = following(TRACKING)
    session.know(READ)
    facts = session.executor.facts
    for change in ({"in_transaction": True}, {"autocommit": False}, {"effects": Effect.TEMPORARY_TABLES}):
        for name, value in change.items():
            setattr(facts, name, value)
        session.shortcut.look_again()
        assert session.query(READ) is Verdict.SEND
        assert session.shortcut.connection is session.writer
        session.shortcut.response(result(TRACKING, b"x"))
        facts.in_transaction, facts.autocommit, facts.effects = False, True, Effect.NONE


def test_read_that_the_replica_is_not_fresh_enough_for_waits_in_the_task() -> None:
    session = following(TRACKING, applied_sequence=4)
    session.know(READ)
    session.executor.consistency.required = 5
    assert session.query(READ) is Verdict.SLOW
    session.change(applied_sequence=5)
    assert session.query(READ) is Verdict.SEND
    session.shortcut.response(result(TRACKING, b"x"))
    session.executor.consistency.leader_was_read = True
    session.shortcut.look_again()
    assert session.query(READ) is Verdict.SLOW


@pytest.mark.parametrize(
    "harm",
    [
        lambda session: setattr(session.reader, "closed", True),
        lambda session: session.executor.state.add_schema(b"other"),
        lambda session: setattr(session.executor.connections, "reader", None),
        lambda session: session.reader.packets.unread(b"left over"),
    ],
)
def test_connection_that_must_be_seen_to_first_is_left_to_the_task(harm: object) -> None:
    session = following(TRACKING)
    session.know(READ)
    harm(session)  # type: ignore[operator]
    assert session.query(READ) is Verdict.SLOW


@pytest.mark.parametrize("view", [{"term": 2}, {"writable": False}, {"is_leader": True, "term": 2}], ids=str)
def test_leader_that_is_no_more_gets_nothing(view: dict[str, object]) -> None:
    session = following(TRACKING)
    session.know(WRITE)
    session.change(**view)
    assert session.query(WRITE) is Verdict.SLOW


def test_open_transaction_goes_on_while_the_leader_is_about_to_go() -> None:
    session = following(TRACKING)
    session.know(WRITE)
    session.executor.facts.in_transaction = True
    session.change(writable=False)
    assert session.query(WRITE) is Verdict.SEND


def test_ok_is_held_until_the_log_has_committed_its_gtid() -> None:
    session = following(TRACKING, committed_sequence=6)
    session.begin(session.writer, PLAIN_WRITE, Command.QUERY)
    answer = ok("0-1-7")
    assert session.shortcut.response(answer) is Verdict.HOLD
    assert session.shortcut.release() is Verdict.HOLD
    assert session.statistics.leader_statements == 0
    session.change(committed_sequence=7)
    assert session.shortcut.release() is Verdict.DONE
    assert session.shortcut.data == answer
    assert session.executor.consistency.required == 7
    assert session.statistics.leader_statements == 1


def test_ok_whose_term_ends_uncommitted_is_left_to_the_task() -> None:
    session = following(TRACKING, committed_sequence=6)
    session.begin(session.writer, PLAIN_WRITE, Command.QUERY)
    assert session.shortcut.response(ok("0-1-7")) is Verdict.HOLD
    # The next term's numbers prove nothing about this term's group.
    session.change(term=2, committed_sequence=1 << 40)
    assert session.shortcut.release() is Verdict.SLOW
    assert session.shortcut.connection is session.writer


def test_gtid_that_must_be_asked_for_is_left_to_the_task() -> None:
    session = following(TRACKING)
    session.begin(session.writer, PLAIN_WRITE, Command.QUERY)
    changed = 2 | int(Status.SESSION_STATE_CHANGED)
    capabilities = TRACKING & ~int(Capability.DEPRECATE_EOF)
    session.shortcut._tracker = session.writer.tracker = ResponseTracker(capabilities)
    session.writer.tracker.begin(Command.QUERY)
    assert session.shortcut.response(result(capabilities, b"1", status=changed)) is Verdict.SLOW


@pytest.mark.parametrize(
    "changes",
    [SessionChanges(schema=b"other"), SessionChanges(variables={b"autocommit": b"OFF"})],
    ids=["schema", "variable"],
)
def test_change_of_the_session_is_left_to_the_task(changes: SessionChanges) -> None:
    session = following(TRACKING)
    session.begin(session.writer, PLAIN_WRITE, Command.QUERY)
    status = 2 | int(Status.SESSION_STATE_CHANGED)
    answer = wire(build_ok(Ok(status=status, session_data=build_session_changes(changes)), TRACKING))
    assert session.shortcut.response(answer) is Verdict.SLOW
    assert session.shortcut.data == answer


def test_end_of_a_transaction_is_seen() -> None:
    session = following(TRACKING, committed_sequence=9)
    session.know(b"BEGIN", b"COMMIT", READ)
    assert session.query(b"BEGIN") is Verdict.SEND
    assert session.shortcut.response(ok(status=3)) is Verdict.DONE
    assert session.executor.facts.in_transaction
    assert session.query(READ) is Verdict.SEND
    assert session.shortcut.connection is session.writer
    session.shortcut.response(result(TRACKING, b"x", status=3))
    assert session.query(b"COMMIT") is Verdict.SEND
    assert session.shortcut.response(ok("0-1-9")) is Verdict.DONE
    assert not session.executor.facts.in_transaction
    session.change(applied_sequence=9)
    assert session.query(READ) is Verdict.SEND
    assert session.shortcut.connection is session.reader


@pytest.mark.parametrize(
    ("errno", "message", "in_transaction", "verdict"),
    [
        (1062, "Duplicate entry", False, Verdict.DONE),
        (1062, "Duplicate entry", True, Verdict.DONE),
        (1213, "Deadlock found", True, Verdict.SLOW),  # the transaction may be gone: it must be asked
        (1213, "Deadlock found", False, Verdict.DONE),
        (1290, "running with the --read-only option", False, Verdict.REPLAY),
        (1290, "running with the --secure-file-priv option", False, Verdict.DONE),
    ],
)
def test_error_of_the_leader_ends_as_it_must(
    errno: int, message: str, in_transaction: bool, verdict: Verdict
) -> None:
    session = following(TRACKING)
    session.executor.facts.in_transaction = in_transaction
    session.begin(session.writer, PLAIN_WRITE, Command.QUERY)
    assert session.shortcut.response(wire(build_error(errno, "HY000", message))) is verdict


@pytest.mark.parametrize(
    ("errno", "verdict"),
    [(1290, Verdict.REPLAY), (1792, Verdict.REPLAY), (1146, Verdict.REPLAY), (1064, Verdict.DONE)],
)
def test_error_of_the_replica_is_the_clients_unless_the_leader_may_know_better(
    errno: int, verdict: Verdict
) -> None:
    session = following(TRACKING)
    session.begin(session.reader, PLAIN_READ, Command.QUERY)
    assert session.shortcut.response(wire(build_error(errno, "HY000", "x"))) is verdict
    assert session.statistics.misjudged_reads == 0, "the task counts it when it hears the same"


@pytest.mark.parametrize(
    ("on_leader", "statement", "sent", "verdict"),
    [
        (False, PLAIN_READ, False, Verdict.REPLAY),
        (False, PLAIN_READ, True, Verdict.BROKEN),
        (True, PLAIN_READ, False, Verdict.REPLAY),
        (True, PLAIN_WRITE, False, Verdict.UNKNOWN),
        (True, PLAIN_WRITE, True, Verdict.BROKEN),
    ],
)
def test_connection_that_breaks_means_what_it_must(
    on_leader: bool, statement: Statement, sent: bool, verdict: Verdict
) -> None:
    session = following(TRACKING)
    connection = session.writer if on_leader else session.reader
    session.begin(connection, statement, Command.QUERY)
    session.shortcut.sent = sent
    assert session.shortcut.lost() is verdict
    assert connection.closed


def test_nonsense_from_a_server_counts_as_a_broken_connection() -> None:
    session = following(TRACKING)
    session.begin(session.reader, PLAIN_READ, Command.QUERY)
    assert session.shortcut.response(b"\0\0\0\1") is Verdict.REPLAY
    assert session.reader.closed


def test_what_a_server_says_behind_its_response_is_for_nobody() -> None:
    session = following(TRACKING)
    session.begin(session.reader, PLAIN_READ, Command.QUERY)
    answer = result(TRACKING, b"x")
    assert session.shortcut.response(answer + wire(build_error(1927, "70100", "killed"))) is Verdict.DONE
    assert session.shortcut.data == answer
    assert session.reader.closed


@pytest.mark.parametrize("capabilities", [OLD, TRACKING])
def test_ping_is_answered_at_once(capabilities: int) -> None:
    session = following(TRACKING, capabilities)
    session.executor.facts.in_transaction = True
    assert session.shortcut.request(packet(bytes((Command.PING,)), 0)) is Verdict.DONE
    reader = PacketReader()
    reader.feed(session.shortcut.data)
    payload = reader.next()
    assert payload is not None
    assert parse_ok(payload, capabilities).status == int(Status.AUTOCOMMIT | Status.IN_TRANS)


def test_command_with_another_number_than_0_is_left_to_the_task() -> None:
    session = following(TRACKING)
    session.know(READ)
    assert session.shortcut.request(packet(b"\x03" + READ, 1)) is Verdict.SLOW


@pytest.mark.parametrize(
    "command", sorted(set(range(256)) - {Command.QUERY, Command.STMT_EXECUTE, Command.PING})
)
def test_other_commands_are_left_to_the_task(command: int) -> None:
    session = following(TRACKING)
    for rest in (b"", b"\1\0\0\0", b"\1\0\0\0\0\1\0\0\0"):
        assert session.shortcut.request(packet(bytes((command,)) + rest, 0)) is Verdict.SLOW


def test_text_in_a_character_set_that_needs_care_is_left_to_the_task() -> None:
    session = following(TRACKING)
    session.know(READ)
    session.executor.memory.character_set = "gbk"
    assert session.query(READ) is Verdict.SLOW


def test_other_account_of_the_node_forgets_what_was_known() -> None:
    session = following(TRACKING)
    session.know(READ)
    assert session.query(READ) is Verdict.SEND
    session.shortcut.response(result(TRACKING, b"x"))
    session.classifier.node_account = "another"
    assert session.query(READ) is Verdict.SLOW


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("fields", [{"intent": True}, {"effects": Effect.HANDLERS}, {"source": (0, 1)}])
def test_statement_that_takes_care_is_not_plain(kind: Kind, fields: dict[str, object]) -> None:
    assert not Statement(kind=kind, reason="", **fields).plain  # type: ignore[arg-type]
