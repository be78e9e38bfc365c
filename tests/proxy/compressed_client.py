"""A raw client under the compressed protocol, through a proxy or on a MariaDB server itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy_pair import PASSWORD
from raw_client import MODERN_CLIENT, RawClient

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Capability
from wolfscale.proxy.client_compression import CompressedStream, begin_compression


class CompressedClient(RawClient):
    """Counts its compressed packets from 0 with each command, as clients do."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        begin_compression(connection.packets)

    @property
    def stream(self) -> CompressedStream:
        stream = self.packets.stream
        assert isinstance(stream, CompressedStream)
        return stream

    async def send(self, payload: bytes) -> None:
        self.stream.next_sequence = 0
        await super().send(payload)


@asynccontextmanager
async def compressed_client(
    port: int, *, capabilities: int = MODERN_CLIENT
) -> AsyncIterator[CompressedClient]:
    """A logged-in client at this port."""
    connection = await Connection.connect(
        user="app",
        password=PASSWORD,
        host="127.0.0.1",
        port=port,
        database="demo",
        capabilities=capabilities | Capability.COMPRESS,
    )
    try:
        yield CompressedClient(connection)
    finally:
        await connection.aclose()
