import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.buffer import lenenc_bytes, lenenc_int
from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError, ServerError
from wolfscale.mysql.handshake import (
    Greeting,
    HandshakeResponse,
    build_auth_switch,
    build_greeting,
    build_handshake_response,
    build_tls_request,
    is_tls_request,
    parse_auth_switch,
    parse_greeting,
    parse_handshake_response,
)

# The first packet of MariaDB 10.11.19 (Debian 12), `--log-bin`, connection 5, taken off its unix socket.
RECORDED_GREETING = bytes.fromhex(
    "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275312d6c6f6700060000002b7a4b455a73"
    "542b00fef7080200ff81150000000000001d000000752f277437537a3122525a4e006d7973716c5f6e61746976655f70"
    "617373776f726400"
)
# PyMySQL 1.1's answer to it: user "app", password "secret", database "demo".
RECORDED_RESPONSE = bytes.fromhex(
    "0da23a00ffffff002d00000000000000000000000000000000000000000000006170700014d728e419e2dba0e2f49601"
    "594ad26a4c9b9980b464656d6f006d7973716c5f6e61746976655f70617373776f726400360c5f636c69656e745f6e61"
    "6d650770796d7973716c0f5f636c69656e745f76657273696f6e05312e322e34045f706964053132363632"
)

BASE = int(Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH)
no_nul = st.binary(max_size=30).filter(lambda value: b"\0" not in value)


def test_recorded_greeting_is_read_and_built_again() -> None:
    greeting = parse_greeting(RECORDED_GREETING)
    assert greeting.server_version == "5.5.5-10.11.19-MariaDB-0+deb12u1-log"
    assert greeting.plugin == "mysql_native_password"
    assert len(greeting.salt) == 20
    assert greeting.status == 2
    assert greeting.capabilities & Capability.DEPRECATE_EOF
    assert greeting.capabilities & Capability.SESSION_TRACK
    assert greeting.capabilities & Capability.MARIADB_CACHE_METADATA
    assert not greeting.capabilities & Capability.MYSQL
    assert build_greeting(greeting) == RECORDED_GREETING


def test_recorded_response_of_pymysql_is_read() -> None:
    response = parse_handshake_response(RECORDED_RESPONSE)
    assert response.user == b"app"
    assert response.database == b"demo"
    assert response.plugin == b"mysql_native_password"
    assert len(response.answer) == 20
    assert response.attributes[b"_client_name"] == b"pymysql"
    assert not is_tls_request(RECORDED_RESPONSE)


@given(
    st.builds(
        Greeting,
        server_version=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
        connection_id=st.integers(0, 2**32 - 1),
        salt=st.binary(min_size=20, max_size=20),
        capabilities=st.integers(0, 2**38 - 1).map(
            lambda bits: (bits | BASE) & (0xFFFFFFFF if bits & 1 else 2**38 - 1)
        ),
        collation=st.integers(0, 255),
        status=st.integers(0, 0xFFFF),
        plugin=st.just("mysql_native_password"),
    )
)
def test_greeting_round_trips(greeting: Greeting) -> None:
    assert parse_greeting(build_greeting(greeting)) == greeting


@given(st.data(), st.integers(0, 2**38 - 1))
def test_response_round_trips(data: st.DataObject, bits: int) -> None:
    capabilities = (bits | BASE) & (0xFFFFFFFF if bits & 1 else 2**38 - 1)
    response = HandshakeResponse(
        capabilities=capabilities,
        user=data.draw(no_nul),
        answer=data.draw(st.binary(max_size=40)),
        database=data.draw(no_nul) if capabilities & Capability.CONNECT_WITH_DB else b"",
        plugin=data.draw(no_nul),
        max_packet_bytes=data.draw(st.integers(0, 2**32 - 1)),
        collation=data.draw(st.integers(0, 255)),
        attributes=data.draw(st.dictionaries(st.binary(max_size=9), st.binary(max_size=300), max_size=4))
        if capabilities & Capability.CONNECT_ATTRS
        else {},
    )
    assert parse_handshake_response(build_handshake_response(response)) == response


@given(st.binary(max_size=120))
def test_response_of_any_bytes_is_read_or_refused_as_a_bad_handshake(data: bytes) -> None:
    try:
        parse_handshake_response(data)
    except RemoteProtocolError as error:
        assert (error.errno, error.sqlstate) == (1043, "08S01")  # noqa: PT017


@given(st.integers(0, len(RECORDED_RESPONSE) - 1))
def test_response_cut_anywhere_never_raises_anything_else(length: int) -> None:
    try:
        parse_handshake_response(RECORDED_RESPONSE[:length])
    except RemoteProtocolError as error:
        assert error.errno == 1043  # noqa: PT017


@given(st.binary(max_size=120))
def test_greeting_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError, ServerError):
        parse_greeting(data)


def test_attributes_longer_than_allowed_are_refused() -> None:
    head = build_handshake_response(HandshakeResponse(capabilities=BASE | 1, user=b"u", plugin=b"p"))
    caps = (BASE | 1 | Capability.CONNECT_ATTRS).to_bytes(4, "little")
    many = lenenc_bytes(b"k") + lenenc_bytes(b"v" * 70000)
    with pytest.raises(RemoteProtocolError, match="connection attributes"):
        parse_handshake_response(caps + head[4:] + lenenc_int(len(many)) + many)


def test_response_of_a_client_older_than_4_1_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match=r"4\.1"):
        parse_handshake_response(b"\x05\0\0\0\0user\0password")


def test_refusal_in_place_of_a_greeting_is_the_servers_error() -> None:
    # MariaDB 10.11.19 with max_connections reached.
    with pytest.raises(ServerError) as caught:
        parse_greeting(b"\xff\x10\x04Too many connections")
    assert (caught.value.errno, caught.value.sqlstate) == (1040, "HY000")
    assert caught.value.message == "Too many connections"


def test_tls_request_is_told_from_a_response() -> None:
    assert is_tls_request(build_tls_request(BASE))
    assert len(build_tls_request(BASE)) == 32
    assert not is_tls_request(build_handshake_response(HandshakeResponse(capabilities=BASE, user=b"")))
    assert not is_tls_request(b"")


def test_auth_switch_round_trips() -> None:
    salt = bytes(range(1, 21))
    switch = parse_auth_switch(build_auth_switch("mysql_native_password", salt))
    assert (switch.plugin, switch.salt) == ("mysql_native_password", salt)


def test_auth_switch_to_the_passwords_of_4_0_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match=r"4\.0"):
        parse_auth_switch(b"\xfe")


def test_greeting_with_a_short_salt_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        build_greeting(Greeting(server_version="x", connection_id=1, salt=b"x", capabilities=BASE))
