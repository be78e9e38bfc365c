"""KILL from one node of a session on another, of a statement on either server, and of a commit that waits."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_under_test import PATIENCE, ClusterUnderTest

pytestmark = pytest.mark.cluster

TABLE = "CREATE TABLE IF NOT EXISTS demo.killed (id INT PRIMARY KEY)"
WAITING = "SELECT id FROM information_schema.processlist WHERE state LIKE '%semi-sync%'"


async def _client(cluster: ClusterUnderTest, node: int) -> Client:
    return await trio.to_thread.run_sync(cluster.clients.connect, node)


async def _run(client: Client, sql: str) -> Any:
    def run() -> Any:
        try:
            with client.cursor() as cursor:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
        except pymysql.err.MySQLError as error:
            return error.args[0]

    return await trio.to_thread.run_sync(run, abandon_on_cancel=True)


def _id(client: Any) -> int:
    number: int = client.thread_id()
    return number


def _drop(client: Any) -> None:
    client._force_close()


async def _killed(
    cluster: ClusterUnderTest, victim: Client, sql: str, node: int, kill: Callable[[], Any]
) -> list[Any]:
    """What the victim and the killer hear; `kill` runs once the statement does, on `node`'s MariaDB."""
    heard: list[Any] = [None, None]

    async def run() -> None:
        heard[0] = await _run(victim, sql)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await cluster.wait_row_count(
                node, f"SELECT 1 FROM information_schema.processlist WHERE info LIKE '{sql[:16]}%'", 1
            )
            heard[1] = await kill()
    return heard


async def test_statement_is_interrupted_from_another_node_wherever_it_runs(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    home, away = cluster.followers(leader)
    for sql, node in (
        ("SELECT SLEEP(55), 1", home),
        ("SELECT SLEEP(55), 2 FOR UPDATE", leader),
    ):
        for killing in (away, leader, home):
            victim, killer = await _client(cluster, home), await _client(cluster, killing)
            kill = functools.partial(_run, killer, f"KILL QUERY {_id(victim)}")
            answer, said = await _killed(cluster, victim, sql, node, kill)
            assert said == ()
            assert answer == 1317 or answer[0][0] == 1
            assert await _run(victim, "SELECT 1") == ((1,),)
            victim.close()
            killer.close()


async def test_session_on_another_node_is_ended(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    home, away = cluster.followers(leader)
    victim, killer = await _client(cluster, home), await _client(cluster, away)
    assert await _run(victim, "SELECT CONNECTION_ID()") == ((_id(victim),),)
    assert await _run(killer, f"KILL {_id(victim)}") == ()
    assert await _run(victim, "SELECT 1") in (2006, 2013)
    assert await _run(killer, f"KILL {_id(victim)}") == 1094
    ids = {_id(client) for client in await _clients(cluster)}
    assert len(ids) == 3 * len(cluster.numbers)
    killer.close()


async def _clients(cluster: ClusterUnderTest) -> Sequence[Client]:
    return [await _client(cluster, node) for node in cluster.numbers for _ in range(3)]


async def test_commit_that_waits_for_its_majority_is_not_killed(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable([TABLE, "DELETE FROM demo.killed"])
    await cluster.wait_level()
    leader = await cluster.wait_writable()
    victim, killer = await _client(cluster, leader), await _client(cluster, leader)
    # The killer's proxy must ask nobody else: the others stand still.
    assert await _run(killer, "SELECT 1") == ((1,),)
    followers = cluster.followers(leader)
    heard: dict[str, Any] = {}

    async def insert() -> None:
        heard["victim"] = await _run(victim, "INSERT INTO demo.killed VALUES (1)")

    async def kill(what: str) -> None:
        heard[what] = await _run(killer, f"KILL {what} {_id(victim)}")

    with trio.fail_after(2 * PATIENCE):
        async with trio.open_nursery() as nursery:
            for follower in followers:
                cluster.pause(follower)
            nursery.start_soon(insert)
            await cluster.wait_row_count(leader, WAITING, 1)
            await kill("QUERY")
            for follower in followers:
                cluster.resume(follower)
        await cluster.wait_serving()
        await cluster.wait_level()
    # Either it went on when the others did, or the leader had given up its term: never an OK without them.
    counts = {
        node: (await cluster.query(node, "SELECT COUNT(*) FROM demo.killed"))[0][0]
        for node in cluster.numbers
    }
    assert len(set(counts.values())) == 1, counts
    if heard["victim"] == ():
        assert set(counts.values()) == {1}
    assert heard["QUERY"] != 1094
    _drop(victim)
    _drop(killer)
