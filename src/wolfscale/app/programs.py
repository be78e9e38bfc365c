"""Looks on the primary for stored programs that would run what no session may (proxy.refused).

Those that are created through a proxy are refused there, but for tables that MariaDB logs in words of its own
(proxy.written_tables). What else is found here came another way: with the data that a cluster was founded on,
or past the proxies. Texts that a program puts together while it runs are not seen.
"""

import sys
from collections.abc import Mapping

import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Result
from wolfscale.proxy.lexer import LexerMode, tokenize
from wolfscale.proxy.refused import compound_refusal
from wolfscale.proxy.written_tables import LOSSY_MODES, written_tables
from wolfscale.replication.database import Database
from wolfscale.replication.lifecycle import Lifecycle

log = logs.logger(__name__)

LOOK_SECONDS = 60.0
PROGRAMS_A_QUERY = 100
MOST_BYTES = 1 << 18
"""Of a longer body only the beginning is looked at."""

# MariaDB's own: some of `sys` set sql_log_bin, and write nothing but temporary tables and their settings.
_FOREIGN = "db NOT IN ('mysql', 'sys', 'wolfscale')"
_SOURCES = (
    f"mysql.proc WHERE type <> 'PACKAGE' AND {_FOREIGN}",
    f"mysql.event WHERE {_FOREIGN}",
)


async def watch_programs(database: Database, lifecycle: Lifecycle, node_account: str) -> None:
    """Until cancelled: while this node is the primary, tell in the log what was found, and what is gone.

    Args:
        database: the node's.
        lifecycle: its role.
        node_account: the name of the node's own account.
    """
    known: Mapping[str, str] = {}
    seen: Result | None = None
    while True:
        await lifecycle.changes.wait_until(lambda: lifecycle.writable)
        try:
            newest = await _state(database)
            if seen is None or newest.rows != seen.rows:
                found = await forbidden_programs(database, node_account)
                _tell(known, found)
                known, seen = found, newest
        except (WolfScaleError, OSError) as error:
            log.debug("the stored programs cannot be looked at now", reason=str(error))
        with trio.move_on_after(LOOK_SECONDS):
            await lifecycle.changes.wait_until(lambda: not lifecycle.writable)


def _tell(known: Mapping[str, str], found: Mapping[str, str]) -> None:
    for program, reason in found.items():
        if known.get(program) != reason:
            log.warning("a stored program would run what no session may", program=program, reason=reason)
    for program in known.keys() - found.keys():
        log.info("a stored program that would run what no session may is gone", program=program)


async def _state(database: Database) -> Result:
    """Something that is another when a program was made, changed or dropped."""
    counts = (f"SELECT COUNT(*), MAX(modified) FROM {source}" for source in _SOURCES)
    return await database.query(" UNION ALL ".join(counts))


async def forbidden_programs(database: Database, node_account: str) -> dict[str, str]:
    """The programs that would run a refused statement, by their names, and why it is refused.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
    """
    found: dict[str, str] = {}
    for source in _SOURCES:
        offset = 0
        while rows := await _bodies(database, source, offset):
            offset += len(rows)
            for name, sql_mode, body in rows:
                reason = _why_forbidden(bytes.fromhex(body or ""), (sql_mode or "").split(","), node_account)
                if reason is not None:
                    found[name or ""] = reason
                await trio.lowlevel.checkpoint()
    return found


async def _bodies(database: Database, source: str, offset: int) -> list[tuple[str | None, ...]]:
    return (
        await database.query(
            f"SELECT CONCAT(db, '.', name), sql_mode, HEX(LEFT(body, {MOST_BYTES})) FROM {source} "
            f"ORDER BY db, name LIMIT {PROGRAMS_A_QUERY} OFFSET {offset}"
        )
    ).rows


def _why_forbidden(body: bytes, sql_mode: list[str], node_account: str) -> str | None:
    mode = LexerMode(
        backslash_escapes="NO_BACKSLASH_ESCAPES" not in sql_mode,
        ansi_quotes="ANSI_QUOTES" in sql_mode,
        server_version=sys.maxsize,
    )
    tokens = tokenize(body.decode("latin-1"), mode).tokens
    refusal = compound_refusal(tokens, node_account)
    if refusal is not None:
        return refusal.reason
    tables = written_tables(tokens)
    if tables is None:
        return None
    if tables.from_query and not set(LOSSY_MODES).isdisjoint(sql_mode):
        return (
            "CREATE TABLE ... SELECT under its sql_mode: MariaDB logs the table without its options, so the "
            "other servers make another; give the program a sql_mode without ANSI, ORACLE and the like"
        )
    if any(copy.source in tables.temporary for copy in tables.copies):
        return (
            "CREATE TABLE ... LIKE a temporary table: MariaDB logs the table without its character set; "
            "write the columns out, with theirs"
        )
    return None
