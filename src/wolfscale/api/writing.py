"""Carries out `/write/*` on the leader: one transaction a request, and nothing answered that may be lost.

Until COMMIT is sent, whatever breaks has left nothing, so it is done again on the next leader. A COMMIT whose
answer does not come may have been carried out: with an Idempotency-Key it is done again all the same, which
finds the key if it was; without one the client is told that the outcome is unknown.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import trio

from wolfscale.api import idempotency
from wolfscale.api.errors import ApiError
from wolfscale.api.gateway import LeaderSession, NoLeaderError, SqlGateway
from wolfscale.api.idempotency import RetryKey
from wolfscale.api.problems import Problem
from wolfscale.api.services import IdSource
from wolfscale.api.sql_problems import (
    CONFLICTS,
    READ_ONLY_SERVER,
    SERVER_GOES,
    UNKNOWN_DATABASE,
    field_of,
    problem_of,
)
from wolfscale.api.tables import Table, read_table
from wolfscale.api.write_models import Delete, Insert, RowResult, Update
from wolfscale.api.write_statements import (
    RowStatement,
    delete_statement,
    insert_statement,
    missing_key,
    refuse_system_schema,
    update_statement,
)
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.prepared_client import execute

CONFLICT_RETRIES = 5
_RETRY_PAUSE_SECONDS = 0.02
_MATCHED = re.compile(r"Rows matched: (\d+)")

_Result = TypeVar("_Result")


class OutcomeUnknown(ApiError):
    """Whether a commit was carried out is not known; the cause says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One write and where it stands in the request, e.g. `writes.3.`."""

    write: Insert | Update | Delete
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was done.

    Attributes:
        results: one for each write.
        gtid: the transaction's.
        replayed: an earlier request with the same key did it; `gtid` is then a later one that covers it.
    """

    results: list[RowResult]
    gtid: str | None
    replayed: bool = False


class Writer:
    """Writes rows.

    Args:
        gateway: reaches the leader.
        ids: gives snowflake ids.
    """

    def __init__(self, gateway: SqlGateway, ids: IdSource | None) -> None:
        self._gateway = gateway
        self._ids = ids

    async def write(self, writes: Sequence[Placed], key: RetryKey | None) -> Written:
        """Do all of it in one transaction, or nothing.

        Raises:
            Problem: what the client is told.
        """
        for placed in writes:
            self._database(placed)

        async def attempt(session: LeaderSession) -> Written:
            return await self._attempt(session, writes, key)

        return await run_on_leader(self._gateway, attempt, retries_unknown=key is not None)

    def _database(self, placed: Placed) -> str:
        name = placed.write.database or self._gateway.default_database
        field = f"{placed.field}database"
        if name is None:
            raise Problem(
                422,
                "no_database",
                "the table is in no database: name it in `database`, or set database in [database] of the "
                "node's configuration",
                field=field,
            )
        refuse_system_schema(name, field)
        return name

    async def _attempt(
        self, session: LeaderSession, writes: Sequence[Placed], key: RetryKey | None
    ) -> Written:
        connection = session.connection
        await connection.query("START TRANSACTION")
        try:
            if key is not None:
                stored = await idempotency.claim(connection, key)
                if stored is not None:
                    return await _replay(session, stored)
            tables: dict[tuple[str, str], Table] = {}
            results = [await self._write_one(connection, placed, tables) for placed in writes]
            if key is not None:
                await idempotency.remember(connection, key, msgspec.json.encode(_plain(results)))
        except (Problem, ServerError):
            await roll_back(connection)
            raise
        return Written(results=results, gtid=await commit(session))

    async def _write_one(
        self, connection: Connection, placed: Placed, tables: dict[tuple[str, str], Table]
    ) -> RowResult:
        write, field = placed.write, placed.field
        name = (self._database(placed), write.table)
        table = tables.get(name)
        if table is None:
            try:
                table = tables[name] = await read_table(connection, *name)
            except ServerError as error:
                raise _problem_or_error(error, f"{field}table") from error
        statement = await self._statement(table, write, field)
        try:
            result = await execute(connection, statement.sql, statement.parameters)
        except ServerError as error:
            raise _problem_or_error(error, field_of(error, table, _places(write, field))) from error
        found = _MATCHED.search(result.info) if isinstance(write, Update) else None
        matched = int(found[1]) if found else None
        if not isinstance(write, Insert) and (matched or result.affected_rows) > 1:
            # Two values that differ in the key's character set may be alike in the request's.
            raise Problem(
                422,
                "key_is_ambiguous",
                f"where_key names {matched or result.affected_rows} rows of {table.label}: nothing was done",
                field=f"{field}where_key",
            )
        new_id = statement.id if statement.id is not None else result.last_insert_id or None
        return RowResult(
            affected_rows=result.affected_rows,
            matched_rows=matched,
            id=new_id if isinstance(write, Insert) else None,
        )

    async def _statement(self, table: Table, write: Insert | Update | Delete, field: str) -> RowStatement:
        match write:
            case Update():
                return update_statement(table, write, field)
            case Delete():
                return delete_statement(table, write, field)
        snowflake = None
        if self._ids is not None and missing_key(table, write) is not None:
            try:
                [snowflake] = await self._ids.take(1)
            except WolfScaleError as error:
                raise Problem(503, "no_ids", str(error), headers={"Retry-After": "1"}) from error
        return insert_statement(table, write, field, snowflake)


