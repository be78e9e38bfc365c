"""A client on the wire protocol's own level: the binary protocol, pipelining, what PyMySQL does not do."""

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from proxy_pair import PASSWORD, Cluster

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes
from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import Capability, ColumnType, Command
from wolfscale.mysql.results import parse_error
from wolfscale.mysql.tracker import ResponseTracker

OLD_CLIENT = int(DEFAULT_CAPABILITIES & ~(Capability.SESSION_TRACK | Capability.DEPRECATE_EOF))
"""Capabilities like PyMySQL's."""
MODERN_CLIENT = int(DEFAULT_CAPABILITIES | Capability.MULTI_STATEMENTS)


class RawClient:
    """Sends commands and gives the packets that come back."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.packets = connection.packets
        self.tracker = ResponseTracker(connection.capabilities)

    async def send(self, payload: bytes) -> None:
        await self.packets.command(payload)

    async def answer(self, command: int, *, cursor: bool = False) -> list[bytes]:
        """The packets of one response."""
        self.tracker.begin(command, opens_cursor=cursor)
        packets = []
        while not self.tracker.done:
            payload = await self.packets.read()
            self.tracker.packet(payload)
            packets.append(payload)
        return packets

    async def command(self, payload: bytes) -> list[bytes]:
        await self.send(payload)
        return await self.answer(payload[0], cursor=opens_cursor(payload))

    async def query(self, sql: str) -> list[bytes]:
        return await self.command(bytes((Command.QUERY,)) + sql.encode())

    async def prepare(self, sql: str) -> int:
        packets = await self.command(bytes((Command.STMT_PREPARE,)) + sql.encode())
        if packets[0][:1] == b"\xff":
            raise parse_error(packets[0])
        return int.from_bytes(packets[0][1:5], "little")

    async def execute(
        self, statement: int, values: Sequence[bytes] = (), *, types: bool = True, flags: int = 0
    ) -> list[bytes]:
        return await self.command(execution(statement, values, types=types, flags=flags))

    def first_value(self, packets: Sequence[bytes]) -> bytes:
        """The first column of the first binary row, a string."""
        index = 2 if self.connection.capabilities & Capability.DEPRECATE_EOF else 3
        row = PacketBuffer(packets[index])
        row.take(1 + (1 + 2 + 7) // 8)
        return row.lenenc_bytes()


def execution(statement: int, values: Sequence[bytes], *, types: bool = True, flags: int = 0) -> bytes:
    """A COM_STMT_EXECUTE with string parameters."""
    payload = struct.pack("<BIBI", Command.STMT_EXECUTE, statement, flags, 1)
    if values:
        payload += bytes((len(values) + 7) // 8) + (b"\x01" if types else b"\x00")
        if types:
            payload += bytes((ColumnType.VAR_STRING, 0)) * len(values)
        payload += b"".join(lenenc_bytes(value) for value in values)
    return payload


@asynccontextmanager
async def raw_client(
    proxy: Cluster, capabilities: int = MODERN_CLIENT, *, user: str = "app", password: str = PASSWORD
) -> AsyncIterator[RawClient]:
    """A logged-in raw client of the proxy."""
    connection = await Connection.connect(
        user=user,
        password=password,
        host=proxy.address[0],
        port=proxy.address[1],
        database="demo",
        capabilities=capabilities,
    )
    try:
        yield RawClient(connection)
    finally:
        await connection.aclose()
