"""JSON to bound values and rows to JSON, each way without loss. Pure.

What JSON has no type for travels as text in one fixed form each: decimals as they are, dates and times in
ISO 8601, bytes in base64. Numbers of a request are read as `int` or `Decimal`, never as a float, so that no
digit is lost on the way; see `wolfscale.api.json_body`.
"""

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import msgspec

from wolfscale.api.errors import ApiError
from wolfscale.api.tables import Holds, TableColumn
from wolfscale.mysql.binary import UNSIGNED_FLAG, Parameter, Value
from wolfscale.mysql.constants import BINARY_COLLATION, ColumnType
from wolfscale.mysql.results import Column

Json: TypeAlias = Any
"""A parsed JSON value: None, bool, int, Decimal, str, list or dict."""

_MAX_DECIMAL_EXPONENT = 100
"""MariaDB's decimals have 65 digits; far more would only be written out in full to be refused."""
_MIN_INTEGER = -(1 << 63)
_MAX_INTEGER = (1 << 64) - 1

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_DATETIME = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}", re.ASCII)
_ZONED = re.compile(rf"(?P<local>{_DATETIME.pattern})(?P<zone>Z|[+-][0-9]{{2}}:[0-9]{{2}})", re.ASCII)
_TIME = re.compile(r"-?[0-9]{2,3}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", re.ASCII)

_encode_document = msgspec.json.Encoder(decimal_format="number").encode


class ValueRefused(ApiError):
    """A value does not fit its column or place; the text says what would, without naming the place."""


def json_type(value: Json) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int():
            return "an integer"
        case Decimal() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


# ---------------------------------------------------------------------- JSON to bound values


def to_parameter(column: TableColumn, value: Json) -> Parameter:
    """A JSON value as it is bound for a column.

    Raises:
        ValueRefused: the column holds something else.
    """
    if value is None:
        return None
    convert, wanted = _TO_PARAMETER[column.holds]
    converted = convert(value)
    if converted is None:
        raise ValueRefused(f"{column.type} takes {wanted}, not {_shown(value)}")
    return converted


def free_parameter(value: Json) -> Parameter:
    """A JSON value for a placeholder of a query, where no column says what it is.

    Bytes are written as `{"base64": "..."}`.

    Raises:
        ValueRefused: an array, another object, or a text that is no Unicode.
    """
    match value:
        case None:
            return None
        case bool():
            return int(value)
        case int():
            return value if _MIN_INTEGER <= value <= _MAX_INTEGER else Decimal(value)
        case Decimal():
            decimal = _to_decimal(value)
            if decimal is None:
                raise ValueRefused("a number this large cannot be bound: send it as a string")
            return decimal
        case str():
            text = _to_text(value)
            if text is None:
                raise ValueRefused("a string must be Unicode: it holds half of a surrogate pair")
            return text
        case {"base64": str(text)} if len(value) == 1:
            data = _to_bytes(text)
            if data is None:
                raise ValueRefused("base64 takes standard base64 with its padding")
            return data
    raise ValueRefused(
        f"a placeholder takes null, a truth value, a number, a string or an object with base64, "
        f"not {json_type(value)}"
    )


def _shown(value: Json) -> str:
    if isinstance(value, str):
        return "this string"
    return json_type(value)


def _to_integer(value: Json) -> int | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and _MIN_INTEGER <= value <= _MAX_INTEGER else None


def _to_bits(value: Json) -> int | None:
    number = _to_integer(value)
    return number if number is not None and number >= 0 else None


def _to_decimal(value: Json) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            return None
        value = Decimal(value)
    if isinstance(value, int):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    exponent = value.as_tuple().exponent
    small = isinstance(exponent, int) and -_MAX_DECIMAL_EXPONENT <= exponent <= _MAX_DECIMAL_EXPONENT
    return value if small and value.adjusted() <= _MAX_DECIMAL_EXPONENT else None


def _to_double(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, InvalidOperation):
        return None
    return number if math.isfinite(number) else None


def _to_single(value: Json) -> float | None:
    """The nearest single-precision number, so that a comparison finds what was stored."""
    number = _to_double(value)
    if number is None:
        return None
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return None


def _to_text(value: Json) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _to_bytes(value: Json) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def _matching(pattern: re.Pattern[str]) -> Callable[[Json], str | None]:
    def convert(value: Json) -> str | None:
        return value if isinstance(value, str) and pattern.fullmatch(value) else None

    return convert


def _to_timestamp(value: Json) -> str | None:
    """As `_DATETIME`, in UTC; a zone behind it is reckoned with."""
    if not isinstance(value, str):
        return None
    if _DATETIME.fullmatch(value):
        return value
    zoned = _ZONED.fullmatch(value)
    if zoned is None:
        return None
    if zoned["zone"] == "Z":
        return zoned["local"]
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def _to_year(value: Json) -> int | None:
    number = _to_integer(value)
    return number if number is not None and not isinstance(value, bool) else None


