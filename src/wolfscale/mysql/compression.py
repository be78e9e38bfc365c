"""The compressed protocol: the stream of packets, cut into pieces that zlib has made shorter.

Pure functions and a buffer, no input or output. A compressed packet is seven bytes of header, little-endian
(3: length of the body, 1: sequence number, 3: length of the body when it is inflated, 0: it is not
compressed), and the body. The bytes inside are ordinary packets one after the other; where one begins or ends
has nothing to do with where a compressed packet does. Numbers are counted apart from those of the packets
inside, but likewise: from 0 with each command, on both sides together.

Sources: MariaDB documentation, "0-Packet" (compressed packet); sql/net_serv.cc (net_write_packet,
my_real_read).
"""

import zlib

from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.framing import HEADER_BYTES as PACKET_HEADER_BYTES

HEADER_BYTES = 7
MIN_COMPRESSED_BYTES = 50
"""A shorter piece is sent as it is (MIN_COMPRESS_LENGTH in MariaDB's include/my_sys.h)."""
PIECE_BYTES = 1 << 16
"""As many whole packets are put into one compressed packet. zlib looks back half as far: more win little."""
MAX_INFLATED_BYTES = 0xFFFFFF - (1 << 13)
"""Into one compressed packet at most: what zlib cannot shorten becomes up to 5 KiB longer."""
LEVEL = 1
"""Of zlib: the fastest, since one thread compresses for all sessions. 6, MariaDB's, takes three times as
long (60 and 20 MB/s were measured) and sends a tenth less."""

ER_NET_UNCOMPRESS_ERROR = 1157
_INFLATE_FROM_BYTES = 1 << 14
"""So many compressed bytes are given to zlib at a time: it copies what it had no room to inflate."""


def compressed_packet(data: bytes | bytearray | memoryview, sequence: int) -> bytes:
    """One compressed packet.

    Args:
        data: at most `MAX_INFLATED_BYTES` of the stream.
        sequence: the packet's number; its low byte is used.
    """
    length = len(data)
    if length >= MIN_COMPRESSED_BYTES:
        body = zlib.compress(data, LEVEL)
        if len(body) < length:
            return _header(len(body), sequence, length) + body
    return _header(length, sequence, 0) + bytes(data)


def _header(length: int, sequence: int, inflated: int) -> bytes:
    return (length | (sequence & 0xFF) << 24 | inflated << 32).to_bytes(HEADER_BYTES, "little")


class CompressedWriter:
    """Turns a stream of packets, which comes in pieces cut anywhere, into compressed packets.

    Each holds whole packets, and a packet longer than `PIECE_BYTES` has one for itself, or two: there are
    clients (mysql-connector-python) that can read nothing else. Of such a packet the compressed form is kept
    until it is whole, 16 MiB at most; else less than `PIECE_BYTES`.
    """

    __slots__ = ("_deflated", "_deflater", "_given", "_left", "_run")

    def __init__(self) -> None:
        self._run = bytearray()
        """Begins with a packet, of which not all is there yet."""
        self._deflater: zlib._Compress | None = None
        """Takes a long packet as it comes."""
        self._deflated = bytearray()
        self._given = 0
        """Bytes that it has been given for this compressed packet."""
        self._left = 0
        """Bytes that the long packet still lacks."""

    def feed(self, data: bytes | bytearray | memoryview, sequence: int) -> list[bytes]:
        """The compressed packets that are complete with these bytes.

        Args:
            data: more of the stream.
            sequence: the number of the first of them; its low byte is used.
        """
        run, packets, whole = self._run, list[bytes](), 0
        run += data
        while True:
            if self._deflater is not None:
                self._deflate(sequence, packets)
            if len(run) - whole < PACKET_HEADER_BYTES or self._deflater is not None:
                break
            size = PACKET_HEADER_BYTES + int.from_bytes(run[whole : whole + 3], "little")
            if whole and whole + size > PIECE_BYTES:
                packets.append(self._cut(whole, sequence + len(packets)))
                whole = 0
            elif size > PIECE_BYTES:
                self._deflater, self._left = zlib.compressobj(LEVEL), size
            elif whole + size > len(run):
                break
            else:
                whole += size
        if whole:
            packets.append(self._cut(whole, sequence + len(packets)))
        return packets

    def _cut(self, whole: int, sequence: int) -> bytes:
        with memoryview(self._run) as view:
            packet = compressed_packet(view[:whole], sequence)
        del self._run[:whole]
        return packet

    def _deflate(self, sequence: int, packets: list[bytes]) -> None:
        """Go on with the long packet that `_run` begins with."""
        run = self._run
        while self._left and run:
            assert self._deflater is not None
            count = min(len(run), self._left, MAX_INFLATED_BYTES - self._given)
            with memoryview(run) as view:
                self._deflated += self._deflater.compress(view[:count])
            del run[:count]
            self._left -= count
            self._given += count
            if not self._left or self._given == MAX_INFLATED_BYTES:
                self._deflated += self._deflater.flush()
                head = _header(len(self._deflated), sequence + len(packets), self._given)
                packets.append(head + self._deflated)
                self._deflated.clear()
                self._given = 0
                self._deflater = zlib.compressobj(LEVEL) if self._left else None


