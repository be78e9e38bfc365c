"""What servers answer: OK, ERR, EOF, column definitions and rows in text, built and parsed.

With CLIENT_DEPRECATE_EOF a result set ends in an OK packet whose first byte is 0xFE, and no EOF follows the
column definitions. The info text of an OK packet has a length, also without CLIENT_SESSION_TRACK, where
MySQL's manual says that it runs to the packet's end: MariaDB and MySQL write one (net_send_ok), and to PHP's
mysqlnd an OK packet without one is broken. With CLIENT_SESSION_TRACK the session's changes may follow.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes, lenenc_int
from wolfscale.mysql.constants import UTF8MB3_GENERAL_CI, Capability, ColumnType, Status
from wolfscale.mysql.errors import RemoteProtocolError, ServerError
from wolfscale.mysql.session_track import SessionChanges, parse_session_changes

_SESSION_STATE_CHANGED = int(Status.SESSION_STATE_CHANGED)
_SESSION_TRACK = int(Capability.SESSION_TRACK)
_STATUS_WARNINGS = struct.Struct("<HH")
_COLUMN_TAIL = struct.Struct("<BHIBHBH")

OK_HEADER = 0x00
EOF_HEADER = 0xFE
ERROR_HEADER = 0xFF
PROGRESS_ERRNO = 0xFFFF
"""An error packet with this number is MariaDB's progress report, not an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok:
    """An OK packet, or the OK packet that ends a result set where EOF is deprecated.

    Attributes:
        info: the human-readable text, e.g. b"Rows matched: 1  Changed: 1  Warnings: 0".
        session_data: the session's changes as sent, empty when none came.
        header: 0x00, or 0xFE at the end of a result set.
    """

    affected_rows: int = 0
    last_insert_id: int = 0
    status: int = int(Status.AUTOCOMMIT)
    warnings: int = 0
    info: bytes = b""
    session_data: bytes = b""
    header: int = OK_HEADER

    @property
    def session_changes(self) -> SessionChanges:
        """The session's changes, parsed."""
        return parse_session_changes(self.session_data)


def parse_ok(payload: bytes, capabilities: int) -> Ok:
    """Read an OK packet that was sent under these capabilities.

    Raises:
        RemoteProtocolError: it is cut short, or no OK packet.
    """
    buffer = PacketBuffer(payload)
    header = buffer.uint8()
    if header not in (OK_HEADER, EOF_HEADER):
        raise RemoteProtocolError(f"0x{header:02x} starts no OK packet")
    affected_rows = buffer.lenenc_int()
    last_insert_id = buffer.lenenc_int()
    status = buffer.uint16()
    warnings = buffer.uint16()
    info = session_data = b""
    if buffer.remaining:
        info = buffer.lenenc_bytes()
        if capabilities & _SESSION_TRACK and status & _SESSION_STATE_CHANGED and buffer.remaining:
            session_data = buffer.lenenc_bytes()
    return Ok(
        affected_rows=affected_rows,
        last_insert_id=last_insert_id,
        status=status,
        warnings=warnings,
        info=info,
        session_data=session_data,
        header=header,
    )


def build_ok(ok: Ok, capabilities: int) -> bytes:
    """An OK packet's payload for a peer with these capabilities.

    For a peer without CLIENT_SESSION_TRACK the changes and SERVER_SESSION_STATE_CHANGED are left out.
    """
    session_data = ok.session_data if capabilities & _SESSION_TRACK else b""
    status = ok.status & ~_SESSION_STATE_CHANGED
    if session_data:
        status |= _SESSION_STATE_CHANGED
    parts = [
        bytes((ok.header,)),
        lenenc_int(ok.affected_rows),
        lenenc_int(ok.last_insert_id),
        _STATUS_WARNINGS.pack(status, ok.warnings),
    ]
    if ok.info or session_data:
        parts.append(lenenc_bytes(ok.info))
        if session_data:
            parts.append(lenenc_bytes(session_data))
    return b"".join(parts)


def rewrite_ok(payload: bytes, received_with: int, sent_with: int) -> bytes:
    """Rebuild an OK packet received under some capabilities for a peer with others.

    Only CLIENT_SESSION_TRACK matters to an OK packet; the payload is returned as it is where both agree.
    """
    if not (received_with ^ sent_with) & _SESSION_TRACK:
        return payload
    return build_ok(parse_ok(payload, received_with), sent_with)


def parse_error(payload: bytes) -> ServerError:
    """Read an ERR packet, with the SQLSTATE or, as before log-in, without it.

    Raises:
        RemoteProtocolError: it is cut short, or no ERR packet.
    """
    buffer = PacketBuffer(payload)
    if buffer.uint8() != ERROR_HEADER:
        raise RemoteProtocolError("not an error packet")
    errno = buffer.uint16()
    sqlstate = "HY000"
    if buffer.peek() == 0x23 and buffer.remaining >= 6:
        buffer.take(1)
        sqlstate = buffer.take(5).decode("ascii", errors="replace")
    return ServerError(errno, sqlstate, buffer.rest().decode(errors="replace"))


def build_error(errno: int, sqlstate: str, message: str) -> bytes:
    """An ERR packet's payload."""
    state = sqlstate.encode("ascii", errors="replace")[:5].ljust(5, b"0")
    return b"\xff" + struct.pack("<H", errno) + b"#" + state + message.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Eof:
    """An EOF packet."""

    warnings: int = 0
    status: int = int(Status.AUTOCOMMIT)