def _to_document(value: Json) -> str | None:
    try:
        return _encode_document(value).decode()
    except (UnicodeEncodeError, msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None


_TO_PARAMETER: dict[Holds, tuple[Callable[[Json], Parameter], str]] = {
    Holds.INTEGER: (_to_integer, "an integer of at most 64 bits"),
    Holds.BITS: (_to_bits, "an integer from 0, or a truth value"),
    Holds.DECIMAL: (_to_decimal, "a number, or one in a string"),
    Holds.SINGLE: (_to_single, "a number within its range"),
    Holds.DOUBLE: (_to_double, "a number within its range"),
    Holds.TEXT: (_to_text, "a string of Unicode"),
    Holds.BINARY: (_to_bytes, "standard base64 in a string"),
    Holds.DATE: (_matching(_DATE), 'a string such as "2024-12-31"'),
    Holds.DATETIME: (_matching(_DATETIME), 'a string such as "2024-12-31T23:59:59.5", without a zone'),
    Holds.TIMESTAMP: (_to_timestamp, 'a string such as "2024-12-31T23:59:59Z" (UTC unless it has a zone)'),
    Holds.TIME: (_matching(_TIME), 'a string such as "23:59:59.5"'),
    Holds.YEAR: (_to_year, "a year as an integer"),
    Holds.JSON: (_to_document, "a JSON value without half surrogate pairs"),
}


# ---------------------------------------------------------------------- rows to JSON

_BLOBS = frozenset({ColumnType.TINY_BLOB, ColumnType.MEDIUM_BLOB, ColumnType.LONG_BLOB, ColumnType.BLOB})
_ENUM_FLAG = 0x100
_SET_FLAG = 0x800
_PLAIN_NAMES: dict[int, str] = {
    ColumnType.TINY: "tinyint",
    ColumnType.SHORT: "smallint",
    ColumnType.INT24: "mediumint",
    ColumnType.LONG: "int",
    ColumnType.LONGLONG: "bigint",
    ColumnType.FLOAT: "float",
    ColumnType.DOUBLE: "double",
    ColumnType.DECIMAL: "decimal",
    ColumnType.NEWDECIMAL: "decimal",
    ColumnType.BIT: "bit",
    ColumnType.DATE: "date",
    ColumnType.NEWDATE: "date",
    ColumnType.DATETIME: "datetime",
    ColumnType.TIMESTAMP: "timestamp",
    ColumnType.TIME: "time",
    ColumnType.YEAR: "year",
    ColumnType.NULL: "null",
    ColumnType.GEOMETRY: "geometry",
}
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_ENCODINGS = {
    "float": "number",
    "double": "number",
    "decimal": "decimal",
    "bit": "integer",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "timestamp",
    "time": "time",
    "geometry": "base64",
    "blob": "base64",
    "binary": "base64",
    "varbinary": "base64",
    "json": "json",
    "null": "null",
}


def type_name(column: Column) -> str:
    """The type of a result's column, e.g. `bigint unsigned`, `varchar`, `json`."""
    extended = _extended_name(column)
    if extended:
        return extended
    plain = _PLAIN_NAMES.get(column.type)
    if plain is not None:
        unsigned = plain in _INTEGERS and plain != "year" and column.flags & UNSIGNED_FLAG
        return f"{plain} unsigned" if unsigned else plain
    binary = column.collation == BINARY_COLLATION
    if column.flags & _ENUM_FLAG or column.type == ColumnType.ENUM:
        return "enum"
    if column.flags & _SET_FLAG or column.type == ColumnType.SET:
        return "set"
    if column.type in _BLOBS:
        return "blob" if binary else "text"
    if column.type == ColumnType.STRING:
        return "binary" if binary else "char"
    return "varbinary" if binary else "varchar"


def encoding(column: Column, *, integers_as_text: bool = False) -> str:
    """How a column's values stand in JSON: `integer`, `number`, `decimal`, `text`, `base64`, ..."""
    name = type_name(column).removesuffix(" unsigned")
    if column.type == ColumnType.GEOMETRY:
        return "base64"
    if name in _INTEGERS or name == "bit":
        return "integer in a string" if integers_as_text else "integer"
    return _ENCODINGS.get(name, "text")


def _extended_name(column: Column) -> str:
    """The name in MariaDB's extended metadata, of a type (0) or a format (1)."""
    data = column.extended or b""
    if len(data) > 2 and len(data) == 2 + data[1]:
        return data[2:].decode(errors="replace")
    return ""


def from_value(column: Column, value: Value, *, integers_as_text: bool = False) -> Json:
    """A row's value as it goes into the JSON of an answer, for msgspec's encoder."""
    if value is None:
        return None
    how = encoding(column)
    if how == "integer":
        number = value if isinstance(value, int) else int.from_bytes(_bytes(value), "big")
        return str(number) if integers_as_text else number
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return _iso(how, value)
    if how == "base64":
        return base64.b64encode(value).decode("ascii")
    text = value.decode(errors="replace")
    if how == "json":
        return _raw_document(text)
    return text


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def _iso(how: str, text: str) -> str:
    match how:
        case "datetime":
            return text.replace(" ", "T")
        case "timestamp":
            return text.replace(" ", "T") + "Z"
        case _:
            return text


def _raw_document(text: str) -> Json:
    """The document as it is, every digit of it; a text that is none after all stays a text."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return msgspec.Raw(text.encode())


def _refuse_constant(text: str) -> None:
    raise ValueError(text)
