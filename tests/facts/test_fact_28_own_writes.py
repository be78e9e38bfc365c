"""Each kind of response tells the proxy what was written, so that a session reads it at once elsewhere."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pymysql
import pytest
from facts_on_a_cluster import FactCluster, rows, run_all

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.constants import Capability

pytestmark = pytest.mark.cluster

SETUP = (
    "CREATE OR REPLACE TABLE w28 (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(30))",
    "CREATE OR REPLACE TABLE a28 (id INT) ENGINE=Aria",
    "CREATE OR REPLACE PROCEDURE p28(n INT) BEGIN INSERT INTO w28 (note) VALUES (n); "
    "SELECT COUNT(*) FROM w28; INSERT INTO w28 (note) VALUES (n + 1); END",
    "CREATE OR REPLACE FUNCTION f28(n INT) RETURNS INT MODIFIES SQL DATA "
    "BEGIN INSERT INTO w28 (note) VALUES (n); RETURN n; END",
)
COUNT = "SELECT COUNT(*) FROM w28"
KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "autocommit": (("INSERT INTO w28 (note) VALUES ('x')",), 1),
    "transaction": (
        ("BEGIN", "INSERT INTO w28 (note) VALUES ('x')", "INSERT INTO w28 (note) VALUES ('y')", "COMMIT"),
        2,
    ),
    "autocommit off": (("SET autocommit=0", "INSERT INTO w28 (note) VALUES ('x')", "SET autocommit=1"), 1),
    "implicit commit": (
        ("BEGIN", "INSERT INTO w28 (note) VALUES ('x')", "CREATE OR REPLACE TABLE i28 (id INT)"),
        1,
    ),
    "rows returned": (("INSERT INTO w28 (note) VALUES ('x'), ('y') RETURNING id",), 2),
    "procedure": (("CALL p28(5)",), 2),
    "function": (("SELECT f28(5)",), 1),
    "function in DO": (("DO f28(5)",), 1),
    "prepared in SQL": (
        ("PREPARE s FROM 'INSERT INTO w28 (note) VALUES (?)'", "SET @v = 'x'", "EXECUTE s USING @v"),
        1,
    ),
    "executed at once": (("EXECUTE IMMEDIATE 'INSERT INTO w28 (note) VALUES (1)'",), 1),
    "compound": (("BEGIN NOT ATOMIC INSERT INTO w28 (note) VALUES ('x'); SELECT 1; END",), 1),
    "XA": (
        (
            "XA START 'x28'",
            "INSERT INTO w28 (note) VALUES ('x')",
            "XA END 'x28'",
            "XA PREPARE 'x28'",
            "XA COMMIT 'x28'",
        ),
        1,
    ),
    "XA in one phase": (
        (
            "XA START 'x28'",
            "INSERT INTO w28 (note) VALUES ('x')",
            "XA END 'x28'",
            "XA COMMIT 'x28' ONE PHASE",
        ),
        1,
    ),
    "truncate and insert": (("TRUNCATE w28", "INSERT INTO w28 (note) VALUES ('x')"), 1),
}


def make(client: Any) -> None:
    run_all(client, SETUP)


@pytest.mark.parametrize("kind", KINDS)
def test_fact_28_session_on_a_follower_reads_its_own_write_at_once(cluster: FactCluster, kind: str) -> None:
    client = cluster.client(cluster.follower())
    make(client)
    statements, added = KINDS[kind]
    for _ in range(5):
        rows(client, "TRUNCATE w28")
        run_all(client, statements)
        assert rows(client, COUNT) == [(added,)]


def test_fact_28_write_whose_statement_ended_in_an_error_is_read_at_once(cluster: FactCluster) -> None:
    """An error carries no GTID, and yet something may have been written before it."""
    client = cluster.client(cluster.follower())
    make(client)
    rows(
        client,
        "CREATE OR REPLACE PROCEDURE e28() BEGIN INSERT INTO w28 (note) VALUES ('x'); "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'after the write'; END",
    )
    for number in range(1, 6):
        with pytest.raises(pymysql.err.MySQLError, match="after the write"):
            rows(client, "CALL e28()")
        assert rows(client, COUNT) == [(number,)]
        with pytest.raises(pymysql.err.MySQLError):
            # Aria keeps the first row.
            rows(client, "INSERT INTO a28 SELECT IF(seq = 2, (SELECT 1 UNION SELECT 2), seq) FROM seq_1_to_2")
        assert rows(client, "SELECT COUNT(*) FROM a28") == [
            (cluster.on_server(cluster.leader(), "SELECT COUNT(*) FROM demo.a28")[0][0],)
        ]


def test_fact_28_statements_sent_together_are_read_at_once(cluster: FactCluster) -> None:
    follower = cluster.follower()
    make(cluster.client(follower))
    client = cluster.client(follower, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)
    for number in range(1, 6):
        with client.cursor() as cursor:
            cursor.execute(
                "INSERT INTO w28 (note) VALUES ('x'); SELECT 1; INSERT INTO w28 (note) VALUES ('y')"
            )
            while cursor.nextset():
                pass
        assert rows(client, COUNT) == [(2 * number,)]


def test_fact_28_write_is_read_at_once_after_the_connection_was_reset(cluster: FactCluster) -> None:
    client = cluster.client(cluster.follower())
    make(client)
    for number in range(1, 6):
        rows(client, "INSERT INTO w28 (note) VALUES ('x')")
        client._execute_command(31, b"")  # COM_RESET_CONNECTION
        client._read_ok_packet()
        assert rows(client, COUNT) == [(number,)]
        rows(client, "SET SESSION session_track_system_variables = 'autocommit'")


@asynccontextmanager
async def own_client(address: tuple[str, int], without: Capability) -> AsyncIterator[Connection]:
    connection = await Connection.connect(
        user=ACCOUNT,
        password=PASSWORD,
        host=address[0],
        port=address[1],
        database=DATABASE,
        capabilities=DEFAULT_CAPABILITIES & ~without,
    )
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.mark.parametrize(
    "without",
    [Capability(0), Capability.DEPRECATE_EOF, Capability.SESSION_TRACK],
    ids=["modern", "with EOF packets", "without tracking"],
)
async def test_fact_28_rows_that_write_are_read_at_once_whatever_the_client_can(
    cluster_address: Callable[[], tuple[str, int]], without: Capability
) -> None:
    async with own_client(cluster_address(), without) as client:
        for statement in SETUP:
            await client.query(statement)
        for number in range(1, 6):
            await client.query("INSERT INTO w28 (note) VALUES ('x') RETURNING id")
            assert await client.value(COUNT) == str(2 * number - 1)
            await client.query("SELECT f28(1)")
            assert await client.value(COUNT) == str(2 * number)


@pytest.fixture
def cluster_address(cluster: FactCluster) -> Callable[[], tuple[str, int]]:
    follower = cluster.follower()
    return lambda: cluster.address(follower)


def test_fact_25_reads_on_a_follower_see_each_write_and_run_on_its_own_server(cluster: FactCluster) -> None:
    follower = cluster.follower()
    client = cluster.client(follower)
    rows(client, "CREATE OR REPLACE TABLE r25 (id INT PRIMARY KEY)")
    before = local_reads(cluster, follower)
    for number in range(1, 101):
        rows(client, f"INSERT INTO r25 VALUES ({number})")
        assert rows(client, "SELECT MAX(id) FROM r25") == [(number,)]
    # A replica has applied it when MASTER_GTID_WAIT says so: the reads waited for that, and did not move.
    assert local_reads(cluster, follower) - before >= 95


def test_fact_25_sessions_see_what_others_were_told_and_never_go_back(cluster: FactCluster) -> None:
    first, second = (cluster.client(number) for number in cluster.followers())
    rows(first, "CREATE OR REPLACE TABLE s25 (id INT PRIMARY KEY)")
    seen = 0
    for number in range(1, 51):
        rows(first, f"INSERT INTO s25 VALUES ({number})")
        rows(second, "DO 1")
        [(now,)] = rows(second, "SELECT COALESCE(MAX(id), 0) FROM s25")
        assert now >= seen
        seen = now


def local_reads(cluster: FactCluster, number: int) -> int:
    """How many SELECTs a node's own server has carried out."""
    return int(cluster.on_server(number, "SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])
