"""What of a session's traffic needs nothing but passing on: decided here, without input or output.

A `Shortcut` is asked about each command that a client sends and about each chunk of what a server answers. It
lets through what the session's task would only have passed on: plain reads that go to the local connection as
it is, statements for the leader's that need nothing before and nothing after, executions of what is prepared
there, pings. Everything else is the task's: then the shortcut says so, and has changed nothing.
"""

from enum import Enum, auto
from time import monotonic

from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import Ok, build_ok, rewrite_ok
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.connections import ER_MUST_CHANGE_PASSWORD
from wolfscale.proxy.consistency import Level, sequence_of
from wolfscale.proxy.digest import Digests
from wolfscale.proxy.errors import is_of_demoted
from wolfscale.proxy.execution import (
    ER_NO_SUCH_TABLE,
    MISJUDGED,
    Executor,
)
from wolfscale.proxy.leader_answers import MAY_ROLL_BACK
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.prepared import PreparedStatements, executed_in_place
from wolfscale.proxy.relay import Rewriter, is_lone_ok
from wolfscale.proxy.router import Target, beginning, route
from wolfscale.proxy.statement import Kind, Statement
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.view import View, Views

_QUERY = int(Command.QUERY)
_STMT_EXECUTE = int(Command.STMT_EXECUTE)
_PING = int(Command.PING)
_IN_TRANS = int(Status.IN_TRANS)
_AUTOCOMMIT = int(Status.AUTOCOMMIT)
_STATE_CHANGED = int(Status.SESSION_STATE_CHANGED)
_NO_BACKSLASH_ESCAPES = int(Status.NO_BACKSLASH_ESCAPES)
_READ = Kind.READ
_TRANSACTION = Kind.TRANSACTION
_A_PLAIN_READ = Statement(kind=Kind.READ, reason="")
_NO_TEXTS = Digests(LexerMode())


class Verdict(Enum):
    """What is to be done."""

    SLOW = auto()
    """The session's task takes over."""
    SEND = auto()
    """Pass on, and more follows."""
    DONE = auto()
    """Pass on (to the client), and the command is answered."""
    HOLD = auto()
    """Keep the end of the response until the log holds its GTID: ask `release` after each new view."""
    REPLAY = auto()
    """Nothing of the response was passed on: the session's task runs the command from the start."""
    UNKNOWN = auto()
    """The leader's connection broke before it answered: the session's task knows what to say."""
    BROKEN = auto()
    """The connection broke in the middle of a response: the session ends."""


SLOW, SEND, DONE, HOLD = Verdict.SLOW, Verdict.SEND, Verdict.DONE, Verdict.HOLD
REPLAY, UNKNOWN, BROKEN = Verdict.REPLAY, Verdict.UNKNOWN, Verdict.BROKEN


