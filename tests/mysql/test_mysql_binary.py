"""The binary protocol: rows as the server sends them, parameters as it reads them."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binary import (
    UNSIGNED_FLAG,
    Value,
    build_parameters,
    parse_binary_row,
    parse_prepared,
)
from wolfscale.mysql.buffer import lenenc_bytes
from wolfscale.mysql.constants import ColumnType
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.results import Column

SIZES = {ColumnType.TINY: 1, ColumnType.SHORT: 2, ColumnType.LONG: 4, ColumnType.LONGLONG: 8}


def column(kind: int, *, flags: int = 0, decimals: int = 0) -> Column:
    return Column(name=b"c", type=kind, flags=flags, decimals=decimals)


def row(*values: bytes | None) -> bytes:
    nulls = bytearray((len(values) + 9) // 8)
    for number, value in enumerate(values, start=2):
        if value is None:
            nulls[number // 8] |= 1 << number % 8
    return b"\0" + bytes(nulls) + b"".join(value for value in values if value is not None)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=300)), max_size=40))
def test_row_of_strings_gives_them_back_with_every_null(values: list[bytes | None]) -> None:
    payload = row(*(None if value is None else lenenc_bytes(value) for value in values))
    columns = [column(ColumnType.VAR_STRING)] * len(values)
    assert parse_binary_row(payload, columns) == tuple(values)


@given(st.sampled_from(sorted(SIZES)), st.booleans(), st.integers(0, (1 << 64) - 1))
def test_row_of_an_integer_of_each_size_keeps_its_sign(kind: int, unsigned: bool, bits: int) -> None:
    size = SIZES[ColumnType(kind)]
    packed = (bits & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    flags = UNSIGNED_FLAG if unsigned else 0
    [value] = parse_binary_row(row(packed), [column(kind, flags=flags)])
    assert value == int.from_bytes(packed, "little", signed=not unsigned)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_row_of_a_float_gives_a_number_that_is_the_same_float(value: float) -> None:
    packed = struct.pack("<f", value)
    [read] = parse_binary_row(row(packed), [column(ColumnType.FLOAT)])
    assert isinstance(read, float)
    assert struct.pack("<f", read) == packed


@pytest.mark.parametrize("text", [3.14, 0.1, 16777216.0, 1e-10, 3.4028235e38])
def test_row_of_a_float_gives_its_shortest_form(text: float) -> None:
    assert parse_binary_row(row(struct.pack("<f", text)), [column(ColumnType.FLOAT)]) == (text,)


@pytest.mark.parametrize(
    ("kind", "decimals", "data", "text"),
    [
        (ColumnType.DATE, 0, b"\x04\xe8\x07\x01\x02", "2024-01-02"),
        (ColumnType.DATE, 0, b"\x00", "0000-00-00"),
        (ColumnType.DATETIME, 0, b"\x00", "0000-00-00 00:00:00"),
        (ColumnType.DATETIME, 3, b"\x04\xe8\x07\x01\x02", "2024-01-02 00:00:00.000"),
        (ColumnType.TIMESTAMP, 0, b"\x07\xe8\x07\x01\x02\x03\x04\x05", "2024-01-02 03:04:05"),
        (
            ColumnType.DATETIME,
            6,
            b"\x0b\xe8\x07\x01\x02\x03\x04\x05\x40\xe2\x01\x00",
            "2024-01-02 03:04:05.123456",
        ),
        (ColumnType.TIME, 0, b"\x00", "00:00:00"),
        (ColumnType.TIME, 2, b"\x0c\x01\x01\x00\x00\x00\x06\x01\x02\x20\xa1\x07\x00", "-30:01:02.50"),
        (ColumnType.TIME, 39, b"\x08\x00\x22\x00\x00\x00\x16\x3b\x3b", "838:59:59.000000"),
    ],
)
def test_row_of_a_date_or_time_gives_the_servers_text(
    kind: int, decimals: int, data: bytes, text: str
) -> None:
    assert parse_binary_row(row(data), [column(kind, decimals=decimals)]) == (text,)


@given(st.binary(max_size=40), st.lists(st.sampled_from(sorted(ColumnType)), max_size=6))
def test_row_of_any_bytes_is_read_or_refused(payload: bytes, kinds: list[int]) -> None:
    try:
        values: tuple[Value, ...] = parse_binary_row(payload, [column(kind) for kind in kinds])
    except RemoteProtocolError:
        return
    assert len(values) == len(kinds)


@given(st.binary(max_size=16))
def test_answer_to_prepare_of_any_bytes_is_read_or_refused(payload: bytes) -> None:
    try:
        prepared = parse_prepared(payload)
    except RemoteProtocolError:
        return
    assert payload[0] == 0
    assert prepared.parameters == int.from_bytes(payload[7:9], "little")


def test_parameters_of_every_type_stand_as_the_protocol_wants() -> None:
    built = build_parameters([None, 1, -1, (1 << 64) - 1, 1.5, "ü", b"\xff", Decimal("1E+2")])
    assert built == (
        b"\x01\x01"
        b"\x06\x00\x08\x00\x08\x00\x08\x80\x05\x00\xfd\x00\xfb\x00\xf6\x00"
        + (1).to_bytes(8, "little")
        + b"\xff" * 8
        + b"\xff" * 8
        + struct.pack("<d", 1.5)
        + b"\x02\xc3\xbc\x01\xff\x03100"
    )


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, "\ud800"])
def test_parameter_that_cannot_be_bound_is_refused(value: int | str) -> None:
    with pytest.raises(LocalProtocolError):
        build_parameters([value])
