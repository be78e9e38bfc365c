"""Compression towards clients: the packets of a session run over this stream once its log-in has ended.

The connections to MariaDB are not compressed: they are on the same machine, or on the link between nodes.
"""

import trio

from wolfscale.mysql.compression import PIECE_BYTES, CompressedReader, CompressedWriter
from wolfscale.mysql.transport import PacketStream

RECEIVE_BYTES = 1 << 15
_LONG_BYTES = 1 << 14
"""Compressing this much takes long enough for other sessions to get their turn afterwards."""


class CompressedStream(trio.abc.Stream):
    """A byte stream over the compressed protocol; one task uses it.

    A receive gives bytes of one compressed packet only, so that a command that is read is answered under the
    numbers that follow its own, also when the client has sent the next one behind it.

    Attributes:
        inner: what carries the compressed packets.
        next_sequence: the number of the next packet sent: one more than that of the last received.
    """

    __slots__ = ("_reader", "_writer", "inner", "next_sequence")

    def __init__(self, inner: trio.abc.Stream, first: bytes = b"") -> None:
        """Begin compression.

        Args:
            inner: the stream so far.
            first: what was read from it already and is compressed.
        """
        self.inner = inner
        self.next_sequence = 0
        self._reader = CompressedReader()
        self._reader.feed(first)
        self._writer = CompressedWriter()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or none at the end.

        Raises:
            RemoteProtocolError: what was received is no compressed packet.
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed by this side.
        """
        most = min(max_bytes or RECEIVE_BYTES, RECEIVE_BYTES)
        piece = self._reader.next(most)
        if piece is not None:
            # A few bytes can hold a thousand times as many: the other sessions get their turn in between.
            await trio.lowlevel.checkpoint()
        while piece is None:
            data = await self.inner.receive_some(RECEIVE_BYTES)
            if not data:
                return b""
            self._reader.feed(data)
            piece = self._reader.next(most)
        self.next_sequence = self._reader.sequence + 1 & 0xFF
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all packets that are whole by now; the beginning of one goes with its end.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed by this side.
        """
        with memoryview(data) as view:
            for start in range(0, len(view), PIECE_BYTES):
                piece = view[start : start + PIECE_BYTES]
                packets = self._writer.feed(piece, self.next_sequence)
                self.next_sequence = self.next_sequence + len(packets) & 0xFF
                for packet in packets:
                    await self.inner.send_all(packet)
                if len(piece) >= _LONG_BYTES:
                    await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream underneath."""
        await self.inner.aclose()


def begin_compression(client: PacketStream) -> None:
    """Go on compressed with a client that has been told the end of its log-in."""
    client.stream = CompressedStream(client.stream, client.take_buffered())
