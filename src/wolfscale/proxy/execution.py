"""Running one statement of a session: the right connection, the waits before and after, the response.

Before a local read: the local MariaDB must have applied what the session must see. Before a statement that is
no plain DML on the leader: the intent mark. After a statement that wrote: its GTID must be in the log before
the client hears OK (the second lock; the first is semi-synchronous replication itself).
"""

import contextlib
from dataclasses import replace
from typing import Protocol

import trio

from wolfscale import logs
from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.errors import ER_NET_PACKET_TOO_LARGE, ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.connections import ER_MUST_CHANGE_PASSWORD, Bounds, Connections
from wolfscale.proxy.consistency import Level, SessionConsistency, sequence_of
from wolfscale.proxy.errors import (
    ControlLost,
    NoLeader,
    OutcomeUnknown,
    ProgramCutLoose,
    ProxyError,
    RefusedStatement,
    TransactionLost,
)
from wolfscale.proxy.global_variables import is_default, variable_name
from wolfscale.proxy.local_transactions import LocalTransactions
from wolfscale.proxy.memory import SessionMemory
from wolfscale.proxy.relay import ClientGone, PartlySent, Rewriter, is_lone_ok, relay_response
from wolfscale.proxy.router import SessionFacts, Target, beginning, route
from wolfscale.proxy.settings import Scope
from wolfscale.proxy.state import SessionState, is_leader_only
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.table_checks import TableChecks
from wolfscale.proxy.variable_reads import VariableReads
from wolfscale.proxy.view import Views
from wolfscale.proxy.waiting_reads import ReaderServes, WaitingRead

log = logs.logger(__name__)

MISJUDGED = frozenset({1290, 1792, 1836})
"""A read-only server's or transaction's refusals: the statement was no plain read after all."""
ER_NO_SUCH_TABLE = 1146
ER_READ_ONLY_SERVER = 1290
ER_NO_MAJORITY = 1105

WAITS_FOR_MAJORITY = "Waiting for a majority to hold the commit"
CONFIRMATION = "Waiting for a majority to confirm what is committed"

_STATE_CHANGED = int(Status.SESSION_STATE_CHANGED)
_RESULTS = frozenset(
    {Command.QUERY, Command.STMT_EXECUTE, Command.STMT_BULK_EXECUTE, Command.STMT_FETCH, Command.PROCESS_INFO}
)
"""Commands whose responses are made of results, in which OK packets may stand anywhere."""
_IN_TRANS = int(Status.IN_TRANS)
_AUTOCOMMIT = int(Status.AUTOCOMMIT)


MAY_ROLL_BACK = frozenset({1205, 1213, 1020, 1180, 1181, 1290, 1792, 1969, 1317, 1614})
"""Errors after which a transaction may be gone: lock wait, deadlock, snapshot conflict, interruption."""


class Request(Protocol):
    """A command that can be sent to either connection."""

    @property
    def command(self) -> int:
        """Its first byte."""
        ...

    @property
    def whole(self) -> bool:
        """Whether its response, which is short, is to be handed over in one piece."""
        ...

    @property
    def once(self) -> bool:
        """Whether it can be sent one time only: nobody has kept it."""
        ...

    @property
    def cut_short(self) -> bool:
        """Whether the server it was sent to has certainly not got all of it."""
        ...

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        """The last chunk of its response, seen and perhaps changed before the client gets it."""
        ...

    async def payload_for(self, connection: BackendConnection) -> bytes:
        """Its payload for this connection, which is made ready for it first.

        Raises:
            ServerError: the connection cannot be made ready (a statement does not prepare there).
        """
        ...

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        """Send the payload that was made for this connection; false if it broke before it had all of it.

        Raises:
            ConnectionLost: it broke, and has perhaps got all of it.
        """
        ...


class CommandCutShort(ConnectionLost):
    """The connection broke before it had the whole command, which was not carried out then."""


