"""Long uploads through a follower's proxy and the link to the leader: no process holds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from cluster_under_test import ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import Part
from wolfscale.demo.plan import LOOPBACK
from wolfscale.demo.processes import resident_bytes
from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Command
from wolfscale.mysql.framing import header
from wolfscale.mysql.results import parse_error

pytestmark = pytest.mark.cluster

MEBIBYTE = 1 << 20
MEBIBYTES = 192
MOST_GROWTH = 16 * MEBIBYTE
LINE = b"x" * (MEBIBYTE - 1) + b"\n"


class Uploading:
    """A client of a follower, and the memory of all processes of the nodes' own.

    Attributes:
        connection: logged in.
        most: by how much any of them has grown.
    """

    def __init__(self, cluster: ClusterUnderTest, connection: Connection) -> None:
        self.connection = connection
        self.most = 0
        pids = [pid for number in cluster.numbers for pid in cluster.process_ids(number, Part.NODE)]
        self._before = {pid: resident_bytes(pid) for pid in pids}

    async def send(self, data: bytes) -> None:
        """Send bytes that are packets."""
        await self.connection.packets.send_raw(data)
        grown = (resident_bytes(pid) - before for pid, before in self._before.items())
        self.most = max(self.most, *grown)

    async def answer(self) -> bytes:
        """The first packet of an answer that is no error."""
        packet = await self.connection.packets.read()
        if packet[:1] == b"\xff":
            raise parse_error(packet)
        return packet


@asynccontextmanager
async def client_of_a_follower(cluster: ClusterUnderTest) -> AsyncIterator[Uploading]:
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.lengths (n INT)"])
    await cluster.wait_level()
    follower = cluster.followers(await cluster.wait_writable())[0]
    connection = await Connection.connect(
        user=ACCOUNT,
        password=PASSWORD,
        host=LOOPBACK,
        port=cluster.node(follower).mysql_port,
        database=DATABASE,
        capabilities=int(DEFAULT_CAPABILITIES | Capability.LOCAL_FILES),
    )
    async with connection:
        await connection.query("SELECT COUNT(*) FROM lengths FOR UPDATE")
        yield Uploading(cluster, connection)


async def test_clients_file_goes_to_the_leader_in_bounded_memory(cluster: ClusterUnderTest) -> None:
    with trio.fail_after(120):
        async with client_of_a_follower(cluster) as client:
            packets = client.connection.packets
            load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE lengths (@line) SET n = LENGTH(@line)"
            await packets.command(bytes((Command.QUERY,)) + load.encode())
            assert (await client.answer())[:1] == b"\xfb"
            for number in range(MEBIBYTES):
                await client.send(header(len(LINE), number + 2 & 0xFF) + LINE)
            await packets.write(b"", sequence=MEBIBYTES + 2 & 0xFF)
            assert (await client.answer())[:1] == b"\x00"
            assert await client.connection.value("SELECT SUM(n + 1) FROM lengths") == str(
                MEBIBYTES * MEBIBYTE
            )
            assert client.most < MOST_GROWTH, f"{client.most / MEBIBYTE:.1f} MiB more than before"


async def test_parts_of_a_parameter_go_to_the_leader_in_bounded_memory(cluster: ClusterUnderTest) -> None:
    with trio.fail_after(120):
        async with client_of_a_follower(cluster) as client:
            packets = client.connection.packets
            await packets.command(bytes((Command.STMT_PREPARE,)) + b"INSERT INTO lengths VALUES (LENGTH(?))")
            id = (await client.answer())[1:5]
            await packets.read()  # the parameter
            head = bytes((Command.STMT_SEND_LONG_DATA,)) + id + b"\0\0"
            # Full packets, and a short one behind each, which ends the command.
            full = head + b"x" * (MAX_PACKET_PAYLOAD - len(head))
            parts = MEBIBYTES // 16
            for _ in range(parts):
                await client.send(header(len(full), 0) + full[:MEBIBYTE])
                for start in range(MEBIBYTE, len(full), MEBIBYTE):
                    await client.send(full[start : start + MEBIBYTE])
                await client.send(header(1, 1) + b"x")
            await packets.command(bytes((Command.STMT_EXECUTE,)) + id + b"\0\1\0\0\0" + b"\0\1" + b"\xfc\0")
            assert (await client.answer())[:1] == b"\x00"
            length = parts * (len(full) - len(head) + 1)
            assert await client.connection.value("SELECT SUM(n) FROM lengths") == str(length)
            assert client.most < MOST_GROWTH, f"{client.most / MEBIBYTE:.1f} MiB more than before"
