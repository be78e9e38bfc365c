"""A client's log-in: answered by MariaDB itself, watched by the proxy.

The greeting and all that follows is relayed between the client and a real server, so that accounts, hosts,
locks and error numbers are MariaDB's own. TLS is between client and proxy. The proxy takes away what it
cannot carry (compression), asks the server for session tracking, and keeps the proof: with the stored hash it
gives SHA1(password), which opens the session's other connections.

A log-in that proves no password the proxy knows of is refused even when the server accepts it: the proxy sits
on the server's unix socket, where the plugin unix_socket would take *the proxy's* operating system user for
the client's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from wolfscale.mysql.auth import parse_stored_hash, proof_from_answer
from wolfscale.mysql.constants import NATIVE_PASSWORD, Capability
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.handshake import (
    Greeting,
    HandshakeResponse,
    build_greeting,
    build_handshake_response,
    is_tls_request,
    parse_auth_switch,
    parse_greeting,
    parse_handshake_response,
)
from wolfscale.mysql.results import EOF_HEADER, ERROR_HEADER, OK_HEADER, build_error, parse_ok, rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import RECEIVE_BYTES, BackendConnection, Backends, Credentials
from wolfscale.proxy.client_tls import ClientTls, InsecureTransport, secure
from wolfscale.proxy.errors import BackendUnavailable, ControlLost, ProxyError

ER_ACCESS_DENIED = 1045
ER_HANDSHAKE_ERROR = 1043
ER_NOT_SUPPORTED_AUTH_MODE = 1251
MAX_LOG_IN_BYTES = 1 << 17
APPLY_SECONDS = 1.0
"""How long a log-in waits for the MariaDB beside the node to apply what is committed."""
"""What a client may send before it is logged in, in one packet."""

NOT_RELAYED = int(
    Capability.SSL
    | Capability.COMPRESS
    | Capability.ZSTD_COMPRESSION_ALGORITHM
    | Capability.MARIADB_COM_MULTI
    | Capability.MARIADB_PROGRESS
    | Capability.MARIADB_CACHE_METADATA
    | Capability.OPTIONAL_RESULTSET_METADATA
    | Capability.QUERY_ATTRIBUTES
)
"""Capabilities that change the bytes in ways that the proxy does not carry; not offered to clients."""


class LogInRefused(Exception):
    """The client was answered and must be disconnected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """A session that may begin.

    Attributes:
        connection: to the server that answered the log-in.
        credentials: what opens others.
        database: the schema asked for.
    """

    connection: BackendConnection
    credentials: Credentials
    database: bytes


@dataclass(slots=True)
class Proof:
    """The last challenge and what the client answered to it."""

    salt: bytes
    answer: bytes


async def relay_log_in(
    client: PacketStream, backends: Backends, proxy_header: bytes, tls: ClientTls | None = None
) -> LoggedIn:
    """Log a client in.

    Args:
        client: a fresh connection; nothing has been sent.
        backends: where the servers are.
        proxy_header: the PROXY header with the client's address.
        tls: what the client is offered; None: nothing.

    Raises:
        LogInRefused: the client has been told.
        ProxyError: to be told to the client, who waits for a greeting or for the end of its log-in.
        ConnectionLost: the client or the server went away.
        RemoteProtocolError: the client sent nonsense; to be answered with its errno.
    """
    client.max_payload_bytes = MAX_LOG_IN_BYTES
    stream, leader, term = await _open(backends, proxy_header)
    server = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
    try:
        try:
            greeting = parse_greeting(await server.read())
        except ServerError as error:
            await client.write(build_error(error.errno, error.sqlstate, error.message), sequence=0)
            raise LogInRefused from error
        offered = greeting.capabilities & ~NOT_RELAYED
        response = await _greet(client, greeting, offered, tls)
        account = backends.views.current.node_account
        if account and response.user.decode(errors="replace") == account:
            raise ProxyError(
                ER_ACCESS_DENIED,
                "28000",
                f"Access denied for user '{account}': it is the node's own account, used on its socket only",
                fatal=True,
            )
        shared = response.capabilities & (offered | Capability.MYSQL | Capability.CONNECT_WITH_DB)
        asked = _with_capabilities(response, shared | Capability.SESSION_TRACK)
        # Each side counts its own packets: under TLS the client is one ahead.
        await server.write(build_handshake_response(asked))
        proof = Proof(greeting.salt, response.answer)
        ok = await authenticate(client, server, proof)
        sha1 = await verified_password(backends, response.user, proof)
        connection = BackendConnection(
            server,
            capabilities=asked.capabilities,
            status=parse_ok(ok, asked.capabilities).status,
            connection_id=greeting.connection_id,
            term=term,
            leader=leader,
            server_version=greeting.server_version,
        )
        try:
            await connection.setup()
        except ServerError as error:
            raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error
        await client.write(rewrite_ok(ok, asked.capabilities, shared))
    except BaseException:
        await server.aclose_forcefully()
        raise
    return LoggedIn(
        connection=connection,
        credentials=Credentials(
            response=asked,
            sha1_password=sha1,
            proxy_header=proxy_header,
            client_capabilities=int(shared),
        ),
        database=response.database if response.capabilities & Capability.CONNECT_WITH_DB else b"",
    )


