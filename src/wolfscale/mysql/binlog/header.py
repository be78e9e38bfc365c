"""The 19 bytes in front of every event, the event types, and the CRC32 behind it.

Layout, little-endian: timestamp u32, type u8, server id u32, length u32 (header, body and checksum), end
position u32, flags u16. Source: MariaDB sql/log_event.h of 10.11.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from wolfscale.mysql.binlog.errors import BinlogError, ChecksumMismatch

HEADER_BYTES = 19
CHECKSUM_BYTES = 4
LENGTH_OFFSET = 9
FLAGS_OFFSET = 17
HEADER = struct.Struct("<IBIIIH")
_UINT32 = struct.Struct("<I")


class EventType(IntEnum):
    """The events that have a meaning here; others are carried unseen."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    FORMAT_DESCRIPTION = 15
    XID = 16
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    INCIDENT = 26
    HEARTBEAT = 27
    XA_PREPARE = 38
    ANNOTATE_ROWS = 160
    BINLOG_CHECKPOINT = 161
    GTID = 162
    GTID_LIST = 163
    START_ENCRYPTION = 164
    QUERY_COMPRESSED = 165


class EventFlag(IntFlag):
    """The header's flags."""

    BINLOG_IN_USE = 0x1
    """In a Format Description event: the file was not closed (yet)."""
    ARTIFICIAL = 0x20
    """Made for the replica, not in the primary's file."""
    IGNORABLE = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeader:
    """A parsed header.

    Attributes:
        timestamp: seconds since 1970.
        type: an `EventType`, or a number that is not listed there.
        server_id: the server that wrote the event first.
        length: bytes of the whole event, header and checksum included.
        end_position: offset of the event's end in its binlog file, modulo 2**32; 0 for artificial events.
        flags: `EventFlag` bits and others.
    """

    timestamp: int
    type: int
    server_id: int
    length: int
    end_position: int
    flags: int


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> EventHeader:
    """Read the header at `offset`.

    Raises:
        BinlogError: fewer than 19 bytes, or a length shorter than the header.
    """
    if len(data) - offset < HEADER_BYTES:
        raise BinlogError(f"an event header needs {HEADER_BYTES} bytes, there are {len(data) - offset}")
    timestamp, event_type, server_id, length, end_position, flags = HEADER.unpack_from(data, offset)
    if length < HEADER_BYTES:
        raise BinlogError(f"an event of type {event_type} claims to be {length} bytes long")
    return EventHeader(
        timestamp=timestamp,
        type=event_type,
        server_id=server_id,
        length=length,
        end_position=end_position,
        flags=flags,
    )


def build_event(
    event_type: int,
    body: bytes,
    *,
    server_id: int,
    flags: int = 0,
    timestamp: int = 0,
    end_position: int = 0,
) -> bytes:
    """An event with header and CRC32."""
    length = HEADER_BYTES + len(body) + CHECKSUM_BYTES
    event = HEADER.pack(timestamp, event_type, server_id, length, end_position, flags) + body
    return event + _UINT32.pack(zlib.crc32(event))


def check_checksum(event: bytes | bytearray | memoryview) -> None:
    """Compare the last four bytes of a whole event with the CRC32 of the rest.

    Raises:
        ChecksumMismatch: they differ.
        BinlogError: the event is too short to have a checksum.
    """
    end = len(event) - CHECKSUM_BYTES
    if end < HEADER_BYTES:
        raise BinlogError(f"an event of {len(event)} bytes has no room for a header and a checksum")
    (expected,) = _UINT32.unpack_from(event, end)
    if zlib.crc32(memoryview(event)[:end]) == expected:
        return
    header = parse_header(event)
    if header.type == EventType.FORMAT_DESCRIPTION and header.flags & EventFlag.BINLOG_IN_USE:
        # The checksum is that of the closed file, whose flag is not set (MariaDB sql/log_event_server.cc).
        closed = bytearray(event[:end])
        closed[FLAGS_OFFSET] &= ~EventFlag.BINLOG_IN_USE & 0xFF
        if zlib.crc32(closed) == expected:
            return
    raise ChecksumMismatch(header.type, header.end_position)
