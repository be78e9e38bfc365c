"""What the leader's answer to a statement means for the session, or that none came.

The transaction, the settings, what reads have to see from now on; and the second lock: the client hears OK
when the log holds the statement's GTID.
"""

from wolfscale import logs
from wolfscale.mysql.constants import Status
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.connections import Connections
from wolfscale.proxy.consistency import SessionConsistency, sequence_of
from wolfscale.proxy.errors import ER_NO_MAJORITY, ControlLost, OutcomeUnknown, ProgramCutLoose, ProxyError
from wolfscale.proxy.global_variables import is_default, variable_name
from wolfscale.proxy.memory import SessionMemory
from wolfscale.proxy.relay import PartlySent
from wolfscale.proxy.requests import CommandCutShort, NotCarriedOut
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.settings import Scope
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.statistics import Statistics

log = logs.logger(__name__)

MAY_ROLL_BACK = frozenset({1205, 1213, 1020, 1180, 1181, 1290, 1792, 1969, 1317, 1614})
"""Errors after which a transaction may be gone: lock wait, deadlock, snapshot conflict, interruption."""
WAITS_FOR_MAJORITY = "Waiting for a majority to hold the commit"

_STATE_CHANGED = int(Status.SESSION_STATE_CHANGED)
_IN_TRANS = int(Status.IN_TRANS)
_AUTOCOMMIT = int(Status.AUTOCOMMIT)


class LeaderAnswers:
    """Follows what one session's statements did on the leader."""

    def __init__(
        self,
        *,
        connections: Connections,
        backends: Backends,
        state: SessionState,
        facts: SessionFacts,
        memory: SessionMemory,
        consistency: SessionConsistency,
        statistics: Statistics,
    ) -> None:
        self._connections = connections
        self._backends = backends
        self._state = state
        self._facts = facts
        self._memory = memory
        self._consistency = consistency
        self._statistics = statistics

    async def follow(
        self,
        writer: BackendConnection,
        statement: Statement,
        sql: bytes,
        *,
        sent: bool,
        begins: bytes | None,
    ) -> None:
        """The leader has answered: draw the consequences before the client gets the end of it.

        Args:
            writer: the connection; its tracker has seen the whole answer.
            statement: what was answered.
            sql: its text.
            sent: whether the client has got some of the answer.
            begins: the command, if it may have begun a transaction; see `beginning`.

        Raises:
            ProxyError: what the client is to be told instead.
            PartlySent: likewise, but it is too late for that.
        """
        tracker = writer.tracker
        status, error = tracker.status, tracker.error
        if error is not None:
            self._facts.begun = None
        if error is None:
            self._facts.note_transaction(bool(status & _IN_TRANS), begins)
            self._facts.autocommit = bool(status & _AUTOCOMMIT)
        elif self._facts.in_transaction and (statement.intent or error.errno in MAY_ROLL_BACK):
            await self._ask_transaction(writer)
        gtid = tracker.gtid
        if error is None or statement.effects & Effect.PERHAPS_TEMPORARY_TABLES:
            await self._memory.on_statement(writer, statement, sql)
        else:
            self._memory.on_failed(writer, statement)
        if writer.forbidden_changes:
            await self.end_cut_loose(writer, sent=sent)
        if statement.sets_globals and (error is None or not statement.one_result):
            await self._spread_globals(writer, statement, sent=sent)
        if gtid is None and statement.may_write and status & _STATE_CHANGED and error is None:
            # A response with rows has no room for it; the flag says that something changed.
            gtid = await self._ask_gtid(writer)
        if gtid is None or gtid == writer.last_gtid:
            self._consistency.on_leader_read(self._backends.views.current.committed_sequence)
            return
        writer.last_gtid = gtid
        sequence = sequence_of(gtid)
        if not self._backends.views.is_committed(sequence, writer.term):
            await self._wait_committed(sequence, writer.term, sent=sent)
        self._consistency.on_written(sequence)
        if not statement.one_result:
            self._consistency.on_leader_read(self._backends.views.current.committed_sequence)

    async def end_cut_loose(self, writer: BackendConnection, *, sent: bool) -> None:
        """A stored program has set what no session may: nothing more is to run under that."""
        names = ", ".join(sorted(name.decode() for name in writer.forbidden_changes))
        self._statistics.programs_cut_loose += 1
        log.error(
            "a stored program has set what no session may",
            variables=names,
            user=self._connections.credentials.response.user.decode("utf-8", "replace"),
            schema=self._state.schema.decode("utf-8", "replace"),
        )
        await self._connections.drop_writer()
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
                user=self._connections.credentials.response.user.decode("utf-8", "replace"),
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
        views = self._backends.views
        with self._connections.waits.named(WAITS_FOR_MAJORITY):
            await views.changes.wait_until(
                lambda: views.is_committed(sequence, term) or views.current.term != term
            )
        if views.is_committed(sequence, term):
            return
        self._statistics.outcomes_unknown += 1
        self._facts.in_transaction = False
        await self._connections.drop_writer()
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
            self._facts.in_transaction = await writer.value("SELECT @@in_transaction") == b"1"
        except (ConnectionLost, ServerError):
            writer.closed = True

    def can_run_again(self, statement: Statement) -> bool:
        """Whether a statement whose answer never came has certainly changed nothing that lasts."""
        # A write that would have been the first of its transaction may have been into a table without any.
        return statement.kind is Kind.READ and not self._facts.is_bound

    async def on_lost(self, statement: Statement, error: Exception) -> None:
        """The leader's connection broke before it answered: say what that means for the client.

        Raises:
            ProxyError: the transaction is rolled back, or the outcome is unknown.
        """
        self._connections.check_alive()
        in_transaction, self._facts.in_transaction = self._facts.in_transaction, False
        await self._connections.drop_writer()
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
