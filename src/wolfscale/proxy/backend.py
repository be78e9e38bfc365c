"""A session's connection to one MariaDB server, and where such connections come from."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from wolfscale.mysql.auth import scramble
from wolfscale.mysql.constants import NATIVE_PASSWORD, Capability, Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.handshake import (
    AuthSwitch,
    HandshakeResponse,
    build_handshake_response,
    parse_auth_switch,
    parse_greeting,
)
from wolfscale.mysql.results import (
    EOF_HEADER,
    ERROR_HEADER,
    OK_HEADER,
    Column,
    parse_column,
    parse_error,
    parse_text_row,
)
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.accounts import Account
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.refused import WATCHED_VARIABLES
from wolfscale.proxy.server_tls import begin_tls
from wolfscale.proxy.view import Views
from wolfscale.sockets import NOT_NOW, NonblockingStream

WAIT_TIMEOUT = 28800
"""Seconds; MariaDB's own default of wait_timeout, where a server has not told it."""
MOST_ROWS = 4096
"""Of an answer to the proxy itself; more are read and dropped."""
RECEIVE_BYTES = 1 << 15
"""One receive of a response: most fit, and a buffer of this size costs no trip to the kernel's allocator."""

TRACKED_VARIABLES = "autocommit,character_set_client,character_set_connection,character_set_results,time_zone"
"""MariaDB's own default of session_track_system_variables."""
_WATCHED = ",".join(sorted(name.decode() for name in WATCHED_VARIABLES))
_OURS = f"last_gtid,sql_mode,sql_auto_is_null,wait_timeout,default_storage_engine,storage_engine,{_WATCHED}"

# Setting these to themselves makes the server tell them once, since it tells changes only.
_SETUP = (
    f"SET SESSION session_track_system_variables='{TRACKED_VARIABLES},{_OURS}', "
    "sql_mode=@@sql_mode, character_set_client=@@character_set_client, "
    "sql_auto_is_null=@@sql_auto_is_null, wait_timeout=@@wait_timeout, "
    "default_storage_engine=@@default_storage_engine"
)
KEEP_TRACKING = (
    "SET SESSION session_track_system_variables=IF(@@session_track_system_variables='*','*',"
    f"CONCAT(@@session_track_system_variables,',{_OURS}'))"
)
"""Run behind a client's own SET of that variable."""
_READ_ONLY = ", tx_read_only=1"


