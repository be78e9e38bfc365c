"""Running one statement of a session: the right connection, the waits before and after, the response.

Before a local read: the local MariaDB must have applied what the session must see. Before a statement that is
no plain DML on the leader: the intent mark. After a statement that wrote: its GTID must be in the log before
the client hears OK (the second lock; the first is semi-synchronous replication itself).
"""

from contextlib import nullcontext
from dataclasses import replace
from time import monotonic

import trio

from wolfscale import logs
from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.errors import ER_NET_PACKET_TOO_LARGE, ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import rewrite_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.acknowledged import Acknowledged
from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.connections import ER_BAD_DB, ER_MUST_CHANGE_PASSWORD, Bounds, Connections
from wolfscale.proxy.consistency import Level, SessionConsistency
from wolfscale.proxy.errors import NoLeader, RefusedStatement, TransactionLost, is_of_demoted
from wolfscale.proxy.freshness import Freshness
from wolfscale.proxy.intent import IntentMark
from wolfscale.proxy.leader_answers import LeaderAnswers
from wolfscale.proxy.local_transactions import LocalTransactions
from wolfscale.proxy.memory import SessionMemory
from wolfscale.proxy.relay import ClientGone, PartlySent, Rewriter, is_lone_ok, relay_response
from wolfscale.proxy.requests import CommandCutShort, NotCarriedOut, Request, TextRequest
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

_RESULTS = frozenset(
    {Command.QUERY, Command.STMT_EXECUTE, Command.STMT_BULK_EXECUTE, Command.STMT_FETCH, Command.PROCESS_INFO}
)
"""Commands whose responses are made of results, in which OK packets may stand anywhere."""
_IN_TRANS = int(Status.IN_TRANS)
_AUTOCOMMIT = int(Status.AUTOCOMMIT)


class Executor:
    """Runs a session's statements, one at a time.

    Attributes:
        connections: the session's two.
        state: what it has set.
        facts: what routing asks.
        memory: keeps both true, and knows how the session's text is read.
        variable_reads: has what the session's user variables were given read.
        table_checks: looks at tables that MariaDB would log in words of its own.
        leader_answers: draws the consequences of what the leader did.
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
        acknowledged: Acknowledged | None = None,
    ) -> None:
        self.connections = connections
        self.state = state
        self.facts = facts
        self.consistency = SessionConsistency(bounds.consistency, acknowledged)
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
        self.leader_answers = LeaderAnswers(
            connections=connections,
            backends=backends,
            state=state,
            facts=facts,
            memory=self.memory,
            consistency=self.consistency,
            statistics=statistics,
        )
        self._intent_mark = IntentMark(connections, backends, state, facts, bounds)
        self._freshness = Freshness(connections, backends, self.consistency, bounds)
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
        await self.connections.keep_leader()
        if (
            self.facts.local_transaction
            and request.command != Command.STMT_PREPARE
            and await self._local_transactions.run(statement, request, sql)
        ):
            return
        target = route(statement, self.facts).target
        level = self.consistency.now
        if target is Target.LOCAL and level is Level.STRONG:
            await self._freshness.confirm()
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
        names_new = statement.schema or any(item.scope is Scope.ROLE for item in statement.assignments)
        if names_new and not await self._freshness.wait_applied():
            return False
        try:
            await self.connections.bring_up_to_date(connection)
            return await self.run_on(connection, statement, request, sql, may_decline=True)
        except (ConnectionLost, RemoteProtocolError):
            await self.connections.drop(connection)
            return False

    async def run_locally(self, statement: Statement, request: Request, sql: bytes) -> bool:
        """Run a read on the local MariaDB; false when the leader has to."""
        while (connection := await self.connections.local()) is not None:
            if self.bounds.lags(self.views.current):
                self._statistics.lagging_reads += 1
                return False
            if not await self._freshness.wait_applied():
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
                    await self.leader_answers.end_cut_loose(writer, sent=False)
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
                mark = self._intent_mark.around(writer, request) if statement.intent else nullcontext()
                async with mark:
                    done = await self._send(
                        writer, statement, request, payload, sql, may_decline=not self.facts.is_bound
                    )
            except (ConnectionLost, RemoteProtocolError) as error:
                writer.closed = True
                if self.leader_answers.can_run_again(statement):
                    continue
                await self.leader_answers.on_lost(statement, error)
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
        connection.used = monotonic()
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
            rewriter = Rewriter(
                connection.capabilities,
                self._client_capabilities,
                opens_cursor=with_cursor,
                fetches=command == Command.STMT_FETCH,
            )
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
            await self.leader_answers.on_lost(statement, error)

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
            if self.facts.in_transaction and connection.leader and is_of_demoted(error):
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
                await self.leader_answers.follow(connection, statement, sql, sent=sent, begins=begins)
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
            return is_of_demoted(error)
        if error.errno == ER_MUST_CHANGE_PASSWORD:
            # MariaDB leaves a session there until it has changed the password itself, which is not here.
            connection.sandboxed = True
            return True
        if error.errno in MISJUDGED:
            self._statistics.misjudged_reads += 1
            return True
        if error.errno == ER_BAD_DB and self.views.current.writable:
            return True  # another node's client may just have made it
        # A temporary table that a function or trigger made is on the leader only.
        return error.errno == ER_NO_SUCH_TABLE and self.connections.writer is not None