class Shortcut:
    """Decides for one session.

    Attributes:
        connection: has the command that is under way.
        statement: that command's.
        command: its first byte.
        data: what is to be passed on.
        sent: whether any of the response was passed on before.
        rewriter: takes session tracking out of that response; None where nothing needs taking out.
        since: when the newest command began, or ended if it has, by the monotonic clock.
    """

    __slots__ = (
        "_asked",
        "_begins",
        "_capabilities",
        "_classifier",
        "_consistency",
        "_deprecates_eof",
        "_digests",
        "_executor",
        "_facts",
        "_follows",
        "_known",
        "_leader_reads",
        "_memory",
        "_mode",
        "_prepared",
        "_reader",
        "_rewrites",
        "_seen",
        "_state",
        "_statistics",
        "_tracker",
        "_views",
        "_writer",
        "command",
        "connection",
        "data",
        "rewriter",
        "sent",
        "since",
        "statement",
    )

    def __init__(
        self,
        *,
        client_capabilities: int,
        executor: Executor,
        prepared: PreparedStatements,
        classifier: Classifier,
        statistics: Statistics,
        views: Views,
    ) -> None:
        self._capabilities = client_capabilities
        self._rewrites = not client_capabilities & Capability.SESSION_TRACK
        self._deprecates_eof = bool(client_capabilities & Capability.DEPRECATE_EOF)
        self._executor = executor
        self._memory = executor.memory
        self._facts = executor.facts
        self._state = executor.state
        self._consistency = executor.consistency
        self._prepared = prepared
        self._classifier = classifier
        self._mode = executor.memory.mode
        self._digests = self._known = classifier.digests(self._mode)
        self._statistics = statistics
        self._views = views
        self._seen: View | None = None
        self._leader_reads = False
        self._follows = False
        self._reader: BackendConnection | None = None
        self._writer: BackendConnection | None = None
        self._begins: bytes | None = None
        self.connection: BackendConnection | None = None
        self._tracker: ResponseTracker | None = None
        self.statement = _A_PLAIN_READ
        self.command = 0
        self.data: bytes | bytearray = b""
        self.sent = False
        self.rewriter: Rewriter | None = None
        self.since = 0.0
        self._asked: bytes = b""

    @property
    def text(self) -> bytes:
        """The text of the command that is under way."""
        return self._asked[5:] if self.command == _QUERY else self._asked

    def look_again(self) -> None:
        """Something may have changed beside the shortcut: the session's task has run, a connection broke."""
        self._seen = None
        # The task may have chosen another server to read from, which has views of its own.
        self._views = self._executor.views

    def request(self, data: bytes) -> Verdict:
        """A command has come.

        Args:
            data: one whole packet with its header, shorter than `MAX_PACKET_PAYLOAD`.

        Returns:
            SEND: `data` goes to `connection`; DONE: it is the answer; SLOW.
        """
        # A command's number is 0; the session's task puts right what is not.
        if len(data) < 5 or data[3]:
            return SLOW
        if self._views.current is not self._seen:
            self._look()
        code = data[4]
        prepared = None
        if code == _QUERY:
            statement = self._known.find(data[5:])
            if statement is None:
                return SLOW
            self._classifier.hits += 1
        elif code == _STMT_EXECUTE:
            prepared = self._prepared.find(data[5:9])
            if prepared is None:
                return SLOW
            statement = prepared.statement
        elif code == _PING and len(data) == 5:
            return self._pong()
        else:
            return SLOW
        if statement.kind is _READ and not self._leader_reads:
            connection = self._reader
            if self._follows and self._consistency.is_behind(self._views.current.applied_sequence):
                return SLOW
        else:
            connection = self._writer if statement.plain else None
        if connection is None:
            return SLOW
        if prepared is not None:
            executed = executed_in_place(data, prepared, connection)
            if executed is None:
                return SLOW
            data = executed
            self._asked = prepared.sql
        else:
            self._asked = data
        self.data = data
        self._begins = (
            beginning(statement, data[4:]) if code == _QUERY and statement.kind is _TRANSACTION else None
        )
        self.begin(code, statement, connection)
        return SEND

    def begin(self, code: int, statement: Statement, connection: BackendConnection) -> None:
        """A command is sent: its response is followed from now on."""
        self.since = connection.used = monotonic()
        self.command = code
        self.statement = statement
        self.connection = connection
        self.sent = False
        tracker = self._tracker = connection.tracker
        tracker.begin(code, statement.head)
        self._executor.last = connection
        self.rewriter = None
        if self._rewrites and (self._deprecates_eof or not statement.one_result):
            self.rewriter = Rewriter(connection.capabilities, self._capabilities)

    def _look(self) -> None:
        """Keep what holds for every statement until the view, or something of the session, changes."""
        view = self._seen = self._views.current
        executor, memory = self._executor, self._memory
        if memory.mode is not self._mode:
            self._mode = memory.mode
            self._digests = self._classifier.digests(memory.mode)
        # Nothing is known of texts in a character set that needs care.
        self._known = _NO_TEXTS if memory.character_set else self._digests
        connections, known = executor.connections, self._state.last_number
        reader, writer = connections.reader, connections.writer
        self._reader = self._writer = None
        self._follows = self._consistency.level is Level.NODE and not self._facts.local_transaction
        if executor.variable_reads.is_active:
            # The task has to look at each text until FOUND_ROWS() and the warnings are another statement's.
            self._leader_reads = False
            return
        if (
            reader is not None
            and reader.is_passable(known)
            and view.database_ready
            and not (view.crowded and executor.connections.credentials.reopens)
            and self._consistency.allows(view.applied_sequence)
            and not executor.bounds.lags(view)
        ):
            self._reader = reader
        if (
            writer is not None
            and writer.is_passable(known)
            and writer.term == view.term
            and (view.writable or self._facts.is_bound)
        ):
            self._writer = writer
        if connections.leader_may_be_due:
            self._reader = reader = None
        if self._facts.local_transaction:
            # Its snapshot is what it must see, and all else is the task's.
            self._reader = reader if reader is not None and reader.is_passable(known) else None
            self._writer = None
            self._leader_reads = self._consistency.level is Level.LEADER
            return
        leads = view.is_leader and view.writable
        if self._consistency.level is Level.STRONG and not self._facts.in_transaction:
            # Without a reader every read is the task's, which has a majority confirm it first.
            self._reader = None
            self._leader_reads = False
            return
        leads = leads or self._consistency.level is Level.LEADER
        self._leader_reads = leads or route(_A_PLAIN_READ, self._facts).target is not Target.LOCAL

    def _pong(self) -> Verdict:
        """The proxy is alive; a session's servers come and go without its noticing."""
        self.since = monotonic()
        self.data = packet(build_ok(Ok(status=self._executor.status), self._capabilities), 1)
        return DONE

    def response(self, data: bytes) -> Verdict:
        """A server has sent something.

        Returns:
            SEND or DONE: `data` goes to the client. HOLD or SLOW: it does later. REPLAY, UNKNOWN, BROKEN: it
            does not.
        """
        tracker, connection = self._tracker, self.connection
        assert tracker is not None
        assert connection is not None
        try:
            end = tracker.feed(data)
        except RemoteProtocolError:
            return self.lost()
        if end < len(data):
            # Nobody asked for more: the server says that it closes, and why. That is for no one to read.
            data = data[:end]
            connection.closed = True
            self._seen = None
        if self.rewriter is not None:
            data = self.rewriter.feed(data)
        self.data = data
        if not tracker.done:
            return SLOW if tracker.awaiting_client else SEND
        if connection.leader:
            return self._conclude()
        error = tracker.error
        if error is not None and not self.sent and self._is_declined_locally(error):
            return REPLAY
        self._statistics.local_statements += 1
        return self._done()

    def _is_declined_locally(self, error: ServerError) -> bool:
        # The task will hear the same, count it, and ask the leader.
        if error.errno in MISJUDGED or error.errno == ER_MUST_CHANGE_PASSWORD:
            return True
        return error.errno == ER_NO_SUCH_TABLE and self._executor.connections.writer is not None

    def _done(self) -> Verdict:
        self._statistics.relayed_statements += 1
        self.since = monotonic()
        self._asked = b""
        if self._rewrites and self.rewriter is None and is_lone_ok(self.data):
            assert self.connection is not None
            data = self.data
            ok = rewrite_ok(bytes(data[4:]), self.connection.capabilities, self._capabilities)
            self.data = packet(ok, data[3])
        self.connection = None
        return DONE

    def _conclude(self) -> Verdict:
        """The leader has answered. What is not plainly without a consequence is left to the task."""
        writer, tracker, statement = self.connection, self._tracker, self.statement
        assert writer is not None
        assert tracker is not None
        changes, error, status = tracker.changes, tracker.error, tracker.status
        if changes is not None and (changes.schema is not None or changes.variables):
            return SLOW
        gtid = changes.gtid if changes is not None else None
        facts = self._facts
        if error is not None:
            if is_of_demoted(error) and not facts.is_bound:
                return SLOW if self.sent else REPLAY
            if gtid is not None or (facts.in_transaction and error.errno in MAY_ROLL_BACK):
                return SLOW
        elif bool(status & _NO_BACKSLASH_ESCAPES) == self._memory.mode.backslash_escapes:
            return SLOW
        if gtid is None:
            if statement.may_write and status & _STATE_CHANGED and error is None:
                return SLOW  # a response with rows has no room for its GTID: it must be asked for
        elif gtid != writer.last_gtid and not self._views.is_committed(sequence_of(gtid), writer.term):
            return HOLD
        if error is not None:
            facts.begun = None
        else:
            facts.note_transaction(bool(status & _IN_TRANS), self._begins)
            facts.autocommit = bool(status & _AUTOCOMMIT)
        consistency = self._consistency
        if gtid is None or gtid == writer.last_gtid:
            consistency.on_leader_read(self._views.current.committed_sequence)
        else:
            writer.last_gtid = gtid
            consistency.on_written(sequence_of(gtid))
            if not statement.one_result:
                consistency.on_leader_read(self._views.current.committed_sequence)
        self._statistics.leader_statements += 1
        self._seen = None
        return self._done()

    def release(self) -> Verdict:
        """Decide again about a response that is held: DONE, HOLD, or SLOW since its term has ended."""
        writer = self.connection
        assert writer is not None
        verdict = self._conclude()
        if verdict is HOLD and writer.term != self._views.current.term:
            return SLOW
        return verdict

    def lost(self) -> Verdict:
        """The connection broke: REPLAY, UNKNOWN or BROKEN."""
        connection = self.connection
        assert connection is not None
        connection.closed = True
        self._seen = None
        if self.sent:
            return BROKEN
        if not connection.leader or self._executor.leader_answers.can_run_again(self.statement):
            return REPLAY
        return UNKNOWN

    async def go_on(self) -> None:
        """In the session's task: take up the response where the shortcut left it (SLOW).

        Raises: see `Executor.execute`.
        """
        connection, self.connection = self.connection, None
        assert connection is not None
        await self._executor.resume(
            connection, self.statement, self.command, self.data, sent=self.sent, rewriter=self.rewriter
        )

    async def give_up(self) -> None:
        """In the session's task: say what an answer that never came means (UNKNOWN).

        Raises:
            ProxyError: that.
        """
        self.connection = None
        await self._executor.leader_answers.on_lost(
            self.statement, ConnectionLost("the leader closed the connection")
        )