class NotCarriedOut(ProxyError):
    """A command that only its client can send again was certainly not carried out (1213, 40001)."""

    def __init__(self, why: str, *, rolled_back: bool = False) -> None:
        also = ", and the transaction is rolled back" if rolled_back else ""
        super().__init__(
            1213,
            "40001",
            f"{why} in the middle of the command, which was not carried out{also}: try it again",
        )


class TextRequest:
    """A command whose bytes are the same for every connection."""

    __slots__ = ("_payload", "command")

    whole = False
    once = False
    cut_short = False

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.command = payload[0]

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        """The chunk as it is."""
        return data

    async def payload_for(self, connection: BackendConnection) -> bytes:
        """The payload as it is."""
        return self._payload

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        """Send it."""
        await connection.packets.command(payload)
        return True


class Executor:
    """Runs a session's statements, one at a time.

    Attributes:
        connections: the session's two.
        state: what it has set.
        facts: what routing asks.
        memory: keeps both true, and knows how the session's text is read.
        variable_reads: has what the session's user variables were given read.
        table_checks: looks at tables that MariaDB would log in words of its own.
        last: the connection that ran the last statement.
        servers_lost: how many servers for reads were lost with what they ran.
        consistency: what its reads must have seen.
        bounds: how long it waits, and how old what it reads may be.
    """

    def __init__(
        self,
        *,
        client: PacketStream,
        client_capabilities: int,
        connections: Connections,
        backends: Backends,
        state: SessionState,
        facts: SessionFacts,
        bounds: Bounds,
        statistics: Statistics,
    ) -> None:
        self.connections = connections
        self.state = state
        self.facts = facts
        self.consistency = SessionConsistency(bounds.consistency)
        self._client = client
        self._client_capabilities = client_capabilities
        self._backends = backends
        self.bounds = bounds
        self._statistics = statistics
        first = connections.writer or connections.reader
        assert first is not None
        self.last: BackendConnection = first
        self.servers_lost = 0
        self._rewrites = not client_capabilities & Capability.SESSION_TRACK
        self._deprecates_eof = bool(client_capabilities & Capability.DEPRECATE_EOF)
        self.memory = SessionMemory(state, facts, first)
        self.variable_reads = VariableReads(self)
        self.table_checks = TableChecks(self)
        self._local_transactions = LocalTransactions(self)
        connections.on_moved = self._on_moved

    @property
    def views(self) -> Views:
        """What the cluster looks like, and the server for the session's reads."""
        return self._backends.views

    def _on_moved(self) -> None:
        """Another server is read from: it must have applied at least what the former one showed."""
        self.consistency.on_leader_read(self.views.current.committed_sequence)

    @property
    def status(self) -> int:
        """The server status flags that answers of the proxy's own carry."""
        status = _AUTOCOMMIT if self.facts.autocommit else 0
        if self.facts.in_transaction or self.facts.local_transaction:
            status |= _IN_TRANS
        if not self.memory.mode.backslash_escapes:
            status |= int(Status.NO_BACKSLASH_ESCAPES)
        return status

    async def execute(self, statement: Statement, request: Request, sql: bytes = b"") -> None:
        """Run a statement and answer the client.

        Args:
            statement: what it is.
            request: the command.
            sql: its text, to be repeated on other connections if it sets something.

        Raises:
            ProxyError: what the client is to be told instead; nothing was sent to it.
            ServerError: likewise, from a server.
            ClientGone: the client is gone.
            PartlySent: the session cannot go on.
        """
        if (
            self.facts.local_transaction
            and request.command != Command.STMT_PREPARE
            and await self._local_transactions.run(statement, request, sql)
        ):
            return
        target = route(statement, self.facts).target
        level = self.consistency.now
        if target is Target.LOCAL and level is Level.STRONG:
            await self._confirm()
        if target is Target.LOCAL and level is not Level.LEADER:
            await self._read(statement, request, sql)
            return
        if target is Target.PREVIOUS:
            if await self._run_where_the_last_ran(statement, request, sql):
                return
        elif target is Target.EITHER and not is_leader_only(statement.assignments):
            connection = self.connections.any
            if (
                connection is not None
                and not connection.leader
                and await self._run_setting(statement, request, sql)
            ):
                return
        await self.run_on_leader(statement, request, sql)

    async def _read(self, statement: Statement, request: Request, sql: bytes) -> None:
        """Run a read, or what begins a transaction of reads, here or, if need be, on the leader."""
        run_here = self._local_transactions.begin if statement.read_only_start else self.run_locally
        lost_before, waiting = self.servers_lost, None
        while not await run_here(statement, request, sql):
            waiting = waiting or WaitingRead(self, lost_before)
            try:
                await self.run_on_leader(statement, request, sql, waiting)
            except ReaderServes:
                continue
            return

    async def _run_where_the_last_ran(self, statement: Statement, request: Request, sql: bytes) -> bool:
        """Ask the local connection about its last statement; false if that was the leader's."""
        last = self.last
        if last.leader or last is not self.connections.reader or last.closed:
            return False
        try:
            await self.run_on(last, statement, request, sql)
        except (ConnectionLost, RemoteProtocolError):
            await self.connections.drop(last)
            return False
        return True

    async def _run_setting(self, statement: Statement, request: Request, sql: bytes) -> bool:
        """SET and USE while only the local connection is open; the leader's learns of it when it opens."""
        connection = await self.connections.local()
        if connection is None:
            return False
        try:
            await self.connections.bring_up_to_date(connection)
            await self.run_on(connection, statement, request, sql)
        except (ConnectionLost, RemoteProtocolError):
            await self.connections.drop(connection)
            return False
        return True

    async def run_locally(self, statement: Statement, request: Request, sql: bytes) -> bool:
        """Run a read on the local MariaDB; false when the leader has to."""
        while (connection := await self.connections.local()) is not None:
            if self.bounds.lags(self.views.current):
                self._statistics.lagging_reads += 1
                return False
            if not await self._is_fresh():
                self._statistics.stale_reads += 1
                return False
            try:
                if connection.known_entries != self.state.last_number:
                    await self.connections.bring_up_to_date(connection)
                return await self.run_on(connection, statement, request, sql, may_decline=True)
            except (ConnectionLost, RemoteProtocolError):
                self.servers_lost += 1
                await self.connections.drop(connection)
            except ServerError:
                # It does not prepare here, or refuses a setting: the leader's word counts.
                self._statistics.local_failures += 1
                return False
            self._statistics.local_failures += 1
            # The leader runs it, if there is one; a statement that kills servers is not tried on all of them.
            if self.views.current.writable or not self.connections.avoid():
                return False
        return False

    async def _confirm(self) -> None:
        """Have a majority confirm what is committed now; the read must have seen all of it.

        Raises:
            ProxyError: nobody confirms it.
        """
        try:
            with self.connections.waits.interruptible(CONFIRMATION):
                self.consistency.on_position(await self._backends.read_position())
        except ControlLost as error:
            raise ProxyError(
                ER_NO_MAJORITY,
                "HY000",
                f"No majority of the cluster confirms what is committed, as a strong read needs ({error}): "
                "try again, or read with wolfscale_consistency = 'session'",
            ) from error

    async def _is_fresh(self) -> bool:
        """Whether the local MariaDB has applied what this session must see, waiting a bounded time."""
        consistency = self.consistency
        views = self.views
        if consistency.now is Level.EVENTUAL:
            return True
        if consistency.leader_was_read:
            consistency.on_position(await self._leader_position())

        def has_applied() -> bool:
            return views.current.applied_sequence >= consistency.required

        if not has_applied():
            waiting = self.connections.waits.interruptible("Waiting for the local server to catch up")
            with waiting, trio.move_on_after(self.bounds.replica_seconds):
                await views.changes.wait_until(lambda: has_applied() or not views.current.database_ready)
        return has_applied()

    async def _leader_position(self) -> int:
        """How far the leader is, which is at least what its answers to this session showed."""
        writer = self.connections.writer
        if writer is not None and not writer.closed and writer.term == self.views.current.term:
            # A leader that hangs is not waited for: its connection is given up with the question.
            with (
                trio.move_on_after(self.bounds.replica_seconds),
                contextlib.suppress(ConnectionLost, ServerError),
            ):
                position = await writer.value("SELECT @@GLOBAL.gtid_binlog_pos") or b""
                return max(sequence_of(item) for item in position.decode().split(","))
        if self.views.current.elsewhere:
            # What the server showed that was read from before, only a majority knows for sure.
            waiting = self.connections.waits.interruptible(CONFIRMATION)
            with waiting, trio.move_on_after(self.bounds.replica_seconds), contextlib.suppress(ControlLost):
                return await self._backends.read_position()
        return self.views.current.committed_sequence

    async def ask_leader(self, query: bytes) -> list[tuple[bytes | None, ...]]:
        """Run a query of the proxy's own on the session's leader connection.

        Raises:
            ProxyError: as `Connections.leader`.
            ServerError: the query fails.
        """
        while True:
            writer = await self.connections.leader()
            try:
                await self.connections.bring_up_to_date(writer)
                return await writer.run((bytes((Command.QUERY,)) + query,))
            except ConnectionLost:
                self.connections.mark_broken()

    async def run_on_leader(
        self, statement: Statement, request: Request, sql: bytes, read: WaitingRead | None = None
    ) -> None:
        """Run a statement on the leader's MariaDB, whoever leads.

        Args:
            statement: what it is.
            request: the command.
            sql: its text.
            read: it is this one, which another server may answer.

        Raises:
            ReaderServes: one can now.
            ProxyError: and so on, see `execute`.
        """
        retry_until = trio.current_time() + self.bounds.leader_seconds
        while True:
            term = self.views.current.term
            writer = await self.connections.leader(rollback=statement.rollback, read=read)
            try:
                if writer.known_entries != self.state.last_number:
                    await self.connections.bring_up_to_date(writer)
                if writer.forbidden_changes:
                    await self._end_cut_loose(writer, sent=False)
                await self.table_checks.before(writer, statement)
                payload = await request.payload_for(writer)
            except RefusedStatement:
                self._statistics.refused_statements += 1
                raise
            except (ConnectionLost, RemoteProtocolError):
                # Nothing was sent yet: once more, which finds the connection closed and says what was lost.
                writer.closed = True
                continue
            try:
                done = await self._run_with_intent(writer, statement, request, payload, sql)
            except (ConnectionLost, RemoteProtocolError) as error:
                writer.closed = True
                if self.can_run_again(statement):
                    continue
                await self.on_leader_lost(statement, error)
            if done:
                return
            # The leader is about to stop being one: nothing was executed, so the next one may.
            waiting = self.connections.waits.interruptible("Waiting for a leader")
            with waiting, trio.move_on_at(retry_until) as scope:
                await self.views.changes.wait_until(
                    lambda seen=term: self.views.current.term != seen or not self.views.current.writable  # type: ignore[misc]
                )
            if scope.cancelled_caught:
                raise NoLeader(self.bounds.leader_seconds, "the leader's MariaDB is read-only")

    def can_run_again(self, statement: Statement) -> bool:
        """Whether a statement whose answer never came has certainly changed nothing that lasts."""
        # A write that would have been the first of its transaction may have been into a table without any.
        return statement.kind is Kind.READ and not self.facts.is_bound

    async def on_leader_lost(self, statement: Statement, error: Exception) -> None:
        """The leader's connection broke before it answered: say what that means for the client.

        Raises:
            ProxyError: the transaction is rolled back, or the outcome is unknown.
        """
        self.connections.check_alive()
        in_transaction, self.facts.in_transaction = self.facts.in_transaction, False
        await self.connections.drop_writer()
        if isinstance(error, CommandCutShort):
            self._statistics.transactions_lost += in_transaction
            raise NotCarriedOut("The cluster's leader was lost", rolled_back=in_transaction) from error
        if in_transaction and statement.kind in (Kind.READ, Kind.WRITE, Kind.DIAGNOSTICS):
            # Rolled back with its connection. Only a COMMIT, or what commits by itself, may have been done.
            self._statistics.transactions_lost += 1
            raise ProxyError(
                1213,
                "40001",
                "The cluster's leader was lost in the middle of this transaction, which is rolled back: "
                "try it again",
            ) from error
        self._statistics.outcomes_unknown += 1
        raise OutcomeUnknown(
            "The connection to the cluster's leader broke before it answered: whether the statement was "
            "carried out is unknown; look before trying again"
        ) from error

    async def _run_with_intent(
        self, writer: BackendConnection, statement: Statement, request: Request, payload: bytes, sql: bytes
    ) -> bool:
        may_decline = not self.facts.is_bound
        if not statement.intent:
            return await self._send(writer, statement, request, payload, sql, may_decline=may_decline)
        number = writer.connection_id
        self.connections.waits.check()
        await self._begin_intent(number)
        finished = True
        try:
            # Killed meanwhile: it is not sent, and takes the mark back.
            await trio.lowlevel.checkpoint_if_cancelled()
            self.connections.waits.check()
            finished = False
            done = await self._send(writer, statement, request, payload, sql, may_decline=may_decline)
            finished = True
            return done
        finally:
            # A node that is gone needs no telling: its workers' marks stay.
            with (
                trio.CancelScope(shield=True),
                trio.move_on_after(self.bounds.open_seconds),
                contextlib.suppress(ControlLost),
            ):
                await self._backends.intent_end(number, finished=finished or request.cut_short)

    async def _begin_intent(self, number: int) -> None:
        """Have the mark written; an error means that the statement is not to be sent.

        Raises:
            ProxyError: the mark is not known to be there.
        """
        try:
            # A KILL has to wait: half written, the mark could not be taken back.
            with self.connections.waits.named("Writing the intent mark"), trio.CancelScope(shield=True):
                await self._backends.intent_begin(number)
        except ControlLost as error:
            if not self.facts.in_transaction and not self.state.lost_with_leader():
                # If it is there after all, it goes with the connection that it is about.
                await self.connections.drop_writer()
            raise ProxyError(
                ER_READ_ONLY_SERVER,
                "HY000",
                f"The cluster is not ready for this statement, which was not executed ({error}): try again",
            ) from error

    async def run_on(
        self,
        connection: BackendConnection,
        statement: Statement,
        request: Request,
        sql: bytes,
        *,
        may_decline: bool = False,
    ) -> bool:
        """Run a statement on a connection as it is; false when it was declined and another must run it.

        Raises: see `execute`; also `ConnectionLost`.
        """
        payload = await request.payload_for(connection)
        return await self._send(connection, statement, request, payload, sql, may_decline=may_decline)

    async def _send(
        self,
        connection: BackendConnection,
        statement: Statement,
        request: Request,
        payload: bytes,
        sql: bytes,
        *,
        may_decline: bool,
    ) -> bool:
        """Send a command and relay its response; false when it was declined and another must run it."""
        tracker, command = connection.tracker, request.command
        self.last = connection
        if request.once:
            self.connections.passing_on = True
            with self.connections.receiving():
                all_sent = await request.send(connection, payload)
        else:
            all_sent = await request.send(connection, payload)
        with_cursor = opens_cursor(payload)
        tracker.begin(command, opens_cursor=with_cursor)
        rewriter = None
        if self._rewrites and (self._deprecates_eof or not statement.one_result) and command in _RESULTS:
            rewriter = Rewriter(connection.capabilities, self._client_capabilities, opens_cursor=with_cursor)
        try:
            data, sent = await relay_response(connection, self._client, rewriter, whole=request.whole)
        except ConnectionLost as error:
            if not all_sent:
                raise CommandCutShort("the connection broke in the middle of the command") from error
            raise
        if not all_sent:
            connection.closed = True
        return await self._answered(
            connection, statement, request, sql, data, sent=sent, rewriter=rewriter, may_decline=may_decline
        )

    async def resume(
        self,
        connection: BackendConnection,
        statement: Statement,
        command: int,
        data: bytes | bytearray,
        *,
        sent: bool,
        rewriter: Rewriter | None,
    ) -> None:
        """Take up a response that the relay engine has begun.

        Args:
            connection: its tracker has been fed `data`.
            statement: what was sent.
            command: its first byte.
            data: to be sent to the client, nothing before it is missing.
            sent: whether something came before it.
            rewriter: has been fed `data` as well.

        Raises: see `execute`.
        """
        request = TextRequest(bytes((command,)))
        try:
            data, sent = await relay_response(connection, self._client, rewriter, first=data, sent=sent)
            await self._answered(
                connection, statement, request, b"", data, sent=sent, rewriter=rewriter, may_decline=False
            )
        except (ConnectionLost, RemoteProtocolError) as error:
            connection.closed = True
            if sent or not connection.leader:
                raise PartlySent from error
            await self.on_leader_lost(statement, error)

    async def _answered(
        self,
        connection: BackendConnection,
        statement: Statement,
        request: Request,
        sql: bytes,
        data: bytes | bytearray,
        *,
        sent: bool,
        rewriter: Rewriter | None,
        may_decline: bool,
    ) -> bool:
        """Do what a response asks for, and send its end; false when it declined."""
        tracker, command = connection.tracker, request.command
        error = tracker.error
        if error is not None and not sent:
            if may_decline and self._is_declined(connection, error):
                if request.once:
                    raise NotCarriedOut("The cluster's leader is giving up its role") from error
                return False
            if self.facts.in_transaction and _is_demoted(connection, error):
                # The old leader did not wait for its end. Only from its beginning can it run on another.
                self.facts.in_transaction = False
                await self.connections.drop_writer()
                self._statistics.transactions_lost += 1
                raise TransactionLost
        if error is not None and error.errno == ER_NET_PACKET_TOO_LARGE:
            # The server has not even read it.
            statement = replace(statement, effects=Effect.NONE)
        if connection.leader:
            self._statistics.leader_statements += 1
            if command != Command.STMT_PREPARE:
                known = command == Command.QUERY and sql and statement.kind is Kind.TRANSACTION
                begins = beginning(statement, bytes((command,)) + sql) if known else None
                await self._after_leader(connection, statement, sql, sent=sent, begins=begins)
        else:
            self._statistics.local_statements += 1
            if error is None and statement.kind is Kind.SETTINGS:
                await self.memory.on_statement(connection, statement, sql)
        data = request.on_response(connection, data)
        if self._rewrites and rewriter is None and command != Command.STMT_PREPARE and is_lone_ok(data):
            ok = rewrite_ok(bytes(data[4:]), connection.capabilities, self._client_capabilities)
            data = packet(ok, data[3])
        try:
            await self._client.send_raw(data)
        except ConnectionLost as lost:
            raise ClientGone from lost
        return True

    def _is_declined(self, connection: BackendConnection, error: ServerError) -> bool:
        if connection.leader:
            return _is_demoted(connection, error)
        if error.errno == ER_MUST_CHANGE_PASSWORD:
            # MariaDB leaves a session there until it has changed the password itself, which is not here.
            connection.sandboxed = True
            return True
        if error.errno in MISJUDGED:
            self._statistics.misjudged_reads += 1
            return True
        # A temporary table that a function or trigger made is on the leader only.
        return error.errno == ER_NO_SUCH_TABLE and self.connections.writer is not None

    async def _after_leader(
        self,
        writer: BackendConnection,
        statement: Statement,
        sql: bytes,
        *,
        sent: bool,
        begins: bytes | None,
    ) -> None:
        tracker = writer.tracker
        status, error = tracker.status, tracker.error
        if error is not None:
            self.facts.begun = None
        if error is None:
            self.facts.note_transaction(bool(status & _IN_TRANS), begins)
            self.facts.autocommit = bool(status & _AUTOCOMMIT)
        elif self.facts.in_transaction and (statement.intent or error.errno in MAY_ROLL_BACK):
            await self._ask_transaction(writer)
        gtid = tracker.gtid
        if error is None or statement.effects & Effect.PERHAPS_TEMPORARY_TABLES:
            await self.memory.on_statement(writer, statement, sql)
        else:
            self.memory.on_failed(writer, statement)
        if writer.forbidden_changes:
            await self._end_cut_loose(writer, sent=sent)
        if statement.sets_globals and (error is None or not statement.one_result):
            await self._spread_globals(writer, statement, sent=sent)
        if gtid is None and statement.may_write and status & _STATE_CHANGED and error is None:
            # A response with rows has no room for it; the flag says that something changed.
            gtid = await self._ask_gtid(writer)
        if gtid is None or gtid == writer.last_gtid:
            self.consistency.on_leader_read(self.views.current.committed_sequence)
            return
        writer.last_gtid = gtid
        sequence = sequence_of(gtid)
        if not self.views.is_committed(sequence, writer.term):
            await self._wait_committed(sequence, writer.term, sent=sent)
        self.consistency.on_written(sequence)
        if not statement.one_result:
            self.consistency.on_leader_read(self.views.current.committed_sequence)

    async def _end_cut_loose(self, writer: BackendConnection, *, sent: bool) -> None:
        """A stored program has set what no session may: nothing more is to run under that."""
        names = ", ".join(sorted(name.decode() for name in writer.forbidden_changes))
        self._statistics.programs_cut_loose += 1
        log.error(
            "a stored program has set what no session may",
            variables=names,
            user=self.connections.credentials.response.user.decode("utf-8", "replace"),
            schema=self.state.schema.decode("utf-8", "replace"),
        )
        await self.connections.drop_writer()
        if sent:
            raise PartlySent
        raise ProgramCutLoose(names)

    async def _spread_globals(self, writer: BackendConnection, statement: Statement, *, sent: bool) -> None:
        """The leader's MariaDB has taken global variables: the other nodes get its values of them."""
        globals_set = [item for item in statement.assignments if item.scope is Scope.GLOBAL]
        names = [variable_name(item) for item in globals_set if not is_default(item)]
        try:
            await self._backends.spread_settings(
                term=writer.term,
                names=names,
                defaults=[variable_name(item) for item in globals_set if is_default(item)],
                user=self.connections.credentials.response.user.decode("utf-8", "replace"),
            )
        except ControlLost as error:
            if sent:
                raise PartlySent from error
            raise ProxyError(
                ER_NO_MAJORITY,
                "HY000",
                f"The leader's MariaDB has taken the setting, but the cluster has perhaps not ({error}): run "
                "the statement again",
            ) from error

    async def _wait_committed(self, sequence: int, term: int, *, sent: bool) -> None:
        views = self.views
        with self.connections.waits.named(WAITS_FOR_MAJORITY):
            await views.changes.wait_until(
                lambda: views.is_committed(sequence, term) or views.current.term != term
            )
        if views.is_committed(sequence, term):
            return
        self._statistics.outcomes_unknown += 1
        self.facts.in_transaction = False
        await self.connections.drop_writer()
        if sent:
            raise PartlySent
        raise OutcomeUnknown(
            "The cluster's leader changed before a majority was known to hold this change: whether it is "
            "kept is unknown; look before trying again"
        )

    async def _ask_gtid(self, writer: BackendConnection) -> str | None:
        status = writer.tracker.status
        try:
            value = await writer.value("SELECT @@last_gtid")
        except (ConnectionLost, ServerError):
            return None
        writer.tracker.status = status
        return value.decode() if value else None

    async def _ask_transaction(self, writer: BackendConnection) -> None:
        """An error may have ended the transaction, and carries no status to say so."""
        try:
            self.facts.in_transaction = await writer.value("SELECT @@in_transaction") == b"1"
        except (ConnectionLost, ServerError):
            writer.closed = True


def _is_demoted(connection: BackendConnection, error: ServerError) -> bool:
    """Whether a leader refused a statement since it is about to stop being one.

    A user's own read-only transaction gives 1792, and is nobody's business.
    """
    return connection.leader and error.errno == ER_READ_ONLY_SERVER and "read-only" in error.message
