"""Carries out `/query`: one read, on the nearest server that has seen enough."""

from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from wolfscale.api.gateway import NoLeaderError, NoReplicaError, SqlGateway, StatementOutline
from wolfscale.api.problems import Problem
from wolfscale.api.query_models import (
    MAX_RESULT_BYTES,
    MAX_RESULT_VALUES,
    ColumnBody,
    QueryRequest,
    ReadConsistency,
    RowForm,
)
from wolfscale.api.sql_problems import READ_ONLY_SERVER, SERVER_GOES, UNKNOWN_DATABASE, problem_of
from wolfscale.api.values import ValueRefused, encoding, free_parameter, from_value, type_name
from wolfscale.api.write_models import Integers
from wolfscale.api.write_statements import OWN_SCHEMA
from wolfscale.api.writing import no_leader_problem
from wolfscale.mysql.binary import Parameter
from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.gtid import parse_gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.prepared_client import ParameterCountError, TypedResult, execute

_RETRY_PAUSE_SECONDS = 0.02
_VALUES_AT_ONCE = 2000
_GRACE_SECONDS = 2.0
"""A server that does not end a statement in time is given this much more."""


class Reader:
    """Answers queries.

    Args:
        gateway: reaches both servers.
    """

    def __init__(self, gateway: SqlGateway) -> None:
        self._gateway = gateway

    async def query(self, request: QueryRequest) -> bytes:
        """The answer, encoded.

        Raises:
            Problem: what the client is told.
        """
        sql, parameters = self._bind(request)
        result, source = await self._read(request, sql, parameters)
        return await _encode(request, result, source)

    def _bind(self, request: QueryRequest) -> tuple[str, list[Parameter]]:
        """The text with `?` alone, and the values in their order."""
        seen = self._gateway.outline(request.sql)
        if not seen.complete:
            raise Problem(400, "syntax", "a quote or a comment is not closed", field="sql")
        if seen.statements != 1:
            raise Problem(
                422, "one_statement", f"`sql` takes one statement, not {seen.statements}", field="sql"
            )
        if seen.refusal is not None or not seen.is_query:
            raise Problem(
                422,
                "no_query",
                "`sql` takes SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN: change rows with /write/insert "
                "and its kind, and tables with /write/ddl",
                field="sql",
            )
        self._refuse_own_schema(request, seen)
        given = request.parameters
        if isinstance(given, list):
            return request.sql, [_value(value, f"parameters.{n}") for n, value in enumerate(given)]
        values = []
        text = request.sql.encode()
        pieces, end = [], 0
        for place in seen.parameters:
            if place.name not in given:
                raise Problem(
                    422,
                    "missing_parameter",
                    f"the statement has :{place.name}, and `parameters` does not",
                    field=f"parameters.{place.name}",
                )
            values.append(_value(given[place.name], f"parameters.{place.name}"))
            pieces += [text[end : place.start], b"?"]
            end = place.end
        unused = sorted(given.keys() - {place.name for place in seen.parameters})
        if unused:
            raise Problem(
                422,
                "unknown_parameter",
                f"the statement has no :{unused[0]}",
                field=f"parameters.{unused[0]}",
            )
        return b"".join((*pieces, text[end:])).decode(), values

    def _refuse_own_schema(self, request: QueryRequest, seen: StatementOutline) -> None:
        """The cluster's own tables: what is asked with other people's keys was answered stands in one."""
        for field, names in (("sql", seen.schemas), ("database", {(request.database or "").lower()})):
            if OWN_SCHEMA in names:
                raise Problem(
                    403,
                    "system_database",
                    f"the database {OWN_SCHEMA} belongs to the cluster; see GET /status",
                    field=field,
                )

    async def _read(
        self, request: QueryRequest, sql: str, parameters: Sequence[Parameter]
    ) -> tuple[TypedResult, str]:
        consistency = request.consistency
        if consistency is None:
            consistency = ReadConsistency.SESSION if request.after else ReadConsistency.STRONG
        until = trio.current_time() + self._gateway.write_wait_seconds
        if consistency is not ReadConsistency.LEADER and await self._is_seen(request, consistency):
            try:
                return await self._on_replica(request, sql, parameters, until), "replica"
            except (NoReplicaError, ConnectionLost, RemoteProtocolError):
                pass  # a server that is being cloned or restarted; the leader's can answer
        return await self._on_leader(request, sql, parameters, until), "leader"

    async def _is_seen(self, request: QueryRequest, consistency: ReadConsistency) -> bool:
        """Whether the server beside this node has seen, or sees in time, what the query must."""
        gateway = self._gateway
        sequence = 0
        if request.after is not None:
            sequence = _sequence(request.after)
        elif consistency is ReadConsistency.SESSION:
            raise Problem(
                422,
                "missing_after",
                "consistency `session` needs `after`, the GTID of a write; without one ask for `strong`",
                field="after",
            )
        if consistency is ReadConsistency.STRONG:
            try:
                sequence = max(sequence, await gateway.confirmed_sequence())
            except NoLeaderError as error:
                raise no_leader_problem(error) from error
        return await gateway.wait_applied(sequence, gateway.read_wait_seconds)

    async def _on_replica(
        self, request: QueryRequest, sql: str, parameters: Sequence[Parameter], until: float
    ) -> TypedResult:
        try:
            async with self._gateway.replica(
                until=until,
                database=request.database or self._gateway.default_database,
                read_only_seconds=request.timeout_ms / 1000,
            ) as connection:
                return await _run(connection, request, sql, parameters)
        except ServerError as error:
            if error.errno in SERVER_GOES:
                raise ConnectionLost(error.message) from error
            raise _read_problem(error) from error

    async def _on_leader(
        self, request: QueryRequest, sql: str, parameters: Sequence[Parameter], until: float
    ) -> TypedResult:
        while True:
            try:
                async with self._gateway.leader(
                    until=until,
                    database=request.database or self._gateway.default_database,
                    read_only_seconds=request.timeout_ms / 1000,
                ) as session:
                    return await _run(session.connection, request, sql, parameters)
            except NoLeaderError as error:
                raise no_leader_problem(error) from error
            except (ConnectionLost, RemoteProtocolError) as error:
                if trio.current_time() > until:
                    raise no_leader_problem(error) from error
            except ServerError as error:
                goes = error.errno in SERVER_GOES or error.errno in READ_ONLY_SERVER
                if not goes or trio.current_time() > until:
                    raise _read_problem(error) from error
            await trio.sleep(_RETRY_PAUSE_SECONDS)