class Backends(Protocol):
    """What the proxy needs from the node it belongs to."""

    @property
    def views(self) -> Views:
        """What the cluster looks like."""
        ...

    def choose(self) -> bool:
        """Choose another server for a session's reads if the present one does not serve or is crowded.

        Only a proxy without a MariaDB beside it can: then `views` and everything local are that server's.

        Returns:
            Whether it is another one, so that what is open on the former is of no use.
        """
        ...

    def avoid(self) -> bool:
        """The server for a session's reads has failed: choose another; false: there is none."""
        ...

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the MariaDB beside the node, the PROXY header already sent.

        Raises:
            OSError: it cannot be reached.
        """
        ...

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the leader's MariaDB, which gets the PROXY header first.

        Raises:
            OSError: the leader cannot be reached.
        """
        ...

    async def accounts(self, user: str) -> Sequence[Account]:
        """All accounts that a client of this name may be logged in to: those of the name, and anonymous ones.

        Raises:
            ControlLost: they cannot be read now.
        """
        ...

    async def intent_begin(self, connection_id: int) -> None:
        """Make the leader's intent mark durable before a statement that is no plain DML."""
        ...

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """That statement has ended; `finished` is false when nobody saw its end."""
        ...

    async def members(self) -> Sequence[Mapping[str, str]]:
        """The cluster's members, one row each: column names to text.

        Raises:
            ControlLost: the node is gone.
        """
        ...

    async def read_position(self) -> int:
        """The GTID sequence up to which everything was committed when a majority confirmed the leader.

        Raises:
            ControlLost: nobody confirmed it.
        """
        ...

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        """Give the leader's values of global variables to every node, now and at each later start.

        Args:
            term: in which the leader's MariaDB has taken them.
            names: variables that have got a value.
            defaults: variables that shall be as each server's own configuration says again.
            user: who has set them.

        Raises:
            ControlLost: it is not known that the cluster keeps them.
        """
        ...

    async def settings(self) -> Sequence[Mapping[str, str]]:
        """The global variables that clients have set for the cluster, one row each: column names to text.

        Raises:
            ControlLost: the node cannot tell.
        """
        ...

    async def kill(self, call: KillCall) -> Killed:
        """Kill sessions of the whole cluster.

        Raises:
            ControlLost: it was perhaps not done.
        """
        ...

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Have a MariaDB interrupt what one of this proxy's connections runs; false: it commits, and was not.

        Args:
            connection_id: MariaDB's own.
            leader: it is the leader's MariaDB, not the one beside the node.
            term: in which the connection was opened.
            connection: whether MariaDB ends the connection too.

        Raises:
            ControlLost: it was perhaps not done.
        """
        ...

    async def is_applying_blocked(self) -> bool:
        """Whether the local MariaDB cannot apply the log because a session holds a lock.

        Raises:
            ControlLost: the node cannot tell.
        """
        ...

    async def sessions(self) -> Sequence[Mapping[str, str]]:
        """The sessions of this node's proxies, one row each: column names to text.

        Raises:
            ControlLost: the node cannot tell.
        """
        ...

    async def take_ids(self, count: int) -> list[int]:
        """This many new snowflake ids, 1 to `id_requests.MAX_IDS`, ascending.

        Raises:
            ControlLost: there are none now; says why.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens another connection as the client's user.

    Attributes:
        response: the client's answer at log-in, capabilities already reduced to what the proxy supports.
        sha1_password: SHA1(password); None for an account without one.
        proxy_header: tells the server the client's address.
        client_capabilities: those that hold between client and proxy.
        clear_password: the password, where the client has shown it.
        reopens: whether another connection can be opened with them.
        tls: whether the account is let in under TLS only, so that its connections need it too.
        leader_only: why the session runs on the leader alone; empty: it does not.
        challenge: the newest one of mysql_native_password that the client was sent, 20 bytes.
    """

    response: HandshakeResponse
    sha1_password: bytes | None
    proxy_header: bytes
    client_capabilities: int
    clear_password: bytes | None = None
    reopens: bool = True
    tls: bool = False
    leader_only: str = ""
    challenge: bytes = b""


class BackendConnection:
    """A logged-in connection of one session.

    Attributes:
        packets: the stream.
        tracker: follows its responses; `tracker.status` is the newest status.
        capabilities: those that hold on it.
        connection_id: the server's id of it.
        term: the term in which it was opened.
        leader: whether it is the leader's, so that it takes writes.
        known_entries: the last entry of the session's state that it has been told.
        statement_ids: prepared statements, the client's id to this connection's.
        types_sent: the parameter types that this connection knows, by the client's statement id.
        closed: it broke or was closed.
        variables: the tracked session variables as last told.
        last_gtid: the newest GTID that it told.
        used: when the last command on it began, by the monotonic clock.
        sandboxed: the account's password has expired, and only the leader is of use: there it can be changed.
    """

    def __init__(
        self,
        packets: PacketStream,
        *,
        capabilities: int,
        status: int,
        connection_id: int,
        term: int,
        leader: bool,
        server_version: str,
    ) -> None:
        self.packets = packets
        self.capabilities = capabilities
        self.tracker = ResponseTracker(capabilities, status)
        self.connection_id = connection_id
        self.term = term
        self.leader = leader
        self.server_version = server_version
        self.known_entries = 0
        self.statement_ids: dict[int, int] = {}
        self.types_sent: dict[int, bytes] = {}
        self.closed = False
        self.variables: dict[bytes, bytes] = {}
        self.last_gtid = ""
        self.used = time.monotonic()
        self.sandboxed = False

    @property
    def wait_timeout(self) -> int:
        """The session's, in seconds."""
        return int(self.variables.get(b"wait_timeout", WAIT_TIMEOUT))

    def is_passable(self, known_entries: int) -> bool:
        """Whether it knows the session's state and its socket may be used beside its stream."""
        return (
            not self.closed
            and not self.sandboxed
            and self.known_entries == known_entries
            and isinstance(self.packets.stream, NonblockingStream)
            and not self.packets.buffered_bytes
        )

    def is_alive(self) -> bool:
        """Whether the server has not ended it; to be asked while nothing is under way.

        MariaDB ends what was idle for `wait_timeout` seconds while the session was busy on its other server.
        """
        if not self.closed and isinstance(self.packets.stream, NonblockingStream):
            try:
                self.packets.stream.socket.recv(1)
            except NOT_NOW:
                return True
            except OSError:
                pass
            # Nothing was asked: it says that it closes, and perhaps why.
            self.closed = True
        return not self.closed

    async def setup(self) -> None:
        """Have it track what the proxy needs to know and, beside the leader, refuse changes of data.

        Also needed after COM_RESET_CONNECTION and COM_CHANGE_USER, which undo it.

        Raises:
            ServerError: the server refused, which no account is denied: an unusual server.
            ConnectionLost: it is gone.
        """
        sql = _SETUP if self.leader else _SETUP + _READ_ONLY
        await self.run((bytes((Command.QUERY,)) + sql.encode(),))
        self.statement_ids.clear()
        self.types_sent.clear()

    async def run(
        self, commands: Iterable[bytes], definitions: list[Column] | None = None
    ) -> list[tuple[bytes | None, ...]]:
        """Run commands of the proxy's own, all sent at once; the rows of the last.

        Args:
            commands: theirs.
            definitions: gets those of the columns, one result's after another's.

        Raises:
            ServerError: the first error of any of them.
            ConnectionLost: it is gone, and closed now.
        """
        self.used = time.monotonic()
        queued = list(commands)
        rows: list[tuple[bytes | None, ...]] = []
        failure: ServerError | None = None
        try:
            for payload in queued:
                self.packets.queue(payload, sequence=0)
            await self.packets.flush()
            for payload in queued:
                rows = await self._read_response(payload[0], definitions)
                failure = failure or self.tracker.error
        except (ConnectionLost, RemoteProtocolError) as error:
            await self.abort()
            raise ConnectionLost(f"MariaDB's connection broke: {error}") from error
        except BaseException:
            await self.abort()
            raise
        if failure is not None:
            raise failure
        return rows

    async def _read_response(
        self, command: int, definitions: list[Column] | None = None
    ) -> list[tuple[bytes | None, ...]]:
        tracker = self.tracker
        tracker.begin(command)
        rows: list[tuple[bytes | None, ...]] = []
        expected = 0
        while not tracker.done:
            payload = await self.packets.read()
            if expected and definitions is not None:
                definitions.append(parse_column(payload, self.capabilities))
                expected -= 1
            elif not tracker.columns:
                tracker.packet(payload)
                expected = tracker.columns
                continue
            seen = tracker.rows
            tracker.rows = False
            tracker.packet(payload)
            if tracker.rows and tracker.columns and len(rows) < MOST_ROWS:
                rows.append(parse_text_row(payload, tracker.columns))
            tracker.rows = tracker.rows or seen
        self.note_changes()
        return rows

    def note_changes(self, passing: frozenset[bytes] = frozenset()) -> dict[bytes, bytes]:
        """Keep the tracked variables that the last response told.

        Args:
            passing: those whose values held for the statement only.

        Returns:
            What was kept, by the names that the server told.
        """
        if self.tracker.changes is None:
            return {}
        told = self.tracker.changes.variables
        lasting = {name: value for name, value in told.items() if name not in passing}
        self.variables.update(lasting)
        if b"storage_engine" in self.variables:
            # Another name of the same variable; the server tells it by that which was set.
            self.variables[b"default_storage_engine"] = self.variables.pop(b"storage_engine")
        return lasting

    @property
    def forbidden_changes(self) -> frozenset[bytes]:
        """The variables that nobody may set and a stored program has set on it."""
        return WATCHED_VARIABLES.intersection(self.variables)

    async def value(self, sql: str) -> bytes | None:
        """The first value of the first row of a query of the proxy's own.

        Raises:
            ServerError: its error.
            ConnectionLost: it is gone.
        """
        rows = await self.run((bytes((Command.QUERY,)) + sql.encode(),))
        return rows[0][0] if rows and rows[0] else None

    async def abort(self) -> None:
        """Close at once; also when cancelled."""
        self.closed = True
        await self.packets.aclose_forcefully()

    async def quit(self) -> None:
        """Say good-bye and close."""
        if self.closed:
            await self.packets.aclose_forcefully()
            return
        self.closed = True
        with trio.move_on_after(1) as scope:
            scope.shield = True
            with contextlib.suppress(ConnectionLost):
                await self.packets.command(bytes((Command.QUIT,)))
        await self.packets.aclose_forcefully()


