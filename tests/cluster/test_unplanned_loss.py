"""The leader is killed under sessions of a follower's proxy: what each of them sees."""

from typing import Any

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_under_test import ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import Part
from wolfscale.demo.plan import LOOPBACK
from wolfscale.mysql.client import Connection
from wolfscale.mysql.prepared_client import execute

pytestmark = pytest.mark.cluster

SETUP = (
    "CREATE OR REPLACE TABLE demo.lost (id INT PRIMARY KEY, note VARCHAR(20))",
    "INSERT INTO demo.lost VALUES (1, 'one'), (2, 'two')",
    "CREATE DATABASE IF NOT EXISTS other",
    "CREATE OR REPLACE PROCEDURE demo.counts() SET @c = 41 + 1",
)
STATE = (
    "SELECT DATABASE(), @@time_zone, @@character_set_client, @@sql_mode, @a, @b, @c "
    "FROM demo.lost WHERE id = 1"
)


def _rows(connection: Client, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _keeps_state(connection: Client) -> list[tuple[Any, ...]]:
    for sql in (
        "SET NAMES latin1",
        "SET time_zone = '+05:00', sql_mode = 'ANSI_QUOTES'",
        "SET @a = 'kept'",
        "SELECT note INTO @b FROM lost WHERE id = 2",
        "CALL counts()",
        "UPDATE lost SET note = 'one' WHERE id = 1",
    ):
        _rows(connection, sql)
    return _rows(connection, STATE + " FOR UPDATE")


def _begin(connection: Client) -> None:
    _rows(connection, "BEGIN")
    _rows(connection, "UPDATE lost SET note = 'never' WHERE id = 2")


def _error(connection: Client, sql: str) -> tuple[int, str]:
    with pytest.raises(pymysql.err.MySQLError) as failure:
        _rows(connection, sql)
    return failure.value.args[0], str(failure.value.args[1])


async def _write_soon(connection: Client, answers: list[object]) -> None:
    answers.append(await trio.to_thread.run_sync(_rows, connection, "INSERT INTO lost VALUES (3, 'waited')"))


async def test_killed_leader_is_no_error_for_who_had_nothing_under_way(cluster: ClusterUnderTest) -> None:
    old = await cluster.wait_writable()
    await cluster.on_writable(SETUP)
    await cluster.wait_level()
    near = cluster.followers(old)[0]
    run = trio.to_thread.run_sync
    idle, reader, transaction, writer = [await run(cluster.clients.connect, near) for _ in range(4)]
    before = await run(_keeps_state, idle)
    assert before == [("demo", "+05:00", "latin1", "ANSI_QUOTES", "kept", "two", 42)]
    await run(_begin, transaction)
    prepared = await Connection.connect(
        user=ACCOUNT,
        password=PASSWORD,
        host=LOOPBACK,
        port=cluster.node(near).mysql_port,
        database=DATABASE,
    )
    update = "UPDATE lost SET note = ? WHERE id = 1"
    await execute(prepared, update, ("one",))
    answers: list[object] = []
    cluster.kill(old, Part.BOTH)
    async with trio.open_nursery() as nursery:
        # Nothing of it was sent to the old leader: it waits for the new one.
        nursery.start_soon(_write_soon, writer, answers)
        while not answers:
            assert await run(_rows, reader, "SELECT note FROM lost WHERE id = 2") == [("two",)]
    await cluster.wait_successor(old)
    assert await run(_rows, idle, STATE + " FOR UPDATE") == before
    errno, message = await run(_error, transaction, "SELECT 1")
    assert errno == 1213, message
    assert await run(_rows, transaction, "SELECT note FROM lost WHERE id = 2") == [("two",)]
    await execute(prepared, update, ("changed",))
    assert await run(_rows, reader, "SELECT id, note FROM lost WHERE id = 3") == [(3, "waited")]
    for connection in (idle, reader, transaction, writer):
        connection.close()
    await prepared.aclose()
    cluster.launch(old)
    await cluster.wait_serving()
