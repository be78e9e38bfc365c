"""`wolfscale proxy` beside a witness, whose vote makes leaders and which nobody reads at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from cluster_clients import Client
from cluster_proxy import reads_at, rows, standalone_proxy, status
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.conditions import has_writable, level, serving

pytestmark = pytest.mark.cluster

WITNESS = 3


@asynccontextmanager
async def two_servers_and_a_witness() -> AsyncIterator[ClusterUnderTest]:
    """Both serve, the first leads, and the third has its vote."""
    cluster = ClusterUnderTest(node_settings={WITNESS: {"node": {"witness": True}}})
    try:
        cluster.plan.write()
        cluster.launch(1, bootstrap=True)
        await cluster.wait_for(has_writable, "the first node to take writes")
        cluster.launch(2)
        cluster.launch(WITNESS)
        await cluster.wait_for(serving(1, 2), "both servers to serve")
        await cluster.wait_for(
            lambda statuses: (third := statuses[WITNESS]) is not None and third.role.value == "witness",
            "the witness to have its vote",
        )
        await cluster.create_account()
        await cluster.wait_for(level(1, 2), "both servers to be level")
        yield cluster
    finally:
        await cluster.stop()
        cluster.remove_files()


async def until_all_read_at(clients: list[Client], name: str) -> None:
    with trio.fail_after(PATIENCE):
        for client in clients:
            while await trio.to_thread.run_sync(reads_at, client) != name:
                await trio.sleep(POLL_SECONDS)


async def run(client: Client, sql: str) -> list[tuple[object, ...]]:
    return await trio.to_thread.run_sync(rows, client, sql)


async def test_witness_is_not_read_at_and_the_leader_of_its_vote_is_followed() -> None:
    async with (
        two_servers_and_a_witness() as cluster,
        standalone_proxy(cluster, peers=(WITNESS, 1), servers=2) as proxy,
    ):
        first, second = cluster.node(1).name, cluster.node(2).name
        clients = await proxy.clients(4)
        await until_all_read_at(clients, second)
        await run(clients[0], "CREATE TABLE witnessed (id INT PRIMARY KEY)")
        for number, client in enumerate(clients):
            await run(client, f"INSERT INTO witnessed VALUES ({number})")
            assert await run(client, "SELECT COUNT(*) FROM witnessed") == [(number + 1,)]
        with trio.fail_after(PATIENCE):
            while "a node takes no proxies" not in proxy.log:
                await trio.sleep(POLL_SECONDS)
        cluster.kill(1)
        assert await cluster.wait_successor(1) == 2
        # The witness has voted for it, and no other server is left.
        for number, client in enumerate(clients):
            await run(client, f"INSERT INTO witnessed VALUES ({number + 10})")
            assert await run(client, "SELECT COUNT(*) FROM witnessed") == [(number + 5,)]
        assert await trio.to_thread.run_sync(status, clients[0], "leader") == second
        await until_all_read_at(clients, "leader")
        cluster.launch(1)
        await cluster.wait_for(level(1, 2), "the killed node to catch up")
        await until_all_read_at(clients, first)
        for client in clients:
            assert await run(client, "SELECT COUNT(*) FROM witnessed") == [(8,)]
            client.close()
        assert proxy.log.count("a node takes no proxies") == 1