CLEAR_TEXT = frozenset({"dialog", "mysql_clear_password"})
"""Client plugins whose answer is the password itself, ended by a NUL byte."""


def _answer_to(switch: AuthSwitch, credentials: Credentials) -> bytes:
    if switch.plugin == NATIVE_PASSWORD:
        sha1 = credentials.sha1_password
        return scramble(sha1, switch.salt) if sha1 else b""
    if switch.plugin in CLEAR_TEXT and credentials.clear_password is not None:
        return credentials.clear_password + b"\0"
    raise RemoteProtocolError(f"the server wants {switch.plugin} now")


async def log_in(
    stream: trio.abc.Stream, credentials: Credentials, *, leader: bool, term: int
) -> BackendConnection:
    """Log in as the client's user on a stream whose PROXY header has been sent.

    Raises:
        ServerError: the server refused: the account or its password has changed meanwhile.
        ConnectionLost: the server went away.
        RemoteProtocolError: it speaks another protocol, or wants another plugin.
    """
    packets = PacketStream(stream, receive_bytes=RECEIVE_BYTES)
    try:
        greeting = parse_greeting(await packets.read())
        response = credentials.response
        # Capabilities that this server lacks would change the packets under the client's feet.
        missing = response.capabilities & ~greeting.capabilities & ~int(Capability.MYSQL)
        if missing & ~int(Capability.CONNECT_WITH_DB | Capability.CONNECT_ATTRS):
            raise RemoteProtocolError(f"the server {greeting.server_version} lacks capabilities {missing:#x}")
        sha1 = credentials.sha1_password
        answer = scramble(sha1, greeting.salt) if sha1 else b""
        encrypted = await begin_tls(packets, greeting, response) if credentials.tls else 0
        answered = HandshakeResponse(
            capabilities=response.capabilities | encrypted,
            user=response.user,
            answer=answer,
            database=b"",
            plugin=NATIVE_PASSWORD.encode(),
            max_packet_bytes=response.max_packet_bytes,
            collation=response.collation,
            attributes=response.attributes,
        )
        # A server that turns the client's address away has said so by now, and reads no more.
        with contextlib.suppress(ConnectionLost):
            await packets.write(build_handshake_response(answered))
        payload = await packets.read()
        if payload[:1] == bytes((EOF_HEADER,)):
            await packets.write(_answer_to(parse_auth_switch(payload), credentials))
            payload = await packets.read()
        if payload[:1] == bytes((ERROR_HEADER,)):
            raise parse_error(payload)
        if payload[:1] != bytes((OK_HEADER,)):
            raise RemoteProtocolError("the server's log-in ended in no OK packet")
        connection = BackendConnection(
            packets,
            capabilities=response.capabilities,
            status=2,
            connection_id=greeting.connection_id,
            term=term,
            leader=leader,
            server_version=greeting.server_version,
        )
        await connection.setup()
    except BaseException:
        await packets.aclose_forcefully()
        raise
    return connection
