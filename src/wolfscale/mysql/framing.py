"""Packets: a three-byte length, a sequence number, a payload; payloads of 16 MiB - 1 and more are split.

Pure functions and a buffer, no input or output. A logical payload of exactly a multiple of
`MAX_PACKET_PAYLOAD` bytes ends with an empty packet.
"""

from collections.abc import Iterator

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import ER_NET_PACKET_TOO_LARGE, RemoteProtocolError

HEADER_BYTES = 4
DEFAULT_MAX_PAYLOAD_BYTES = (1 << 30) + MAX_PACKET_PAYLOAD
"""MariaDB's own upper limit of max_allowed_packet, 1 GiB, and what a command adds to it."""

# Consumed bytes are kept in front of the buffer until there are this many of them: cutting the front
# of a bytearray moves everything behind it.
_COMPACT_BYTES = 1 << 18


def header(length: int, sequence: int) -> bytes:
    """The header of one packet of `length` payload bytes."""
    return (length | (sequence & 0xFF) << 24).to_bytes(4, "little")


def packet(payload: bytes, sequence: int) -> bytes:
    """One packet from a payload that is known to fit, such as every answer we build ourselves."""
    length = len(payload)
    if length >= MAX_PACKET_PAYLOAD:
        return b"".join(pieces(payload, sequence))
    return (length | (sequence & 0xFF) << 24).to_bytes(4, "little") + payload


def packet_count(length: int) -> int:
    """How many packets carry a payload of `length` bytes."""
    return length // MAX_PACKET_PAYLOAD + 1


def pieces(payload: bytes | memoryview, sequence: int) -> Iterator[bytes | memoryview]:
    """Headers and uncopied slices of the payload, in the order in which they go on the wire."""
    view = memoryview(payload)
    for number, start in enumerate(range(0, len(view) + 1, MAX_PACKET_PAYLOAD)):
        part = view[start : start + MAX_PACKET_PAYLOAD]
        yield header(len(part), sequence + number)
        if len(part):
            yield part


class PacketReader:
    """Turns received bytes into logical payloads.

    Sequence numbers are reported, not checked: a server that serves a semi-synchronous dump starts them
    anew after each acknowledgement, and a proxy passes on what it gets.

    Attributes:
        sequence: the number of the last packet that was read.
        max_payload_bytes: a longer logical payload raises `RemoteProtocolError` (1153) as soon as its
            headers say so; may be changed at any time, e.g. raised after log-in.
    """

    __slots__ = ("_buffer", "_joined", "_start", "max_payload_bytes", "sequence")

    def __init__(self, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._joined: bytearray | None = None
        self.sequence = -1
        self.max_payload_bytes = max_payload_bytes

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet handed out, parts of an unfinished payload included."""
        joined = len(self._joined) if self._joined is not None else 0
        return len(self._buffer) - self._start + joined

    @property
    def inside_payload(self) -> bool:
        """Whether the first packets of a long payload are joined already: their headers are gone."""
        return self._joined is not None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add received bytes."""
        if self._start == len(self._buffer):
            self._buffer[:] = data
            self._start = 0
            return
        if self._start >= _COMPACT_BYTES:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> bytes | None:
        """The next complete logical payload, or None until more bytes are fed.

        Raises:
            RemoteProtocolError: the payload is longer than `max_payload_bytes`.
        """
        buffer = self._buffer
        while True:
            start = self._start
            body = start + HEADER_BYTES
            if len(buffer) < body:
                return None
            length = buffer[start] | buffer[start + 1] << 8 | buffer[start + 2] << 16
            joined = self._joined
            if length + (len(joined) if joined is not None else 0) > self.max_payload_bytes:
                raise RemoteProtocolError(
                    f"a packet of more than {self.max_payload_bytes} bytes was announced",
                    errno=ER_NET_PACKET_TOO_LARGE,
                    sqlstate="08S01",
                )
            end = body + length
            if len(buffer) < end:
                return None
            self.sequence = buffer[start + 3]
            self._start = end
            with memoryview(buffer) as view:
                if joined is None and length < MAX_PACKET_PAYLOAD:
                    return bytes(view[body:end])
                if joined is None:
                    self._joined = bytearray(view[body:end])
                    continue
                joined += view[body:end]
            if length < MAX_PACKET_PAYLOAD:
                self._joined = None
                return bytes(joined)

    def peek_length(self) -> int | None:
        """The payload length that the next header tells, which is left unread; None until it is there."""
        buffer, start = self._buffer, self._start
        if len(buffer) - start < HEADER_BYTES:
            return None
        return buffer[start] | buffer[start + 1] << 8 | buffer[start + 2] << 16

    def take_header(self) -> int | None:
        """The payload length of the next packet, of which `take_part` gives the payload; None as above."""
        length = self.peek_length()
        if length is not None:
            self.sequence = self._buffer[self._start + 3]
            self._start += HEADER_BYTES
        return length

    def take_part(self, most: int) -> bytes:
        """What is there of the payload behind a header that was taken, so many bytes at most."""
        start = self._start
        with memoryview(self._buffer) as view:
            part = bytes(view[start : start + most])
        self._start = start + len(part)
        return part

    def take_raw(self) -> bytes:
        """Everything that is buffered, headers included, exactly as it was received.

        Raises:
            RemoteProtocolError: a payload of several packets is only half read, so its headers are gone.
        """
        if self._joined is not None:
            raise RemoteProtocolError("the raw bytes of a half-read long packet are not kept")
        with memoryview(self._buffer) as view:
            data = bytes(view[self._start :])
        self._buffer.clear()
        self._start = 0
        return data

    def unread(self, data: bytes | memoryview) -> None:
        """Put raw bytes back in front of what is buffered."""
        rest = bytes(memoryview(self._buffer)[self._start :])
        self._buffer = bytearray(data)
        self._buffer += rest
        self._start = 0
