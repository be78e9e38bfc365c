"""mysql-mimic as an independent implementation of the same numbers and packets, and our adapter to it."""

import decimal

import pytest
from mysql_mimic import packets, types
from mysql_mimic.charset import CharacterSet

from wolfscale.mysql import mimic
from wolfscale.mysql.constants import Capability, ColumnType, Command, Status
from wolfscale.mysql.handshake import Greeting, HandshakeResponse, build_greeting, build_handshake_response
from wolfscale.mysql.results import (
    Eof,
    Ok,
    build_eof,
    build_ok,
    parse_column,
    parse_eof,
    parse_text_row,
)

# Where the two call one thing differently: MariaDB gave the first bit another meaning.
RENAMED = {"MYSQL": "LONG_PASSWORD", "MULTI_FACTOR_AUTHENTICATION": "MULTI_FACTOR_AUTHENTICATION"}


def test_capabilities_are_the_same_numbers() -> None:
    theirs = {item.name.removeprefix("CLIENT_"): int(item) for item in types.Capabilities}
    ours = {RENAMED.get(item.name or "", item.name): int(item) for item in Capability if item < 1 << 32}
    assert ours == theirs


def test_commands_are_the_same_numbers() -> None:
    theirs = {item.name.removeprefix("COM_"): int(item) for item in types.Commands}
    assert {item.name: int(item) for item in Command if item != Command.STMT_BULK_EXECUTE} == theirs


def test_status_flags_are_the_same_numbers() -> None:
    theirs = {
        item.name.removeprefix("SERVER_").removeprefix("STATUS_"): int(item) for item in types.ServerStatus
    }
    assert {item.name: int(item) for item in Status} == theirs


def test_column_types_are_the_same_numbers() -> None:
    theirs = {item.name: int(item) for item in types.ColumnType}
    assert {item.name: int(item) for item in ColumnType}.items() <= theirs.items()


@pytest.mark.parametrize("header", [0x00, 0xFE])
def test_ok_is_the_same_bytes(header: int) -> None:
    made = packets.make_ok(
        types.Capabilities(int(Capability.PROTOCOL_41)),
        types.ServerStatus(2),
        eof=header == 0xFE,
        affected_rows=70_000,
        last_insert_id=300,
        warnings=4,
    )
    ours = Ok(affected_rows=70_000, last_insert_id=300, warnings=4, status=2, header=header)
    assert build_ok(ours, 0) == made


def test_eof_is_the_same_bytes() -> None:
    made = packets.make_eof(
        types.Capabilities(int(Capability.PROTOCOL_41)), types.ServerStatus(2), warnings=3
    )
    assert build_eof(Eof(warnings=3, status=2)) == made


def test_greeting_is_the_same_bytes() -> None:
    capabilities = int(Capability.PLUGIN_AUTH | Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | 1)
    salt = bytes(range(1, 21))
    made = packets.make_handshake_v10(
        capabilities=types.Capabilities(capabilities),
        server_charset=CharacterSet.utf8mb4,
        server_version="10.11",
        connection_id=9,
        auth_data=salt + b"\0",
        status_flags=types.ServerStatus(2),
        auth_plugin_name="mysql_native_password",
    )
    ours = Greeting(
        server_version="10.11",
        connection_id=9,
        salt=salt,
        capabilities=capabilities,
        collation=255,
        status=2,
    )
    assert build_greeting(ours) == made


def test_response_is_read_by_the_other_implementation() -> None:
    capabilities = int(
        Capability.PLUGIN_AUTH
        | Capability.PROTOCOL_41
        | Capability.SECURE_CONNECTION
        | Capability.CONNECT_WITH_DB
        | Capability.CONNECT_ATTRS
        | Capability.MYSQL
    )
    payload = build_handshake_response(
        HandshakeResponse(
            capabilities=capabilities,
            user=b"app",
            answer=b"a" * 20,
            database=b"demo",
            attributes={b"k": b"v"},
        )
    )
    read = packets.parse_handshake_response_41(types.Capabilities(capabilities), payload)
    assert (read.username, read.auth_response, read.database) == ("app", b"a" * 20, "demo")
    assert read.connect_attrs == {"k": "v"}


def test_typed_result_is_read_by_our_parsers() -> None:
    payloads = mimic.build_typed_result(
        [mimic.TypedColumn("n", ColumnType.LONGLONG), mimic.TypedColumn("s")], [(5, "five"), (None, "x")], 0
    )
    assert payloads[0] == b"\x02"
    column = parse_column(payloads[1], 0)
    assert (column.name, column.type) == (b"n", ColumnType.LONGLONG)
    assert parse_eof(payloads[3]).status == Status.AUTOCOMMIT
    assert [parse_text_row(row, 2) for row in payloads[4:6]] == [(b"5", b"five"), (None, b"x")]
    assert len(payloads) == 7


def test_typed_result_for_mariadb_clients_has_their_extra_fields() -> None:
    capabilities = int(
        Capability.MARIADB_EXTENDED_METADATA | Capability.MARIADB_CACHE_METADATA | Capability.DEPRECATE_EOF
    )
    payloads = mimic.build_typed_result([mimic.TypedColumn("n", ColumnType.DOUBLE)], [], capabilities)
    assert payloads[0] == b"\x01\x01"
    column = parse_column(payloads[1], capabilities)
    assert (column.name, column.extended, column.type) == (b"n", b"", ColumnType.DOUBLE)
    assert payloads[2][0] == 0xFE


def test_typed_result_in_binary_starts_each_row_with_its_nulls() -> None:
    payloads = mimic.build_typed_result(
        [mimic.TypedColumn("n", ColumnType.LONGLONG), mimic.TypedColumn("d", ColumnType.NEWDECIMAL)],
        [(7, None), (None, decimal.Decimal("1.50"))],
        int(Capability.DEPRECATE_EOF),
        binary=True,
    )
    assert payloads[3] == b"\0\x08\x07\0\0\0\0\0\0\0"
    assert payloads[4] == b"\0\x04\x041.50"


@pytest.mark.parametrize(
    ("collation", "codec"),
    [(8, "cp1252"), (33, "utf-8"), (45, "utf-8"), (63, "iso8859-1"), (2304, "utf-8"), (54, "utf-16-be")],
)
def test_codec_of_a_collation(collation: int, codec: str) -> None:
    assert mimic.codec_of_collation(collation) == codec


def test_codec_of_any_collation_is_one_that_python_has() -> None:
    for collation in range(3000):
        assert "x".encode(mimic.codec_of_collation(collation))
