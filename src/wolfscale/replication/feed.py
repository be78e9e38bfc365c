"""Feed: the log as a primary that MariaDB's own replica threads can follow.

It listens on loopback and serves one replica, the MariaDB beside the node: committed, complete groups only,
from the position that the replica asks for. A new connection replaces the old one, which the replica has
given up by then.

A group that is no plain transaction is served alone: its mark is made durable first, and nothing follows it
until it is applied and settled.
"""

from contextlib import suppress

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.mysql.auth import double_sha1, sha1_of_password
from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid_position
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.transport import PacketStream
from wolfscale.replication.dump_commands import NON_BLOCKING, DumpRequest
from wolfscale.replication.feed_dump import FeedDump, FeedStatistics, Gate, NotPlainHook
from wolfscale.replication.feed_session import FeedSession, ReplicaGone
from wolfscale.replication.group_reader import GroupReader
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.start_position import POSITION_ERRNO, find_start

log = logs.logger(__name__)

HOST = "127.0.0.1"
MAX_COMMAND_BYTES = 1 << 20


class Feed:
    """Serves the log to one replica. One task runs `run`; the rest may be read from any task.

    Attributes:
        changes: notified when `address`, `connected` or `served` has moved.
        statistics: counters.
    """

    def __init__(
        self,
        log: ReplicatedLog,
        *,
        user: str,
        password: str,
        port: int = 0,
        before_not_plain: NotPlainHook | None = None,
        after_not_plain: NotPlainHook | None = None,
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            log: what is served.
            user: the account name that a replica must give.
            password: its password.
            port: the port; 0: any that is free.
            before_not_plain: awaited before a group that is no plain transaction is sent.
            after_not_plain: awaited after it; returns when it is applied and settled. Called again for the
                same group after it was cancelled, or for a replica that was sent the group by an earlier
                connection.
        """
        self.changes = Changes()
        self.statistics = FeedStatistics()
        self._gate = Gate(before_not_plain, after_not_plain)
        self._log = log
        self._user = user
        self._double_hash = double_sha1(sha1_of_password(password))
        self._port = port
        self._address: tuple[str, int] | None = None
        self._connection = 0
        # Whoever holds it serves; a newer connection cancels the scope and takes over.
        self._serving = trio.Lock()
        self._scope: trio.CancelScope | None = None
        self._connected = False
        self._served: Gtid | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port that it listens on; None while `run` has not started."""
        return self._address

    @property
    def connected(self) -> bool:
        """Whether a replica is being served."""
        return self._connected

    @property
    def served(self) -> Gtid | None:
        """The newest group sent on the present or last connection."""
        return self._served

    async def wait_listening(self) -> tuple[str, int]:
        """Wait until it listens; host and port."""
        await self.changes.wait_until(lambda: self._address is not None)
        assert self._address is not None
        return self._address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens.

        Raises:
            OSError: the port cannot be listened on.
            InvariantError, FragmentDamaged: the log holds nonsense.
            WolfScaleError: what a hook raised.
        """
        (listener,) = await trio.open_tcp_listeners(self._port, host=HOST)
        try:
            self._address = listener.socket.getsockname()[:2]
            self.changes.notify()
            task_status.started()
            await trio.serve_listeners(self._handle, [listener])
        finally:
            self._address = None
            self.changes.notify()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(listener)

    async def _handle(self, stream: trio.SocketStream) -> None:
        self.statistics.connections += 1
        session = FeedSession(
            PacketStream(stream, max_payload_bytes=MAX_COMMAND_BYTES),
            connection_id=self.statistics.connections,
            user=self._user,
            double_hash=self._double_hash,
        )
        try:
            request = await session.wait_dump()
            await self._replace(session, request)
        except* ReplicaGone as gone:
            log.debug("a connection to the feed ended", reason=str(gone.exceptions[0]))
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _replace(self, session: FeedSession, request: DumpRequest) -> None:
        """Serve this connection instead of the one before."""
        scope = trio.CancelScope()
        earlier, self._scope = self._scope, scope
        if earlier is not None:
            earlier.cancel()
        with scope:
            async with self._serving:
                try:
                    self._connected = True
                    self.changes.notify()
                    await self._serve(session, request)
                finally:
                    self._connected = False
                    self.changes.notify()

    async def _serve(self, session: FeedSession, request: DumpRequest) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, session.packets, nursery.cancel_scope)
            questions = session.questions
            try:
                if not questions.takes_checksums:
                    raise ServerError(POSITION_ERRNO, "HY000", "the events of this feed have checksums")
                position = parse_gtid_position(questions.position)
                next_index = await find_start(self._log, position)
            except (ServerError, BinlogError) as error:
                await self._refuse(session, error)
                nursery.cancel_scope.cancel()
                return
            self.statistics.dumps += 1
            log.info("a replica follows the feed", position=questions.position)
            reader = GroupReader(self._log, next_index)
            dump = FeedDump(
                session.packets,
                reader,
                position=position,
                gate=self._gate,
                statistics=self.statistics,
                wait_more=lambda: self._log.changes.wait_until(lambda: reader.has_more),
                on_served=self._on_served,
                heartbeat_seconds=questions.heartbeat_seconds,
                non_blocking=bool(request.flags & NON_BLOCKING),
            )
            await dump.run()
            nursery.cancel_scope.cancel()

    async def _refuse(self, session: FeedSession, error: ServerError | BinlogError) -> None:
        self.statistics.refused += 1
        log.warning("a dump was refused", error=str(error))
        if not isinstance(error, ServerError):
            error = ServerError(POSITION_ERRNO, "HY000", str(error))
        await session.refuse(error)

    def _on_served(self, gtid: Gtid) -> None:
        self._served = gtid
        self.changes.notify()


async def _watch(packets: PacketStream, scope: trio.CancelScope) -> None:
    """Cancel the scope when the replica closes the connection or says anything more."""
    with suppress(ConnectionLost):
        await packets.read()
    scope.cancel()
