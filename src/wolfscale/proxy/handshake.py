"""A client's log-in: answered by MariaDB itself, watched by the proxy.

The greeting and all that follows is relayed between the client and a real server, so that accounts, hosts,
locks and error numbers are MariaDB's own. TLS is between client and proxy. The proxy takes away what it
cannot carry (compression), asks the server for session tracking, and keeps the proof: with the stored hash it
gives SHA1(password), which opens the session's other connections.

The server beside the node answers. Where the account's plugin proves one challenge only, the challenge has to
be the leader's, and the whole session is the leader's with it.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.handshake import (
    Greeting,
    HandshakeResponse,
    build_greeting,
    build_handshake_response,
    is_tls_request,
    parse_greeting,
    parse_handshake_response,
)
from wolfscale.mysql.results import build_error, parse_ok, rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.accounts import Account, Proof, Proven
from wolfscale.proxy.backend import RECEIVE_BYTES, BackendConnection, Backends, Credentials, begin_tls
from wolfscale.proxy.client_tls import ClientTls, InsecureTransport, is_secure, secure
from wolfscale.proxy.dialogue import (
    LeaderWanted,
    LogInRefused,
    authenticate,
    find_accounts,
    server_word,
    verify,
)
from wolfscale.proxy.errors import BackendUnavailable, ProxyError

ER_ACCESS_DENIED = 1045
ER_HANDSHAKE_ERROR = 1043
MAX_LOG_IN_BYTES = 1 << 17
APPLY_SECONDS = 1.0
"""How long a log-in waits for the MariaDB beside the node to apply what is committed."""
"""What a client may send before it is logged in, in one packet."""

_NO_PLUGIN = b"wolfscale"

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


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that has been connected to for a log-in."""

    packets: PacketStream
    leader: bool
    term: int
    greeting: Greeting


async def relay_log_in(
    client: PacketStream,
    backends: Backends,
    proxy_header: bytes,
    tls: ClientTls | None = None,
    session_id: int | None = None,
) -> LoggedIn:
    """Log a client in.

    Args:
        client: a fresh connection; nothing has been sent.
        backends: where the servers are.
        proxy_header: the PROXY header with the client's address.
        tls: what the client is offered; None: nothing.
        session_id: what the client is told as its connection's id; None: the server's own.

    Raises:
        LogInRefused: the client has been told.
        ProxyError: to be told to the client, who waits for a greeting or for the end of its log-in.
        ConnectionLost: the client or the server went away.
        RemoteProtocolError: the client sent nonsense; to be answered with its errno.
    """
    client.max_payload_bytes = MAX_LOG_IN_BYTES
    stream, leader, term = await _open(backends, proxy_header)
    packets = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
    try:
        try:
            greeting = parse_greeting(await server_word(packets))
        except ServerError as error:
            await client.write(build_error(error.errno, error.sqlstate, error.message), sequence=0)
            raise LogInRefused from error
        offered = greeting.capabilities & ~NOT_RELAYED
        shown = greeting if session_id is None else replace(greeting, connection_id=session_id)
        response = await _greet(client, shown, offered, tls)
        refuse_node_account(backends, response.user)
        shared = response.capabilities & (offered | Capability.MYSQL | Capability.CONNECT_WITH_DB)
        asked = _with_capabilities(response, shared | Capability.SESSION_TRACK)
        encrypted = is_secure(client)
        accounts: Sequence[Account] | None = None
        tls_account, flag = False, 0
        if encrypted and greeting.capabilities & Capability.SSL:
            # MariaDB must know that the client came by TLS where the account asks for it.
            accounts = await find_accounts(backends, response.user)
            tls_account = any(account.tls for account in accounts)
            flag = await begin_tls(packets, greeting, asked) if tls_account else 0
        # Each side counts its own packets, so that the client may be one ahead. A server that turns the
        # client's address away has said so by now, and reads no more.
        with contextlib.suppress(ConnectionLost):
            answer = _with_capabilities(asked, asked.capabilities | flag)
            await packets.write(build_handshake_response(answer))
        proof = Proof(greeting.salt, response.answer)
        if response.plugin:
            proof.plugin = response.plugin.decode(errors="replace")
        server = _Server(packets, leader, term, greeting)
        try:
            ok = await authenticate(client, packets, proof, secure=encrypted, final=leader)
        except LeaderWanted as wanted:
            moved, first = await _ask_leader(backends, proxy_header, asked, tls=tls_account), None
            if moved is not None:
                await packets.aclose_forcefully()
                server, packets = moved, moved.packets
            else:
                first = wanted.payload
            ok = await authenticate(client, packets, proof, secure=encrypted, final=True, first=first)
        connection = BackendConnection(
            packets,
            capabilities=asked.capabilities,
            status=parse_ok(ok, asked.capabilities).status,
            connection_id=server.greeting.connection_id,
            term=server.term,
            leader=server.leader,
            server_version=server.greeting.server_version,
        )
        try:
            if accounts is None:
                accounts = await find_accounts(backends, response.user)
            proven = await verify(connection, accounts, response.user, proof)
            await connection.setup()
        except ServerError as error:
            raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error
        credentials = Credentials(
            response=asked,
            proxy_header=proxy_header,
            client_capabilities=int(shared),
            sha1_password=proven.sha1_password,
            clear_password=proven.clear_password,
            reopens=proven.reopens,
            tls=tls_account,
            leader_only=leader_only(proven, proof, connection),
        )
        await client.write(rewrite_ok(ok, asked.capabilities, shared))
    except BaseException:
        await packets.aclose_forcefully()
        raise
    return LoggedIn(
        connection=connection,
        credentials=credentials,
        database=response.database if response.capabilities & Capability.CONNECT_WITH_DB else b"",
    )


def refuse_node_account(backends: Backends, user: bytes) -> None:
    """The node's own account is for the node.

    Raises:
        ProxyError: it is asked for.
    """
    account = backends.views.current.node_account
    if account and user.decode(errors="replace") == account:
        raise ProxyError(
            ER_ACCESS_DENIED,
            "28000",
            f"Access denied for user '{account}': it is the node's own account, used on its socket only",
            fatal=True,
        )


def leader_only(proven: Proven, proof: Proof, connection: BackendConnection) -> str:
    """Why a session that has just logged in runs on the leader alone; empty: it does not."""
    if proven.reopens or not connection.leader:
        return ""
    return f"the log-in by {proof.plugin} holds for one connection"


async def _ask_leader(
    backends: Backends, proxy_header: bytes, asked: HandshakeResponse, *, tls: bool
) -> _Server | None:
    """Begin the client's log-in at the leader's MariaDB; None: there is none that can be reached.

    Raises:
        ProxyError: it refuses the client before any log-in.
        ConnectionLost: it is gone.
    """
    view = backends.views.current
    if not view.writable or view.is_leader:
        return None
    try:
        stream = await backends.open_leader(proxy_header)
    except OSError:
        return None
    packets = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
    try:
        greeting = parse_greeting(await server_word(packets))
        flag = await begin_tls(packets, greeting, asked) if tls else 0
        # A plugin that nobody has: what the client has said was to another challenge than this server's.
        again = replace(asked, answer=b"", plugin=_NO_PLUGIN, capabilities=asked.capabilities | flag)
        await packets.write(build_handshake_response(again))
    except ServerError as error:
        await packets.aclose_forcefully()
        raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error
    except BaseException:
        await packets.aclose_forcefully()
        raise
    return _Server(packets, True, view.term, greeting)


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
