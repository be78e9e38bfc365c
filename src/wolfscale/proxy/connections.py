"""A session's two connections: the local one for reads, and the leader's, opened when it is first needed."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.proxy.backend import BackendConnection, Backends, Credentials, log_in
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import (
    ConnectionKilled,
    LogInNotRepeatable,
    NoLeader,
    ProxyError,
    SessionLost,
    TransactionLost,
)
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statement import Effect
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.user_variables import utf8_around
from wolfscale.proxy.view import View
from wolfscale.proxy.waiting_reads import WaitingRead
from wolfscale.proxy.waits import RECEIVING, Waits

ER_BAD_DB = 1049
ER_MUST_CHANGE_PASSWORD = 1820
LOG_IN_REFUSED = frozenset({1044, 1045, 1130, 1698, 4151})
"""What a server says to credentials that have been good before; further attempts would be refused as well."""
KEPT_PART = 0.25
"""Of wait_timeout: when a server that has heard nothing of a session is told of it."""
CERTAIN_SECONDS = 15.0
"""A server that ends connections sooner than a few times this is thought of at each read."""
_LIVES_ON_LEADER = Effect.USER_LOCKS | Effect.NAMED_STATEMENTS | Effect.HANDLERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a session waits, and how old what it reads may be.

    Attributes:
        leader_seconds: for a writable leader, before a statement is refused.
        replica_seconds: for the local MariaDB to apply what a read must see, before the leader answers it.
        open_seconds: for a connection to open and log in.
        log_in_seconds: for the client to log in.
        apply_seconds: for the local MariaDB to go on applying, before a read-only transaction that stands in
            its way is rolled back.
        fence_seconds: after a change of term, for an old leader's answer to a statement in flight.
        consistency: how much a session's reads must have seen, until it chooses otherwise.
        max_lag: transactions that the local MariaDB may be behind and still serve reads; 0: any number.
    """

    leader_seconds: float = 30.0
    replica_seconds: float = 5.0
    open_seconds: float = 10.0
    log_in_seconds: float = 20.0
    apply_seconds: float = 3.0
    fence_seconds: float = 2.0
    consistency: Level = Level.NODE
    max_lag: int = 0

    def lags(self, view: View) -> bool:
        """Whether the local MariaDB is too far behind to serve reads."""
        return 0 < self.max_lag < view.committed_sequence - view.applied_sequence


