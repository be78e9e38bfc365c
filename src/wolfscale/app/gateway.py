"""The HTTP side's way to the data: `api.gateway.SqlGateway` over this node's server and the leader's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from wolfscale import logs
from wolfscale.api.gateway import NoLeaderError, NoReplicaError
from wolfscale.app.backends import open_leader_session
from wolfscale.app.connection_pool import Pool
from wolfscale.app.intents import IntentCalls
from wolfscale.mysql.binlog.gtid import parse_gtid_position
from wolfscale.mysql.client import DEFAULT_CAPABILITIES, Connection
from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.node.errors import NodeError, RpcError
from wolfscale.node.node import Node
from wolfscale.proxy.acknowledged import Acknowledged
from wolfscale.proxy.outline import Outline, outline
from wolfscale.proxy.view import View, Views
from wolfscale.raft.errors import RaftError
from wolfscale.replication.positions import CommittedSequence
from wolfscale.replication.server import PROXY_HEADER, Account

log = logs.logger(__name__)

WRITING_CONNECTIONS = 8
LEADER_READING_CONNECTIONS = 4
REPLICA_CONNECTIONS = 8
MAX_PACKET_BYTES = 32 << 20
"""Of an answer: one value may be this long."""
RETRY_SECONDS = 0.05
OPEN_SECONDS = 3.0
"""For connecting and logging in; a server that hangs takes longer."""
LOCK_SECONDS = 10

# The protocol tells what is JSON, and what a UUID, only to clients of MariaDB's own kind.
_CAPABILITIES = int(DEFAULT_CAPABILITIES) & ~int(Capability.MYSQL) | int(Capability.MARIADB_EXTENDED_METADATA)
_SESSION = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
    "character_set_client=utf8mb4, character_set_results=utf8mb4, collation_connection=utf8mb4_general_ci, "
    "time_zone='+00:00', autocommit=1, foreign_key_checks=1, unique_checks=1, sql_select_limit=DEFAULT, "
    f"lock_wait_timeout={LOCK_SECONDS}, innodb_lock_wait_timeout={LOCK_SECONDS}, "
    "session_track_system_variables='last_gtid', "
)
# Writes are bounded by how long they wait for locks; a commit waits for its majority as long as it takes.
_WRITING = "tx_read_only=0, max_statement_time=0"
_NO_EPOCH = 0
_NOT_READY = frozenset({1045, 1053, 1317, 1927})
"""What a server answers to a log-in that is being stopped, or lacks the account that its cluster's first
primary makes right after it has become one."""


class GatewaySession:
    """`api.gateway.LeaderSession`."""

    def __init__(
        self,
        connection: Connection,
        *,
        term: int,
        views: Views,
        acknowledged: Acknowledged,
        intents: IntentCalls,
        wait: float,
    ) -> None:
        self.connection = connection
        self._acknowledged = acknowledged
        self._term = term
        self._views = views
        self._intents = intents
        self._wait = wait

    async def wait_committed(self, gtid: str) -> bool:
        """Wait until the log holds a group that was written in this session's term."""
        views, term = self._views, self._term
        sequence = max(part.sequence for part in parse_gtid_position(gtid))
        with trio.move_on_after(self._wait):
            await views.changes.wait_until(
                lambda: views.is_committed(sequence, term) or views.current.term != term
            )
        if not views.is_committed(sequence, term):
            return False
        self._acknowledged.note(sequence)
        return True

    @asynccontextmanager
    async def definition(self) -> AsyncIterator[None]:
        """Hold the leader's intent mark."""
        number = self.connection.connection_id
        try:
            await self._intents.begin(number)
        except NodeError as error:
            raise NoLeaderError(f"the leader's mark before a definition: {error}") from error
        finished = False
        try:
            yield
            finished = True
        except ServerError:
            finished = True
            raise
        finally:
            # A leader that is not told finds out by itself that the session has gone.
            with trio.CancelScope(shield=True), trio.move_on_after(self._wait):
                try:
                    await self._intents.end(number, finished=finished)
                except NodeError as error:
                    log.debug("the end of a definition was not told", reason=str(error))
            if not finished:
                await self.connection.aclose_forcefully()


