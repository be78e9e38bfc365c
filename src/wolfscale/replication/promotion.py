"""Makes a caught-up replica the primary of a term, and drains a primary so that it can stop being one.

The order of the steps is the design's ("The life of a node's MariaDB", steps 4 and 5), and each has
its reason in what MariaDB does; none can be left out or moved.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from wolfscale import logs
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.capture import Capture
from wolfscale.replication.client_sessions import ClientSession
from wolfscale.replication.database import Database
from wolfscale.replication.record import RecordStore
from wolfscale.replication.recovery import begin_tenure

log = logs.logger(__name__)

DRAIN_RETRY_SECONDS = 0.05
OPEN_TRANSACTIONS_RETRY_SECONDS = 0.125
"""InnoDB answers from a cache until nobody has asked for 0.1 s (CACHE_MIN_IDLE_TIME_US, trx0i_s.cc): whoever
asks more often sees transactions that have long ended."""
OPEN_TRANSACTIONS_SECONDS = 5.0
"""How long a planned hand-over lets open transactions end by themselves."""
ANNOUNCED_SECONDS = 0.25
"""How long ago the end must have been announced before open transactions are counted and idle sessions end:
a proxy that has not heard of it could begin one, or send a statement and never learn what became of it."""
STATEMENT_SECONDS = 1.0
"""How long a statement that runs when writes are stopped may still take."""
LOCK_WAIT_TIMEOUT_ERROR = 1205


async def become_primary(
    database: Database,
    records: RecordStore,
    *,
    term: int,
    node: str,
    start_capture: Callable[[Gtid | None], Capture],
) -> Capture:
    """Turn a replica that has applied everything before the term into a capturing primary.

    Args:
        database: the server; its replica threads have applied all that the log holds.
        records: the node's record, which knows of the tenure before the server does.
        term: the Raft term; it becomes the server id.
        node: name of this node, for the marker row.
        start_capture: starts the capture task from a position and returns it.

    Returns:
        The capture, connected and acknowledged by the marker row; the server is writable.

    Raises:
        ServerError: MariaDB refused a step.
    """
    await database.stop_replica()
    await database.reset_replica()
    position = await database.position()
    # From here on the data can only be trusted after a recovery.
    await begin_tenure(database, records, term)
    # Without this a server whose binlog is empty starts its sequence numbers at 1 again.
    await database.set_position(position)
    await database.set_server_id(term)
    await database.enable_semi_sync()
    capture = start_capture(position)
    connection_id = await capture.wait_registered()
    # A capture of an earlier tenure counts as a client until its next heartbeat, so this one's thread
    # must be seen by its id.
    while not await database.is_semi_sync_client(connection_id):
        await trio.sleep(DRAIN_RETRY_SECONDS / 10)
    await _end_sessions_past_proxies(database)
    await database.write_marker(term, node)
    await database.events.enable()
    await database.set_read_only(False)
    return capture


async def no_uploads() -> int:
    """There are no proxies."""
    return 0


async def drain(
    database: Database, capture: Capture, count_uploads: Callable[[], Awaitable[int]] = no_uploads
) -> Gtid | None:
    """Stop writes, let what is in flight end, and return the position where the primary stopped.

    Open transactions, and long commands that proxies are passing on, which they cannot send again to another
    leader, get `OPEN_TRANSACTIONS_SECONDS`, running statements `STATEMENT_SECONDS` after that;
    then their sessions are killed, and idle ones too, since read_only does not stop an account with all
    privileges. Never is one killed that waits for its acknowledgement: KILL would commit it without a
    quorum.

    Raises:
        ServerError: MariaDB refused a step.
    """
    # Proxies that have heard of the end begin nothing new here, so that open transactions can only get fewer.
    await trio.sleep(ANNOUNCED_SECONDS)
    with trio.move_on_after(OPEN_TRANSACTIONS_SECONDS):
        while await database.sessions.open_transactions() or await count_uploads():
            await trio.sleep(OPEN_TRANSACTIONS_RETRY_SECONDS)
    # Events may belong to accounts that read_only does not stop.
    await database.events.set_scheduler(False)
    await _stop_writes(database)
    await _end_present_sessions(database)
    while True:
        written = await database.binlog_position()
        if written is None or capture.acknowledged == written:
            return written
        await capture.changes.wait_until(partial(_has_acknowledged, capture, written.sequence))


def _has_acknowledged(capture: Capture, sequence: int) -> bool:
    return capture.acknowledged is not None and capture.acknowledged.sequence >= sequence


async def _stop_writes(database: Database) -> None:
    """Turn read_only on, past sessions whose locks it would wait for.

    A pending read_only can deadlock with a statement that it holds back, hence the short wait for locks and
    the retry. LOCK TABLES and FLUSH TABLES WITH READ LOCK belong to sessions that have no open transaction.
    """
    while True:
        try:
            await database.set_read_only(True)
            return
        except ServerError as error:
            if error.errno != LOCK_WAIT_TIMEOUT_ERROR:
                raise
        log.info("read_only waits behind open transactions or locks: ending their sessions")
        await database.sessions.kill_with_open_transactions()
        for session in await database.sessions.present():
            if session.idle:
                await database.sessions.kill(session.connection_id)


async def _end_sessions_past_proxies(database: Database) -> None:
    """End the sessions that are there now and could write under the server id that they began with.

    A session copies the server's id when it begins. A proxy opens a new one for writes; whoever comes by the
    server's own socket may go on with one of before, and what it wrote would be taken for divergence. One
    that runs a statement for long (a dump) is let be.
    """
    sessions = [session for session in await database.sessions.present() if session.past_proxies]
    await _end_sessions(database, sessions, running_too=False)


async def _end_present_sessions(database: Database) -> None:
    """End the sessions that are there now; proxies open none for writes on a server that says it drains."""
    await _end_sessions(database, await database.sessions.present(), running_too=True)


async def _end_sessions(database: Database, sessions: list[ClientSession], *, running_too: bool) -> None:
    """End sessions as soon as they are idle.

    Args:
        database: theirs.
        sessions: as they are now.
        running_too: end those too that still run a statement after `STATEMENT_SECONDS`, but do not commit;
            otherwise they are left alone then.
    """
    numbers = {session.connection_id for session in sessions}
    patience = trio.current_time() + STATEMENT_SECONDS
    while sessions:
        overdue = trio.current_time() > patience
        for session in sessions:
            if session.idle or (running_too and overdue and not session.committing):
                await database.sessions.kill(session.connection_id)
        if overdue and not running_too:
            return
        await trio.sleep(DRAIN_RETRY_SECONDS)
        sessions = [
            session for session in await database.sessions.present() if session.connection_id in numbers
        ]