def parse_eof(payload: bytes) -> Eof:
    """Read an EOF packet of five bytes.

    Raises:
        RemoteProtocolError: it is cut short, or no EOF packet.
    """
    buffer = PacketBuffer(payload)
    if buffer.uint8() != EOF_HEADER:
        raise RemoteProtocolError("not an EOF packet")
    return Eof(warnings=buffer.uint16(), status=buffer.uint16())


def build_eof(eof: Eof) -> bytes:
    """An EOF packet's payload."""
    return b"\xfe" + _STATUS_WARNINGS.pack(eof.warnings, eof.status)


def build_result_end(eof: Eof, capabilities: int) -> bytes:
    """What ends the rows: an EOF packet, or an OK packet where EOF is deprecated."""
    if capabilities & Capability.DEPRECATE_EOF:
        return build_ok(Ok(status=eof.status, warnings=eof.warnings, header=EOF_HEADER), capabilities)
    return build_eof(eof)


def parse_result_end(payload: bytes, capabilities: int) -> Ok:
    """Read the packet behind the last row, of either kind, as an OK.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    if capabilities & Capability.DEPRECATE_EOF:
        return parse_ok(payload, capabilities)
    eof = parse_eof(payload)
    return Ok(status=eof.status, warnings=eof.warnings, header=EOF_HEADER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column definition.

    Attributes:
        length: the widest value in bytes.
        flags: NOT NULL, key and sign flags (1 = NOT NULL).
        extended: MariaDB's extended metadata as sent (only where both sides have that capability).
    """

    name: bytes
    original_name: bytes = b""
    schema: bytes = b""
    table: bytes = b""
    original_table: bytes = b""
    type: int = int(ColumnType.VAR_STRING)
    collation: int = UTF8MB3_GENERAL_CI
    length: int = 1024
    flags: int = 0
    decimals: int = 0
    extended: bytes | None = None


def parse_column(payload: bytes, capabilities: int) -> Column:
    """Read a column definition.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    buffer = PacketBuffer(payload)
    buffer.lenenc_bytes()  # the catalog, always "def"
    schema = buffer.lenenc_bytes()
    table = buffer.lenenc_bytes()
    original_table = buffer.lenenc_bytes()
    name = buffer.lenenc_bytes()
    original_name = buffer.lenenc_bytes()
    extended = None
    if not capabilities & Capability.MYSQL and capabilities & Capability.MARIADB_EXTENDED_METADATA:
        extended = buffer.lenenc_bytes()
    if buffer.lenenc_int() < 12:
        raise RemoteProtocolError("malformed column definition")
    collation = buffer.uint16()
    length = buffer.uint32()
    return Column(
        name=name,
        original_name=original_name,
        schema=schema,
        table=table,
        original_table=original_table,
        extended=extended,
        collation=collation,
        length=length,
        type=buffer.uint8(),
        flags=buffer.uint16(),
        decimals=buffer.uint8(),
    )


def build_column(column: Column) -> bytes:
    """A column definition's payload; extended metadata only where the column has it (even if empty)."""
    return b"".join(
        (
            b"\x03def",
            lenenc_bytes(column.schema),
            lenenc_bytes(column.table),
            lenenc_bytes(column.original_table),
            lenenc_bytes(column.name),
            lenenc_bytes(column.original_name),
            lenenc_bytes(column.extended) if column.extended is not None else b"",
            _COLUMN_TAIL.pack(
                12, column.collation, column.length, column.type, column.flags, column.decimals, 0
            ),
        )
    )


def parse_text_row(payload: bytes, columns: int) -> tuple[bytes | None, ...]:
    """Read a row of the text protocol; None is NULL.

    Raises:
        RemoteProtocolError: it has fewer values or trailing bytes.
    """
    buffer = PacketBuffer(payload)
    row = tuple(buffer.lenenc_bytes_or_null() for _ in range(columns))
    if buffer.remaining:
        raise RemoteProtocolError(f"{buffer.remaining} bytes behind the last value of a row")
    return row


def build_text_row(values: Sequence[bytes | None]) -> bytes:
    """A row's payload; may be longer than one packet (the framing splits it)."""
    return b"".join(b"\xfb" if value is None else lenenc_bytes(value) for value in values)


def build_text_result(
    columns: Sequence[Column],
    rows: Sequence[Sequence[bytes | None]],
    capabilities: int,
    *,
    status: int = int(Status.AUTOCOMMIT),
) -> list[bytes]:
    """The payloads of a whole text result set, in order."""
    count = lenenc_int(len(columns))
    if not capabilities & Capability.MYSQL and capabilities & Capability.MARIADB_CACHE_METADATA:
        count += b"\x01"  # the definitions follow
    extended = not capabilities & Capability.MYSQL and capabilities & Capability.MARIADB_EXTENDED_METADATA
    payloads = [count]
    for column in columns:
        metadata = column.extended or b"" if extended else None
        payloads.append(build_column(replace(column, extended=metadata)))
    if not capabilities & Capability.DEPRECATE_EOF:
        payloads.append(build_eof(Eof(status=status)))
    payloads.extend(build_text_row(row) for row in rows)
    payloads.append(build_result_end(Eof(status=status), capabilities))
    return payloads
