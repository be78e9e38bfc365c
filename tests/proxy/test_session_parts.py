"""The pure parts of a session: state, consistency, views, rewriting, lexer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.constants import Capability, Status
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import Column, Ok, build_ok, build_text_result
from wolfscale.mysql.session_track import SessionChanges, build_session_changes
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.consistency import SessionConsistency, sequence_of
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.lexer import LexerMode, TokenKind, string_value, tokenize
from wolfscale.proxy.memory import version_number
from wolfscale.proxy.relay import Rewriter
from wolfscale.proxy.state import MAX_ENTRIES, SessionState
from wolfscale.proxy.statement import Effect
from wolfscale.proxy.view import View, Views


def _set(state: SessionState, sql: str) -> None:
    state.add_settings(Classifier().classify(sql.encode(), LexerMode()).assignments, sql.encode())


def _texts(state: SessionState, known: int = 0, *, leader: bool = True) -> list[str]:
    return [payload[1:].decode() for payload in state.pending(known, leader=leader)]


def test_state_repeats_settings_in_order_and_drops_what_is_overridden() -> None:
    state = SessionState()
    state.add_schema(b"one")
    _set(state, "SET character_set_client = latin1")
    _set(state, "SET time_zone = '+01:00'")
    _set(state, "SET NAMES utf8mb4")
    _set(state, "SET time_zone = '+02:00'")
    state.add_schema(b"two")
    assert _texts(state) == ["SET NAMES utf8mb4", "SET time_zone = '+02:00'", "two"]


def test_state_tells_a_connection_only_what_it_lacks() -> None:
    state = SessionState()
    _set(state, "SET time_zone = '+01:00'")
    known = state.last_number
    _set(state, "SET sql_mode = ''")
    assert _texts(state, known) == ["SET sql_mode = ''"]
    assert _texts(state, state.last_number) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SET tx_read_only = 0",
        "SET SESSION TRANSACTION READ WRITE",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
    ],
)
def test_state_never_makes_the_local_connection_writable(sql: str) -> None:
    state = SessionState()
    _set(state, sql)
    assert _texts(state, leader=True) == [sql]
    assert _texts(state, leader=False) == []


def test_state_forgets_one_shot_variables_and_user_variables() -> None:
    state = SessionState()
    _set(state, "SET insert_id = 5")
    _set(state, "SET TRANSACTION READ ONLY")
    assert _texts(state) == []


def test_state_is_bounded() -> None:
    state = SessionState()
    for number in range(MAX_ENTRIES):
        state.add_command(f"name {number}", b"\x03SET x")
    with pytest.raises(ProxyError):
        state.add_command("one more", b"\x03SET x")


def test_state_names_what_a_lost_leader_takes_with_it() -> None:
    state = SessionState()
    assert state.lost_with_leader() == ""
    state.effects = Effect.TABLE_LOCKS | Effect.PERHAPS_TEMPORARY_TABLES
    state.user_variables.assign(frozenset({"A"}))
    assert state.lost_with_leader() == "table locks, user variables"
    state.clear(keep_schema=True)
    assert state.lost_with_leader() == ""


def test_consistency_only_rises() -> None:
    consistency = SessionConsistency()
    consistency.on_written(5)
    consistency.on_written(3)
    assert consistency.required == 5
    consistency.on_leader_read(7)
    assert (consistency.required, consistency.leader_was_read) == (7, True)
    consistency.on_position(6)
    assert (consistency.required, consistency.leader_was_read) == (7, False)


@pytest.mark.parametrize(("gtid", "sequence"), [("0-7-42", 42), ("", 0), ("0-1-x", 0), ("5", 5)])
def test_sequence_of_a_gtid(gtid: str, sequence: int) -> None:
    assert sequence_of(gtid) == sequence


def test_views_count_a_commit_only_in_the_term_that_saw_it() -> None:
    views = Views()
    views.update(View(term=1, committed_sequence=10))
    views.update(View(term=2, committed_sequence=20))
    assert views.is_committed(10, 1)
    assert not views.is_committed(11, 1)
    assert views.is_committed(20, 2)
    for term in range(3, 30):
        views.update(View(term=term))
    assert not views.is_committed(10, 1)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5.5.5-10.11.19-MariaDB-log", 101119), ("11.4.2-MariaDB", 110402), ("nonsense", 101100)],
)
def test_version_number_as_executable_comments_write_it(text: str, number: int) -> None:
    assert version_number(text) == number


_OLD = int(Capability.PROTOCOL_41)
_TRACKING = int(Capability.PROTOCOL_41 | Capability.SESSION_TRACK)
_CHANGES = build_session_changes(SessionChanges(gtid="0-1-5", schema=b"demo"))


@given(
    st.lists(st.sampled_from(["ok", "rows", "ok with text"]), min_size=1, max_size=4),
    st.booleans(),
    st.data(),
)
def test_rewriter_gives_what_a_server_would_have_sent(
    results: list[str], deprecates_eof: bool, data: st.DataObject
) -> None:
    eof = int(Capability.DEPRECATE_EOF) if deprecates_eof else 0
    sent, expected, sequence = b"", b"", 1
    for number, result in enumerate(results):
        status = int(Status.MORE_RESULTS_EXISTS) if number < len(results) - 1 else 0
        if result == "rows":
            payloads = [
                build_text_result([Column(name=b"a")], [(b"x",), (None,)], capabilities | eof, status=status)
                for capabilities in (_TRACKING, _OLD)
            ]
        else:
            ok = Ok(status=status, info=b"text" if result != "ok" else b"", session_data=_CHANGES)
            payloads = [[build_ok(ok, capabilities | eof)] for capabilities in (_TRACKING, _OLD)]
        for tracking, old in zip(*payloads, strict=True):
            sent += packet(tracking, sequence)
            expected += packet(old, sequence)
            sequence += 1
    rewriter = Rewriter(_TRACKING | eof, _OLD | eof)
    given_back, position = b"", 0
    while position < len(sent):
        size = data.draw(st.integers(1, 30))
        given_back += rewriter.feed(sent[position : position + size])
        position += size
    assert given_back == expected


def test_rows_that_are_fetched_are_no_ok_packets() -> None:
    row = packet(b"\x00\x00\x01\x00\x00\x40\x02pu", 1)
    end = packet(build_ok(Ok(header=0xFE), _OLD | Capability.DEPRECATE_EOF), 2)
    rewriter = Rewriter(_TRACKING | Capability.DEPRECATE_EOF, _OLD | Capability.DEPRECATE_EOF, fetches=True)
    assert rewriter.feed(row + end) == row + end


@given(st.text(max_size=30))
def test_quoted_text_is_one_token_with_its_value(text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    (token,) = tokenize(quoted, LexerMode()).tokens
    assert token.kind is TokenKind.STRING
    assert token.value == text
    assert token.word == ""
    plain = "'" + text.replace("'", "''") + "'"
    assert string_value(plain, backslash_escapes=False) == text


@given(st.text("/*!M0123456789 x'\"`-#\n;", max_size=40))
def test_lexer_ends_and_its_tokens_lie_in_order(text: str) -> None:
    tokens = tokenize(text, LexerMode()).tokens
    positions = [position for token in tokens for position in (token.start, token.end)]
    assert positions == sorted(positions)
    assert all(token.start < token.end for token in tokens)