class Gateway:
    """See `api.gateway.SqlGateway`; `run` must be running.

    Args:
        node: dials the leader, and asks a majority.
        views: what the cluster looks like.
        acknowledged: is told what clients are.
        intents: reaches the leader's intent marks.
        account: logs in on every server.
        default_database: of tables named without one.
        node_account: the name of the node's own account.
        write_wait_seconds: how long a request waits for a leader.
        read_wait_seconds: how long a read waits for this node's server.
    """

    def __init__(
        self,
        *,
        node: Node,
        views: Views,
        acknowledged: Acknowledged,
        intents: IntentCalls,
        account: Account,
        default_database: str | None,
        node_account: str,
        write_wait_seconds: float,
        read_wait_seconds: float,
    ) -> None:
        self.default_database = default_database
        self.write_wait_seconds = write_wait_seconds
        self.read_wait_seconds = read_wait_seconds
        self._node = node
        self._views = views
        self._acknowledged = acknowledged
        self._intents = intents
        self._account = account
        self._node_account = node_account
        self._committed = CommittedSequence(node.log)
        # Apart, so that slow reads never keep writes waiting.
        self._writers = Pool(self._open_leader, size=WRITING_CONNECTIONS)
        self._leader_readers = Pool(self._open_leader, size=LEADER_READING_CONNECTIONS)
        self._replicas = Pool(self._open_replica, size=REPLICA_CONNECTIONS)

    async def run(self) -> None:
        """Close connections that belong to an earlier term, until cancelled."""
        views = self._views
        try:
            while True:
                view = views.current
                # What an old leader still answers counts for nothing.
                for leaders in (self._writers, self._leader_readers):
                    await leaders.keep_only(view.term, idle=view.writable)
                await self._replicas.keep_only(_NO_EPOCH, idle=view.database_ready)
                await views.changes.wait_until(lambda seen=view: _differs(views.current, seen))  # type: ignore[misc]
        finally:
            with trio.CancelScope(shield=True):
                for pool in (self._writers, self._leader_readers, self._replicas):
                    await pool.close()

    def outline(self, sql: str) -> Outline:
        """Look at a text."""
        return outline(sql, node_account=self._node_account)

    @asynccontextmanager
    async def leader(
        self, *, until: float, database: str | None = None, read_only_seconds: float | None = None
    ) -> AsyncIterator[GatewaySession]:
        """A session on the leader's MariaDB."""
        setup = _SESSION + (_WRITING if read_only_seconds is None else _reading(read_only_seconds))
        pool = self._writers if read_only_seconds is None else self._leader_readers
        async with pool.slot(until) as slot:
            if not slot:
                raise NoLeaderError("too many requests at once")
            connection = await self._leader_connection(pool, until, setup, database)
            session = GatewaySession(
                connection,
                term=pool.epoch_of(connection),
                views=self._views,
                acknowledged=self._acknowledged,
                intents=self._intents,
                wait=self.write_wait_seconds,
            )
            async with pool.using(connection):
                yield session

    async def _leader_connection(
        self, pool: Pool, until: float, setup: str, database: str | None
    ) -> Connection:
        views = self._views
        reason = "no leader is known"
        while True:
            with trio.move_on_at(until):
                await views.changes.wait_until(lambda: views.current.writable)
                try:
                    with trio.fail_after(OPEN_SECONDS):
                        connection = await pool.get(views.current.term, setup, database)
                    if pool.epoch_of(connection) == views.current.term:
                        return connection
                    await connection.aclose_forcefully()
                    reason = "the leader has just changed"
                except (ConnectionLost, RemoteProtocolError, OSError) as error:
                    reason = str(error)
                except trio.TooSlowError:
                    reason = f"the leader did not answer within {OPEN_SECONDS:g} s"
                except ServerError as error:
                    if error.errno not in _NOT_READY:
                        raise
                    reason = str(error)
                await trio.sleep(RETRY_SECONDS)
            if trio.current_time() >= until:
                raise NoLeaderError(f"{reason}; waited {self.write_wait_seconds:g} s")

    @asynccontextmanager
    async def replica(
        self, *, until: float, database: str | None = None, read_only_seconds: float
    ) -> AsyncIterator[Connection]:
        """A session on the MariaDB beside this node."""
        async with self._replicas.slot(until) as slot:
            if not slot:
                raise NoReplicaError("too many requests at once")
            if not self._views.current.database_ready:
                raise NoReplicaError("the MariaDB beside this node does not serve now")
            try:
                setup = _SESSION + _reading(read_only_seconds)
                with trio.fail_after(OPEN_SECONDS):
                    connection = await self._replicas.get(_NO_EPOCH, setup, database)
            except (ConnectionLost, RemoteProtocolError, OSError) as error:
                raise NoReplicaError(str(error)) from error
            except trio.TooSlowError as error:
                raise NoReplicaError(f"it did not answer within {OPEN_SECONDS:g} s") from error
            except ServerError as error:
                if error.errno not in _NOT_READY:
                    raise
                raise NoReplicaError(str(error)) from error
            async with self._replicas.using(connection):
                yield connection

    async def wait_applied(self, sequence: int, seconds: float) -> bool:
        """Wait until the MariaDB beside this node has applied a sequence."""
        views = self._views
        if not views.current.database_ready:
            return False
        with trio.move_on_after(seconds):
            await views.changes.wait_until(lambda: views.current.applied_sequence >= sequence)
        return views.current.database_ready and views.current.applied_sequence >= sequence

    async def confirmed_sequence(self) -> int:
        """What was committed when a majority confirmed the leader, as soon as this node knows it."""
        node = self._node
        reason = "no majority confirmed a leader"
        with trio.move_on_after(self.write_wait_seconds):
            while True:
                try:
                    index = await node.read_index(timeout=self.write_wait_seconds)
                except (RpcError, RaftError) as error:
                    # A leader that is lost while it is asked; its successor can be.
                    reason = str(error)
                    await trio.sleep(RETRY_SECONDS)
                    continue
                except NodeError as error:
                    raise NoLeaderError(str(error)) from error
                await node.changes.wait_until(lambda seen=index: node.commit_index >= seen)  # type: ignore[misc]
                return self._committed.value
        raise NoLeaderError(f"{reason}; waited {self.write_wait_seconds:g} s")

    async def _open_leader(self, term: int) -> Connection:
        view = self._views.current
        if view.term != term:
            raise ConnectionLost("the leader has just changed")
        if view.is_leader:
            stream: trio.abc.Stream = await _open_socket(view)
        else:
            stream = await open_leader_session(self._node.dialer, view, b"")
        return await self._log_in(stream)

    async def _open_replica(self, _epoch: int) -> Connection:
        return await self._log_in(await _open_socket(self._views.current))

    async def _log_in(self, stream: trio.abc.Stream) -> Connection:
        connection = await Connection.connect(
            user=self._account.user,
            password=self._account.password,
            stream=stream,
            proxy_header=PROXY_HEADER,
            capabilities=_CAPABILITIES,
        )
        connection.packets.max_payload_bytes = MAX_PACKET_BYTES
        return connection


async def _open_socket(view: View) -> trio.SocketStream:
    if view.database_socket is None:
        raise ConnectionLost("there is no MariaDB beside this node")
    return await trio.open_unix_socket(view.database_socket)


def _reading(seconds: float) -> str:
    return f"tx_read_only=1, max_statement_time={seconds:.3f}"


def _differs(view: View, seen: View) -> bool:
    return (view.term, view.writable, view.database_ready) != (seen.term, seen.writable, seen.database_ready)
