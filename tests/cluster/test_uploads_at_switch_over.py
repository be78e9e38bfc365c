"""A planned switch-over lets long commands end that are on their way to the leader, from whichever proxy."""

import zlib

import pytest
import trio
from cluster_http import Http
from cluster_proxy import standalone_proxy
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK
from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.framing import pieces
from wolfscale.mysql.results import parse_error

pytestmark = pytest.mark.cluster

MEBIBYTE = 1 << 20
VALUE = bytes(range(256)).replace(b"'", b"").replace(b"\\", b"") * (17 * MEBIBYTE // 254)
INSERT = bytes((Command.QUERY,)) + b"INSERT INTO uploaded (v) VALUES ('" + VALUE + b"')"
WIRE = b"".join(pieces(INSERT, 0))
MOST = len(WIRE) - 64 * 1024
"""So little is left that a busy machine takes it before the drain's patience ends."""


async def connected(port: int) -> Connection:
    """A client whose session has a connection to the leader."""
    connection = await Connection.connect(
        user=ACCOUNT, password=PASSWORD, host=LOOPBACK, port=port, database=DATABASE
    )
    await connection.query("SET NAMES binary")
    await connection.query("SELECT COUNT(*) FROM uploaded FOR UPDATE")
    return connection


async def until_it_drains(cluster: ClusterUnderTest, number: int) -> None:
    with trio.fail_after(PATIENCE):
        while (await cluster.status_of(number)).writable:
            await trio.sleep(POLL_SECONDS)


@pytest.mark.parametrize("way", ["leader", "follower", "standalone"])
async def test_long_command_under_way_is_carried_out_by_the_leader_that_goes(
    cluster: ClusterUnderTest, way: str
) -> None:
    table = "CREATE OR REPLACE TABLE demo.uploaded (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)"
    await cluster.on_writable([table])
    await cluster.wait_level()
    old = await cluster.wait_writable()
    heir, other = cluster.followers(old)
    async with standalone_proxy(cluster) as proxy:
        ports = {
            "leader": cluster.node(old).mysql_port,
            "follower": cluster.node(other).mysql_port,
            "standalone": proxy.port,
        }
        async with await connected(ports[way]) as client, trio.open_nursery() as nursery:
            await client.packets.send_raw(WIRE[:MOST])
            nursery.start_soon(Http(cluster).done, other, "/cluster/leader", {"to": cluster.node(heir).name})
            await until_it_drains(cluster, old)
            await client.packets.send_raw(WIRE[MOST:])
            answer = await client.packets.read()
            assert answer[:1] == b"\x00", parse_error(answer)
            assert await client.value("SELECT COUNT(*) FROM uploaded") == "1"
        assert await cluster.wait_writable() == heir
    await cluster.wait_level()
    for number in cluster.numbers:
        found = await cluster.query(number, "SELECT LENGTH(v), CRC32(v) FROM demo.uploaded")
        assert found == ((len(VALUE), zlib.crc32(VALUE)),)


async def test_client_that_stops_in_the_middle_holds_no_switch_over_up_for_long(
    cluster: ClusterUnderTest,
) -> None:
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.uploaded (id INT PRIMARY KEY, v LONGBLOB)"])
    await cluster.wait_level()
    old = await cluster.wait_writable()
    heir = cluster.followers(old)[0]
    async with await connected(cluster.node(old).mysql_port) as client:
        await client.packets.send_raw(WIRE[:MOST])
        with trio.fail_after(PATIENCE):
            await Http(cluster).done(heir, "/cluster/leader", {"to": cluster.node(heir).name})
        assert await cluster.wait_writable() == heir
        await client.packets.send_raw(WIRE[MOST:])
        assert parse_error(await client.packets.read()).errno == 1213
        assert await client.value("SELECT COUNT(*) FROM uploaded") == "0"
    await cluster.wait_serving()
