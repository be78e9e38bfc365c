"""JSON to bound values and rows to JSON: no digit, byte or point in time is lost on the way."""

import base64
import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.api.json_body import parse_json
from wolfscale.api.tables import Holds, TableColumn
from wolfscale.api.values import (
    ValueRefused,
    encoding,
    free_parameter,
    from_value,
    to_parameter,
    type_name,
)
from wolfscale.mysql.binary import UNSIGNED_FLAG, build_parameters
from wolfscale.mysql.constants import BINARY_COLLATION, UTF8MB4_GENERAL_CI, ColumnType
from wolfscale.mysql.results import Column

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
JSON = st.deferred(lambda: DOCUMENTS)


def table_column(holds: Holds) -> TableColumn:
    return TableColumn(name="c", type="sometype", holds=holds)


def column(kind: int, *, text: bool = False, **more: Any) -> Column:
    collation = UTF8MB4_GENERAL_CI if text else BINARY_COLLATION
    return Column(name=b"c", type=kind, collation=collation, **more)


def answered(result_column: Column, value: Any, **options: bool) -> Any:
    """What a client reads."""
    return json.loads(msgspec.json.encode([from_value(result_column, value, **options)]))[0]


@given(st.sampled_from(Holds), JSON)
def test_any_json_for_any_column_is_bound_or_refused(holds: Holds, value: Any) -> None:
    try:
        value = parse_json(json.dumps(value).encode())
    except UnicodeEncodeError:
        return
    try:
        parameter = to_parameter(table_column(holds), value)
    except ValueRefused:
        return
    build_parameters([parameter])


@given(JSON)
def test_any_json_for_a_placeholder_is_bound_or_refused(value: Any) -> None:
    try:
        parameter = free_parameter(parse_json(json.dumps(value).encode()))
    except ValueRefused:
        return
    build_parameters([parameter])


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.booleans())
def test_integer_survives_both_ways(number: int, as_text: bool) -> None:
    sent = parse_json(json.dumps(str(number) if as_text else number).encode())
    assert to_parameter(table_column(Holds.INTEGER), sent) == number
    flags = UNSIGNED_FLAG if number >= 0 else 0
    read = answered(column(ColumnType.LONGLONG, flags=flags), number, integers_as_text=as_text)
    assert read == (str(number) if as_text else number)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60, places=30))
def test_decimal_sent_as_a_number_or_a_string_keeps_every_digit(number: Decimal) -> None:
    for text in (f"{number:f}", f'"{number:f}"'):
        assert to_parameter(table_column(Holds.DECIMAL), parse_json(text.encode())) == number
    assert answered(column(ColumnType.NEWDECIMAL), f"{number:f}".encode()) == f"{number:f}"


@given(st.binary(max_size=100))
def test_bytes_survive_as_base64(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert to_parameter(table_column(Holds.BINARY), text) == data
    assert free_parameter({"base64": text}) == data
    for kind in (ColumnType.BLOB, ColumnType.STRING, ColumnType.VAR_STRING, ColumnType.GEOMETRY):
        assert answered(column(kind), data) == text


@given(st.text(max_size=100))
def test_text_survives(text: str) -> None:
    assert to_parameter(table_column(Holds.TEXT), text) == text
    assert answered(column(ColumnType.VAR_STRING, text=True), text.encode()) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_single_is_bound_as_exactly_what_is_stored(number: float) -> None:
    bound = to_parameter(table_column(Holds.SINGLE), Decimal(repr(number)))
    assert isinstance(bound, float)
    assert struct.unpack("<f", struct.pack("<f", bound))[0] == bound


@given(JSON.filter(lambda value: value is not None))
def test_document_survives_both_ways(value: Any) -> None:
    bound = to_parameter(table_column(Holds.JSON), parse_json(json.dumps(value).encode()))
    assert isinstance(bound, str)
    assert json.loads(bound) == value
    assert answered(column(ColumnType.BLOB, text=True, extended=b"\1\4json"), bound.encode()) == value


@pytest.mark.parametrize(
    "text", ["1.10", "12345678901234567890123", "1E+400", "0.1000000000000000055511151231257827"]
)
def test_number_in_a_document_keeps_every_digit(text: str) -> None:
    bound = to_parameter(table_column(Holds.JSON), parse_json(f"[{text}]".encode()))
    assert bound == f"[{text}]"
    raw = msgspec.json.encode(
        from_value(column(ColumnType.BLOB, text=True, extended=b"\1\4json"), f"[{text}]".encode())
    )
    assert raw == f"[{text}]".encode()


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_timestamp_with_a_zone_is_the_same_moment(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    bound = to_parameter(table_column(Holds.TIMESTAMP), moment.isoformat())
    assert isinstance(bound, str)
    assert datetime.fromisoformat(bound).replace(tzinfo=UTC) == moment


@pytest.mark.parametrize(
    ("holds", "value", "bound"),
    [
        (Holds.INTEGER, True, 1),
        (Holds.INTEGER, "-7", -7),
        (Holds.BITS, False, 0),
        (Holds.DATE, "0000-00-00", "0000-00-00"),
        (Holds.DATETIME, "2024-01-02T03:04:05", "2024-01-02T03:04:05"),
        (Holds.DATETIME, "2024-01-02 03:04:05.123456", "2024-01-02 03:04:05.123456"),
        (Holds.TIMESTAMP, "2024-01-02T03:04:05Z", "2024-01-02T03:04:05"),
        (Holds.TIMESTAMP, "2024-01-02T03:04:05.5+02:00", "2024-01-02 01:04:05.500000"),
        (Holds.TIME, "-838:59:59", "-838:59:59"),
        (Holds.YEAR, 2024, 2024),
        (Holds.JSON, "text", '"text"'),
        (Holds.JSON, False, "false"),
        *((holds, None, None) for holds in Holds),
    ],
)
def test_value_that_fits_its_column_is_bound(holds: Holds, value: Any, bound: Any) -> None:
    assert to_parameter(table_column(holds), value) == bound


@pytest.mark.parametrize(
    ("holds", "value"),
    [
        (Holds.INTEGER, Decimal("1.5")),
        (Holds.INTEGER, "1.5"),
        (Holds.INTEGER, "١"),
        (Holds.INTEGER, 1 << 64),
        (Holds.INTEGER, []),
        (Holds.BITS, -1),
        (Holds.DECIMAL, True),
        (Holds.DECIMAL, "1,5"),
        (Holds.DECIMAL, "NaN"),
        (Holds.DECIMAL, Decimal("1E+9999")),
        (Holds.DOUBLE, "1.5"),
        (Holds.DOUBLE, Decimal("1E+999")),
        (Holds.SINGLE, Decimal("1E+39")),
        (Holds.TEXT, 0),
        (Holds.TEXT, "\ud800"),
        (Holds.BINARY, "!"),
        (Holds.BINARY, "AAE"),
        (Holds.BINARY, "ü"),
        (Holds.DATE, "2024-1-2"),
        (Holds.DATE, "2024-01-02T00:00:00"),
        (Holds.DATETIME, "2024-01-02T03:04:05Z"),
        (Holds.TIMESTAMP, "2024-01-02T03:04:05+99:00"),
        (Holds.TIME, "1"),
        (Holds.YEAR, "x"),
        (Holds.JSON, {"a": "\ud800"}),
    ],
)
def test_value_that_does_not_fit_its_column_is_refused(holds: Holds, value: Any) -> None:
    with pytest.raises(ValueRefused):
        to_parameter(table_column(holds), value)


@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, {"base64": "!"}, {"base64": "AA==", "b": 1}, "\udfff", Decimal("1E+999")]
)
def test_value_that_no_placeholder_takes_is_refused(value: Any) -> None:
    with pytest.raises(ValueRefused):
        free_parameter(value)


