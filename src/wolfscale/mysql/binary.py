"""The binary protocol of prepared statements: parameters built, rows read.

Values that have a type of their own in the protocol become Python's (`int`, `float`); everything else stays
as the server gave it: `bytes` for strings, blobs and decimals, `str` for dates and times, in the text form
that the server itself would use. Source: MariaDB sql/protocol.cc (Protocol_binary), sql/sql_prepare.cc
(setup_one_conversion_function).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes
from wolfscale.mysql.constants import ColumnType
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.results import Column

Parameter: TypeAlias = int | float | str | bytes | Decimal | None
"""What may be bound: `bytes` as binary, `str` as utf8mb4, `Decimal` exactly."""

Value: TypeAlias = int | float | bytes | str | None
"""What a row holds; see the module."""

UNSIGNED_FLAG = 0x20
"""Of a column definition's flags."""

_UNSIGNED_TYPE = 0x80
_MAX_SIGNED = (1 << 63) - 1
_MIN_SIGNED = -(1 << 63)
_MAX_UNSIGNED = (1 << 64) - 1
_NULL_BITS_BEFORE_ROW = 2
_MAX_FRACTION_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The head of the answer to COM_STMT_PREPARE."""

    statement_id: int
    columns: int
    parameters: int


def parse_prepared(payload: bytes) -> Prepared:
    """Read it.

    Raises:
        RemoteProtocolError: it is cut short, or something else.
    """
    buffer = PacketBuffer(payload)
    if buffer.uint8() != 0:
        raise RemoteProtocolError("this answers no prepared statement")
    statement_id = buffer.uint32()
    columns = buffer.uint16()
    return Prepared(statement_id=statement_id, columns=columns, parameters=buffer.uint16())


def build_parameters(values: Sequence[Parameter]) -> bytes:
    """The part of COM_STMT_EXECUTE behind its head.

    Raises:
        LocalProtocolError: an integer does not fit into 64 bits, or a text is no Unicode.
    """
    if not values:
        return b""
    nulls = bytearray((len(values) + 7) // 8)
    types = bytearray()
    data = []
    for number, value in enumerate(values):
        if value is None:
            nulls[number // 8] |= 1 << number % 8
            types += bytes((ColumnType.NULL, 0))
            continue
        kind, flag, encoded = _encode(value)
        types += bytes((kind, flag))
        data.append(encoded)
    return bytes(nulls) + b"\1" + bytes(types) + b"".join(data)


def _encode(value: int | float | str | bytes | Decimal) -> tuple[int, int, bytes]:
    if isinstance(value, int):
        if _MIN_SIGNED <= value <= _MAX_SIGNED:
            return ColumnType.LONGLONG, 0, value.to_bytes(8, "little", signed=True)
        if value <= _MAX_UNSIGNED and value > 0:
            return ColumnType.LONGLONG, _UNSIGNED_TYPE, value.to_bytes(8, "little")
        raise LocalProtocolError("an integer of more than 64 bits cannot be bound: bind a Decimal")
    if isinstance(value, float):
        return ColumnType.DOUBLE, 0, struct.pack("<d", value)
    if isinstance(value, Decimal):
        return ColumnType.NEWDECIMAL, 0, lenenc_bytes(f"{value:f}".encode())
    if isinstance(value, bytes):
        return ColumnType.LONG_BLOB, 0, lenenc_bytes(value)
    try:
        return ColumnType.VAR_STRING, 0, lenenc_bytes(value.encode())
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"a text cannot be bound: {error.reason} at {error.start}") from error


def parse_binary_row(payload: bytes, columns: Sequence[Column]) -> tuple[Value, ...]:
    """Read a row.

    Raises:
        RemoteProtocolError: it is cut short, has trailing bytes, or is no binary row.
    """
    buffer = PacketBuffer(payload)
    if buffer.uint8() != 0:
        raise RemoteProtocolError("this is no binary row")
    nulls = buffer.take((len(columns) + 7 + _NULL_BITS_BEFORE_ROW) // 8)
    row: list[Value] = []
    for number, column in enumerate(columns, start=_NULL_BITS_BEFORE_ROW):
        if nulls[number // 8] >> number % 8 & 1:
            row.append(None)
        else:
            row.append(_DECODERS.get(column.type, _decode_bytes)(buffer, column))
    if buffer.remaining:
        raise RemoteProtocolError(f"{buffer.remaining} bytes behind the last value of a row")
    return tuple(row)


def _decode_bytes(buffer: PacketBuffer, _column: Column) -> bytes:
    return buffer.lenenc_bytes()


def _integer(size: int) -> Callable[[PacketBuffer, Column], int]:
    def decode(buffer: PacketBuffer, column: Column) -> int:
        return int.from_bytes(buffer.take(size), "little", signed=not column.flags & UNSIGNED_FLAG)

    return decode


def _decode_year(buffer: PacketBuffer, _column: Column) -> int:
    return buffer.uint16()


def _decode_null(_buffer: PacketBuffer, _column: Column) -> None:
    return None


def _decode_float(buffer: PacketBuffer, _column: Column) -> float:
    """The shortest decimal that means this single-precision number, so that 3.14 stays 3.14."""
    packed = buffer.take(4)
    (value,) = struct.unpack("<f", packed)
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == packed:
                return short
        except OverflowError:
            continue
    return float(value)


def _decode_double(buffer: PacketBuffer, _column: Column) -> float:
    return float(struct.unpack("<d", buffer.take(8))[0])


def _fraction(microseconds: int, decimals: int) -> str:
    digits = min(decimals, _MAX_FRACTION_DIGITS)
    return "." + f"{microseconds:06d}"[:digits] if digits else ""


def _decode_date(buffer: PacketBuffer, _column: Column) -> str:
    length = buffer.uint8()
    if not length:
        return "0000-00-00"
    year, month, day = buffer.uint16(), buffer.uint8(), buffer.uint8()
    buffer.take(max(length - 4, 0))
    return f"{year:04d}-{month:02d}-{day:02d}"


def _decode_datetime(buffer: PacketBuffer, column: Column) -> str:
    length = buffer.uint8()
    year = month = day = hour = minute = second = microseconds = 0
    if length:
        year, month, day = buffer.uint16(), buffer.uint8(), buffer.uint8()
    if length > 4:
        hour, minute, second = buffer.uint8(), buffer.uint8(), buffer.uint8()
    if length > 7:
        microseconds = buffer.uint32()
    date = f"{year:04d}-{month:02d}-{day:02d}"
    return f"{date} {hour:02d}:{minute:02d}:{second:02d}{_fraction(microseconds, column.decimals)}"


def _decode_time(buffer: PacketBuffer, column: Column) -> str:
    length = buffer.uint8()
    negative = days = hour = minute = second = microseconds = 0
    if length:
        negative, days = buffer.uint8(), buffer.uint32()
        hour, minute, second = buffer.uint8(), buffer.uint8(), buffer.uint8()
    if length > 8:
        microseconds = buffer.uint32()
    sign = "-" if negative else ""
    clock = f"{days * 24 + hour:02d}:{minute:02d}:{second:02d}"
    return f"{sign}{clock}{_fraction(microseconds, column.decimals)}"


_DECODERS: dict[int, Callable[[PacketBuffer, Column], Value]] = {
    ColumnType.TINY: _integer(1),
    ColumnType.SHORT: _integer(2),
    ColumnType.YEAR: _decode_year,
    ColumnType.LONG: _integer(4),
    ColumnType.INT24: _integer(4),
    ColumnType.LONGLONG: _integer(8),
    ColumnType.FLOAT: _decode_float,
    ColumnType.DOUBLE: _decode_double,
    ColumnType.NULL: _decode_null,
    ColumnType.DATE: _decode_date,
    ColumnType.NEWDATE: _decode_date,
    ColumnType.DATETIME: _decode_datetime,
    ColumnType.TIMESTAMP: _decode_datetime,
    ColumnType.TIME: _decode_time,
}