async def _open(backends: Backends, proxy_header: bytes) -> tuple[trio.abc.Stream, bool, int]:
    """The server that answers: beside the node if it can, else the leader's; waits until one does.

    The one beside the node first applies what is committed now, within a bound: an account or a grant that
    was acknowledged before the client came must be there.
    """
    views = backends.views
    committed = views.current.committed_sequence
    with trio.move_on_after(APPLY_SECONDS):
        await views.changes.wait_until(
            lambda: views.current.applied_sequence >= committed or not views.current.database_ready
        )
    while True:
        view = views.current
        if view.database_ready:
            try:
                stream = await backends.open_local(proxy_header)
            except OSError:
                pass
            else:
                return stream, view.is_leader and view.writable, view.term
        if view.writable and not view.is_leader:
            try:
                stream = await backends.open_leader(proxy_header)
            except OSError as error:
                if view is views.current:
                    raise BackendUnavailable(
                        "Neither this node's MariaDB nor the leader's can be reached; try another node"
                    ) from error
            else:
                return stream, True, view.term
        if view is views.current:
            await views.changes.wait()


async def _greet(
    client: PacketStream, greeting: Greeting, offered: int, tls: ClientTls | None
) -> HandshakeResponse:
    """Greet, change to TLS if the client asks for it, and read what it answers."""
    if tls is not None:
        offered |= Capability.SSL
    await client.write(_greeting_for_client(greeting, offered), sequence=0)
    payload = await client.read()
    if is_tls_request(payload):
        if tls is None:
            raise ProxyError(
                ER_HANDSHAKE_ERROR, "08S01", "This proxy does not take TLS; connect without it", fatal=True
            )
        await secure(client, tls)
        payload = await client.read()
    elif tls is not None and tls.required:
        raise InsecureTransport
    return parse_handshake_response(payload)


def _greeting_for_client(greeting: Greeting, offered: int) -> bytes:
    return build_greeting(
        Greeting(
            server_version=greeting.server_version,
            connection_id=greeting.connection_id,
            salt=greeting.salt,
            capabilities=offered,
            collation=greeting.collation,
            status=greeting.status,
            plugin=greeting.plugin,
        )
    )


def _with_capabilities(response: HandshakeResponse, capabilities: int) -> HandshakeResponse:
    return HandshakeResponse(
        capabilities=int(capabilities),
        user=response.user,
        answer=response.answer,
        database=response.database,
        plugin=response.plugin,
        max_packet_bytes=response.max_packet_bytes,
        collation=response.collation,
        attributes=response.attributes,
    )


async def authenticate(client: PacketStream, server: PacketStream, proof: Proof) -> bytes:
    """Relay the dialogue up to the server's OK, which is returned and not sent yet."""
    while True:
        payload = await server.read()
        header = payload[0] if payload else -1
        if header == OK_HEADER:
            return payload
        if header == ERROR_HEADER:
            await client.write(payload)
            raise LogInRefused
        plugin = parse_auth_switch(payload).plugin if header == EOF_HEADER else "another plugin"
        if plugin != NATIVE_PASSWORD:
            raise ProxyError(
                ER_NOT_SUPPORTED_AUTH_MODE,
                "08004",
                f"This account logs in by {plugin}, which the proxy does not support; give it "
                f"{NATIVE_PASSWORD} (ALTER USER ... IDENTIFIED VIA {NATIVE_PASSWORD} USING PASSWORD('...'))",
                fatal=True,
            )
        proof.salt = parse_auth_switch(payload).salt
        await client.write(payload)
        proof.answer = await client.read()
        await server.write(proof.answer)


async def verified_password(backends: Backends, user: bytes, proof: Proof) -> bytes | None:
    """SHA1(password), or None for an account without a password.

    Raises:
        ProxyError: the log-in proves nothing that the proxy can check.
    """
    name = user.decode(errors="replace")
    try:
        hashes = await backends.password_hashes(name)
    except ControlLost as error:
        raise BackendUnavailable(f"The node cannot check the log-in: {error}") from error
    if not proof.answer:
        if "" in hashes:
            return None
    else:
        sha1 = password_from_proof(proof.answer, proof.salt, hashes)
        if sha1 is not None:
            return sha1
    raise ProxyError(
        ER_NOT_SUPPORTED_AUTH_MODE,
        "08004",
        f"The account '{name}' did not log in by {NATIVE_PASSWORD}, and the proxy supports nothing else yet",
        fatal=True,
    )


def password_from_proof(answer: bytes, salt: bytes, hashes: Sequence[str]) -> bytes | None:
    """SHA1(password) if the answer proves it against one of the stored hashes, else None."""
    for text in hashes:
        double = parse_stored_hash(text)
        if double is not None and (sha1 := proof_from_answer(answer, salt, double)) is not None:
            return sha1
    return None
