"""Refused statements that a stored program hides: who may, and that a session's are noticed."""

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT
from raw_client import raw_client

from wolfscale.demo.accounts import account_statements
from wolfscale.mysql.results import parse_error
from wolfscale.proxy.refused import REFUSED_VARIABLES, WATCHED_VARIABLES
from wolfscale.replication.application import administrator_statements, owner_statement, password_hash

servers = shared_servers
pytestmark = pytest.mark.mariadb

OWNER, ADMINISTRATOR, DEMO, ALL = "hidden_owner", "hidden_administrator", "hidden_demo", "app"
MADE_HERE = (OWNER, ADMINISTRATOR, DEMO)
DENIED = 1227
RIGHTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SET SESSION sql_log_bin = 1", (ALL,)),
    ("SET SESSION binlog_format = 'ROW'", (ALL,)),
    ("SET SESSION binlog_row_image = 'FULL'", (ALL,)),
    ("SET SESSION server_id = @@server_id", (ALL,)),
    ("SET SESSION gtid_domain_id = @@gtid_domain_id", (ALL,)),
    ("SET SESSION gtid_seq_no = 0", (ALL,)),
    ("SET SESSION skip_replication = 0", (OWNER, ADMINISTRATOR, DEMO, ALL)),
    ("SET SESSION pseudo_slave_mode = 0", (OWNER, ADMINISTRATOR, DEMO, ALL)),
    ("SET GLOBAL read_only = 0", (ALL,)),
    ("SET GLOBAL rpl_semi_sync_master_enabled = @@rpl_semi_sync_master_enabled", (ALL,)),
    ("SET GLOBAL binlog_format = 'ROW'", (ALL,)),
    ("SET GLOBAL long_query_time = @@GLOBAL.long_query_time", (ALL,)),
    ("PURGE BINARY LOGS TO 'bin.000001'", (ALL,)),
    ("STOP ALL SLAVES", (OWNER, ADMINISTRATOR, DEMO, ALL)),
    ("RESET SLAVE", (ADMINISTRATOR, DEMO, ALL)),
    ("ALTER USER hidden_node@localhost IDENTIFIED BY 'x'", (ADMINISTRATOR, DEMO, ALL)),
)
"""What a procedure that runs a text may be given, and by which accounts."""


@pytest.fixture(scope="module", autouse=True)
def accounts(servers: Pair) -> Iterator[None]:
    servers.primary.execute(
        "CREATE USER hidden_node@localhost",
        owner_statement(OWNER, password_hash(PASSWORD), "demo"),
        *administrator_statements(ADMINISTRATOR, password_hash(PASSWORD)),
        *account_statements(DEMO, PASSWORD),
        "CREATE TABLE IF NOT EXISTS demo.hidden (v TEXT)",
        "CREATE OR REPLACE PROCEDURE demo.runs(text TEXT) SQL SECURITY INVOKER EXECUTE IMMEDIATE text",
    )
    servers.catch_up()
    yield
    # The replica has not got all of its rows.
    servers.primary.execute("DROP TABLE demo.hidden")
    # How MariaDB answers who has no account depends on those that there are.
    servers.primary.execute(f"DROP USER hidden_node@localhost, {', '.join(MADE_HERE)}")
    servers.catch_up()


def _error(connection: Any, sql: str) -> int:
    try:
        rows(connection, sql)
    except pymysql.err.MySQLError as error:
        return int(error.args[0])
    return 0


@pytest.mark.parametrize(("text", "allowed"), RIGHTS, ids=[text for text, _ in RIGHTS])
def test_account_may_have_a_procedure_run_it_or_not(
    servers: Pair, text: str, allowed: tuple[str, ...]
) -> None:
    """On the server itself: this is all that stands between a hidden statement and the cluster."""
    for user in (*MADE_HERE, ALL):
        connection = pymysql.connect(
            unix_socket=servers.primary.socket_path, user=user, password=PASSWORD, database="demo"
        )
        with connection:
            found = _error(connection, f"CALL runs({connection.escape(text)})")
        assert found == (0 if user in allowed else DENIED), user


