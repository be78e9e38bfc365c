"""Events inside the packets of COM_BINLOG_DUMP, both directions.

A packet's payload is a zero byte and an event; a semi-synchronous primary puts 0xEF and a flag between
(flag 1: acknowledge this event). An ERR packet ends the dump with an error, an EOF packet without one. Events
of 16 MiB and more run over several packets; they are passed on in parts, so that none stands in memory.
Source: MariaDB sql/sql_repl.cc, sql/semisync_master.cc.
"""

import struct
from typing import NamedTuple

from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.header import HEADER_BYTES, LENGTH_OFFSET
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.framing import HEADER_BYTES as PACKET_HEADER_BYTES
from wolfscale.mysql.framing import header
from wolfscale.mysql.results import parse_error

PART_BYTES = 1 << 17
"""An event of more bytes is handed out in parts, the first of them at least this long."""

_SEMI_SYNC_MAGIC = 0xEF
_ACKNOWLEDGE = 1
_OK = 0x00
_EOF = 0xFE
_ERROR = 0xFF
_PREFIX_BYTES = 1
_SEMI_SYNC_PREFIX_BYTES = 3
_UINT32 = struct.Struct("<I")
_POSITION = struct.Struct("<Q")


class EventPart(NamedTuple):
    """An event, or a part of a long one.

    A tuple, not a dataclass: there is one for every event that a primary writes.

    Attributes:
        data: its bytes.
        first: the event begins with them.
        last: the event ends with them.
        acknowledge: the primary waits for an ACK of this event.
    """

    data: bytes
    first: bool
    last: bool
    acknowledge: bool


class DumpDecoder:
    """Turns the bytes of a dump into events.

    Attributes:
        ended: the primary has ended the dump in order (an EOF packet).
    """

    def __init__(self, *, semi_sync: bool = True) -> None:
        """Begin behind the command.

        Args:
            semi_sync: the replica announced itself as semi-synchronous, so every event has the flag.
        """
        self.ended = False
        self._prefix_bytes = _SEMI_SYNC_PREFIX_BYTES if semi_sync else _PREFIX_BYTES
        self._semi_sync = semi_sync
        self._buffer = bytearray()
        # A long payload being handed out in parts:
        self._left = 0  # bytes of the current packet not yet handed out
        self._continues = False  # another packet of the same payload follows
        self._first = False
        self._acknowledge = False

    def feed(self, data: bytes | bytearray) -> list[EventPart]:
        """Take bytes, give the events and parts of events that they complete.

        Raises:
            ServerError: the primary ended the dump with an error.
            BinlogError: the bytes are no dump.
        """
        buffer = self._buffer
        buffer += data
        parts: list[EventPart] = []
        position = 0
        available = len(buffer)
        prefix = self._prefix_bytes
        while True:
            if self._left or self._continues:
                taken = self._take_part(position, parts)
                if taken == 0:
                    break
                position += taken
                continue
            start = position + PACKET_HEADER_BYTES
            if available < start:
                break
            length = buffer[position] | buffer[position + 1] << 8 | buffer[position + 2] << 16
            end = start + length
            if length > PART_BYTES:
                if available < start + PART_BYTES:
                    break
                self._check_prefix(start, length)
                self._acknowledge = self._semi_sync and buffer[start + 2] == _ACKNOWLEDGE
                self._left = length - prefix
                self._continues = length == MAX_PACKET_PAYLOAD
                self._first = True
                position = start + prefix
                continue
            if available < end:
                break
            if self._check_prefix(start, length):
                acknowledge = self._semi_sync and buffer[start + 2] == _ACKNOWLEDGE
                parts.append(EventPart(bytes(buffer[start + prefix : end]), True, True, acknowledge))
            position = end
        if position:
            del buffer[:position]
        return parts

    def _take_part(self, position: int, parts: list[EventPart]) -> int:
        """Hand out what there is of a long event; returns the bytes used up."""
        buffer = self._buffer
        used = 0
        if not self._left:
            if len(buffer) - position < PACKET_HEADER_BYTES:
                return 0
            length = buffer[position] | buffer[position + 1] << 8 | buffer[position + 2] << 16
            self._left = length
            self._continues = length == MAX_PACKET_PAYLOAD
            used = PACKET_HEADER_BYTES
            position += used
        count = min(self._left, len(buffer) - position)
        if count == 0 and self._left:
            return used
        self._left -= count
        last = not self._left and not self._continues
        data = bytes(buffer[position : position + count])
        parts.append(EventPart(data, self._first, last, self._acknowledge))
        self._first = False
        return used + count

    def _check_prefix(self, start: int, length: int) -> bool:
        """Whether the payload at `start` is an event; raises the error that it is otherwise."""
        buffer = self._buffer
        kind = buffer[start] if length else -1
        if kind == _ERROR:
            raise parse_error(bytes(buffer[start : start + length]))
        if kind == _EOF and length < 9:
            self.ended = True
            return False
        magic_fits = not self._semi_sync or (
            length >= _SEMI_SYNC_PREFIX_BYTES and buffer[start + 1] == _SEMI_SYNC_MAGIC
        )
        if kind != _OK or not magic_fits or length < self._prefix_bytes + HEADER_BYTES:
            beginning = bytes(buffer[start : start + min(length, 16)]).hex(" ")
            raise BinlogError(f"a packet that begins with {beginning or 'nothing'} is no binlog event")
        return True


