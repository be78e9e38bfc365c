"""User variables without a server: names in texts, values as literals, what is kept of them, the counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.constants import ColumnType
from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.results import Column
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.kept_variables import KeptVariables
from wolfscale.proxy.lexer import LexerMode, tokenize
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statement import Effect
from wolfscale.proxy.statement_counts import (
    StatementCounts,
    asks_about_warnings,
    leaves_found_rows,
    with_counts,
)
from wolfscale.proxy.user_variables import (
    UserVariable,
    is_plain_name,
    name_of,
    quoted,
    utf8_around,
    variable_names,
)
from wolfscale.proxy.variable_values import (
    BYTES_A_VARIABLE,
    KEPT_BYTES,
    MAX_VARIABLES,
    SHORT_BYTES,
    read_values,
    values_query,
)

MODE = LexerMode()


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SET @a = 1+1, @`b c` := 2, x = 3", {"A", "B C"}),
        ("SELECT id, v FROM t INTO @a.b, @$c", {"A.B", "$C"}),
        ("SELECT @A := @a + @@sql_mode", {"A"}),
        ("SET @a_1=@1a:=3", {"A_1", "1A"}),
        ("SELECT @a.5", None),
        ("SELECT @'a' := 1", None),
        ("SET @\u00e9 = 1", None),
        ("SELECT 1", set()),
        ("SELECT @", None),
    ],
)
def test_names_in_a_text(sql: str, names: set[str] | None) -> None:
    assert variable_names(tokenize(sql, MODE).tokens) == names


@pytest.mark.parametrize(
    ("sql", "assigns", "names"),
    [
        ("SET @a = 1", True, {"A"}),
        ("SELECT @a", False, None),
        ("SELECT @a := id FROM t", True, {"A"}),
        ("SELECT id INTO @a FROM t", True, {"A"}),
        ("SELECT id INTO OUTFILE '/x' FROM t", False, None),
        ("INSERT INTO t SELECT @n := @n + 1", True, {"N"}),
        ("INSERT INTO t VALUES (@n)", False, None),
        ("ANALYZE SELECT @a := 1", True, {"A"}),
        ("GET DIAGNOSTICS @a = NUMBER", True, {"A"}),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a, @b) SET c = @b", True, {"B"}),
        ("SET STATEMENT max_statement_time = 1 FOR SELECT 1 INTO @a", True, {"A"}),
        ("EXECUTE IMMEDIATE 'SET @b = 1' USING @a", True, None),
        ("SET @'a' = 1 + 1", True, None),
        ("SET @a = 1 + 1; SELECT 1", True, None),
        ("CREATE PROCEDURE p() SET @a = 1", False, None),
    ],
)
def test_statements_that_assign(sql: str, assigns: bool, names: set[str] | None) -> None:
    statement = Classifier().classify(sql.encode(), MODE)
    assert bool(statement.effects & Effect.USER_VARIABLES) == assigns
    assert statement.user_variables == names


def _value(type: int, value: bytes | None, collation: bytes = b"binary", flags: int = 0) -> str:
    columns = [Column(name=b"")] * 2 + [Column(name=b"", type=type, flags=flags)] + [Column(name=b"")] * 2
    [found] = read_values(["A"], columns, [b"1", b"0", None, value, collation])
    assert found is not None
    return found.literal


@pytest.mark.parametrize(
    ("type", "flags", "value", "collation", "literal"),
    [
        (ColumnType.LONGLONG, 0, b"-5", b"binary", "CAST(-5 AS SIGNED)"),
        (ColumnType.LONGLONG, 32, b"5", b"binary", "CAST(5 AS UNSIGNED)"),
        (ColumnType.LONGLONG, 0, None, b"binary", "CAST(NULL AS SIGNED)"),
        (ColumnType.NEWDECIMAL, 0, b"1.50", b"binary", "1.50"),
        (ColumnType.NEWDECIMAL, 0, b"7", b"binary", "7."),
        (ColumnType.NEWDECIMAL, 0, None, b"binary", "CAST(NULL AS DECIMAL)"),
        (ColumnType.DOUBLE, 0, b"0.1", b"binary", "0.1e0"),
        (ColumnType.DOUBLE, 0, b"1e300", b"binary", "1e300"),
        (ColumnType.DOUBLE, 0, None, b"binary", "CAST(NULL AS DOUBLE)"),
        (ColumnType.LONG_BLOB, 0, b"\0'", b"binary", "_binary X'0027'"),
        (ColumnType.LONG_BLOB, 0, None, b"binary", "NULL"),
        (ColumnType.VAR_STRING, 0, b"\xe9", b"latin1_bin", "_latin1 X'e9' COLLATE latin1_bin"),
        (ColumnType.VAR_STRING, 0, None, b"utf16_bin", "CONVERT(NULL USING utf16) COLLATE utf16_bin"),
    ],
)
def test_value_as_a_literal(
    type: int, flags: int, value: bytes | None, collation: bytes, literal: str
) -> None:
    assert _value(type, value, collation, flags) == literal


def test_value_over_the_bound_is_none_and_another_querys_answer_is_refused() -> None:
    columns = [Column(name=b"", type=int(ColumnType.VAR_STRING))] * 5
    row = [b"1", b"0", None, b"x" * (SHORT_BYTES + 1), b"latin1_bin"]
    assert read_values(["A"], columns, row) == [None]
    [longer] = read_values(["A"], columns, row, KEPT_BYTES)
    assert longer is not None
    assert (longer.sql, longer.value, longer.collation) == ("_latin1 ", row[3], " COLLATE latin1_bin")
    with pytest.raises(RemoteProtocolError):
        read_values(["A", "B"], columns, row)


@given(st.text())
def test_names_stay_inside_their_quotes(name: str) -> None:
    if not is_plain_name(name):
        return
    tokens = tokenize(f"SET {quoted(name)} = 1", MODE).tokens
    assert variable_names(tokens) == frozenset({name.upper()})
    assert len(tokens) == 5
    assert quoted(name).encode() in values_query([name])


def test_name_that_is_not_ascii_is_the_servers_and_told_in_utf8() -> None:
    assert [name_of(name.encode()) for name in ("a b", "\u00df", "\u00e9A")] == ["A B", "\u00df", "\u00e9A"]
    variables = KeptVariables()
    variables.keep(
        [*_kept("A"), UserVariable("\u00e9", "_latin1 ", value=b"\xe9", collation=" COLLATE latin1_bin")]
    )
    assert variables.assignments() == [b"SET @`A`=1"]
    assert variables.assignments_in_utf8() == ["SET @`\u00e9`=_latin1 X'e9' COLLATE latin1_bin".encode()]
    assert utf8_around(b"gbk") == (
        b"\x03SET character_set_client=utf8mb4",
        b"\x03SET character_set_client=gbk",
    )


def _kept(*names: str) -> list[UserVariable]:
    return [UserVariable(name, "1") for name in names]


def test_kept_variables_are_complete_when_all_are_read() -> None:
    variables = KeptVariables()
    variables.keep(_kept("A"))
    assert variables.is_complete
    variables.assign(frozenset({"A", "B"}))
    assert (variables.is_complete, variables.is_unread) == (False, True)
    variables.on_read(["A", "B"], [UserVariable("A", "2"), None])
    assert (variables.is_complete, variables.is_unread) == (False, False)
    variables.keep([UserVariable("B", "'x'", is_text=True)])
    assert variables.is_complete
    assert variables.assignments() == [b"SET @`A`=2", b"SET @`B`='x'"]
    variables.on_character_set()
    assert variables.unread == {"B"}


def test_listed_variables_are_all_that_there_are() -> None:
    variables = KeptVariables()
    variables.keep(_kept("GONE", "A"))
    variables.assign(None)
    variables.on_listed(["A", "NEW"])
    assert variables.unread == {"A", "NEW"}
    variables.on_read(["A", "NEW"], _kept("A", "NEW"))
    assert variables.is_complete
    assert variables.assignments() == [b"SET @`A`=1", b"SET @`NEW`=1"]


def test_too_many_variables_are_given_up_until_a_list_is_shorter() -> None:
    variables = KeptVariables()
    names = [f"V{number}" for number in range(MAX_VARIABLES)]
    variables.assign(frozenset(names))
    assert variables.is_unread
    variables.assign(frozenset({"ONE_MORE"}))
    assert (variables.is_complete, variables.is_unread) == (False, False)
    variables.keep(_kept("A"))
    variables.assign(frozenset({"B"}))
    assert (variables.is_complete, variables.is_unread) == (False, False)
    variables.assign(None)
    variables.on_listed([*names, "ONE_MORE"])
    assert not variables.is_complete
    variables.assign(None)
    variables.on_listed(["A"])
    variables.on_read(["A"], _kept("A"))
    assert variables.is_complete


def test_values_are_kept_up_to_a_number_of_bytes() -> None:
    variables = KeptVariables()
    most = KEPT_BYTES - 2 * BYTES_A_VARIABLE - 4
    assert variables.has_room("A", most)
    variables.keep([UserVariable("A", "", value=b"x" * most)])
    assert (variables.has_room("A", most), variables.has_room("B", 1)) == (True, True)
    assert not variables.has_room("B", 3)
    variables.keep([UserVariable("B", "11")])
    assert variables.is_complete
    # One that has no room is lost by itself, until it or another has a shorter value.
    variables.keep([UserVariable("B", "111")])
    assert (variables.is_complete, variables.is_too_large) == (False, True)
    assert [text[:8] for text in variables.assignments()] == [b"SET @`A`"]
    variables.keep([UserVariable("A", "1"), UserVariable("B", "111")])
    assert variables.is_complete
    variables.on_read(["A"], [None])
    variables.assign(None)
    variables.on_listed(["B"])
    variables.on_read(["B"], _kept("B"))
    assert variables.is_complete


def test_server_that_cannot_list_costs_what_is_known() -> None:
    variables = KeptVariables()
    variables.assign(None)
    variables.on_unlisted()
    assert variables.is_complete
    variables.keep(_kept("A"))
    variables.assign(None)
    variables.on_unlisted()
    assert not variables.is_complete


def test_only_a_new_connection_is_told_variables() -> None:
    state = SessionState()
    state.user_variables.keep(_kept("A"))
    knows = state.note_user_variables(state.last_number)
    assert knows == state.last_number == 1
    assert state.pending(knows, leader=True) == []
    assert state.pending(0, leader=True) == [b"\x03SET @`A`=1"]
    assert state.pending(0, leader=False) == []
    # Another value has no number of its own: who has the variables has that too.
    state.user_variables.keep([UserVariable("A", "2")])
    assert state.note_user_variables(knows) == knows == state.last_number
    state.add_schema(b"demo")
    assert state.pending(0, leader=True) == [b"\x02demo", b"\x03SET @`A`=2"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT FOUND_ROWS()", "SELECT CAST(4 AS SIGNED) AS `FOUND_ROWS()` "),
        (
            "SELECT row_count() AS n, found_rows()",
            "SELECT CAST(2 AS SIGNED)  AS n, CAST(4 AS SIGNED) AS `found_rows()` ",
        ),
        ("SELECT 'FOUND_ROWS()' FROM t", "SELECT 'FOUND_ROWS()' FROM t"),
        ("INSERT INTO log VALUES (ROW_COUNT())", "INSERT INTO log VALUES (CAST(2 AS SIGNED) )"),
        ("GET DIAGNOSTICS @a = ROW_COUNT, @`b c` = NUMBER;", "SET @a = 2, @`b c` = @@warning_count"),
        ("GET CURRENT DIAGNOSTICS @a = NUMBER, @b = ROW_COUNT", "SET @a = @@warning_count, @b = 2"),
        ("GET DIAGNOSTICS CONDITION 1 @row_count = MESSAGE_TEXT",) * 2,
        ("CREATE PROCEDURE p() SELECT ROW_COUNT()",) * 2,
    ],
)
def test_counts_are_put_into_the_text(sql: str, expected: str) -> None:
    counts = StatementCounts(found_rows=4, row_count=2)
    assert with_counts(sql.encode(), MODE, counts).decode() == expected


def test_row_count_that_the_server_knows_is_left_to_it() -> None:
    sql = b"SELECT ROW_COUNT(), FOUND_ROWS()"
    found = with_counts(sql, MODE, StatementCounts(found_rows=4, row_count=None))
    assert found == b"SELECT ROW_COUNT(), CAST(4 AS SIGNED) AS `FOUND_ROWS()` "


@pytest.mark.parametrize(
    ("sql", "leaves"),
    [
        ("SET @a = 1", True),
        ("  update t set v = 1", True),
        ("BEGIN", True),
        ("show warnings", True),
        ("SET @a = (SELECT 1)", False),
        ("INSERT INTO t SELECT 1", False),
        ("DELETE FROM t RETURNING id", False),
        ("SELECT 1", False),
        ("SHOW TABLES", False),
        ("CALL p()", False),
        ("SETTLE", False),
    ],
)
def test_which_statements_leave_found_rows_alone(sql: str, leaves: bool) -> None:
    assert leaves_found_rows(sql.encode()) == leaves


@pytest.mark.parametrize(
    ("sql", "asks"),
    [
        ("SHOW WARNINGS", True),
        ("SELECT @@warning_count", True),
        ("GET DIAGNOSTICS @a = NUMBER", True),
        ("SELECT 1", False),
        ("SELECT my_errors", False),
    ],
)
def test_which_texts_ask_about_warnings(sql: str, asks: bool) -> None:
    assert asks_about_warnings(sql.encode()) == asks