def _sequence(gtid: str) -> int:
    try:
        return parse_gtid(gtid).sequence
    except BinlogError as error:
        raise Problem(422, "wrong_gtid", str(error), field="after") from error


def _value(value: Any, field: str) -> Parameter:
    try:
        return free_parameter(value)
    except ValueRefused as error:
        raise Problem(422, "wrong_type", f"{field}: {error}", field=field) from error


async def _run(
    connection: Connection, request: QueryRequest, sql: str, parameters: Sequence[Parameter]
) -> TypedResult:
    with trio.move_on_after(request.timeout_ms / 1000 + _GRACE_SECONDS):
        try:
            return await execute(
                connection,
                sql,
                parameters,
                max_rows=request.max_rows,
                max_bytes=MAX_RESULT_BYTES,
                max_values=MAX_RESULT_VALUES,
            )
        except ParameterCountError as error:
            raise Problem(422, "parameter_count", str(error), field="parameters") from error
    raise Problem(
        504, "too_slow", f"no answer within {request.timeout_ms} ms; see `timeout_ms`", field="timeout_ms"
    )


def _read_problem(error: ServerError) -> Problem:
    return problem_of(error, field="database" if error.errno == UNKNOWN_DATABASE else "sql")


async def _encode(request: QueryRequest, result: TypedResult, source: str) -> bytes:
    as_text = request.integers is Integers.STRING
    columns = [
        ColumnBody(
            name=column.name.decode(errors="replace"),
            type=type_name(column),
            encoding=encoding(column, integers_as_text=as_text),
        )
        for column in result.columns
    ]
    names = [column.name for column in columns]
    if request.rows is RowForm.OBJECTS and len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(
            422,
            "duplicate_column",
            f'two columns are called {twice!r}: give one an alias, or ask for "rows": "arrays"',
            field="sql",
        )
    rows: list[Any] = []
    for number, row in enumerate(result.rows):
        if number * len(columns) % _VALUES_AT_ONCE < len(columns):
            await trio.lowlevel.checkpoint()  # the node has more to do than this
        values = [
            from_value(column, value, integers_as_text=as_text)
            for column, value in zip(result.columns, row, strict=True)
        ]
        rows.append(values if request.rows is RowForm.ARRAYS else dict(zip(names, values, strict=True)))
    return msgspec.json.encode(
        {
            "columns": [column.model_dump() for column in columns],
            "rows": rows,
            "row_count": len(rows),
            "truncated": result.truncated,
            "source": source,
        }
    )
