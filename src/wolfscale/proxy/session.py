"""One client's session: its commands, one after the other, each answered before the next is read."""

import contextlib
import time

import trio

from wolfscale.mysql.auth import PROOF_BYTES
from wolfscale.mysql.commands import ChangeUser, parse_command
from wolfscale.mysql.constants import Command, Status
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.proxy_protocol import client_address
from wolfscale.mysql.results import Ok, build_error, build_ok
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.acknowledged import Acknowledged
from wolfscale.proxy.activity import Activity
from wolfscale.proxy.backend import Backends
from wolfscale.proxy.change_user import relay_change_user
from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.client_compression import CompressedStream
from wolfscale.proxy.connections import Bounds, Connections
from wolfscale.proxy.dialogue import LogInRefused
from wolfscale.proxy.engine import Arrival, Engine, Lane
from wolfscale.proxy.errors import ConnectionKilled, ProxyError
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.handshake import LoggedIn
from wolfscale.proxy.idle_sessions import IdleSessions
from wolfscale.proxy.interruption import Interruption
from wolfscale.proxy.kill_calls import KillCall
from wolfscale.proxy.killing import Killing
from wolfscale.proxy.known import SYSTEM_SCHEMAS
from wolfscale.proxy.own_answers import SESSION_COLUMNS, OwnAnswers
from wolfscale.proxy.prepared import PreparedStatements
from wolfscale.proxy.refresh import refresh_text
from wolfscale.proxy.relay import ClientGone, PartlySent
from wolfscale.proxy.requests import TextRequest
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.shortcut import Shortcut
from wolfscale.proxy.state import SessionState
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.statistics import Statistics
from wolfscale.proxy.texts import Texts
from wolfscale.proxy.upload import HEAD_BYTES, Upload
from wolfscale.proxy.waits import RECEIVING
from wolfscale.sockets import NonblockingStream

ER_UNKNOWN_COMMAND = 1047
_AUTOCOMMIT = int(Status.AUTOCOMMIT)

_SCHEMA_CHANGE = Statement(kind=Kind.SETTINGS, reason="changes the default schema", schema=True)
_FIELD_LIST = Statement(kind=Kind.READ, reason="describes a table")
_EITHER = Statement(kind=Kind.SETTINGS, reason="asks for what either server can say")
_PROCESS_INFO = Statement(kind=Kind.OTHER, reason="shows the leader's sessions")
_FLUSHING = Statement(kind=Kind.OTHER, reason="flushes what the leader's server keeps")
_DEBUG = Statement(kind=Kind.OTHER, reason="has the leader's server describe itself in its own log")


