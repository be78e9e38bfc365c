"""Packets over a trio stream: the only module of this package, with `client`, that does input and output."""

import ssl

import trio

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import DEFAULT_MAX_PAYLOAD_BYTES, PacketReader, header, packet_count, pieces

RECEIVE_BYTES = 1 << 18

# Payloads from this size on are handed to the stream as they are, smaller ones are joined first: one
# system call and one small copy instead of many calls.
_JOIN_BELOW_BYTES = 1 << 16


class PacketStream:
    """Reads and writes packets on a stream.

    One task may read while another writes. Writes are collected by `queue` and sent by `flush`, so that
    an answer of many packets is one system call. Cancelling a read loses nothing; cancelling `flush` or
    `write` may leave half a packet on the wire, so the stream is to be closed then.

    Attributes:
        stream: what is underneath; replaced by `start_tls`.
        next_sequence: the number of the next packet written. Reading sets it to one more than what was
            read, as answers want it.
    """

    __slots__ = ("_out", "_reader", "_receive_bytes", "next_sequence", "stream")

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        receive_bytes: int = RECEIVE_BYTES,
    ) -> None:
        self.stream = stream
        self.next_sequence = 0
        self._reader = PacketReader(max_payload_bytes)
        self._receive_bytes = receive_bytes
        self._out: list[bytes | memoryview] = []

    @property
    def max_payload_bytes(self) -> int:
        """The longest payload that is accepted from the peer."""
        return self._reader.max_payload_bytes

    @max_payload_bytes.setter
    def max_payload_bytes(self, value: int) -> None:
        self._reader.max_payload_bytes = value

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that nobody has read yet."""
        return self._reader.buffered_bytes

    def read_nowait(self) -> bytes | None:
        """The next payload if it has been received whole, else None."""
        payload = self._reader.next()
        if payload is not None:
            self.next_sequence = self._reader.sequence + 1 & 0xFF
        return payload

    async def read(self) -> bytes:
        """The next logical payload. A checkpoint only when it has to wait.

        Raises:
            ConnectionLost: the peer closed, or the connection broke.
            RemoteProtocolError: a payload longer than allowed.
        """
        while True:
            payload = self.read_nowait()
            if payload is not None:
                return payload
            self._reader.feed(await self._receive())

    async def read_batch(self) -> list[bytes]:
        """All payloads received so far; waits for the first one."""
        payloads = [await self.read()]
        while (payload := self.read_nowait()) is not None:
            payloads.append(payload)
        return payloads

    async def next_length(self) -> int:
        """The payload length of the next packet, which is left unread. A checkpoint only when it has to wait.

        Raises:
            ConnectionLost: the peer closed, or the connection broke.
        """
        while (length := self._reader.peek_length()) is None:
            self._reader.feed(await self._receive())
        return length

    async def read_header(self) -> int:
        """The payload length of the next packet, all of which has to be read by `read_part` then.

        Raises:
            ConnectionLost: the peer closed, or the connection broke.
        """
        while (length := self._reader.take_header()) is None:
            self._reader.feed(await self._receive())
        self.next_sequence = self._reader.sequence + 1 & 0xFF
        return length

    async def read_part(self, most: int) -> bytes:
        """Some of the packet whose header was read; at least a byte.

        Args:
            most: so many bytes at most: what is left of the packet, or less.

        Raises:
            ConnectionLost: the peer closed, or the connection broke.
        """
        while not (part := self._reader.take_part(most)):
            self._reader.feed(await self._receive())
        return part

    async def receive_raw(self) -> bytes | bytearray:
        """Bytes as they came, headers included: what is buffered, or else the next chunk, uncopied.

        Raises:
            ConnectionLost: the peer closed, or the connection broke.
        """
        if self._reader.buffered_bytes:
            return self._reader.take_raw()
        return await self._receive()

    @property
    def inside_payload(self) -> bool:
        """Whether the beginning of a payload of several packets has been taken apart already."""
        return self._reader.inside_payload

    def take_buffered(self) -> bytes:
        """The bytes received that nobody has read yet, as they came.

        Raises:
            RemoteProtocolError: they begin in the middle of a payload, see `inside_payload`.
        """
        return self._reader.take_raw() if self._reader.buffered_bytes else b""

    def unread(self, data: bytes | memoryview) -> None:
        """Put back what `receive_raw` or `take_buffered` gave too much of."""
        self._reader.unread(data)

    async def _receive(self) -> bytes | bytearray:
        try:
            data = await self.stream.receive_some(self._receive_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the connection broke while reading") from error
        if not data:
            raise ConnectionLost("the peer closed the connection")
        return data

    def queue(self, payload: bytes, *, sequence: int | None = None) -> None:
        """Add a packet to what the next `flush` sends.

        Args:
            payload: a logical payload of any length; not copied if it is long.
            sequence: the packet's number, if not `next_sequence`.
        """
        number = self.next_sequence if sequence is None else sequence
        length = len(payload)
        if length < MAX_PACKET_PAYLOAD:
            self._out.append(header(length, number))
            self._out.append(payload)
            self.next_sequence = number + 1 & 0xFF
            return
        self._out.extend(pieces(payload, number))
        self.next_sequence = number + packet_count(length) & 0xFF

    def queue_raw(self, data: bytes | memoryview) -> None:
        """Add bytes that are packets already."""
        self._out.append(data)

    async def flush(self) -> None:
        """Send what is queued, in as few calls as its size allows.

        Raises:
            ConnectionLost: the peer is gone.
        """
        out, self._out = self._out, []
        small: list[bytes | memoryview] = []
        for part in out:
            if len(part) < _JOIN_BELOW_BYTES:
                small.append(part)
                continue
            if small:
                await self.send_raw(b"".join(small))
                small.clear()
            await self.send_raw(part)
        if small:
            await self.send_raw(b"".join(small))

    async def write(self, payload: bytes, *, sequence: int | None = None) -> None:
        """Queue one packet and flush."""
        self.queue(payload, sequence=sequence)
        await self.flush()

    async def command(self, payload: bytes) -> None:
        """Write a command packet: its sequence numbers start at 0."""
        await self.write(payload, sequence=0)

    async def send_raw(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes that are packets already, at once and uncopied."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the connection broke while writing") from error

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        """Continue under TLS.

        A client sends its first TLS record right behind its request, without waiting, so what is buffered
        already is TLS's: nothing that somebody slipped in before is ever read as a packet.

        Raises:
            ConnectionLost: the TLS handshake failed.
        """
        inner = self.stream
        if self._reader.buffered_bytes:
            inner = _Preceded(self._reader.take_raw(), inner)
        stream = trio.SSLStream(
            inner,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            https_compatible=True,
        )
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            raise ConnectionLost(f"the TLS handshake failed: {error.__cause__ or error}") from error
        self.stream = stream

    async def aclose(self) -> None:
        """Close the stream; a checkpoint. What is queued is dropped."""
        self._out.clear()
        await self.stream.aclose()

    async def aclose_forcefully(self) -> None:
        """Close at once, also when cancelled."""
        self._out.clear()
        await trio.aclose_forcefully(self.stream)


class _Preceded(trio.abc.Stream):
    """A stream in front of which some bytes were read already."""

    def __init__(self, first: bytes, stream: trio.abc.Stream) -> None:
        self._first = first
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._first:
            await trio.lowlevel.checkpoint()
            first, self._first = self._first[:max_bytes], self._first[max_bytes or len(self._first) :]
            return first
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