class CompressedReader:
    """Turns received compressed packets into the stream that they hold.

    What a packet holds is inflated only as it is taken, so that no packet, whatever it announces, has more
    in memory than what was fed and one piece. Sequence numbers are reported, not checked, as of ordinary
    packets.

    Attributes:
        sequence: the number of the packet that the last piece came from; -1 before the first.
    """

    __slots__ = ("_buffer", "_due", "_inflater", "_left", "_open", "_start", "sequence")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._open = False
        """Whether a header has been read whose body has not been taken to its end."""
        self._left = 0
        """Bytes of the body that zlib, or the caller, has not been given yet."""
        self._due = 0
        """Bytes that the body still has to give."""
        self._inflater: zlib._Decompress | None = None
        self.sequence = -1

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add received bytes."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def next(self, most: int) -> bytes | None:
        """The next bytes of the stream, all from one packet, or None until more is fed.

        Args:
            most: so many at most; at least one.

        Raises:
            RemoteProtocolError: a body is no zlib stream, or not of the length that was announced (1157).
        """
        while self._open or self._begin():
            inflater = self._inflater
            piece = self._plain(most) if inflater is None else self._inflated(inflater, most)
            if piece:
                return piece
            if self._open:
                return None
        return None

    def _begin(self) -> bool:
        """Read the next header, if it is there."""
        start, buffer = self._start, self._buffer
        if len(buffer) - start < HEADER_BYTES:
            return False
        self._left = int.from_bytes(buffer[start : start + 3], "little")
        self.sequence = buffer[start + 3]
        inflated = int.from_bytes(buffer[start + 4 : start + HEADER_BYTES], "little")
        self._due = inflated or self._left
        self._inflater = zlib.decompressobj() if inflated else None
        self._start = start + HEADER_BYTES
        self._open = True
        return True

    def _take(self, most: int) -> bytes:
        """Some of the body's bytes, as they are on the wire."""
        start = self._start
        with memoryview(self._buffer) as view:
            data = bytes(view[start : start + min(most, self._left)])
        self._start = start + len(data)
        self._left -= len(data)
        return data

    def _plain(self, most: int) -> bytes:
        data = self._take(most)
        self._open = self._left > 0
        return data

    def _inflated(self, inflater: "zlib._Decompress", most: int) -> bytes:
        while True:
            source = inflater.unconsumed_tail or self._take(_INFLATE_FROM_BYTES)
            try:
                # One more than what is due: that there is more shows without inflating it all.
                piece = inflater.decompress(source, min(most, self._due + 1))
            except zlib.error as error:
                raise _broken(f"its body cannot be inflated ({error})") from error
            self._due -= len(piece)
            if self._due < 0:
                raise _broken("its body inflates to more bytes than its header says")
            if inflater.eof:
                if self._due or self._left or inflater.unused_data:
                    raise _broken("its body ends elsewhere than its header says")
                self._open = False
                return piece
            if piece:
                return piece
            if not source:
                if not self._left:
                    raise _broken("its body is cut short")
                return b""


def _broken(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"Couldn't uncompress communication packet: {what}; connect again, without compression if need be",
        errno=ER_NET_UNCOMPRESS_ERROR,
        sqlstate="08S01",
    )
