"""The Format Description event: which server wrote the events that follow, and how long their parts are.

A replica reads events by it, and by the server version in it: what an older server's Query event means may
differ. So a replica must be given the format of the server that wrote the events. `BinlogFormat` has
exactly what matters; the rest of the event (times, checksum) belongs to a file.

Body: binlog version u16 = 4, server version 50 bytes, creation time u32, header length u8 = 19, one byte per
event type (the length of its fixed part), checksum algorithm u8. The event has a checksum always.
Source: MariaDB sql/log_event.cc, Format_description_log_event.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.header import CHECKSUM_BYTES, HEADER_BYTES, EventType, build_event

BINLOG_VERSION = 4
SERVER_VERSION_BYTES = 50
_HEAD = struct.Struct(f"<H{SERVER_VERSION_BYTES}sIB")

POST_HEADER_LENGTHS = (
    bytes.fromhex("380d000800120004040404120000e400041a08000000080808020000000a0a0a0000000000000a0a0a")
    + bytes(119)  # types that MariaDB does not use
    + bytes.fromhex("041304000d0808080a0a0a")
)
"""The lengths of the fixed parts in MariaDB 10.6 to 10.11."""


class ChecksumAlgorithm(IntEnum):
    """`binlog_checksum`."""

    NONE = 0
    CRC32 = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BinlogFormat:
    """What a replica must know of the server that wrote the events.

    Attributes:
        server_version: e.g. "10.11.19-MariaDB-log", at most 50 bytes.
        post_header_lengths: the length of the fixed part of each event type, beginning with type 1.
    """

    server_version: str
    post_header_lengths: bytes = POST_HEADER_LENGTHS


def parse_format_description(event: bytes | bytearray | memoryview) -> tuple[BinlogFormat, ChecksumAlgorithm]:
    """Read a Format Description event: the format, and the checksums that the events behind it have.

    Raises:
        BinlogError: it is cut short or of another binlog version.
    """
    start = HEADER_BYTES + _HEAD.size
    end = len(event) - CHECKSUM_BYTES - 1
    if end < start:
        raise BinlogError(f"a Format Description event of {len(event)} bytes is too short")
    version, server_version, _, header_length = _HEAD.unpack_from(event, HEADER_BYTES)
    if version != BINLOG_VERSION or header_length != HEADER_BYTES:
        raise BinlogError(f"binlog version {version} with headers of {header_length} bytes is not supported")
    try:
        checksum = ChecksumAlgorithm(event[end])
    except ValueError:
        raise BinlogError(f"checksum algorithm {event[end]} is not known") from None
    text = server_version.split(b"\0", 1)[0].decode(errors="replace")
    return BinlogFormat(server_version=text, post_header_lengths=bytes(event[start:end])), checksum


def build_format_description(binlog_format: BinlogFormat, *, server_id: int) -> bytes:
    """The event as a dump sends it: no creation time, no position, events with CRC32 follow."""
    head = _HEAD.pack(BINLOG_VERSION, binlog_format.server_version.encode(), 0, HEADER_BYTES)
    body = head + binlog_format.post_header_lengths + bytes((ChecksumAlgorithm.CRC32,))
    return build_event(EventType.FORMAT_DESCRIPTION, body, server_id=server_id)
