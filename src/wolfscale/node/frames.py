"""Length-prefixed frames: how messages are told apart on every stream between nodes.

A frame is a 4-byte big-endian length and that many bytes. Lengths are bounded before anything is
stored, so a peer cannot make this node hold more than it agreed to.
"""

import struct
from collections.abc import Iterator

import trio

from wolfscale.node.errors import FrameError

HEADER = struct.Struct(">I")
MAX_HELLO_BYTES = 64 * 1024


def build_frame(payload: bytes) -> bytes:
    """A frame's bytes on the wire."""
    return HEADER.pack(len(payload)) + payload


class FrameBuffer:
    """Cuts a byte stream into frames (sans-IO).

    Args:
        max_bytes: the longest payload that is accepted.
    """

    __slots__ = ("_data", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._data = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes | bytearray) -> Iterator[bytes]:
        """Yield the payloads that are complete with these bytes.

        The iterator must be read to its end before the next call.

        Raises:
            FrameError: a length above the bound; the stream cannot be read any further.
        """
        self._data += data
        at = 0
        while len(self._data) - at >= HEADER.size:
            (length,) = HEADER.unpack_from(self._data, at)
            if length > self._max_bytes:
                raise FrameError(f"a frame of {length} bytes (at most {self._max_bytes} are taken)")
            end = at + HEADER.size + length
            if len(self._data) < end:
                break
            yield bytes(self._data[at + HEADER.size : end])
            at = end
        del self._data[:at]

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._data)


async def read_frame(stream: trio.abc.ReceiveStream, max_bytes: int = MAX_HELLO_BYTES) -> bytes:
    """Read exactly one frame, and no byte of what follows it.

    A checkpoint; a cancelled read leaves the stream useless.

    Raises:
        FrameError: the stream ended inside the frame, or the frame is too long.
        trio.BrokenResourceError: the connection was lost.
    """
    (length,) = HEADER.unpack(await _read_exactly(stream, HEADER.size))
    if length > max_bytes:
        raise FrameError(f"a frame of {length} bytes (at most {max_bytes} are taken)")
    return await _read_exactly(stream, length)


async def _read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise FrameError(f"the stream ended after {len(data)} of {size} bytes")
        data += more
    return bytes(data)