def _places(write: Insert | Update | Delete, field: str) -> dict[str, dict[str, object]]:
    match write:
        case Insert():
            return {f"{field}values": write.values}
        case Update():
            return {f"{field}set": write.set, f"{field}where_key": write.where_key}
    return {f"{field}where_key": write.where_key}


def _plain(results: Sequence[RowResult]) -> list[dict[str, object]]:
    return [result.model_dump() for result in results]


async def _replay(session: LeaderSession, stored: bytes) -> Written:
    """What an earlier request was answered, with a GTID of now: a majority holds what is answered."""
    gtid = await present_gtid(session)
    results = [RowResult.model_validate(item) for item in msgspec.json.decode(stored)]
    return Written(results=results, gtid=gtid, replayed=True)


async def present_gtid(session: LeaderSession) -> str | None:
    """The GTID of the newest transaction on the leader, once a majority is known to hold it.

    Raises:
        OutcomeUnknown: that was not known in time.
    """
    gtid = await session.connection.value("SELECT @@GLOBAL.gtid_binlog_pos")
    if gtid and not await session.wait_committed(gtid):
        raise OutcomeUnknown("the cluster's leader changed while an earlier answer was looked up")
    return gtid or None


async def run_on_leader(
    gateway: SqlGateway,
    attempt: Callable[[LeaderSession], Awaitable[_Result]],
    *,
    retries_unknown: bool,
    database: str | None = None,
) -> _Result:
    """Attempt something on the leader until it is done, refused, or may have been done.

    Args:
        gateway: reaches the leader.
        attempt: leaves nothing behind when it raises `ConnectionLost` or `ServerError`.
        retries_unknown: attempt it again also after `OutcomeUnknown`.
        database: the default database.

    Raises:
        Problem: what the client is told.
    """
    until = trio.current_time() + gateway.write_wait_seconds
    conflicts = 0
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            async with gateway.leader(until=until, database=database) as session:
                return await attempt(session)
        except NoLeaderError as error:
            if unknown is not None:
                raise unknown_problem(unknown, retry_is_safe=retries_unknown) from error
            raise no_leader_problem(error) from error
        except OutcomeUnknown as error:
            if not retries_unknown or trio.current_time() > until:
                raise unknown_problem(error, retry_is_safe=retries_unknown) from error
            unknown = error
        except (ConnectionLost, RemoteProtocolError) as error:
            if trio.current_time() > until:
                raise no_leader_problem(error) from error
        except ServerError as error:
            conflicts += error.errno in CONFLICTS
            again = is_retryable(error) or (error.errno in CONFLICTS and conflicts <= CONFLICT_RETRIES)
            if not again or trio.current_time() > until:
                field = "database" if error.errno == UNKNOWN_DATABASE else None
                raise problem_of(error, field=field) from error
        await trio.sleep(_RETRY_PAUSE_SECONDS)


def is_retryable(error: ServerError) -> bool:
    """Whether the leader is about to stop being one: nothing was done, and the next one may do it."""
    return error.errno in READ_ONLY_SERVER or error.errno in SERVER_GOES


def _problem_or_error(error: ServerError, field: str | None) -> Problem | ServerError:
    """The client's problem, unless the attempt is to be made again."""
    if is_retryable(error) or error.errno in CONFLICTS:
        return error
    return problem_of(error, field=field)


async def commit(session: LeaderSession) -> str | None:
    """Commit, and have the log vouch for it; returns the GTID, None when nothing was written.

    Raises:
        OutcomeUnknown: it may or may not be kept.
        ServerError: it is not.
    """
    try:
        gtid = (await session.connection.query("COMMIT")).gtid
    except (ConnectionLost, RemoteProtocolError) as error:
        raise OutcomeUnknown("the connection to the leader broke before it answered the commit") from error
    except ServerError as error:
        if error.errno in SERVER_GOES:
            raise OutcomeUnknown("the leader ended the session while it committed") from error
        raise
    if gtid is not None and not await session.wait_committed(gtid):
        raise OutcomeUnknown("the leader changed before a majority was known to hold the change")
    return gtid


async def roll_back(connection: Connection) -> None:
    """Roll back; a connection that is gone has done so."""
    with contextlib.suppress(ConnectionLost, RemoteProtocolError, ServerError):
        await connection.query("ROLLBACK")


def unknown_problem(error: OutcomeUnknown, *, retry_is_safe: bool) -> Problem:
    """What the client is told when it cannot be told whether its write is kept."""
    advice = (
        f"send it again with the same {idempotency.HEADER}: it is carried out once"
        if retry_is_safe
        else f"look before you send it again, and send an {idempotency.HEADER} to make that safe"
    )
    return Problem(504, "outcome_unknown", f"{error}: whether it is kept is unknown; {advice}")


def no_leader_problem(error: Exception) -> Problem:
    """What the client is told when nothing was done because there is no leader."""
    return Problem(
        503,
        "no_leader",
        f"no node takes writes now, and nothing was done ({error}): try again",
        headers={"Retry-After": "1"},
    )
