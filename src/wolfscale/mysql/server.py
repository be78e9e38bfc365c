"""The server's side of a log-in, for those who answer clients themselves."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from wolfscale.mysql.auth import new_salt, proof_from_answer
from wolfscale.mysql.constants import NATIVE_PASSWORD, UTF8MB4_GENERAL_CI, Capability, Status
from wolfscale.mysql.errors import ER_HANDSHAKE_ERROR, RemoteProtocolError
from wolfscale.mysql.framing import DEFAULT_MAX_PAYLOAD_BYTES
from wolfscale.mysql.handshake import (
    Greeting,
    build_auth_switch,
    build_greeting,
    is_tls_request,
    parse_handshake_response,
)
from wolfscale.mysql.results import Ok, build_error, build_ok
from wolfscale.mysql.transport import PacketStream

ER_ACCESS_DENIED = 1045

LOG_IN_PAYLOAD_BYTES = 1 << 17
"""The longest packet taken from a client that has not proved who it is: attributes and all."""

SERVER_CAPABILITIES = int(
    Capability.MYSQL
    | Capability.FOUND_ROWS
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.IGNORE_SPACE
    | Capability.PROTOCOL_41
    | Capability.INTERACTIVE
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.DEPRECATE_EOF
)
"""What a server can announce that answers only with what `wolfscale.mysql.results` builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """A client that has proved who it is.

    Attributes:
        capabilities: those that both sides have.
        sha1_password: what opens further connections as that user; None for an account without a password.
        attributes: what the client says about itself.
    """

    user: bytes
    database: bytes
    capabilities: int
    collation: int
    sha1_password: bytes | None
    attributes: Mapping[bytes, bytes]


async def accept_log_in(
    packets: PacketStream,
    *,
    double_hashes: Callable[[bytes], Awaitable[Sequence[bytes]]],
    server_version: str,
    connection_id: int,
    capabilities: int = SERVER_CAPABILITIES,
    tls: ssl.SSLContext | None = None,
) -> LoggedIn:
    """Greet a client, check its password, and answer OK.

    A client that answers by another plugin is asked to switch to mysql_native_password. The caller bounds the
    time that all this may take, and closes the stream when this raises.

    Args:
        packets: a stream on which nothing was sent or read yet.
        double_hashes: SHA1(SHA1(password)) of each account of a user name; b"" stands for an account that
            has no password; nothing for a name that does not exist.
        server_version: as the client is to see it; MariaDB's own greets with "5.5.5-" in front.
        connection_id: what the client is to know the connection by.
        capabilities: what we announce; SSL is added with `tls`.
        tls: offer TLS with this context.

    Raises:
        RemoteProtocolError: refused, and the client was told: 1043 for a bad handshake, 1045 for a wrong
            password.
        ConnectionLost: the client went away.
    """
    if tls is not None:
        capabilities |= Capability.SSL
    packets.max_payload_bytes = LOG_IN_PAYLOAD_BYTES
    salt = new_salt()
    greeting = Greeting(
        server_version=server_version,
        connection_id=connection_id,
        salt=salt,
        capabilities=capabilities,
        collation=UTF8MB4_GENERAL_CI,
        status=int(Status.AUTOCOMMIT),
    )
    try:
        await packets.write(build_greeting(greeting), sequence=0)
        payload = await packets.read()
        if is_tls_request(payload):
            if tls is None:
                raise RemoteProtocolError(
                    "bad handshake: TLS was not offered", errno=ER_HANDSHAKE_ERROR, sqlstate="08S01"
                )
            await packets.start_tls(tls, server_side=True)
            payload = await packets.read()
        response = parse_handshake_response(payload)
        answer = response.answer
        if response.capabilities & Capability.PLUGIN_AUTH and response.plugin != NATIVE_PASSWORD.encode():
            await packets.write(build_auth_switch(NATIVE_PASSWORD, salt))
            answer = await packets.read()
        sha1_password = _proof(answer, salt, await double_hashes(response.user), response.user)
    except RemoteProtocolError as error:
        await packets.write(build_error(error.errno, error.sqlstate, str(error)))
        raise
    shared = response.capabilities & capabilities
    await packets.write(build_ok(Ok(), shared))
    packets.max_payload_bytes = DEFAULT_MAX_PAYLOAD_BYTES
    return LoggedIn(
        user=response.user,
        database=response.database,
        capabilities=shared,
        collation=response.collation,
        sha1_password=sha1_password,
        attributes=response.attributes,
    )


def _proof(answer: bytes, salt: bytes, double_hashes: Sequence[bytes], user: bytes) -> bytes | None:
    answer = answer.rstrip(b"\0") if len(answer) == 1 else answer  # some clients answer "none" with a NUL
    for double_hash in double_hashes:
        if not double_hash and not answer:
            return None
        proof = proof_from_answer(answer, salt, double_hash)
        if proof is not None:
            return proof
    using = "YES" if answer else "NO"
    raise RemoteProtocolError(
        f"Access denied for user '{user.decode(errors='replace')}' (using password: {using})",
        errno=ER_ACCESS_DENIED,
        sqlstate="28000",
    )