class DumpEncoder:
    """Turns events into the packets of a dump; they may arrive cut anywhere.

    Attributes:
        sequence: number of the next packet.
    """

    def __init__(self, *, sequence: int = 1) -> None:
        self.sequence = sequence
        self._pending = b""
        self._event_left = 0  # bytes of a long event still to come
        self._packet_left = 0  # bytes of its current packet still to come
        self._packet_is_full = False

    @property
    def in_event(self) -> bool:
        """Whether an event has begun whose end has not come."""
        return bool(self._pending or self._event_left)

    def encode(self, data: bytes | memoryview) -> bytes:
        """Packets for what `data` completes.

        Raises:
            BinlogError: an event's length is nonsense.
        """
        out: list[bytes | memoryview] = []
        if self._pending:
            data = self._pending + bytes(data)
            self._pending = b""
        view = memoryview(data)
        position, end = 0, len(view)
        sequence = self.sequence
        while position < end:
            if self._event_left:
                self.sequence = sequence
                position = self._continue_event(view, position, out)
                sequence = self.sequence
                continue
            left = end - position
            if left < HEADER_BYTES:
                self._pending = bytes(view[position:])
                break
            (length,) = _UINT32.unpack_from(view, position + LENGTH_OFFSET)
            if length < HEADER_BYTES:
                raise BinlogError(f"an event claims to be {length} bytes long")
            if length <= left and length < MAX_PACKET_PAYLOAD - _PREFIX_BYTES:
                out.append((length + 1 | (sequence & 0xFF) << 24).to_bytes(4, "little") + b"\0")
                out.append(view[position : position + length])
                sequence += 1
                position += length
                continue
            if length <= PART_BYTES:
                self._pending = bytes(view[position:])
                break
            self.sequence = sequence
            self._event_left = length
            self._begin_packet(length + _PREFIX_BYTES, out)
            out.append(b"\0")
            self._packet_left -= _PREFIX_BYTES
            sequence = self.sequence
        self.sequence = sequence & 0xFF
        return b"".join(out)

    def _begin_packet(self, left: int, out: list[bytes | memoryview]) -> None:
        """Begin a packet of a payload of which `left` bytes are still to come."""
        self._packet_left = min(left, MAX_PACKET_PAYLOAD)
        self._packet_is_full = self._packet_left == MAX_PACKET_PAYLOAD
        out.append(header(self._packet_left, self.sequence))
        self.sequence += 1

    def _continue_event(self, view: memoryview, position: int, out: list[bytes | memoryview]) -> int:
        count = min(self._packet_left, len(view) - position)
        out.append(view[position : position + count])
        self._event_left -= count
        self._packet_left -= count
        # A full packet is followed by another one, an empty one if nothing is left.
        if not self._packet_left and self._packet_is_full:
            self._begin_packet(self._event_left, out)
        return position + count