@pytest.mark.parametrize(
    ("described", "name", "how"),
    [
        (column(ColumnType.TINY), "tinyint", "integer"),
        (column(ColumnType.LONGLONG, flags=UNSIGNED_FLAG), "bigint unsigned", "integer"),
        (column(ColumnType.YEAR, flags=UNSIGNED_FLAG), "year", "integer"),
        (column(ColumnType.BIT), "bit", "integer"),
        (column(ColumnType.DOUBLE), "double", "number"),
        (column(ColumnType.NEWDECIMAL), "decimal", "decimal"),
        (column(ColumnType.BLOB), "blob", "base64"),
        (column(ColumnType.BLOB, text=True), "text", "text"),
        (column(ColumnType.STRING), "binary", "base64"),
        (column(ColumnType.STRING, text=True), "char", "text"),
        (column(ColumnType.STRING, text=True, flags=0x100), "enum", "text"),
        (column(ColumnType.STRING, text=True, flags=0x800), "set", "text"),
        (column(ColumnType.STRING, text=True, extended=b"\0\4uuid"), "uuid", "text"),
        (column(ColumnType.GEOMETRY, extended=b"\0\5point"), "point", "base64"),
        (column(ColumnType.VAR_STRING, text=True, extended=b"\1\4json"), "json", "json"),
        (column(ColumnType.VAR_STRING, text=True, extended=b"\1"), "varchar", "text"),
        (column(ColumnType.TIMESTAMP), "timestamp", "timestamp"),
        (column(ColumnType.NULL), "null", "null"),
    ],
)
def test_column_of_a_result_is_described(described: Column, name: str, how: str) -> None:
    assert (type_name(described), encoding(described)) == (name, how)


@pytest.mark.parametrize(
    ("described", "value", "shown"),
    [
        (column(ColumnType.DATETIME), "2024-01-02 03:04:05.5", "2024-01-02T03:04:05.5"),
        (column(ColumnType.TIMESTAMP), "2024-01-02 03:04:05", "2024-01-02T03:04:05Z"),
        (column(ColumnType.DATE), "2024-01-02", "2024-01-02"),
        (column(ColumnType.TIME), "-30:01:02", "-30:01:02"),
        (column(ColumnType.BIT), b"\x02\x01", 513),
        (column(ColumnType.VAR_STRING, text=True, extended=b"\1\4json"), b"no json", "no json"),
        (column(ColumnType.VAR_STRING, text=True, extended=b"\1\4json"), b"NaN", "NaN"),
        (column(ColumnType.VAR_STRING, text=True), None, None),
    ],
)
def test_value_of_a_row_stands_in_its_form(described: Column, value: Any, shown: Any) -> None:
    assert answered(described, value) == shown