class Connections:
    """Opens, keeps and gives up a session's connections.

    Attributes:
        reader: to the local MariaDB, read-only; None while there is none.
        writer: to the leader's of one term; None while there is none.
        killed: the session is being ended: what it runs must not be begun again elsewhere.
        passing_on: a command is on its way to the leader, or runs there, that cannot be sent again.
        waits: what the session waits for.
        backends: where the servers are.
        on_moved: called when reads go to another server from now on.
    """

    def __init__(
        self,
        first: BackendConnection,
        *,
        backends: Backends,
        credentials: Credentials,
        state: SessionState,
        facts: SessionFacts,
        bounds: Bounds,
        statistics: Statistics,
    ) -> None:
        self.reader = None if first.leader else first
        self.writer = first if first.leader else None
        self.credentials = credentials
        self.killed = False
        self.passing_on = False
        self.waits = Waits()
        self.backends = backends
        self.on_moved: Callable[[], None] = lambda: None
        self._refused_locally = False
        self._state = state
        self._facts = facts
        self._bounds = bounds
        self._statistics = statistics

    @property
    def any(self) -> BackendConnection | None:
        """The leader's connection if it is open and of this term, else the local one."""
        writer = self.writer
        if writer is not None and not writer.closed and writer.term == self.backends.views.current.term:
            return writer
        return self.reader

    def check_alive(self) -> None:
        """Raise if the session is being ended.

        Raises:
            ConnectionKilled: it is.
        """
        if self.killed:
            raise ConnectionKilled

    async def choose(self) -> bool:
        """Have another server chosen for reads if the present one does not serve them or is crowded.

        Returns:
            Whether it is another one.
        """
        serves = self.backends.views.current.database_ready
        if self._facts.local_transaction or (serves and not self.credentials.reopens):
            return False
        if not self.backends.choose():
            return False
        self._refused_locally = False
        self.on_moved()
        await self._drop_reader()
        return True

    def avoid(self) -> bool:
        """Have another server chosen for reads since the present one has failed; false: there is none."""
        if not self.backends.avoid():
            return False
        self.on_moved()
        return True

    async def local(self) -> BackendConnection | None:
        """The connection for a local read; None if there is none, or if this node leads."""
        self.check_alive()
        await self.choose()
        view = self.backends.views.current
        if view.is_leader and view.writable:
            return None
        if not self.may_read:
            return None
        reader = self.reader
        if reader is not None and not reader.closed:
            return reader
        await self._drop_reader()
        return await self._open_local()

    @property
    def may_read(self) -> bool:
        """Whether the local connection can be used, or opened if its server lets it."""
        if self.credentials.leader_only:
            return False
        reader = self.reader
        if reader is not None and not reader.closed:
            return not reader.sandboxed
        return self.credentials.reopens and not self._refused_locally

    async def _open_local(self) -> BackendConnection | None:
        """Open the local connection, where there are several servers to choose from at one that answers."""
        backends = self.backends
        until = trio.current_time() + self._bounds.open_seconds
        while (view := backends.views.current).database_ready:
            try:
                with self.waits.interruptible("Connecting to the local server"), trio.fail_at(until):
                    stream = await backends.open_local(self.credentials.proxy_header)
                    self.reader = await log_in(stream, self.credentials, leader=False, term=view.term)
                return self.reader
            except (OSError, trio.TooSlowError, ConnectionLost, ServerError, RemoteProtocolError) as error:
                self._statistics.local_failures += 1
                if trio.current_time() < until and self.avoid():
                    continue
                self._refused_locally = isinstance(error, ServerError) and error.errno in LOG_IN_REFUSED
                return None
        return None

    async def leader(self, *, rollback: bool = False, read: WaitingRead | None = None) -> BackendConnection:
        """The leader's connection, up to date with the session's state.

        Args:
            rollback: the statement is a ROLLBACK, which is what the loss of a transaction comes to.
            read: the statement is this one, which another server may answer.

        Raises:
            ReaderServes: one can now.
            NoLeader: none became writable within the bound.
            TransactionLost: the leader changed under an open transaction.
            SessionLost: it took with it what cannot be restored.
            LogInNotRepeatable: only the client could open another connection.
            ServerError: the new leader refuses the session's user or settings.
        """
        self.check_alive()
        view = self.backends.views.current
        writer = self.writer
        if writer is not None:
            if writer.term == view.term and writer.is_alive():
                if view.writable or self._facts.is_bound:
                    return writer
            else:
                await self._give_up_writer(rollback=rollback)
        if not self.credentials.reopens:
            raise LogInNotRepeatable
        try:
            with self.waits.interruptible("Waiting for a leader"):
                return await self._open_leader(rollback=rollback, read=read)
        except ServerError as error:
            if error.errno not in LOG_IN_REFUSED:
                raise
            # The password was changed, perhaps by this very session, or the account: as good as gone.
            raise ProxyError(error.errno, error.sqlstate, error.message, fatal=True) from error

    async def _open_leader(self, *, rollback: bool, read: WaitingRead | None = None) -> BackendConnection:
        failure = ""
        until = trio.current_time() + self._bounds.leader_seconds if read is None else read.until
        with trio.move_on_at(until):
            while True:
                if read is not None:
                    await read.until_writable()
                views = self.backends.views
                await views.changes.wait_until(lambda seen=views: seen.current.writable)  # type: ignore[misc]
                view = views.current
                if self.writer is not None and self.writer.term == view.term and not self.writer.closed:
                    return self.writer
                # While this waited, the leader changed: what lived on the old one's connection is gone.
                if self.writer is not None:
                    await self._give_up_writer(rollback=rollback)
                try:
                    return await self._open_in(view)
                except (OSError, trio.TooSlowError, ConnectionLost, RemoteProtocolError) as error:
                    failure = str(error)
                # The node may be gone before the view says so: try again soon, or when it does.
                with trio.move_on_after(0.2):
                    await views.changes.wait_until(
                        lambda views=views, term=view.term: views.current.term != term  # type: ignore[misc]
                    )
        raise NoLeader(self._bounds.leader_seconds, failure)

    async def _open_in(self, view: View) -> BackendConnection:
        with trio.fail_after(self._bounds.open_seconds):
            if view.is_leader:
                stream = await self.backends.open_local(self.credentials.proxy_header)
            else:
                stream = await self.backends.open_leader(self.credentials.proxy_header)
            writer = await log_in(stream, self.credentials, leader=True, term=view.term)
        if self.backends.views.current.term != view.term:
            await writer.quit()
            raise ConnectionLost("the leader changed meanwhile")
        if self._facts.restarts is not None:
            try:
                await self.bring_up_to_date(writer)
                await writer.run((self._facts.restarts,))
            except BaseException:
                await writer.abort()
                raise
        self._statistics.leader_connections += 1
        self.writer = writer
        return writer

    async def bring_up_to_date(self, connection: BackendConnection) -> None:
        """Tell a connection what the session has set since it was last used.

        Raises:
            ServerError: it refuses.
            ConnectionLost: it is gone.
        """
        known = connection.known_entries
        pending = self._state.pending(known, leader=connection.leader)
        in_utf8 = self._state.pending_in_utf8(known, leader=connection.leader)
        if pending or in_utf8:
            try:
                if pending:
                    await connection.run(pending)
                if in_utf8:
                    before, behind = utf8_around(connection.variables.get(b"character_set_client", b""))
                    await connection.run((before, *in_utf8, behind))
            except ServerError as error:
                if error.errno == ER_MUST_CHANGE_PASSWORD:
                    # Not even USE before the password is changed, which may come now: told again later.
                    return
                # The default schema was dropped: MariaDB's sessions have none then either.
                if error.errno != ER_BAD_DB or not connection.leader:
                    raise
        connection.known_entries = self._state.last_number

    async def _give_up_writer(self, *, rollback: bool) -> None:
        """The leader's connection is of an old term or broken: say what went with it."""
        await self.drop_writer()
        lost = self._state.lost_with_leader()
        if not lost and self._facts.restarts is not None:
            return  # nothing has run in it: it begins on the next connection instead
        was_in_transaction, self._facts.in_transaction = self._facts.in_transaction, False
        if lost:
            raise SessionLost(lost)
        if was_in_transaction and not rollback:
            self._statistics.transactions_lost += 1
            raise TransactionLost

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """What is done inside passes a command on to the leader as it comes from the client.

        A KILL gives it up, and with it the leader's connection, which has got a part. Where that would take
        more of the session than the command, it is received whole, and interrupted when the leader runs it.

        Raises:
            QueryInterrupted: it was given up.
            ConnectionKilled: likewise.
        """
        keeps = self._facts.is_bound or self._facts.next_transaction or self._state.lost_with_leader()
        with self.waits.named(RECEIVING) if keeps else self.waits.interruptible(RECEIVING):
            yield

    @property
    def leader_may_be_due(self) -> bool:
        """Whether the leader's server may be about to end the session's connection by `wait_timeout`.

        That counts where something lives on it, but reads run elsewhere, so that the client does not wait for
        anything. It is asked whenever the view changes, which is every few seconds: hence the certain time.
        """
        writer = self.writer
        if writer is None or writer.closed:
            return False
        state = self._state
        if not state.effects & _LIVES_ON_LEADER and state.user_variables.is_complete:
            return False
        return writer.wait_timeout * KEPT_PART < CERTAIN_SECONDS or _is_due(writer)

    async def keep_leader(self) -> None:
        """Have the leader's server hear of the session, if its connection is due.

        What is lost if it does not answer, the next statement there says.
        """
        writer = self.writer
        if writer is None or not self.leader_may_be_due or not _is_due(writer):
            return
        with (
            contextlib.suppress(ConnectionLost, ServerError),
            trio.move_on_after(self._bounds.open_seconds),
        ):
            await writer.run((bytes((Command.PING,)),))

    async def drop_writer(self) -> None:
        """Close the leader's connection."""
        writer, self.writer = self.writer, None
        if writer is not None:
            await writer.abort()

    def mark_broken(self) -> None:
        """The leader's connection broke; its next use says what went with it."""
        if self.writer is not None:
            self.writer.closed = True

    async def _drop_reader(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            await reader.abort()

    async def drop(self, connection: BackendConnection) -> None:
        """Close one of the two."""
        if connection is self.writer:
            await self.drop_writer()
        elif connection is self.reader:
            await self._drop_reader()
        else:
            await connection.abort()

    async def keep_only(self, connection: BackendConnection, credentials: Credentials) -> None:
        """The session goes on as another user, on this connection; the other is closed."""
        if connection is not self.reader:
            await self._drop_reader()
        if connection is not self.writer:
            await self.drop_writer()
        self.credentials = credentials
        self._refused_locally = False

    async def fence(self, term: int) -> None:
        """Cut a leader's connection of a term before this one, so that nobody waits for its answer."""
        if self.writer is not None and self.writer.term < term:
            await self.writer.abort()

    async def cut_local(self) -> None:
        """Cut the local connection, and with it the transaction that is open on it."""
        if self.reader is not None:
            await self.reader.abort()

    async def aclose(self) -> None:
        """Close both, politely if they live."""
        for connection in (self.writer, self.reader):
            if connection is not None:
                await connection.quit()


def _is_due(writer: BackendConnection) -> bool:
    return time.monotonic() - writer.used > writer.wait_timeout * KEPT_PART
