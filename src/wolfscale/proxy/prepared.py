"""Statements of the binary protocol: the client's ids, and each connection's own.

A statement is prepared where it would run, and again on the other connection when it is first needed there.
Parameter types come with a client's first execution only, so they are kept for the connection that has not
heard them. Cursors and long data stay on the leader's connection.

A statement that calls `wolfscale_id()` is prepared anew for each execution, with that execution's ids in its
text: so its parameters are the client's alone, whatever their types.
"""

import contextlib
import itertools
from dataclasses import dataclass, replace

from wolfscale.mysql.commands import BULK_SEND_TYPES, LAST_PREPARED_STATEMENT, statement_id, with_statement_id
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.generated_ids import IdTemplate, take_ids
from wolfscale.proxy.requests import Request
from wolfscale.proxy.statement import Kind, Statement
from wolfscale.proxy.upload import EndlessCommand, LongRequest, Upload

ER_NET_READ_ERROR = 1158
ER_UNKNOWN_STMT_HANDLER = 1243
ER_UNSUPPORTED_PS = 1295
ER_STMT_HAS_NO_OPEN_CURSOR = 1421
ER_MAX_PREPARED_STMT_COUNT_REACHED = 1461
ER_MALFORMED_PACKET = 1835
MAX_STATEMENTS = 16_382
"""MariaDB's own max_prepared_stmt_count, here of one session."""

_EXECUTE_HEAD_BYTES = 10
"""Command, statement id, flags, iteration count: what precedes the NULL bitmap."""
_BULK_HEAD_BYTES = 7

_PREPARING = {
    kind: Statement(kind=kind, reason="prepares a statement")
    for kind in (Kind.READ, Kind.SETTINGS, Kind.OTHER, Kind.DIAGNOSTICS)
}
_FETCHING = Statement(kind=Kind.OTHER, reason="fetches from a cursor")


@dataclass(slots=True)
class Prepared:
    """A statement that the client has prepared.

    Attributes:
        sql: as it is prepared; with `ids`, for the newest execution.
        handle: the number by which connections know it: the client's, or with `ids` the newest execution's.
        ids: where new ids belong in it at each execution; None when it calls for none.
        level: how much it must have seen; None: as its session.
        parameters: how many it has.
        types: two bytes each, as the client bound them last; b"" before its first execution.
        long_data: the leader's connection that parts of parameters were sent to; None: none were.
        failure: why that did not work; told at the execution, since sending has no answer.
        cursor: the connection on which its cursor was opened.
    """

    sql: bytes
    statement: Statement
    handle: int
    ids: IdTemplate | None = None
    level: Level | None = None
    parameters: int = 0
    types: bytes = b""
    long_data: BackendConnection | None = None
    failure: ProxyError | ServerError | None = None
    cursor: BackendConnection | None = None


class LongDataLost(ProxyError):
    """Parts of a parameter were sent to a leader's connection that is gone (1158, 08S01)."""

    def __init__(self) -> None:
        super().__init__(
            ER_NET_READ_ERROR,
            "08S01",
            "The connection to the leader broke after a part of a parameter was sent: the statement was not "
            "executed; send its parameters again",
        )


class _PrepareRequest:
    whole = True
    once = False
    cut_short = False
    command = int(Command.STMT_PREPARE)

    def __init__(self, prepared: Prepared) -> None:
        self._number = prepared.handle
        self._prepared = prepared
        self.succeeded = False

    async def payload_for(self, connection: BackendConnection) -> bytes:
        return bytes((self.command,)) + self._prepared.sql

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        await connection.packets.command(payload)
        return True

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        tracker = connection.tracker
        if tracker.error is not None:
            return data
        self.succeeded = True
        self._prepared.parameters = tracker.parameters
        connection.statement_ids[self._number] = tracker.statement_id
        # Packet header, status byte, then the id.
        return bytes(data[:5]) + self._number.to_bytes(4, "little") + bytes(data[9:])


