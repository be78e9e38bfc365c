import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import parse_text_row
from wolfscale.replication.questions import Questions

CAPABILITIES = int(Capability.MYSQL | Capability.PROTOCOL_41)
ASKED = [
    "SELECT UNIX_TIMESTAMP()",
    "SHOW VARIABLES LIKE 'SERVER_ID'",
    "SET @master_heartbeat_period= 30000001024",
    "SET @master_binlog_checksum= @@global.binlog_checksum",
    "SELECT @master_binlog_checksum",
    "SET @mariadb_slave_capability=4",
    "SELECT @@GLOBAL.gtid_domain_id",
    "SET @slave_connect_state='0-7-42'",
    "SET @slave_gtid_strict_mode=1",
    "SET @slave_gtid_ignore_duplicates=0",
    "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'",
    "SET NAMES utf8mb4",
]


def questions() -> Questions:
    return Questions(server_id=99, version="10.6.0-MariaDB")


def rows(statement: str) -> list[tuple[bytes | None, ...]]:
    payloads = questions().answer(statement, CAPABILITIES)
    columns = payloads[0][0]
    return [parse_text_row(payload, columns) for payload in payloads[columns + 2 : -1]]


@pytest.mark.parametrize("statement", ASKED)
def test_everything_that_a_replica_asks_is_answered(statement: str) -> None:
    assert questions().answer(statement, CAPABILITIES)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SHOW VARIABLES LIKE 'SERVER_ID'", (b"server_id", b"99")),
        ("SELECT @@GLOBAL.server_id", (b"99",)),
        ("SELECT @master_binlog_checksum", (b"CRC32",)),
        ("SELECT @@GLOBAL.gtid_domain_id", (b"0",)),
        ("select  version()", (b"10.6.0-MariaDB",)),
    ],
)
def test_answer_has_the_value(statement: str, expected: tuple[bytes, ...]) -> None:
    assert rows(statement) == [expected]


def test_fact_02_semi_sync_question_is_answered_without_any_row() -> None:
    assert rows("SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'") == []


def test_what_a_replica_sets_is_remembered() -> None:
    asked = questions()
    for statement in ASKED:
        asked.answer(statement, CAPABILITIES)
    assert asked.position == "0-7-42"
    assert asked.heartbeat_seconds == pytest.approx(30.000001024)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_heartbeat_period_of_nothing_is_none(value: str) -> None:
    asked = questions()
    asked.answer(f"SET @master_heartbeat_period={value}", CAPABILITIES)
    assert asked.heartbeat_seconds is None


@pytest.mark.parametrize("statement", ["SELECT * FROM mysql.user", "DROP TABLE a", "", "SHOW TABLES"])
def test_statement_that_no_replica_sends_is_refused(statement: str) -> None:
    with pytest.raises(ServerError, match="runs no statements"):
        questions().answer(statement, CAPABILITIES)


@given(st.text(max_size=60))
def test_any_text_is_answered_or_refused(statement: str) -> None:
    try:
        questions().answer(statement, CAPABILITIES)
    except ServerError as error:
        assert error.errno == 1064  # noqa: PT017
