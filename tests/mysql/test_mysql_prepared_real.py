"""Bound values against a real MariaDB: what goes in comes out."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.mysql.binary import Parameter
from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.prepared_client import ParameterCountError, execute
from wolfscale.mysql.session_reset import reset_session
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

PARAMETERS = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.decimals(-(10**30), 10**30, places=6),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(
        arguments=["--log-bin=bin", "--server-id=7", "--session-track-system-variables=last_gtid"]
    ) as server:
        server.execute("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, v TEXT)")
        yield server


def expected(value: Parameter) -> object:
    if isinstance(value, str):
        return value.encode()
    return f"{value:f}".encode() if isinstance(value, Decimal) else value


@pytest.mark.parametrize("sql_mode", ["''", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"])
@settings(deadline=None, max_examples=40)
@given(values=st.lists(PARAMETERS, min_size=1, max_size=20))
def test_bound_values_come_back_unchanged_under_any_sql_mode(
    server: ScratchMariaDB, sql_mode: str, values: list[Parameter]
) -> None:
    async def run() -> None:
        async with await server.connect() as connection:
            await connection.query(f"SET NAMES utf8mb4, sql_mode={sql_mode}")
            for _ in range(2):
                result = await execute(connection, "SELECT " + ", ".join("?" * len(values)), values)
                assert result.rows == [tuple(expected(value) for value in values)]

    trio.run(run)


@pytest.mark.parametrize("deprecate_eof", [True, False])
async def test_execute_tells_counts_gtid_and_errors_and_goes_on(
    server: ScratchMariaDB, deprecate_eof: bool
) -> None:
    capabilities = int(DEFAULT_CAPABILITIES) & ~(0 if deprecate_eof else int(Capability.DEPRECATE_EOF))
    async with await server.connect(database="app", capabilities=capabilities) as connection:
        await connection.query("DELETE FROM t")
        written = await execute(connection, "INSERT INTO t VALUES (?, ?), (2, 'b')", [1, "a'\\"])
        assert written.affected_rows == 2
        assert (written.gtid or "").startswith("0-7-")
        with pytest.raises(ServerError, match="Duplicate"):
            await execute(connection, "INSERT INTO t VALUES (?, '')", [1])
        with pytest.raises(ServerError, match="doesn't exist"):
            await execute(connection, "SELECT * FROM nope WHERE a = ?", [1])
        with pytest.raises(ParameterCountError) as count:
            await execute(connection, "SELECT ?, ?", [1])
        assert (count.value.expected, count.value.given) == (2, 1)
        updated = await execute(connection, "UPDATE t SET v = ?", ["a'\\"])
        assert updated.info.startswith("Rows matched: 2  Changed: 1")
        result = await execute(connection, "SELECT id, v FROM t WHERE id >= ? ORDER BY id", [1])
        assert [column.name for column in result.columns] == [b"id", b"v"]
        assert result.rows == [(1, b"a'\\"), (2, b"a'\\")]


async def test_execute_takes_one_statement_only(server: ScratchMariaDB) -> None:
    async with await server.connect() as connection:
        with pytest.raises(ServerError, match="syntax"):
            await execute(connection, "SELECT 1; SELECT 2")


@pytest.mark.parametrize(("max_rows", "max_bytes"), [(3, None), (None, 20)])
async def test_execute_stops_at_its_limits_and_gives_the_connection_up(
    server: ScratchMariaDB, max_rows: int | None, max_bytes: int | None
) -> None:
    async with await server.connect() as connection:
        sql = (
            "WITH RECURSIVE n AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM n WHERE a < 900) SELECT a FROM n"
        )
        result = await execute(connection, sql, max_rows=max_rows, max_bytes=max_bytes)
        assert result.truncated
        assert result.rows == [(1,), (2,), (3,)]
        with pytest.raises(ConnectionLost):
            await connection.ping()


async def test_reset_leaves_nothing_of_the_last_user_and_keeps_the_settings(server: ScratchMariaDB) -> None:
    async with await server.connect(database="app") as connection:
        await connection.query("DELETE FROM t")
        await connection.query("SET @a = 1, sql_mode = ''")
        await connection.query("BEGIN")
        await connection.query("INSERT INTO t VALUES (1, '')")
        await reset_session(connection, ["SET SESSION time_zone = '+02:00'"], database="mysql")
        result = await execute(connection, "SELECT @a, @@time_zone, DATABASE(), COUNT(*) FROM app.t")
        assert result.rows == [(None, b"+02:00", b"mysql", 0)]
        with pytest.raises(ServerError, match="Unknown database"):
            await reset_session(connection, database="nope")
        await reset_session(connection)
        assert await connection.value("SELECT @@time_zone") == "SYSTEM"


async def test_reset_of_a_killed_connection_says_that_it_is_gone(server: ScratchMariaDB) -> None:
    async with await server.connect() as other, await server.connect() as connection:
        await _kill(other, connection.connection_id)
        with pytest.raises(ConnectionLost):
            await reset_session(connection)
        assert connection.closed


async def _kill(other: Connection, victim: int) -> None:
    await other.query(f"KILL {victim}")
    while victim in {int(row[0] or 0) for row in (await other.query("SHOW PROCESSLIST")).rows}:
        await trio.sleep(0.01)
