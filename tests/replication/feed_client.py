"""A replica of our own making, to see what a feed sends."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from replication_servers import LIMIT_SECONDS, PASSWORD, USER

from wolfscale.mysql.binlog.dump import DumpDecoder
from wolfscale.mysql.binlog.header import EventType, parse_header
from wolfscale.mysql.client import Connection
from wolfscale.replication.feed import Feed

CONTROL = (EventType.ROTATE, EventType.FORMAT_DESCRIPTION, EventType.GTID_LIST, EventType.HEARTBEAT)


class FeedClient:
    """Reads the events of a dump."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.decoder = DumpDecoder(semi_sync=False)
        self._events: list[bytes] = []
        self._part = b""

    async def start(self, position: str = "", *, heartbeat_seconds: float = 0, flags: int = 0) -> None:
        await self.connection.query(f"SET @slave_connect_state='{position}'")
        await self.connection.query(f"SET @master_heartbeat_period={int(heartbeat_seconds * 1e9)}")
        packets = self.connection.packets
        await packets.command(b"\x15" + struct.pack("<IBBBHII", 5, 0, 0, 0, 0, 0, 0))
        assert (await packets.read())[0] == 0
        await packets.command(b"\x12" + struct.pack("<IHI", 4, flags, 5))

    async def event(self) -> bytes:
        """The next event; an empty one when the feed ends the dump."""
        with trio.fail_after(LIMIT_SECONDS):
            while not self._events:
                if self.decoder.ended:
                    return b""
                for part in self.decoder.feed(await self.connection.packets.receive_raw()):
                    self._part += part.data
                    if part.last:
                        self._events.append(self._part)
                        self._part = b""
        return self._events.pop(0)

    async def data_events(self, count: int) -> list[bytes]:
        """The next events that belong to groups."""
        found: list[bytes] = []
        while len(found) < count:
            event = await self.event()
            assert event, "the dump ended"
            if parse_header(event).type not in CONTROL:
                found.append(event)
        return found


@asynccontextmanager
async def feed_client(feed: Feed, *, user: str = USER, password: str = PASSWORD) -> AsyncIterator[FeedClient]:
    assert feed.address is not None
    host, port = feed.address
    connection = await Connection.connect(user=user, password=password, host=host, port=port)
    try:
        yield FeedClient(connection)
    finally:
        await connection.packets.aclose_forcefully()
