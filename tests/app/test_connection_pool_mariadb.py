"""The gateway's connections: used again as good as new, never beyond their epoch."""

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from wolfscale.api.errors import ApiError
from wolfscale.app.connection_pool import Pool
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

SETUP = "SET SESSION sql_mode=''"


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB() as server:
        server.execute("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY) ENGINE=InnoDB")
        yield server


@pytest.fixture
def opened() -> list[int]:
    """The epochs for which connections were opened."""
    return []


@pytest.fixture
def pool(server: ScratchMariaDB, opened: list[int]) -> Pool:
    async def connect(epoch: int) -> Connection:
        opened.append(epoch)
        return await server.connect()

    return Pool(connect, size=2)


async def test_connection_is_used_again_and_nothing_is_left(pool: Pool, opened: list[int]) -> None:
    first = await pool.get(1, SETUP, "app")
    async with pool.using(first):
        await first.query("SET @left = 1")
        await first.query("BEGIN")
        await first.query("INSERT INTO t VALUES (1)")
    second = await pool.get(1, SETUP, "app")
    async with pool.using(second):
        assert second is first
        assert pool.epoch_of(second) == 1
        assert await second.query("SELECT @left, COUNT(*) FROM t") is not None
        assert (await second.query("SELECT @left, COUNT(*) FROM t")).rows == [(None, "0")]
    assert opened == [1]
    await pool.close()
    assert second.closed


@pytest.mark.parametrize("error", [ApiError("the client's"), ServerError(1, "HY000", "the server's")])
async def test_connection_is_kept_after_an_error_that_is_answered(
    pool: Pool, opened: list[int], error: Exception
) -> None:
    connection = await pool.get(1, SETUP, None)
    with pytest.raises(type(error)):
        async with pool.using(connection):
            raise error
    assert not connection.closed
    assert await pool.get(1, SETUP, None) is connection
    await pool.close()


async def test_connection_is_dropped_after_any_other_error_and_when_cancelled(pool: Pool) -> None:
    connection = await pool.get(1, SETUP, None)
    with pytest.raises(ZeroDivisionError):
        async with pool.using(connection):
            raise ZeroDivisionError
    assert connection.closed
    connection = await pool.get(1, SETUP, None)
    with trio.CancelScope() as scope:
        async with pool.using(connection):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert connection.closed


async def test_connection_of_another_epoch_is_broken_under_its_user(pool: Pool, opened: list[int]) -> None:
    connection = await pool.get(1, SETUP, None)
    lost = trio.Event()

    async def wait() -> None:
        with pytest.raises(ConnectionLost):
            async with pool.using(connection):
                await connection.query("SELECT SLEEP(600)")
        lost.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await pool.keep_only(1, idle=False)
        assert not connection.closed, "it is in use, and its epoch lasts"
        await pool.keep_only(2, idle=True)
        with trio.fail_after(60):
            await lost.wait()
    other = await pool.get(2, SETUP, None)
    assert other is not connection
    assert opened == [1, 2]
    await pool.close()


async def test_idle_connections_go_when_they_are_not_wanted(pool: Pool) -> None:
    connection = await pool.get(1, SETUP, None)
    async with pool.using(connection):
        pass
    await pool.keep_only(1, idle=True)
    assert not connection.closed
    await pool.keep_only(1, idle=False)
    assert connection.closed


async def test_killed_connection_is_replaced_unnoticed(
    server: ScratchMariaDB, pool: Pool, opened: list[int]
) -> None:
    connection = await pool.get(1, SETUP, None)
    async with pool.using(connection):
        pass
    server.execute(f"KILL {connection.connection_id}")
    other = await pool.get(1, SETUP, None)
    async with pool.using(other):
        assert await other.value("SELECT 1") == "1"
    assert opened == [1, 1]
    await pool.close()


async def test_unknown_database_is_the_servers_error_and_costs_the_connection(
    pool: Pool, opened: list[int]
) -> None:
    with pytest.raises(ServerError, match="Unknown database"):
        await pool.get(1, SETUP, "nope")
    connection = await pool.get(1, SETUP, "app")
    assert await connection.value("SELECT DATABASE()") == "app"
    assert opened == [1, 1]
    await pool.close()


async def test_no_more_connections_than_slots(pool: Pool) -> None:
    soon = trio.current_time() + 0.05
    async with pool.slot(soon) as first, pool.slot(soon) as second, pool.slot(soon) as third:
        assert (first, second, third) == (True, True, False)
    async with pool.slot(trio.current_time() + 60) as again:
        assert again