class _ExecuteRequest:
    whole = False
    once = False
    cut_short = False

    def __init__(
        self, prepared: Prepared, payload: bytes, long_data: BackendConnection | None = None
    ) -> None:
        self._number = prepared.handle
        self._prepared = prepared
        self._payload = payload
        self._long_data = long_data
        self.command = payload[0]

    async def payload_for(self, connection: BackendConnection) -> bytes:
        if self._long_data is not None and self._long_data is not connection:
            raise LongDataLost
        own = await prepared_id(connection, self._prepared)
        if self.command == Command.STMT_BULK_EXECUTE:
            payload = self._bulk_with_types(connection)
        elif self.command == Command.STMT_EXECUTE:
            payload = self._with_types(connection)
        else:
            payload = self._payload
        return with_statement_id(payload, own)

    def _with_types(self, connection: BackendConnection) -> bytes:
        payload, count = self._payload, self._prepared.parameters
        flag = _EXECUTE_HEAD_BYTES + (count + 7) // 8
        if not count or len(payload) <= flag:
            return payload
        if payload[flag]:
            types = payload[flag + 1 : flag + 1 + 2 * count]
            self._prepared.types = types
        else:
            types = self._prepared.types
            if types and connection.types_sent.get(self._number) != types:
                payload = payload[:flag] + b"\x01" + types + payload[flag + 1 :]
        connection.types_sent[self._number] = types
        return payload

    def _bulk_with_types(self, connection: BackendConnection) -> bytes:
        payload, count = self._payload, self._prepared.parameters
        if len(payload) < _BULK_HEAD_BYTES:
            raise RemoteProtocolError("a bulk execution without flags")
        flags = int.from_bytes(payload[5:7], "little")
        if flags & BULK_SEND_TYPES:
            types = payload[_BULK_HEAD_BYTES : _BULK_HEAD_BYTES + 2 * count]
            self._prepared.types = types
        else:
            types = self._prepared.types
            if types and connection.types_sent.get(self._number) != types:
                head = payload[:5] + (flags | BULK_SEND_TYPES).to_bytes(2, "little")
                payload = head + types + payload[_BULK_HEAD_BYTES:]
        connection.types_sent[self._number] = types
        return payload

    async def send(self, connection: BackendConnection, payload: bytes) -> bool:
        await connection.packets.command(payload)
        return True

    def on_response(self, connection: BackendConnection, data: bytes | bytearray) -> bytes | bytearray:
        return data


def _execution(
    prepared: Prepared, payload: bytes, upload: Upload | None, long_data: BackendConnection | None
) -> Request:
    request = _ExecuteRequest(prepared, payload, long_data)
    return request if upload is None else LongRequest(request, upload)


def _brings_types(payload: bytes, parameters: int) -> bool:
    """Whether a COM_STMT_EXECUTE binds types, or there are no parameters."""
    if not parameters:
        return True
    flag = _EXECUTE_HEAD_BYTES + (parameters + 7) // 8
    return len(payload) > flag and payload[flag] != 0


async def prepared_id(connection: BackendConnection, prepared: Prepared) -> int:
    """This connection's id of a statement, which is prepared on it if need be.

    Raises:
        ServerError: it does not prepare there.
        ConnectionLost: the connection is gone.
    """
    number = prepared.handle
    own = connection.statement_ids.get(number)
    if own is None:
        status = connection.tracker.status
        await connection.run((bytes((Command.STMT_PREPARE,)) + prepared.sql,))
        connection.tracker.status = status
        own = connection.statement_ids[number] = connection.tracker.statement_id
    return own


def executed_in_place(data: bytes, prepared: Prepared, connection: BackendConnection) -> bytes | None:
    """A COM_STMT_EXECUTE packet with the connection's own id in it.

    None when it takes more than that: it is not prepared there, types must be repeated, a cursor is asked
    for, long data were sent. Nothing is changed then.
    """
    number = int.from_bytes(data[5:9], "little")
    own = connection.statement_ids.get(number)
    if (
        own is None
        or len(data) < 4 + _EXECUTE_HEAD_BYTES
        or data[9]
        or prepared.long_data
        or prepared.failure
    ):
        return None
    count = prepared.parameters
    if count:
        flag = 4 + _EXECUTE_HEAD_BYTES + (count + 7) // 8
        if len(data) <= flag:
            return None
        if data[flag]:
            types = data[flag + 1 : flag + 1 + 2 * count]
            prepared.types = connection.types_sent[number] = types
        elif connection.types_sent.get(number) != prepared.types:
            return None
    prepared.cursor = None
    return data if own == number else data[:5] + own.to_bytes(4, "little") + data[9:]


