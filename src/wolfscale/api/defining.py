"""Carries out `/write/ddl`: one definition on the leader, under its intent mark."""

import contextlib
from collections.abc import Sequence

import msgspec

from wolfscale.api import idempotency
from wolfscale.api.gateway import LeaderSession, SqlGateway, StatementOutline
from wolfscale.api.idempotency import RetryKey
from wolfscale.api.problems import Problem
from wolfscale.api.sql_problems import SERVER_GOES, problem_of
from wolfscale.api.write_models import DdlRequest, RowResult
from wolfscale.api.write_statements import SYSTEM_SCHEMAS, refuse_system_schema
from wolfscale.api.writing import (
    OutcomeUnknown,
    Written,
    commit,
    is_retryable,
    present_gtid,
    roll_back,
    run_on_leader,
)
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Result
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError

_READABLE = frozenset({"information_schema"})


def check_definition(gateway: SqlGateway, request: DdlRequest) -> StatementOutline:
    """Raise for what is no single definition of the applications'.

    The account that runs it has no rights in the system's databases: this says so early and in words.

    Returns:
        What it looks like.

    Raises:
        Problem: 4xx.
    """
    seen = gateway.outline(request.ddl)
    if not seen.complete:
        raise Problem(400, "syntax", "a quote or a comment is not closed", field="ddl")
    if seen.statements != 1:
        raise Problem(
            422,
            "one_statement",
            f"`ddl` takes one statement, not {seen.statements}: send one request for each",
            field="ddl",
        )
    if seen.refusal is not None:
        raise Problem(403, "refused", f"the cluster does not allow this: {seen.refusal}", field="ddl")
    if not seen.is_definition:
        raise Problem(
            422,
            "no_definition",
            "`ddl` takes CREATE, ALTER, DROP, RENAME or TRUNCATE of what is no account: change rows with "
            "/write/insert and its kind, ask with /query, and use the MySQL port for the rest",
            field="ddl",
        )
    if seen.is_temporary:
        raise Problem(
            422,
            "temporary_table",
            "a temporary table would be gone with the answer to this request: make a table",
            field="ddl",
        )
    for name in sorted(seen.schemas & (SYSTEM_SCHEMAS - _READABLE)):
        refuse_system_schema(name, "ddl")
    if request.database is not None:
        refuse_system_schema(request.database, "database")
    return seen


async def define(gateway: SqlGateway, request: DdlRequest, key: RetryKey | None) -> Written:
    """Run the definition once.

    Raises:
        Problem: what the client is told.
    """
    seen = check_definition(gateway, request)

    async def attempt(session: LeaderSession) -> Written:
        await _check_order(session, seen.order_questions)
        return await _attempt(session, request.ddl, key)

    database = request.database or gateway.default_database
    return await run_on_leader(gateway, attempt, retries_unknown=False, database=database)


async def _check_order(session: LeaderSession, questions: Sequence[str]) -> None:
    for question in questions:
        if (await session.connection.query(question)).rows:
            raise Problem(
                422,
                "unordered_rows",
                "the table has no primary key, so its rows may be in another order on each server, which "
                "would number them or choose among them differently: make a new table with the key, INSERT "
                "INTO new SELECT ... FROM old (on the MySQL port), and RENAME TABLE",
                field="ddl",
            )


async def _attempt(session: LeaderSession, ddl: str, key: RetryKey | None) -> Written:
    if key is not None:
        stored = await _claim(session, key)
        if stored is not None:
            results = [RowResult.model_validate(item) for item in msgspec.json.decode(stored)]
            return Written(results=results, gtid=await present_gtid(session), replayed=True)
    try:
        result = await _run(session, ddl)
    except ServerError as error:
        if key is not None:
            await _forget(session, key)
        if is_retryable(error):
            raise
        raise problem_of(error, field="ddl") from error
    results = [RowResult(affected_rows=result.affected_rows)]
    if key is not None:
        await _remember(session, key, results)
    return Written(results=results, gtid=result.gtid)


async def _run(session: LeaderSession, ddl: str) -> Result:
    async with session.definition():
        try:
            result = await session.connection.query(ddl)
        except (ConnectionLost, RemoteProtocolError) as error:
            raise OutcomeUnknown("the connection to the leader broke before it answered") from error
        except ServerError as error:
            if error.errno in SERVER_GOES:
                raise OutcomeUnknown("the leader ended the session before it answered") from error
            raise
    if result.gtid is not None and not await session.wait_committed(result.gtid):
        raise OutcomeUnknown("the leader changed before a majority was known to hold the change")
    return result


async def _claim(session: LeaderSession, key: RetryKey) -> bytes | None:
    """Have the key's row on a majority's disks before the definition runs."""
    connection = session.connection
    await connection.query("START TRANSACTION")
    try:
        stored = await idempotency.claim(connection, key)
        if stored is None:
            await _commit_claim(session)
        return stored
    except (Problem, ServerError):
        await roll_back(connection)
        raise


async def _commit_claim(session: LeaderSession) -> None:
    try:
        await commit(session)
    except OutcomeUnknown as error:
        # The definition has not been sent, and an own row that was kept is known again.
        raise ConnectionLost(str(error)) from error


async def _forget(session: LeaderSession, key: RetryKey) -> None:
    with contextlib.suppress(WolfScaleError):
        await idempotency.forget(session.connection, key)


async def _remember(session: LeaderSession, key: RetryKey, results: list[RowResult]) -> None:
    """Done is done: a key whose row stays pending only makes a retry say that it does not know."""
    response = msgspec.json.encode([result.model_dump() for result in results])
    with contextlib.suppress(WolfScaleError):
        await idempotency.remember(session.connection, key, response)
