"""Statements with bound values on a `Connection`: prepared, executed once, and forgotten.

Values never become part of the text, so nothing that a value holds can be read as SQL, whatever the
session's sql_mode and character set are; and the server takes one statement only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from wolfscale.mysql.binary import Parameter, Value, build_parameters, parse_binary_row, parse_prepared
from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.client import Connection, read_past_progress
from wolfscale.mysql.commands import StatementClose, StatementExecute, StatementPrepare
from wolfscale.mysql.constants import Capability, Status
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.results import (
    EOF_HEADER,
    ERROR_HEADER,
    OK_HEADER,
    Column,
    Ok,
    parse_column,
    parse_error,
    parse_ok,
    parse_result_end,
)

_LONGEST_EOF = 8
_VALUES_AT_ONCE = 2000
_FULL_PACKET = 0xFFFFFF


class ParameterCountError(LocalProtocolError):
    """A statement has more or fewer placeholders than values were given.

    Attributes:
        expected: placeholders in the text.
        given: values.
    """

    def __init__(self, expected: int, given: int) -> None:
        self.expected = expected
        self.given = given
        super().__init__(f"the statement has {expected} placeholders and {given} values were given")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedResult:
    """What one statement gave.

    Attributes:
        columns: empty for a statement without rows.
        rows: see `wolfscale.mysql.binary` for their values.
        truncated: rows were left out because there were more than wanted; the connection is closed then.
        affected_rows: rows changed (0 for a result set).
        info: the server's remark, e.g. "Rows matched: 1  Changed: 0  Warnings: 0".
        gtid: the GTID that the statement wrote, where the server tracks `last_gtid`.
        status: server status flags after it.
    """

    columns: tuple[Column, ...] = ()
    rows: list[tuple[Value, ...]]
    truncated: bool = False
    affected_rows: int = 0
    last_insert_id: int = 0
    info: str = ""
    gtid: str | None = None
    status: int = 0
    warnings: int = 0


async def execute(
    connection: Connection,
    sql: str,
    parameters: Sequence[Parameter] = (),
    *,
    max_rows: int | None = None,
    max_bytes: int | None = None,
    max_values: int | None = None,
) -> TypedResult:
    """Run one statement with a value for each `?` in it.

    Args:
        connection: waits for its turn.
        sql: the text.
        parameters: the values, in order.
        max_rows: read no more; see `TypedResult.truncated`.
        max_bytes: likewise for the rows' bytes on the wire, though never less than one row.
        max_values: likewise for rows times columns.

    Raises:
        ServerError: the server's error; the connection stays usable.
        ParameterCountError: likewise.
        LocalProtocolError: a value cannot be bound; nothing was sent.
        ConnectionLost: the outcome is unknown; the connection is closed.
    """
    bound = build_parameters(parameters)
    packets = connection.packets
    async with connection.exchange() as exchange:
        await packets.command(StatementPrepare(sql.encode(errors="surrogateescape")).build())
        payload = await packets.read()
        if payload[:1] == bytes((ERROR_HEADER,)):
            exchange.over = True
            raise parse_error(payload)
        prepared = parse_prepared(payload)
        await _skip_definitions(connection, prepared.parameters)
        await _skip_definitions(connection, prepared.columns)
        # It has no answer, and goes with whatever is sent next.
        close = StatementClose(prepared.statement_id).build()
        if prepared.parameters != len(parameters):
            packets.queue(close, sequence=0)
            exchange.over = True
            raise ParameterCountError(prepared.parameters, len(parameters))
        await packets.command(StatementExecute(prepared.statement_id, parameters=bound).build())
        outcome = await _read_result(connection, max_rows, max_bytes, max_values)
        if isinstance(outcome, bytes):
            packets.queue(close, sequence=0)
            exchange.over = True
            raise parse_error(outcome)
        if not outcome.truncated and not outcome.status & Status.MORE_RESULTS_EXISTS:
            packets.queue(close, sequence=0)
            exchange.over = True
        return outcome


async def _skip_definitions(connection: Connection, count: int) -> None:
    for _ in range(count):
        await connection.packets.read()
    if count and not connection.capabilities & Capability.DEPRECATE_EOF:
        await connection.packets.read()


async def _read_result(
    connection: Connection, max_rows: int | None, max_bytes: int | None, max_values: int | None
) -> TypedResult | bytes:
    """One result, or the payload of the error that came instead."""
    packets, capabilities = connection.packets, connection.capabilities
    first = await read_past_progress(connection.packets)
    if not first:
        raise RemoteProtocolError("an empty packet starts no result")
    if first[0] == ERROR_HEADER:
        return first
    if first[0] == OK_HEADER:
        return _result((), [], parse_ok(first, capabilities))
    count = PacketBuffer(first).lenenc_int()
    columns = tuple([parse_column(await packets.read(), capabilities) for _ in range(count)])
    deprecates_eof = capabilities & Capability.DEPRECATE_EOF
    if not deprecates_eof:
        await packets.read()
    rows: list[tuple[Value, ...]] = []
    size = 0
    if max_values is not None:
        most = max(1, max_values // max(1, count))
        max_rows = most if max_rows is None else min(max_rows, most)
    while True:
        payload = await read_past_progress(connection.packets)
        header = payload[0] if payload else -1
        if header == ERROR_HEADER:
            return payload
        if header == EOF_HEADER and (
            len(payload) < _FULL_PACKET if deprecates_eof else len(payload) <= _LONGEST_EOF
        ):
            return _result(columns, rows, parse_result_end(payload, capabilities))
        size += len(payload)
        too_long = max_bytes is not None and size > max_bytes and rows
        if too_long or (max_rows is not None and len(rows) >= max_rows):
            return TypedResult(columns=columns, rows=rows, truncated=True)
        rows.append(parse_binary_row(payload, columns))
        if len(rows) * count % _VALUES_AT_ONCE < count:
            # Rows that have arrived already are read without one.
            await trio.lowlevel.checkpoint()


def _result(columns: tuple[Column, ...], rows: list[tuple[Value, ...]], ok: Ok) -> TypedResult:
    return TypedResult(
        columns=columns,
        rows=rows,
        affected_rows=ok.affected_rows,
        last_insert_id=ok.last_insert_id,
        info=ok.info.decode(errors="replace"),
        gtid=ok.session_changes.gtid if ok.session_data else None,
        status=ok.status,
        warnings=ok.warnings,
    )