class PreparedStatements:
    """The prepared statements of a session."""

    def __init__(self, executor: Executor, backends: Backends) -> None:
        self._executor = executor
        self._backends = backends
        self._statements: dict[int, Prepared] = {}
        self._numbers = itertools.count(1)
        self._last = 0

    def clear(self) -> None:
        """Forget all, as the servers did after COM_RESET_CONNECTION or COM_CHANGE_USER."""
        self._statements.clear()
        self._last = 0

    async def prepare(
        self, statement: Statement, sql: bytes, ids: IdTemplate | None = None, level: Level | None = None
    ) -> None:
        """COM_STMT_PREPARE.

        Args:
            statement: what it is.
            sql: its text.
            ids: where ids belong in it; the text has examples there.
            level: how much it must have seen; None: as its session.

        Raises:
            ProxyError: refused, or too many.
        """
        self._last = 0
        if statement.refusal is not None:
            raise statement.refusal.error()
        if statement.source is not None:
            raise ProxyError(
                ER_UNSUPPORTED_PS,
                "HY000",
                "This command is not supported in the prepared statement protocol yet",
            )
        if len(self._statements) >= MAX_STATEMENTS:
            raise ProxyError(
                ER_MAX_PREPARED_STMT_COUNT_REACHED,
                "42000",
                f"Can't create more than {MAX_STATEMENTS} prepared statements in one session; close some",
            )
        number = self._next_handle()
        prepared = Prepared(sql, statement, number, ids, level)
        request = _PrepareRequest(prepared)
        kind = statement.kind if statement.kind in _PREPARING else Kind.OTHER
        await self._executor.execute(_PREPARING[kind], request)
        if request.succeeded:
            self._statements[number] = prepared
            self._last = number

    def _next_handle(self) -> int:
        return next(self._numbers) & 0x7FFFFFFF

    async def _renew_ids(self, prepared: Prepared) -> None:
        """Put new ids into a statement's text; it is prepared again where it is executed.

        Raises:
            ProxyError: there are none now.
        """
        assert prepared.ids is not None
        with self._executor.connections.waits.interruptible("Waiting for ids"):
            ids = await take_ids(self._backends, prepared.ids.count)
        await self._forget(prepared)
        prepared.sql = prepared.ids.fill(ids)
        prepared.handle = self._next_handle()

    def text_of(self, payload: bytes) -> bytes:
        """The text of the statement that a command names, b"" if there is none."""
        prepared = self._statements.get(statement_id(payload)) if len(payload) >= _BULK_HEAD_BYTES else None
        return prepared.sql if prepared is not None else b""

    def find(self, number: bytes) -> Prepared | None:
        """The statement that the client knows by this id, as it stands in a command.

        None also for one that takes more than passing its executions on.
        """
        prepared = self._statements.get(int.from_bytes(number, "little"))
        if prepared is None or prepared.ids is not None or prepared.level is not None:
            return None
        return prepared

    def _find(self, payload: bytes, where: str) -> Prepared:
        number = statement_id(payload)
        if number == LAST_PREPARED_STATEMENT:
            number = self._last
        prepared = self._statements.get(number)
        if prepared is None:
            raise ProxyError(
                ER_UNKNOWN_STMT_HANDLER,
                "HY000",
                f"Unknown prepared statement handler ({number}) given to {where}",
            )
        return prepared

    async def execute(self, payload: bytes, upload: Upload | None = None) -> None:
        """COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE.

        Args:
            payload: the command.
            upload: what follows that; None: nothing.
        """
        prepared = self._find(payload, "mysqld_stmt_execute")
        bulk = payload[0] == Command.STMT_BULK_EXECUTE
        if not bulk and len(payload) < _EXECUTE_HEAD_BYTES:
            raise RemoteProtocolError("an execution that is cut short")
        direct = not bulk and statement_id(payload) == LAST_PREPARED_STATEMENT
        if direct and not _brings_types(payload, prepared.parameters):
            # Its client does not know yet how many parameters there are. The servers, which are sent the
            # statement's own id, would not look, and take what is missing for NULL.
            raise ProxyError(ER_MALFORMED_PACKET, "HY000", "Malformed communication packet")
        failure, prepared.failure = prepared.failure, None
        long_data, prepared.long_data = prepared.long_data, None
        if failure is not None:
            raise failure
        if prepared.ids is not None:
            if bulk:
                raise ProxyError(
                    ER_UNSUPPORTED_PS,
                    "HY000",
                    "wolfscale_id() would be the same in all rows of a bulk execution: execute it row by row",
                )
            if long_data is None:
                await self._renew_ids(prepared)
        statement = prepared.statement
        cursor = not bulk and payload[5] != 0
        if cursor or long_data is not None or bulk or upload is not None:
            kind = statement.kind if statement.kind is not Kind.READ else Kind.OTHER
            if upload is not None and kind is not Kind.WRITE:
                kind = Kind.OTHER  # never tried on one server after another
            statement = replace(statement, kind=kind, one_result=statement.one_result and not bulk)
        consistency = self._executor.consistency
        consistency.hint = prepared.level
        try:
            await self._execute_with_counts(statement, prepared, payload, upload, long_data)
        finally:
            consistency.hint = None
        prepared.cursor = self._executor.last if cursor else None

    async def _execute_with_counts(
        self,
        statement: Statement,
        prepared: Prepared,
        payload: bytes,
        upload: Upload | None,
        long_data: BackendConnection | None,
    ) -> None:
        """Execute it, with FOUND_ROWS() and ROW_COUNT() in its text if the server has lost them."""
        executor = self._executor
        sql, handle = prepared.sql, prepared.handle
        if executor.variable_reads.is_active:
            counted = await executor.variable_reads.before(sql)
            # Parts of parameters belong to the statement as it was prepared before.
            prepared.sql = counted if long_data is None else sql
        if prepared.sql is sql:
            await executor.execute(statement, _execution(prepared, payload, upload, long_data), sql)
            return
        prepared.handle = self._next_handle()
        try:
            request = _execution(prepared, payload, upload, long_data)
            await executor.execute(statement, request, prepared.sql)
        finally:
            await self._forget(prepared)
            prepared.sql, prepared.handle = sql, handle

    async def fetch(self, payload: bytes) -> None:
        """COM_STMT_FETCH."""
        prepared = self._find(payload, "mysqld_stmt_fetch")
        cursor = prepared.cursor
        if cursor is None or cursor is not self._executor.connections.writer or cursor.closed:
            raise ProxyError(
                ER_STMT_HAS_NO_OPEN_CURSOR,
                "HY000",
                f"The statement ({statement_id(payload)}) has no open cursor.",
            )
        await self._executor.execute(_FETCHING, _ExecuteRequest(prepared, payload))

    async def send_long_data(self, payload: bytes, upload: Upload | None = None) -> None:
        """COM_STMT_SEND_LONG_DATA, which has no answer.

        Args:
            payload: the command.
            upload: what follows that, to be drained by the caller if nothing is sent; None: nothing.

        Raises:
            EndlessCommand: it is longer than any server takes.
        """
        prepared = self._statements.get(statement_id(payload))
        if prepared is None or prepared.failure is not None:
            return
        connections = self._executor.connections
        try:
            if prepared.ids is not None and prepared.long_data is None:
                await self._renew_ids(prepared)
            writer = await connections.leader()
            if prepared.long_data is not None and prepared.long_data is not writer:
                raise LongDataLost
            prepared.long_data = writer
            await connections.bring_up_to_date(writer)
            own = await prepared_id(writer, prepared)
            addressed = with_statement_id(payload, own)
            if upload is None:
                await writer.packets.command(addressed)
            else:
                with connections.receiving():
                    all_sent = await upload.send(writer, addressed)
                if not all_sent:
                    raise ConnectionLost("the leader's connection broke")
        except EndlessCommand:
            raise
        except (ProxyError, ServerError) as error:
            prepared.failure = error
        except (ConnectionLost, RemoteProtocolError):
            connections.mark_broken()
            prepared.failure = LongDataLost()

    async def close(self, payload: bytes) -> None:
        """COM_STMT_CLOSE, which has no answer."""
        prepared = self._statements.pop(statement_id(payload), None)
        if prepared is not None:
            await self._forget(prepared)

    async def _forget(self, prepared: Prepared) -> None:
        number = prepared.handle
        connections = self._executor.connections
        for connection in (connections.writer, connections.reader):
            if connection is None or connection.closed:
                continue
            connection.types_sent.pop(number, None)
            own = connection.statement_ids.pop(number, None)
            if own is not None:
                close = bytes((Command.STMT_CLOSE,)) + own.to_bytes(4, "little")
                with contextlib.suppress(ConnectionLost):
                    await connection.packets.command(close)

    async def reset(self, payload: bytes) -> None:
        """COM_STMT_RESET: the caller answers OK.

        Raises:
            ServerError: a server's error.
        """
        prepared = self._find(payload, "mysqld_stmt_reset")
        prepared.long_data = None
        prepared.failure = prepared.cursor = None
        connections = self._executor.connections
        for connection in (connections.writer, connections.reader):
            own = connection.statement_ids.get(prepared.handle) if connection is not None else None
            if connection is not None and own is not None and not connection.closed:
                with contextlib.suppress(ConnectionLost):
                    await connection.run((with_statement_id(payload[:5], own),))