def test_what_is_watched_is_refused_when_it_is_seen() -> None:
    for name in WATCHED_VARIABLES:
        assert name.decode().upper() in REFUSED_VARIABLES or name.startswith(b"gtid_")


HIDDEN = [
    "BEGIN NOT ATOMIC SET sql_log_bin = 0; INSERT INTO hidden VALUES (''1''); SET sql_log_bin = 1; END",
    "SET STATEMENT sql_log_bin = 0 FOR INSERT INTO hidden VALUES (''2'')",
    "SET binlog_format = ''STATEMENT''",
    "SET skip_replication = 1",
    "SET gtid_seq_no = 0",
]


def _failures(proxy: Cluster) -> int:
    return proxy.listener.statistics.programs_cut_loose


@pytest.mark.parametrize("text", HIDDEN)
async def test_session_ends_when_a_program_has_set_what_no_session_may(
    servers: Pair, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(servers) as proxy:

        def work() -> None:
            connection = proxy.connect()
            rows(connection, "SELECT 'nothing is wrong'")
            with pytest.raises(pymysql.err.MySQLError) as failure:
                rows(connection, f"CALL runs(CONCAT('', '{text}'))")
            assert failure.value.args[0] == DENIED
            assert "and the session ends. The program was carried out" in failure.value.args[1]
            assert _error(connection, "SELECT 1") in (2006, 2013)
            connection._force_close()

        await proxy.run(work)
        assert _failures(proxy) == 1
    assert "a stored program has set what no session may" in caplog.text


@pytest.mark.parametrize("value", [0, 1])
async def test_program_that_ends_in_an_error_is_noticed_before_the_next_statement(
    servers: Pair, value: int
) -> None:
    async with cluster(servers) as proxy:

        def work() -> None:
            connection = proxy.connect(autocommit=True)
            rows(connection, "TRUNCATE TABLE hidden")
            rows(
                connection,
                "CREATE OR REPLACE PROCEDURE fails() BEGIN CALL runs(CONCAT('SET sql_', 'log_bin = "
                f"{value}')); SIGNAL SQLSTATE '45000'; END",
            )
            assert _error(connection, "CALL fails()") == 1644
            assert _error(connection, "INSERT INTO hidden VALUES ('unlogged')") == DENIED
            connection._force_close()
            assert servers.primary.execute("SELECT * FROM demo.hidden") == ()

        await proxy.run(work)
        assert _failures(proxy) == 1


def _all_results(connection: Any, sql: str) -> int:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            while cursor.nextset():
                pass
    except pymysql.err.MySQLError as error:
        return int(error.args[0])
    return 0


@pytest.mark.parametrize("result", ["SELECT 'rows'", "SELECT REPEAT('x', 100000)"])
async def test_program_with_rows_is_noticed(servers: Pair, result: str) -> None:
    async with cluster(servers) as proxy:

        def work() -> None:
            connection = proxy.connect(client_flag=CLIENT.MULTI_RESULTS)
            rows(
                connection,
                f"CREATE OR REPLACE PROCEDURE shows() BEGIN {result}; "
                "CALL runs(CONCAT('SET sql_', 'log_bin = 1')); END",
            )
            assert _all_results(connection, "CALL shows()") in (DENIED, 2013)
            connection._force_close()

        await proxy.run(work)
        assert _failures(proxy) == 1


async def test_prepared_call_is_noticed(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("CALL runs(CONCAT('SET sql_', 'log_bin = 1'))")
        assert parse_error((await client.execute(statement))[-1]).errno == DENIED
        assert _failures(proxy) == 1


async def test_what_programs_may_set_stays_as_it_was(servers: Pair) -> None:
    """Settings that are let through are told to the next leader, and end nothing."""
    async with cluster(servers) as proxy:
        connection = await proxy.run(proxy.connect)
        for statement in (
            "SET session_track_system_variables = '*'",
            "CALL runs(\"SET time_zone = '+03:00'\")",
        ):
            await proxy.run(rows, connection, statement)
        proxy.change(term=2)
        assert await proxy.run(rows, connection, "SELECT @@time_zone FOR UPDATE") == [("+03:00",)]
        connection.close()
        assert _failures(proxy) == 0
