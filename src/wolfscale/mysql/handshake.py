"""Log-in packets, both sides: greeting, client's response, TLS request, switch of plugin.

Layouts: MariaDB documentation, "Connecting"; sql/sql_acl.cc (send_server_handshake_packet,
parse_client_handshake_packet). What a client sends is hostile until it is logged in: lengths are bounded by
the packet, connection attributes by `MAX_ATTRIBUTES_BYTES`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes, lenenc_int
from wolfscale.mysql.constants import NATIVE_PASSWORD, SALT_BYTES, UTF8MB4_GENERAL_CI, Capability
from wolfscale.mysql.errors import ER_HANDSHAKE_ERROR, LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.results import parse_error

MAX_ATTRIBUTES_BYTES = 1 << 16
"""MariaDB ignores connection attributes longer than this (performance_schema's limit is far lower)."""

PROTOCOL_VERSION = 10
_RESPONSE_HEAD = struct.Struct("<IIB19sI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """The server's first packet.

    Attributes:
        server_version: e.g. "10.11.19-MariaDB-log"; the prefix "5.5.5-" that MariaDB sends is kept.
        connection_id: the server's thread id.
        salt: the challenge, 20 bytes.
        capabilities: all the server's, MariaDB's own included.
        collation: id of the default collation's low byte.
        status: server status flags.
        plugin: the authentication plugin that the challenge is meant for.
    """

    server_version: str
    connection_id: int
    salt: bytes
    capabilities: int
    collation: int = UTF8MB4_GENERAL_CI
    status: int = 2
    plugin: str = NATIVE_PASSWORD


def build_greeting(greeting: Greeting) -> bytes:
    """The greeting's payload (sequence 0)."""
    if len(greeting.salt) != SALT_BYTES:
        raise LocalProtocolError(f"a salt has {SALT_BYTES} bytes, not {len(greeting.salt)}")
    capabilities = greeting.capabilities
    extended = capabilities >> 32 if not capabilities & Capability.MYSQL else 0
    return b"".join(
        (
            bytes((PROTOCOL_VERSION,)),
            greeting.server_version.encode() + b"\0",
            struct.pack("<I", greeting.connection_id & 0xFFFFFFFF),
            greeting.salt[:8] + b"\0",
            struct.pack("<HBH", capabilities & 0xFFFF, greeting.collation & 0xFF, greeting.status),
            struct.pack("<HB", capabilities >> 16 & 0xFFFF, SALT_BYTES + 1),
            bytes(6) + struct.pack("<I", extended),
            greeting.salt[8:] + b"\0",
            greeting.plugin.encode() + b"\0",
        )
    )


def parse_greeting(payload: bytes) -> Greeting:
    """Read a greeting.

    Raises:
        ServerError: the server refused the connection instead (too many connections, host not allowed).
        RemoteProtocolError: the peer is no MariaDB or MySQL server of this protocol.
    """
    buffer = PacketBuffer(payload)
    version = buffer.uint8()
    if version == 0xFF:
        raise parse_error(payload)
    if version != PROTOCOL_VERSION:
        raise RemoteProtocolError(f"the server speaks protocol version {version}, not {PROTOCOL_VERSION}")
    server_version = buffer.null_terminated().decode(errors="replace")
    connection_id = buffer.uint32()
    salt = buffer.take(8)
    buffer.take(1)
    capabilities = buffer.uint16()
    collation = buffer.uint8()
    status = buffer.uint16()
    capabilities |= buffer.uint16() << 16
    buffer.take(1)
    buffer.take(6)
    extended = buffer.uint32()
    if not capabilities & Capability.MYSQL:
        capabilities |= extended << 32
    if not capabilities & Capability.SECURE_CONNECTION:
        raise RemoteProtocolError("the server knows only the log-in of MySQL 4.0")
    salt += buffer.take(SALT_BYTES - 8)
    buffer.take(1)
    plugin = NATIVE_PASSWORD
    if capabilities & Capability.PLUGIN_AUTH:
        plugin = buffer.null_terminated_or_rest().decode(errors="replace")
    return Greeting(
        server_version=server_version,
        connection_id=connection_id,
        salt=salt,
        capabilities=capabilities,
        collation=collation,
        status=status,
        plugin=plugin,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeResponse:
    """A client's answer to the greeting.

    Names are bytes: they are in the client's character set, which only the server needs to know.

    Attributes:
        capabilities: what the client asks for, MariaDB's own included.
        max_packet_bytes: the longest packet that the client takes.
        collation: id of its collation (one byte here; MariaDB ignores higher ids at log-in).
        user: account name.
        answer: the plugin's answer to the greeting's challenge; empty means no password.
        database: default schema, empty means none.
        plugin: the plugin that made the answer; empty where the client names none.
        attributes: connection attributes, in the order sent.
    """

    capabilities: int
    user: bytes
    answer: bytes = b""
    database: bytes = b""
    plugin: bytes = NATIVE_PASSWORD.encode()
    max_packet_bytes: int = 1 << 30
    collation: int = UTF8MB4_GENERAL_CI
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)


def build_handshake_response(response: HandshakeResponse) -> bytes:
    """The response's payload.

    Raises:
        LocalProtocolError: a part does not fit what the capabilities say.
    """
    capabilities = response.capabilities
    parts = [_response_head(capabilities, response.max_packet_bytes, response.collation)]
    parts.append(response.user + b"\0")
    if capabilities & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA:
        parts.append(lenenc_bytes(response.answer))
    elif len(response.answer) < 256:
        parts.append(bytes((len(response.answer),)) + response.answer)
    else:
        raise LocalProtocolError("an answer of 256 bytes or more needs PLUGIN_AUTH_LENENC_CLIENT_DATA")
    if capabilities & Capability.CONNECT_WITH_DB:
        parts.append(response.database + b"\0")
    if capabilities & Capability.PLUGIN_AUTH:
        parts.append(response.plugin + b"\0")
    if capabilities & Capability.CONNECT_ATTRS:
        parts.append(build_attributes(response.attributes))
    return b"".join(parts)


def build_tls_request(capabilities: int, max_packet_bytes: int = 1 << 30, collation: int = 45) -> bytes:
    """The short packet after which a client starts TLS."""
    return _response_head(capabilities | Capability.SSL, max_packet_bytes, collation)


def _response_head(capabilities: int, max_packet_bytes: int, collation: int) -> bytes:
    extended = capabilities >> 32 if not capabilities & Capability.MYSQL else 0
    return _RESPONSE_HEAD.pack(
        capabilities & 0xFFFFFFFF, max_packet_bytes, collation & 0xFF, bytes(19), extended
    )


def is_tls_request(payload: bytes) -> bool:
    """Whether a client's first packet asks for TLS rather than to log in."""
    return len(payload) >= 4 and len(payload) <= _RESPONSE_HEAD.size and bool(payload[1] & 0x08)


def parse_handshake_response(payload: bytes) -> HandshakeResponse:
    """Read a client's response.

    Raises:
        RemoteProtocolError: malformed, or a client older than MySQL 4.1 (errno 1043, as MariaDB answers).
    """
    try:
        return _parse_handshake_response(PacketBuffer(payload))
    except RemoteProtocolError as error:
        raise RemoteProtocolError(
            f"bad handshake: {error}", errno=ER_HANDSHAKE_ERROR, sqlstate="08S01"
        ) from error


def _parse_handshake_response(buffer: PacketBuffer) -> HandshakeResponse:
    capabilities = buffer.uint32()
    if not capabilities & Capability.PROTOCOL_41 or not capabilities & Capability.SECURE_CONNECTION:
        raise RemoteProtocolError("the client knows only the protocol before MySQL 4.1")
    max_packet_bytes = buffer.uint32()
    collation = buffer.uint8()
    buffer.take(19)
    extended = buffer.uint32()
    if not capabilities & Capability.MYSQL:
        capabilities |= extended << 32
    user = buffer.null_terminated()
    if capabilities & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA:
        answer = buffer.lenenc_bytes()
    else:
        answer = buffer.take(buffer.uint8())
    # Clients set these bits and then leave the fields out (PyMySQL does for the database), so the end of
    # the packet is the end of the list: MariaDB is as lenient.
    database = plugin = b""
    attributes: dict[bytes, bytes] = {}
    if capabilities & Capability.CONNECT_WITH_DB and buffer.remaining:
        database = buffer.null_terminated_or_rest()
    if capabilities & Capability.PLUGIN_AUTH and buffer.remaining:
        plugin = buffer.null_terminated_or_rest()
    if capabilities & Capability.CONNECT_ATTRS and buffer.remaining:
        attributes = parse_attributes(buffer)
    return HandshakeResponse(
        capabilities=capabilities,
        user=user,
        answer=answer,
        database=database,
        plugin=plugin,
        max_packet_bytes=max_packet_bytes,
        collation=collation,
        attributes=attributes,
    )


def parse_attributes(buffer: PacketBuffer) -> dict[bytes, bytes]:
    """Read connection attributes: a length in bytes, then pairs of strings."""
    length = buffer.lenenc_int()
    if length > MAX_ATTRIBUTES_BYTES:
        raise RemoteProtocolError(f"{length} bytes of connection attributes, at most {MAX_ATTRIBUTES_BYTES}")
    pairs = PacketBuffer(buffer.take(length))
    attributes = {}
    while pairs.remaining:
        name = pairs.lenenc_bytes()
        attributes[name] = pairs.lenenc_bytes()
    return attributes


def build_attributes(attributes: Mapping[bytes, bytes]) -> bytes:
    """Connection attributes with their length in front."""
    pairs = b"".join(lenenc_bytes(name) + lenenc_bytes(value) for name, value in attributes.items())
    return lenenc_int(len(pairs)) + pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSwitch:
    """The server's wish to be answered by another plugin, with that plugin's challenge."""

    plugin: str
    data: bytes

    @property
    def salt(self) -> bytes:
        """The challenge without the NUL byte that ends it."""
        return self.data[:SALT_BYTES]


def build_auth_switch(plugin: str, salt: bytes) -> bytes:
    """A switch request's payload; the client answers with the bare answer."""
    return b"\xfe" + plugin.encode() + b"\0" + salt + b"\0"


def parse_auth_switch(payload: bytes) -> AuthSwitch:
    """Read a switch request.

    Raises:
        RemoteProtocolError: malformed, or the switch to the passwords of MySQL 4.0 (a lone 0xFE).
    """
    buffer = PacketBuffer(payload)
    if buffer.uint8() != 0xFE:
        raise RemoteProtocolError("not an authentication switch request")
    if not buffer.remaining:
        raise RemoteProtocolError("the server asks for a password of MySQL 4.0; give the account a new one")
    plugin = buffer.null_terminated().decode(errors="replace")
    return AuthSwitch(plugin=plugin, data=buffer.rest())
