"""USE of a schema, and SET ROLE, that the server beside the node has not applied yet."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from proxy_pair import BOUNDS, Pair, cluster, rows, shared_servers

servers = shared_servers
pytestmark = pytest.mark.mariadb

SOON = dataclasses.replace(BOUNDS, replica_seconds=0.2)


@pytest.fixture
def behind(servers: Pair) -> Iterator[Pair]:
    """Servers of which the replica applies nothing."""
    servers.catch_up()
    servers.replica.execute("STOP SLAVE SQL_THREAD")
    yield servers
    servers.replica.execute("START SLAVE SQL_THREAD")
    servers.primary.execute("DROP DATABASE IF EXISTS fresh")
    servers.primary.execute("DROP ROLE IF EXISTS fresh")
    servers.catch_up()


def local_only(connection: Any) -> None:
    """Have a session whose only connection is the local one."""
    assert rows(connection, "SELECT COUNT(*) FROM t") == [(3,)]


async def test_schema_that_another_session_of_the_node_has_made_can_be_used(behind: Pair) -> None:
    async with cluster(behind, bounds=SOON) as proxy:

        def client() -> None:
            with proxy.connect() as maker, proxy.connect() as user:
                local_only(user)
                rows(maker, "CREATE DATABASE fresh")
                rows(user, "USE fresh")
                assert rows(user, "SELECT DATABASE()") == [("fresh",)]

        await proxy.run(client)


@pytest.mark.parametrize("by_command", [False, True], ids=["text", "command"])
async def test_schema_that_came_by_another_node_can_be_used(behind: Pair, by_command: bool) -> None:
    async with cluster(behind, bounds=SOON) as proxy:

        def client() -> None:
            with proxy.connect() as user:
                local_only(user)
                behind.primary.execute("CREATE DATABASE fresh")
                if by_command:
                    user.select_db("fresh")
                else:
                    rows(user, "USE fresh")
                assert rows(user, "SELECT DATABASE()") == [("fresh",)]
                with pytest.raises(pymysql.err.OperationalError, match=r"1049.*Unknown database 'nowhere'"):
                    rows(user, "USE nowhere")
                assert rows(user, "SELECT DATABASE()") == [("fresh",)]

        await proxy.run(client)


async def test_schema_that_is_nowhere_is_unknown_without_a_leader_too(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.change(writable=False, leader=None)

        def client() -> None:
            with proxy.connect() as user:
                local_only(user)
                with pytest.raises(pymysql.err.OperationalError, match=r"1049.*Unknown database 'nowhere'"):
                    rows(user, "USE nowhere")

        await proxy.run(client)


async def test_role_that_another_session_of_the_node_has_made_can_be_set(behind: Pair) -> None:
    async with cluster(behind, bounds=SOON) as proxy:

        def client() -> None:
            with proxy.connect() as maker, proxy.connect() as user:
                local_only(user)
                rows(maker, "CREATE ROLE fresh")
                rows(user, "SET ROLE fresh")

        await proxy.run(client)
