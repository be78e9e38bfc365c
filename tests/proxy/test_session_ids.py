"""Session ids, and KILL taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.kill_statement import Kill, first_kill, parse_kill
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.session_ids import FIRST_ID, WORKERS, SessionIds, first_id, with_session_id

MODE = LexerMode()


@given(st.integers(0, 5000), st.integers(0, WORKERS - 1))
def test_ids_fit_the_greeting_and_are_never_mariadbs_own(number: int, place: int) -> None:
    first = first_id(number, place)
    assert first >= FIRST_ID
    assert first + (1 << 16) <= 1 << 32


def test_workers_of_different_nodes_and_places_share_no_id() -> None:
    firsts = {first_id(number, place) for number in range(1, 1024) for place in range(WORKERS)}
    assert len(firsts) == 1023 * WORKERS
    assert all(first % (1 << 16) == 0 for first in firsts)


def test_ids_of_open_sessions_are_passed_over_when_the_count_begins_again() -> None:
    ids = SessionIds()
    taken = [ids.take(0, ()) for _ in range((1 << 16) - 1)]
    assert len(set(taken)) == len(taken)
    assert 0 not in taken
    assert ids.take(0, {1, 2}) == 3


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT CONNECTION_ID()", "SELECT 7 AS `CONNECTION_ID()` "),
        ("select connection_id() as id", "select 7  as id"),
        (
            "INSERT INTO t VALUES (CONNECTION_ID(), 'connection_id()')",
            "INSERT INTO t VALUES (7 , 'connection_id()')",
        ),
        ("SELECT CONNECTION_ID() > 0", "SELECT 7  > 0 AS `CONNECTION_ID() > 0` "),
        (
            "SELECT CONNECTION_ID(), HEX(CONNECTION_ID()) , a FROM t",
            "SELECT 7  AS `CONNECTION_ID()` , HEX(7 ) AS `HEX(CONNECTION_ID())`  , a FROM t",
        ),
        ("SELECT DISTINCT CONNECTION_ID() + 1 AS n", "SELECT DISTINCT 7  + 1 AS n"),
        ("SELECT ABS(CONNECTION_ID()) n;", "SELECT ABS(7 ) n;"),
        ("SELECT a FROM t WHERE b = CONNECTION_ID()", "SELECT a FROM t WHERE b = 7 "),
        (
            "SELECT CONNECTION_ID() IN (SELECT id FROM t)",
            "SELECT 7  IN (SELECT id FROM t) AS `CONNECTION_ID() IN (SELECT id FROM t)` ",
        ),
        ("SELECT 1 WHERE CONNECTION_ID() > 0", "SELECT 1 WHERE 7  > 0"),
    ],
)
def test_connection_id_is_the_sessions(sql: str, expected: str) -> None:
    assert with_session_id(sql.encode(), MODE, 7) == expected.encode()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT IS_USED_LOCK('a') = CONNECTION_ID()",
        "SELECT * FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()",
        "SELECT * FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()",
        "CREATE TABLE t (i BIGINT DEFAULT CONNECTION_ID())",
        "CREATE PROCEDURE p() SELECT CONNECTION_ID()",
        "SELECT t.connection_id FROM t",
        "SELECT 'CONNECTION_ID()'",
        "SELECT connection_id",
        "SELECT CONNECTION_ID() + a b FROM t",
        "SELECT 'not closed, CONNECTION_ID()",
    ],
)
def test_text_in_which_mariadbs_own_id_belongs_is_left_alone(sql: str) -> None:
    assert with_session_id(sql.encode(), MODE, 7) == sql.encode()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("KILL 5", Kill(connection=True, id=5)),
        ("/* x */ kill connection 5;", Kill(connection=True, id=5)),
        ("KILL QUERY 5", Kill(connection=False, id=5)),
        ("KILL SOFT QUERY 5", Kill(connection=False, id=5)),
        ("KILL HARD CONNECTION 5", Kill(connection=True, id=5)),
        ("KILL QUERY ID 99", Kill(connection=False, by_query_id=True, id=99)),
        ("KILL USER 'app'", Kill(connection=True, user="app")),
        ("KILL QUERY USER app@localhost", Kill(connection=False, user="app")),
        ("KILL @x + 1", Kill(connection=True, expression=b"@x + 1")),
        ("KILL CONNECTION_ID()", Kill(connection=True, expression=b"CONNECTION_ID()")),
        ("KILL", None),
        ("KILL QUERY", None),
        ("KILL USER", None),
        ("SELECT 5", None),
    ],
)
def test_kill_is_taken_apart(sql: str, expected: Kill | None) -> None:
    assert parse_kill(sql.encode(), MODE) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("KILL 5; SELECT 1", ("KILL 5", "DO 0; SELECT 1")),
        (" /* x */ kill query 'é' ;SELECT 1;;", ("kill query 'é'", " /* x */ DO 0 ;SELECT 1;;")),
        ("KILL 5; KILL 6", ("KILL 5", "DO 0; KILL 6")),
        ("; KILL 5; SELECT 1", None),
        ("KILL 5;", None),
        ("KILL USER app; SELECT 1", None),
        ("SELECT 1; KILL 5", None),
        ("/*! KILL 5 */; SELECT 1", None),
        ("KILL 5; SELECT 'x", None),
        (";", None),
    ],
)
def test_kill_at_the_beginning_of_several_statements_is_taken_off(
    sql: str, expected: tuple[str, str] | None
) -> None:
    found = first_kill(sql.encode(), MODE)
    assert found == (None if expected is None else tuple(part.encode() for part in expected))
