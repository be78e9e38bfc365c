"""The few events whose body matters here, parsed and built.

Bodies are what stands between header and checksum. Source: MariaDB sql/log_event.h and
sql/log_event.cc of 10.11.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import CHECKSUM_BYTES, HEADER_BYTES, EventFlag, EventType, build_event

MAX_STATEMENT_BYTES = 64 * 1024
"""How much of a statement's text is kept."""

_ROTATE = struct.Struct("<Q")
_GTID = struct.Struct("<QIB")
_GTID_LIST_ENTRY = struct.Struct("<IIQ")
_QUERY = struct.Struct("<IIBHH")
_UINT32 = struct.Struct("<I")
_GTID_LIST_COUNT_MASK = 0x0FFFFFFF
_COMPRESSED_HEADER = 0x80
_COMPRESSED_LENGTH_MASK = 0x07


class GroupFlag(IntFlag):
    """`flags2` of a Gtid event: what kind of group begins."""

    STANDALONE = 0x01
    """One statement without BEGIN and COMMIT."""
    GROUP_COMMIT_ID = 0x02
    TRANSACTIONAL = 0x04
    """All its changes are in engines that can roll back."""
    ALLOW_PARALLEL = 0x08
    WAITED = 0x10
    DDL = 0x20
    PREPARED_XA = 0x40
    COMPLETED_XA = 0x80


NOT_PLAIN_FLAGS = GroupFlag.STANDALONE | GroupFlag.DDL | GroupFlag.PREPARED_XA | GroupFlag.COMPLETED_XA
"""A group with any of these is no plain transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GtidEvent:
    """The event that begins a group.

    Attributes:
        gtid: the group's id.
        flags2: `GroupFlag` bits.
    """

    gtid: Gtid
    flags2: int


def parse_gtid_event(event: bytes | bytearray | memoryview, server_id: int) -> GtidEvent:
    """Read a Gtid event.

    Args:
        event: at least header and the first 13 bytes of the body.
        server_id: the header's.

    Raises:
        BinlogError: it is cut short.
    """
    if len(event) < HEADER_BYTES + _GTID.size:
        raise BinlogError(f"a Gtid event of {len(event)} bytes is too short")
    sequence, domain, flags2 = _GTID.unpack_from(event, HEADER_BYTES)
    return GtidEvent(gtid=Gtid(domain=domain, server_id=server_id, sequence=sequence), flags2=flags2)


def parse_rotate(event: bytes | bytearray | memoryview, *, checksum: bool = True) -> str:
    """The file that a Rotate event names."""
    end = len(event) - (CHECKSUM_BYTES if checksum else 0)
    start = HEADER_BYTES + _ROTATE.size
    if end < start:
        raise BinlogError(f"a Rotate event of {len(event)} bytes is too short")
    return bytes(event[start:end]).decode(errors="surrogateescape")


def build_rotate(file: str, *, server_id: int, position: int = 4) -> bytes:
    """The artificial Rotate event with which a dump begins: it names the file that follows."""
    body = _ROTATE.pack(position) + file.encode(errors="surrogateescape")
    return build_event(EventType.ROTATE, body, server_id=server_id, flags=EventFlag.ARTIFICIAL)


def build_heartbeat(file: str, *, server_id: int, end_position: int) -> bytes:
    """A heartbeat; it names the file and position that the replica has been sent so far."""
    return build_event(
        EventType.HEARTBEAT,
        file.encode(errors="surrogateescape"),
        server_id=server_id,
        end_position=end_position,
    )


def build_gtid_list(position: Sequence[Gtid], *, server_id: int) -> bytes:
    """An artificial Gtid_list event: the position from which a dump goes on."""
    body = _UINT32.pack(len(position)) + b"".join(
        _GTID_LIST_ENTRY.pack(gtid.domain, gtid.server_id, gtid.sequence) for gtid in position
    )
    return build_event(EventType.GTID_LIST, body, server_id=server_id, flags=EventFlag.ARTIFICIAL)


def parse_gtid_list(event: bytes | bytearray | memoryview, *, checksum: bool = True) -> tuple[Gtid, ...]:
    """The position in a Gtid_list event."""
    end = len(event) - (CHECKSUM_BYTES if checksum else 0)
    if end < HEADER_BYTES + _UINT32.size:
        raise BinlogError(f"a Gtid_list event of {len(event)} bytes is too short")
    count = _UINT32.unpack_from(event, HEADER_BYTES)[0] & _GTID_LIST_COUNT_MASK
    start = HEADER_BYTES + _UINT32.size
    if count * _GTID_LIST_ENTRY.size > end - start:
        raise BinlogError(f"a Gtid_list event of {len(event)} bytes claims {count} entries")
    entries = (
        _GTID_LIST_ENTRY.unpack_from(event, start + number * _GTID_LIST_ENTRY.size) for number in range(count)
    )
    return tuple(
        Gtid(domain=domain, server_id=server_id, sequence=sequence) for domain, server_id, sequence in entries
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement as a Query event carries it.

    Attributes:
        database: the default database; empty for none.
        sql: the text, its first `MAX_STATEMENT_BYTES` bytes; characters that are not UTF-8 are replaced.
    """

    database: str
    sql: str


def parse_query(event: bytes | bytearray | memoryview, *, end: int, compressed: bool = False) -> Statement:
    """Read the default database and the text of a Query event.

    Args:
        event: the event, or its beginning where it is long.
        end: where the text ends in `event`: before the checksum, or the last byte there is.
        compressed: it is a compressed Query event, whose text is zlib's.

    Raises:
        BinlogError: the lengths in it do not fit.
    """
    database, start = _query_parts(event, end)
    text = bytes(event[start:end])
    if compressed:
        text = _decompressed(text)
    return Statement(
        database=database.decode(errors="replace"), sql=text[:MAX_STATEMENT_BYTES].decode(errors="replace")
    )


def query_text(event: bytes | bytearray | memoryview, end: int) -> bytes:
    """The text of a Query event that is not compressed, as bytes."""
    return bytes(event[_query_parts(event, end)[1] : end])


def _query_parts(event: bytes | bytearray | memoryview, end: int) -> tuple[bytes, int]:
    """The default database, and where the text begins."""
    if end < HEADER_BYTES + _QUERY.size:
        raise BinlogError(f"a Query event of {len(event)} bytes is too short")
    _, _, database_length, _, variables_length = _QUERY.unpack_from(event, HEADER_BYTES)
    start = HEADER_BYTES + _QUERY.size + variables_length
    if start + database_length + 1 > end:
        raise BinlogError(f"a Query event of {len(event)} bytes is shorter than the lengths in it")
    return bytes(event[start : start + database_length]), start + database_length + 1


def _decompressed(text: bytes) -> bytes:
    """The beginning of a compressed text.

    Layout: one byte 0x80 | algorithm << 4 | bytes of the length, the length (big-endian), zlib's stream.
    """
    if not text or not text[0] & _COMPRESSED_HEADER:
        raise BinlogError("a compressed Query event has no compression header")
    start = 1 + (text[0] & _COMPRESSED_LENGTH_MASK)
    try:
        return zlib.decompressobj().decompress(text[start:], MAX_STATEMENT_BYTES)
    except zlib.error as error:
        raise BinlogError(f"a compressed Query event cannot be read: {error}") from error
