"""A client's log-in: answered by MariaDB itself, watched by the proxy.

The greeting and all that follows is relayed between the client and a real server, so that accounts, hosts,
locks and error numbers are MariaDB's own. TLS and compression are between client and proxy. The proxy takes
away what it cannot carry, asks the server for session tracking, and keeps the proof: with the stored hash it
gives SHA1(password), which opens the session's other connections.

The server beside the node answers. Where the account's plugin proves one challenge only, the challenge has to
be the leader's, and the whole session is the leader's with it.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from wolfscale.mysql.constants import NATIVE_PASSWORD, Capability
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
from wolfscale.proxy.backend import RECEIVE_BYTES, BackendConnection, Backends, Credentials
from wolfscale.proxy.client_compression import begin_compression
from wolfscale.proxy.client_tls import ClientTls, InsecureTransport, is_secure, secure
from wolfscale.proxy.dialogue import (
    LeaderWanted,
    LogInRefused,
    authenticate,
    find_accounts,
    prove,
    server_word,
)
from wolfscale.proxy.errors import BackendUnavailable, ProxyError
from wolfscale.proxy.server_tls import begin_tls

ER_ACCESS_DENIED = 1045
ER_HANDSHAKE_ERROR = 1043
MAX_LOG_IN_BYTES = 1 << 17
"""What a client may send before it is logged in, in one packet."""
BEHIND_SECONDS = 1.0
"""For the MariaDB beside the node to apply what is committed, before the leader's answers a log-in."""

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
"""Capabilities that change the bytes in ways that the proxy does not carry between client and server.

Of these, clients are offered TLS and compression, which end at the proxy.
"""


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
    log_in = _LogIn(client, backends, proxy_header)
    try:
        await log_in.greet(tls, session_id)
        await log_in.answer_server()
        ok, proof = await log_in.authenticate()
        return await log_in.finish(ok, proof)
    except BaseException:
        await log_in.aclose()
        raise


class _LogIn:
    """One log-in, step by step."""

    def __init__(self, client: PacketStream, backends: Backends, proxy_header: bytes) -> None:
        self._client = client
        self._backends = backends
        self._proxy_header = proxy_header
        self._packets: PacketStream | None = None
        self._accounts: Sequence[Account] | None = None
        self._tls_account = False

    async def aclose(self) -> None:
        """It came to nothing: close the connection to the server."""
        if self._packets is not None:
            await self._packets.aclose_forcefully()

    async def greet(self, tls: ClientTls | None, session_id: int | None) -> None:
        """Connect to a server, and let the client answer its greeting."""
        client = self._client
        client.max_payload_bytes = MAX_LOG_IN_BYTES
        while True:
            stream, leader, term = await _open(self._backends, self._proxy_header)
            self._packets = packets = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
            try:
                greeting = parse_greeting(await server_word(packets))
                break
            except ServerError as error:
                await client.write(build_error(error.errno, error.sqlstate, error.message), sequence=0)
                raise LogInRefused from error
            except ConnectionLost:
                if leader or not self._backends.avoid():
                    raise
                await packets.aclose_forcefully()
        self._server = _Server(packets, leader, term, greeting)
        self._challenge = greeting.salt
        offered = greeting.capabilities & ~NOT_RELAYED
        shown = greeting if session_id is None else replace(greeting, connection_id=session_id)
        self._response = response = await _greet(client, shown, offered | Capability.COMPRESS, tls)
        self._compresses = bool(response.capabilities & Capability.COMPRESS)
        refuse_node_account(self._backends, response.user)
        self._shared = response.capabilities & (offered | Capability.MYSQL | Capability.CONNECT_WITH_DB)
        self._asked = _with_capabilities(response, self._shared | Capability.SESSION_TRACK)

    async def answer_server(self) -> None:
        """Answer the server's greeting with the client's words."""
        server, asked, flag = self._server, self._asked, 0
        if is_secure(self._client) and server.greeting.capabilities & Capability.SSL:
            # MariaDB must know that the client came by TLS where the account asks for it.
            self._accounts = await find_accounts(self._backends, asked.user)
            self._tls_account = any(account.tls for account in self._accounts)
            flag = await begin_tls(server.packets, server.greeting, asked) if self._tls_account else 0
        # Each side counts its own packets, so that the client may be one ahead. A server that turns the
        # client's address away has said so by now, and reads no more.
        with contextlib.suppress(ConnectionLost):
            answer = _with_capabilities(asked, asked.capabilities | flag)
            await server.packets.write(build_handshake_response(answer))

    async def authenticate(self) -> tuple[bytes, Proof]:
        """Have the dialogue, with the leader's server if it has to be; the OK, and what the client said."""
        client, server, response = self._client, self._server, self._response
        proof = Proof(server.greeting.salt, response.answer)
        if response.plugin:
            proof.plugin = response.plugin.decode(errors="replace")
        encrypted, first = is_secure(client), None
        try:
            ok = await authenticate(client, server.packets, proof, secure=encrypted, final=server.leader)
        except LeaderWanted as wanted:
            moved = await _ask_leader(self._backends, self._proxy_header, self._asked, tls=self._tls_account)
            if moved is None:
                first = wanted.payload
            else:
                await server.packets.aclose_forcefully()
                self._server = server = moved
                self._packets = moved.packets
            ok = await authenticate(client, server.packets, proof, secure=encrypted, final=True, first=first)
        return ok, proof

    async def finish(self, ok: bytes, proof: Proof) -> LoggedIn:
        """Find out what was proved, make the connection the session's, and let the client in."""
        server, asked, response = self._server, self._asked, self._response
        connection = BackendConnection(
            server.packets,
            capabilities=asked.capabilities,
            status=parse_ok(ok, asked.capabilities).status,
            connection_id=server.greeting.connection_id,
            term=server.term,
            leader=server.leader,
            server_version=server.greeting.server_version,
        )
        try:
            proven = await prove(self._backends, connection, response.user, proof, self._accounts)
            await connection.setup()
        except ServerError as error:
            raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error
        credentials = Credentials(
            response=asked,
            proxy_header=self._proxy_header,
            client_capabilities=int(self._shared),
            sha1_password=proven.sha1_password,
            clear_password=proven.clear_password,
            reopens=proven.reopens,
            tls=self._tls_account,
            leader_only=leader_only(proven, proof, connection),
            challenge=proof.salt if proof.plugin == NATIVE_PASSWORD else self._challenge,
        )
        await self._client.write(rewrite_ok(ok, asked.capabilities, self._shared))
        if self._compresses:
            begin_compression(self._client)
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

    The one beside the node first applies what is committed now, within a bound: an account, a grant or a
    database that was acknowledged before the client came must be there. If it is not in time, the leader's
    answers.
    """
    backends.choose()
    views = backends.views
    committed = views.current.committed_sequence
    with trio.move_on_after(BEHIND_SECONDS):
        await views.changes.wait_until(
            lambda: views.current.applied_sequence >= committed or not views.current.database_ready
        )
    behind = views.current.applied_sequence < committed
    while True:
        backends.choose()
        views = backends.views
        view = views.current
        if view.database_ready and not (behind and view.writable and not view.is_leader):
            try:
                stream = await backends.open_local(proxy_header)
            except OSError:
                if backends.avoid():
                    continue
            else:
                return stream, view.is_leader and view.writable, view.term
        if view.writable and not view.is_leader:
            try:
                stream = await backends.open_leader(proxy_header)
            except OSError as error:
                if behind:
                    behind = False
                    continue
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
