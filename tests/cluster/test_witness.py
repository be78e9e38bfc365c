"""Two servers and a witness survive the loss of either server."""

import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from cluster_http import Http

from wolfscale.api.client import ask
from wolfscale.api.dashboard_models import DashboardData
from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.conditions import Statuses, has_writable, level, serving
from wolfscale.demo.plan import ClusterPlan
from wolfscale.demo.writers import connect


def is_witness(statuses: Statuses) -> bool:
    third = statuses[3]
    return third is not None and third.role.value == "witness"


def create_and_insert(port: int) -> None:
    connection = connect(port)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE written (a INT PRIMARY KEY)")
        cursor.execute("INSERT INTO written VALUES (1)")


async def assert_witness_shows_itself(cluster: DemoCluster) -> None:
    """What a node without MariaDB and proxy shows is whole, and nothing in it is wrong."""
    endpoint = cluster.node(3).endpoint
    found = DashboardData.model_validate((await ask(endpoint, "/dashboard/data")).body)
    assert found.findings == ()
    assert set(found.history.series.lag_groups) == set(found.history.series.sessions) == {None}
    members = {member.name: member.host for member in found.status.members}
    assert all(host.version and host.disk_total_bytes for host in members.values()), members

    def get() -> str:
        with urllib.request.urlopen(f"{endpoint}/metrics", timeout=60) as answer:
            return str(answer.read(), "utf-8")

    lines = (await trio.to_thread.run_sync(get)).splitlines()
    assert 'wolfscale_mariadb_state{wolfscale_mariadb_state="none"} 1.0' in lines
    assert 'wolfscale_raft_members{suffrage="witness"} 1.0' in lines
    assert "wolfscale_peers_connected 2.0" in lines


async def assert_witness_passes_requests_on(cluster: DemoCluster) -> None:
    """A node without MariaDB takes every request all the same, but knows no database to begin with."""
    http_client = Http(cluster)
    insert = {"table": "users", "values": {"name": "Wolf", "email": "wolf@example.com"}}
    refused = await http_client.post(3, "/write/insert", insert)
    assert refused.problem == (422, "no_database", "database")
    made = await http_client.done(3, "/write/insert", {**insert, "database": "demo"})
    for fields in ({"after": made["gtid"]}, {"consistency": "strong"}, {"consistency": "eventual"}):
        asked = {"sql": "SELECT name FROM demo.users WHERE id = ?", "parameters": [made["id"]], **fields}
        found = await http_client.done(3, "/query", asked)
        assert (found["rows"], found["source"]) == ([{"name": "Wolf"}], "leader")
    await http_client.done(3, "/write/ddl", {"ddl": "CREATE TABLE demo.by_witness (id INT)"})


async def assert_witness_is_no_heir(cluster: DemoCluster) -> None:
    """Whoever asks for a switch-over to a member without data is told why not, and nothing changes."""
    http_client = Http(cluster)
    before = (await cluster.statuses())[1]
    asked = await http_client.post(2, "/cluster/leader", {"to": "node-3"})
    assert asked.problem[:2] == (409, "not_a_voter")
    after = (await cluster.statuses())[1]
    assert before is not None
    assert after is not None
    assert (after.role, after.term) == (before.role, before.term)


@pytest.fixture
def scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wolfscale-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.mark.cluster
async def test_witness_gives_two_servers_a_majority_when_one_dies(scratch: Path) -> None:
    plan = ClusterPlan.with_free_ports(scratch, nodes=3, node_settings={3: {"node": {"witness": True}}})
    plan.write()
    cluster = DemoCluster(plan, access=admin_connection_info)
    try:
        cluster.launch(1, bootstrap=True)
        await cluster.wait_for(has_writable, "the first node to take writes")
        cluster.launch(2)
        cluster.launch(3)
        await cluster.wait_for(serving(1, 2), "both servers to serve")
        await cluster.wait_for(is_witness, "the witness to have its vote")
        await cluster.create_account()
        await cluster.wait_for(level(1, 2), "both servers to be level")
        await assert_witness_shows_itself(cluster)
        await assert_witness_passes_requests_on(cluster)
        await assert_witness_is_no_heir(cluster)
        cluster.kill(1)
        assert await cluster.wait_writable(other_than=1) == 2
        await trio.to_thread.run_sync(create_and_insert, cluster.node(2).mysql_port)
        cluster.launch(1)
        await cluster.wait_for(level(1, 2), "the killed node to catch up")
        assert await cluster.query(1, "SELECT a FROM demo.written") == ((1,),)
        assert await cluster.terminate(2) == 0
        assert await cluster.wait_writable(other_than=2) == 1
    finally:
        await cluster.stop()