class Session:
    """A logged-in client."""

    def __init__(
        self,
        client: PacketStream,
        logged_in: LoggedIn,
        *,
        backends: Backends,
        classifier: Classifier,
        statistics: Statistics,
        bounds: Bounds,
        engine: Engine | None = None,
        idle_sessions: IdleSessions | None = None,
        acknowledged: Acknowledged | None = None,
        id: int = 0,
    ) -> None:
        """Begin a session.

        Args:
            client: logged in.
            logged_in: what the log-in gave.
            backends: where the servers are.
            classifier: the worker's.
            statistics: the worker's.
            bounds: how long the session waits.
            engine: carries what needs none of this task, if the client's stream lets it.
            idle_sessions: ends the session when its client has asked for nothing for too long.
            acknowledged: what the proxy's sessions were told; None: this is the only one.
            id: the session's, as its client knows it.
        """
        self.id = id
        self._began = trio.current_time()
        self._client = client
        self._capabilities = logged_in.credentials.client_capabilities
        self._backends = backends
        self._statistics = statistics
        self._state = SessionState()
        self._facts = SessionFacts()
        self._facts.log_in = logged_in.credentials.leader_only
        first = logged_in.connection
        self.connections = Connections(
            first,
            backends=backends,
            credentials=logged_in.credentials,
            state=self._state,
            facts=self._facts,
            bounds=bounds,
            statistics=statistics,
        )
        self._executor = Executor(
            client=client,
            client_capabilities=logged_in.credentials.client_capabilities,
            connections=self.connections,
            backends=backends,
            state=self._state,
            facts=self._facts,
            bounds=bounds,
            statistics=statistics,
            acknowledged=acknowledged,
        )
        self._prepared = PreparedStatements(self._executor, backends)
        self._shortcut = Shortcut(
            client_capabilities=self._capabilities,
            executor=self._executor,
            prepared=self._prepared,
            classifier=classifier,
            statistics=statistics,
            views=backends.views,
        )
        self.interruption = Interruption(self.connections, backends)
        self._activity = Activity(
            interruption=self.interruption,
            waits=self.connections.waits,
            shortcut=self._shortcut,
            prepared=self._prepared,
        )
        self._killing = Killing(executor=self._executor, backends=backends, session_id=id)
        self._texts = Texts(
            client,
            self._capabilities,
            session_id=id,
            executor=self._executor,
            prepared=self._prepared,
            own_answers=OwnAnswers(
                executor=self._executor,
                classifier=classifier,
                backends=backends,
                statistics=statistics,
                bounds=bounds,
            ),
            killing=self._killing,
            classifier=classifier,
            backends=backends,
            statistics=statistics,
        )
        self._idle_sessions = idle_sessions or IdleSessions()
        self._watched_timeout = first.wait_timeout
        self._lane: Lane | None = None
        if engine is not None and isinstance(client.stream, NonblockingStream):
            self._lane = Lane(engine, client, self._shortcut)
        self._begin_in(logged_in.database)
        self._facts.autocommit = bool(first.tracker.status & _AUTOCOMMIT)
        first.known_entries = self._state.last_number
        client.max_payload_bytes = HEAD_BYTES

    def _begin_in(self, database: bytes) -> None:
        if database:
            self._state.add_schema(database)
        self._facts.system_schema = database.decode("latin-1").upper() in SYSTEM_SCHEMAS

    async def run(self) -> None:
        """Serve the client until it leaves. Never raises for what the client or a server does."""
        self._idle_sessions.watch(self)
        try:
            with self.interruption.scope:
                await self._serve()
        except RemoteProtocolError as error:
            with trio.move_on_after(1):
                await self._try_error(error.errno, error.sqlstate, str(error))
        except (ConnectionLost, ClientGone, PartlySent, LogInRefused):
            pass
        finally:
            self._idle_sessions.forget(self)
            self.interruption.ended.set()
            with trio.CancelScope(shield=True):
                await self.connections.aclose()

    async def _serve(self) -> None:
        while True:
            try:
                command = await self._next_command()
                if isinstance(command, Upload):
                    self._activity.begin(command.head)
                    await self._on_upload(command)
                elif command[:1] == b"\x01":
                    return
                else:
                    self._activity.begin(command)
                    await self._on_command(command)
                await self._executor.variable_reads.after_command()
            except ProxyError as error:
                if isinstance(error, ConnectionKilled) and self._executor.connections.killed:
                    return  # by another session: MariaDB ends it without a word then
                await self._answer_error(error.errno, error.sqlstate, str(error))
                if error.fatal:
                    return
            except ServerError as error:
                await self._answer_error(error.errno, error.sqlstate, error.message)
            self._activity.end()
            if self._executor.last.wait_timeout != self._watched_timeout:
                self._watched_timeout = self._executor.last.wait_timeout
                self._idle_sessions.watch(self)

    @property
    def idle_due(self) -> float:
        """When the session ends if nothing is asked of it until then, by the monotonic clock."""
        busy = self._activity.is_busy or (self._lane is not None and self._lane.is_sending)
        return (time.monotonic() if busy else self._activity.since) + self._executor.last.wait_timeout

    def end_idle(self) -> None:
        """End the session without a word, as MariaDB does after `wait_timeout`: by a reset.

        So the client's next command cannot be sent (2006); it does not wait for an answer to it (2013).
        """
        stream = self._client.stream
        stream = stream.inner if isinstance(stream, CompressedStream) else stream
        if isinstance(stream, NonblockingStream):
            stream.reset_on_close()
        self.interruption.scope.cancel()

    @property
    def user(self) -> str:
        """The name that the client has logged in by."""
        return self.connections.credentials.response.user.decode("utf-8", "replace")

    def is_meant(self, call: KillCall) -> bool:
        """Whether a KILL means this session."""
        if call.user is not None:
            return self.user == call.user and self.id != call.but
        if call.id is not None:
            return self.id == call.id
        return call.leader_id is not None and self._leader_id == call.leader_id

    @property
    def _leader_id(self) -> int | None:
        writer = self.connections.writer
        current = (
            writer is not None and writer.term == self._backends.views.current.term and not writer.closed
        )
        return writer.connection_id if writer is not None and current else None

    @property
    def in_local_transaction(self) -> bool:
        """Whether a read-only transaction is open on the MariaDB beside the node."""
        return self._facts.local_transaction

    def described(self) -> dict[str, str]:
        """A row of SHOW WOLFSCALE SESSIONS."""
        leader_id = self._leader_id
        activity = self._activity.columns(self._backends.views.current)
        row = {
            "Id": str(self.id),
            "User": self.user,
            "Host": client_address(self.connections.credentials.proxy_header),
            "Db": self._state.schema.decode("utf-8", "replace"),
            **activity,
            "Connected_seconds": str(int(trio.current_time() - self._began)),
            "Leader_id": "" if leader_id is None else str(leader_id),
        }
        return {name: row[name] for name in SESSION_COLUMNS}

    async def _next_command(self) -> bytes | Upload:
        """The next command that is this task's, or the beginning of a long one; the engine has those before.

        Raises:
            ConnectionLost: the client is gone.
            PartlySent: a response could not be completed.
            ProxyError: the answer to a command that the engine had begun.
            ServerError: likewise.
        """
        client, lane = self._client, self._lane
        while lane is not None and not client.inside_payload:
            arrival = await lane.ride()
            if arrival is Arrival.COMMAND:
                break
            if arrival is Arrival.RESPONSE:
                await self._shortcut.go_on()
            elif arrival is Arrival.UNKNOWN:
                await self._shortcut.give_up()
            elif arrival is Arrival.GONE:
                raise ConnectionLost("the client is gone")
            else:
                raise PartlySent
        if await client.next_length() > HEAD_BYTES:
            return await Upload.begin(client)
        return await client.read()

    async def _answer_error(self, errno: int, sqlstate: str, message: str) -> None:
        await self._client.write(build_error(errno, sqlstate, message))

    async def _try_error(self, errno: int, sqlstate: str, message: str) -> None:
        with contextlib.suppress(ConnectionLost):
            await self._answer_error(errno, sqlstate, message)

    async def _answer_ok(self) -> None:
        await self._client.write(build_ok(Ok(status=self._executor.status), self._capabilities))

    async def _on_command(self, payload: bytes) -> None:
        self.connections.waits.begin_command()
        if not payload:
            raise RemoteProtocolError("a command without a byte")
        match payload[0]:
            case Command.QUERY:
                await self._texts.query(payload)
            case Command.STMT_EXECUTE | Command.STMT_BULK_EXECUTE:
                await self._prepared.execute(payload)
            case Command.STMT_PREPARE:
                await self._texts.prepare(payload)
            case Command.STMT_CLOSE:
                await self._prepared.close(payload)
            case Command.PING:
                # The proxy is alive; a session's servers come and go without its noticing.
                await self._answer_ok()
            case Command.INIT_DB:
                await self._executor.execute(_SCHEMA_CHANGE, TextRequest(payload))
            case Command.STMT_RESET:
                await self._prepared.reset(payload)
                await self._answer_ok()
            case Command.STMT_SEND_LONG_DATA:
                await self._prepared.send_long_data(payload)
            case Command.STMT_FETCH:
                await self._prepared.fetch(payload)
            case Command.RESET_CONNECTION:
                await self._on_reset()
            case Command.CHANGE_USER:
                await self._on_change_user(payload)
            case Command.FIELD_LIST:
                await self._executor.execute(_FIELD_LIST, TextRequest(payload))
            case Command.STATISTICS:
                await self._executor.execute(_EITHER, TextRequest(payload))
            case Command.SET_OPTION:
                await self._on_set_option(payload)
            case Command.PROCESS_INFO:
                await self._executor.execute(_PROCESS_INFO, TextRequest(payload))
            case Command.DEBUG:
                await self._executor.execute(_DEBUG, TextRequest(payload))
            case Command.REFRESH:
                await self._on_refresh(payload)
            case Command.PROCESS_KILL:
                await self._killing.kill(int.from_bytes(payload[1:5], "little"), connection=True)
                await self._answer_ok()
            case other:
                self._statistics.refused_statements += 1
                raise ProxyError(
                    ER_UNKNOWN_COMMAND, "08S01", f"Unknown command: the proxy does not pass on 0x{other:02x}"
                )

    async def _on_upload(self, upload: Upload) -> None:
        """Run a long command, from its beginning if that is enough to judge it by.

        What fits into one packet is kept whole, so that it can be sent again when the leader changes; parts
        of a parameter are not, which could not be sent again by themselves.
        """
        waits = self.connections.waits
        waits.begin_command()
        try:
            match upload.head[0]:
                case Command.STMT_SEND_LONG_DATA:
                    await self._prepared.send_long_data(upload.head, upload)
                    await upload.drain()
                case Command.STMT_EXECUTE | Command.STMT_BULK_EXECUTE if upload.continued:
                    await self._prepared.execute(upload.head, upload)
                case Command.QUERY if upload.continued and await self._texts.long_query(upload):
                    pass
                case _:
                    with waits.interruptible(RECEIVING):
                        payload = await upload.collect()
                    await self._on_command(payload)
        except (ProxyError, ServerError):
            # The answer is read when all of the command has been sent.
            await upload.drain()
            raise
        finally:
            self.connections.passing_on = False

    async def _on_refresh(self, payload: bytes) -> None:
        """COM_REFRESH: what FLUSH and RESET do, asked for by bits."""
        text = refresh_text(payload)
        if text is None:
            await self._executor.execute(_FLUSHING, TextRequest(payload))
        else:
            await self._texts.query(bytes((Command.QUERY,)) + text)

    async def _on_set_option(self, payload: bytes) -> None:
        await self._executor.execute(_EITHER, TextRequest(payload))
        self._state.add_command("SET OPTION", payload)
        self._executor.last.known_entries = self._state.last_number

    async def _on_reset(self) -> None:
        """COM_RESET_CONNECTION: both connections forget; what had died with a leader is no loss any more."""
        self._prepared.clear()
        self._executor.variable_reads.clear()
        self._executor.table_checks.clear()
        self._executor.consistency.choose(None)
        self._state.clear(keep_schema=True)
        self._facts.effects = Effect.NONE
        self._facts.note_transaction(False, None)
        self._facts.local_transaction = False
        self._facts.next_transaction = False
        self._facts.autocommit = True
        connections = self.connections
        for connection in (connections.writer, connections.reader):
            if connection is None:
                continue
            try:
                if connection.closed:
                    raise ConnectionLost("closed")
                await connection.run((bytes((Command.RESET_CONNECTION,)),))
                await connection.setup()
            except (ConnectionLost, ServerError):
                await connections.drop(connection)
            else:
                self._facts.autocommit = bool(connection.tracker.status & _AUTOCOMMIT)
                self._executor.memory.on_variables(connection)
        await self._answer_ok()

    async def _on_change_user(self, payload: bytes) -> None:
        """COM_CHANGE_USER: one connection carries the log-in, the other is closed.

        Raises:
            ProxyError: refused; the session ends.
        """
        command = parse_command(payload, self._capabilities)
        if not isinstance(command, ChangeUser) or len(command.answer) not in (0, PROOF_BYTES):
            raise RemoteProtocolError("a malformed change of user")
        connection = self.connections.any
        if connection is None or connection.closed:
            connection = await self.connections.local() or await self.connections.leader()
        connection, credentials, ok = await relay_change_user(
            self._client,
            connection,
            command,
            payload,
            self._backends,
            self.connections.credentials,
            self.connections.leader,
        )
        await self.connections.keep_only(connection, credentials)
        self._facts.log_in = credentials.leader_only
        self._prepared.clear()
        self._executor.variable_reads.clear()
        self._executor.table_checks.clear()
        self._executor.consistency.choose(None)
        self._state.clear(keep_schema=False)
        self._facts.effects = Effect.NONE
        self._facts.note_transaction(False, None)
        self._facts.local_transaction = False
        self._facts.next_transaction = False
        self._begin_in(command.database)
        await connection.setup()
        connection.known_entries = self._state.last_number
        self._facts.autocommit = bool(connection.tracker.status & _AUTOCOMMIT)
        self._executor.memory.on_variables(connection)
        await self._client.write(ok)
