"""A reader of one packet's payload that never reads past its end."""

import struct

from wolfscale.mysql.errors import RemoteProtocolError

_UINT16 = struct.Struct("<H")
_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")
_NULL_STRING = 0xFB


class PacketBuffer:
    """Reads integers and strings off a payload, front to back.

    Every method raises `RemoteProtocolError` when the payload is too short for what it promises; none
    allocates more than the payload holds, whatever length the peer claims.
    """

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes | bytearray | memoryview, position: int = 0) -> None:
        self._data = bytes(data) if not isinstance(data, bytes) else data
        self._end = len(self._data)
        self.position = position

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return self._end - self.position

    def _take(self, count: int, what: str) -> int:
        start = self.position
        if count > self._end - start:
            raise RemoteProtocolError(
                f"malformed packet: {what} of {count} bytes at offset {start}, {self._end - start} bytes left"
            )
        self.position = start + count
        return start

    def peek(self) -> int | None:
        """The next byte, left unread; None at the end."""
        return self._data[self.position] if self.position < self._end else None

    def uint8(self) -> int:
        """One byte."""
        return self._data[self._take(1, "integer")]

    def uint16(self) -> int:
        """Two bytes, little-endian like all integers here."""
        return int(_UINT16.unpack_from(self._data, self._take(2, "integer"))[0])

    def uint24(self) -> int:
        """Three bytes."""
        start = self._take(3, "integer")
        return int.from_bytes(self._data[start : start + 3], "little")

    def uint32(self) -> int:
        """Four bytes."""
        return int(_UINT32.unpack_from(self._data, self._take(4, "integer"))[0])

    def uint64(self) -> int:
        """Eight bytes."""
        return int(_UINT64.unpack_from(self._data, self._take(8, "integer"))[0])

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        start = self._take(count, "string")
        return self._data[start : start + count]

    def rest(self) -> bytes:
        """All bytes that are left."""
        start = self.position
        self.position = self._end
        return self._data[start:]

    def lenenc_int(self) -> int:
        """A length-encoded integer of one, three, four or nine bytes."""
        first = self.uint8()
        if first < _NULL_STRING:
            return first
        if first == 0xFC:
            return self.uint16()
        if first == 0xFD:
            return self.uint24()
        if first == 0xFE:
            return self.uint64()
        raise RemoteProtocolError(
            f"malformed packet: 0x{first:02x} at offset {self.position - 1} is no length-encoded integer"
        )

    def lenenc_bytes(self) -> bytes:
        """A string preceded by its length."""
        return self.take(self.lenenc_int())

    def lenenc_bytes_or_null(self) -> bytes | None:
        """A text row's value: 0xFB stands for NULL."""
        if self.peek() == _NULL_STRING:
            self.position += 1
            return None
        return self.lenenc_bytes()

    def null_terminated(self) -> bytes:
        """A string up to a NUL byte, which is read too."""
        end = self._data.find(b"\0", self.position)
        if end < 0:
            raise RemoteProtocolError(
                f"malformed packet: the string at offset {self.position} is not terminated"
            )
        start = self.position
        self.position = end + 1
        return self._data[start:end]

    def null_terminated_or_rest(self) -> bytes:
        """A string up to a NUL byte or, as some clients send it, to the payload's end."""
        if self._data.find(b"\0", self.position) < 0:
            return self.rest()
        return self.null_terminated()


def lenenc_int(value: int) -> bytes:
    """A length-encoded integer."""
    if value < _NULL_STRING:
        return bytes((value,))
    if value < 1 << 16:
        return b"\xfc" + _UINT16.pack(value)
    if value < 1 << 24:
        return b"\xfd" + _UINT32.pack(value)[:3]
    return b"\xfe" + _UINT64.pack(value)


def lenenc_bytes(value: bytes) -> bytes:
    """A string preceded by its length."""
    return lenenc_int(len(value)) + value
