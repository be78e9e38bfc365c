"""`Idempotency-Key`: a request that is sent again is carried out once, on whichever node and leader.

The key's row is written in the transaction of the write itself, so it is there exactly if the write is: a
retry finds it, also after a failover, and answers what was answered; or it does not, and the write is done
anew. Two requests with one key at the same time meet at the row's lock. A definition is no transaction: its
row says `pending` before it runs, and a retry that finds that says that the outcome is unknown.
"""

import hashlib
import secrets
from dataclasses import dataclass

from wolfscale.api.problems import Problem
from wolfscale.api.sql_problems import DUPLICATE, LOCK_WAIT
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import identifier
from wolfscale.mysql.prepared_client import execute

TABLE = "wolfscale.api_idempotency"
KEPT_HOURS = 24
PURGE_ROWS = 1000
_PENDING = b"pending:"
HEADER = "Idempotency-Key"
REPLAY_HEADER = "Idempotent-Replay"


def table_statement() -> str:
    """The statement that creates the table."""
    schema, _, name = TABLE.partition(".")
    return (
        f"CREATE TABLE IF NOT EXISTS {identifier(schema)}.{identifier(name)} ("
        "idempotency_key VARBINARY(255) NOT NULL PRIMARY KEY, request_hash BINARY(32) NOT NULL, "
        "response MEDIUMBLOB NOT NULL, created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6), "
        "KEY (created_at)) ENGINE=InnoDB"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryKey:
    """A request's key.

    Attributes:
        key: as the client sent it.
        request_hash: of what the request was.
        pending: stands for the response until there is one; this request's own, so that it knows its row.
    """

    key: str
    request_hash: bytes
    pending: bytes


def retry_key(key: str | None, path: str, body: bytes) -> RetryKey | None:
    """The key of a request; None when it has none."""
    if key is None:
        return None
    digest = hashlib.sha256(path.encode() + b"\0" + body).digest()
    pending = _PENDING + secrets.token_hex(16).encode()
    return RetryKey(key=key, request_hash=digest, pending=pending)


async def claim(connection: Connection, key: RetryKey) -> bytes | None:
    """Write the key's row in the open transaction; or give the response of the request that it is of.

    When the row was there already, the transaction has been rolled back.

    Raises:
        Problem: 422 when the key is another request's; 409 when that request is still under way, or was a
            definition whose end nobody saw.
        ServerError, ConnectionLost: as any statement.
    """
    try:
        await execute(
            connection,
            f"INSERT INTO {TABLE} (idempotency_key, request_hash, response) VALUES (?, ?, ?)",
            [key.key.encode(), key.request_hash, key.pending],
        )
        return None
    except ServerError as error:
        if error.errno == LOCK_WAIT:
            raise Problem(
                409,
                "in_progress",
                f"another request with this {HEADER} is under way: try again to get its answer",
                field=HEADER,
                headers={"Retry-After": "1"},
            ) from error
        if error.errno != DUPLICATE:
            raise
    await connection.query("ROLLBACK")
    found = await execute(
        connection,
        f"SELECT request_hash, response FROM {TABLE} WHERE idempotency_key = ?",
        [key.key.encode()],
    )
    if not found.rows:
        # Purged between the two statements, after a day.
        raise Problem(409, "in_progress", "the key has just expired: try again", headers={"Retry-After": "1"})
    request_hash, stored = found.rows[0]
    if request_hash != key.request_hash:
        raise Problem(
            422,
            "idempotency_key_reused",
            f"this {HEADER} belongs to another request of the last {KEPT_HOURS} hours: use a new one",
            field=HEADER,
        )
    assert isinstance(stored, bytes)
    if stored == key.pending:
        return None  # ours, from an attempt whose answer was lost
    if stored.startswith(_PENDING):
        raise Problem(
            409,
            "outcome_unknown",
            f"a definition was begun with this {HEADER} and its end was not seen, or it still runs: look at "
            "the schema, and send it with a new key if it is not there",
            field=HEADER,
        )
    return stored


async def remember(connection: Connection, key: RetryKey, response: bytes) -> None:
    """Store the response with the key, in the open transaction."""
    await execute(
        connection,
        f"UPDATE {TABLE} SET response = ? WHERE idempotency_key = ?",
        [response, key.key.encode()],
    )


async def forget(connection: Connection, key: RetryKey) -> None:
    """Remove a pending key: what it was of has failed, so a retry may do it anew."""
    await execute(
        connection,
        f"DELETE FROM {TABLE} WHERE idempotency_key = ? AND response = ?",
        [key.key.encode(), key.pending],
    )


async def purge(connection: Connection) -> int:
    """Remove old keys, a bounded number; returns how many."""
    result = await connection.query(
        f"DELETE FROM {TABLE} WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL {KEPT_HOURS} HOUR "
        f"ORDER BY created_at LIMIT {PURGE_ROWS}"
    )
    return result.affected_rows
