"""A read on a follower sees what any client of its node was told before, whoever of them wrote, and how."""

import pytest
import trio
from cluster_clients import Client
from cluster_http import Http
from cluster_under_test import ClusterUnderTest
from cluster_writing import assert_nothing_lost, writers_running

from wolfscale.proxy.consistency import sequence_of
from wolfscale.proxy.session_ids import FIRST_ID, WORKERS

pytestmark = pytest.mark.cluster

SETTINGS = {"proxy": {"workers": 2}}

READERS = 8
MOST_READERS = 64
ROUNDS = 300
TABLE = "CREATE OR REPLACE TABLE demo.news (id INT PRIMARY KEY, number INT NOT NULL)"
QUERY = "SELECT number FROM news WHERE id = 1"


def _connected_to_all_workers(cluster: ClusterUnderTest, node: int) -> list[Client]:
    """Connections of which each worker serves at least two."""
    connections: list[Client] = []
    served: list[int] = []
    while len(served) < READERS or min(map(served.count, served)) < 2 or len(set(served)) < 2:
        assert len(connections) < MOST_READERS, f"all clients are served by one worker: {served}"
        connections.append(cluster.clients.connect(node))
        served.append(_one(connections[-1], "SELECT CONNECTION_ID()") // (FIRST_ID // WORKERS))
    return connections


def _one(connection: Client, sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        [(value,)] = cursor.fetchall()
        return int(value)


def _required_sequence(connection: Client) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW WOLFSCALE STATUS LIKE 'Wolfscale_session_required_sequence'")
        [(_name, value)] = cursor.fetchall()
        return int(value)


def _write_and_read_elsewhere(cluster: ClusterUnderTest, node: int) -> list[str]:
    connections = _connected_to_all_workers(cluster, node)
    missed = []
    try:
        for number in range(ROUNDS):
            writer = connections[number % len(connections)]
            reader = connections[(number * 7 + 3) % len(connections)]
            writer.query(f"REPLACE INTO news VALUES (1, {number})")
            found = _one(reader, QUERY)
            if found != number:
                missed.append(f"session {number % len(connections)} wrote {number}, another read {found}")
    finally:
        for connection in connections:
            connection._force_close()  # type: ignore[attr-defined]
    return missed


async def test_reads_of_other_sessions_see_what_was_acknowledged(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable([TABLE])
    await cluster.wait_level()
    follower = cluster.followers(await cluster.wait_writable())[0]
    async with writers_running(cluster) as writers:
        assert await trio.to_thread.run_sync(_write_and_read_elsewhere, cluster, follower) == []
    await assert_nothing_lost(cluster, writers)


async def test_sessions_see_what_was_acknowledged_over_http(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable([TABLE, "INSERT INTO demo.news VALUES (1, 0)"])
    await cluster.wait_level()
    follower = cluster.followers(await cluster.wait_writable())[0]
    http = Http(cluster)
    with cluster.clients.connect(follower) as connection:
        for number in range(1, 50):
            change = {"table": "news", "set": {"number": number}, "where_key": {"id": 1}}
            answer = await http.done(follower, "/write/update", change)
            required = await trio.to_thread.run_sync(_required_sequence, connection)
            assert required >= sequence_of(answer["gtid"])
            assert await trio.to_thread.run_sync(_one, connection, QUERY) == number
