"""Judges a primary by whether it makes progress, not by whether it answers.

A MariaDB that answers `SELECT 1` but cannot commit (stopped, stalled disk) is as dead as a crashed one.
So a primary that has sent the capture nothing for a while is asked to commit a marker row; what counts is
that the row reaches the capture. Whether a quorum then acknowledges it is not MariaDB's doing.
"""

import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.capture import Capture
from wolfscale.replication.database import Database

log = logs.logger(__name__)


class NoProgress(WolfScaleError):
    """The primary did not bring a commit to its binlog in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"MariaDB committed nothing for {seconds:.1f} s although asked to: it is stopped or its disk "
            "stalls. The node kills it and hands leadership over; look at the machine's disks and load."
        )


async def watch_progress(
    database: Database, capture: Capture, *, term: int, node: str, idle_seconds: float, limit_seconds: float
) -> None:
    """Run until the primary stops making progress.

    Args:
        database: the primary.
        capture: its capture.
        term: the tenure, written into the marker row.
        node: this node's name, written into the marker row.
        idle_seconds: silence after which a marker row is written.
        limit_seconds: how long that row may take to reach the capture.

    Raises:
        NoProgress: it took longer.
    """
    while True:
        seen = capture.captured
        await trio.sleep(idle_seconds)
        waits_for_quorum = capture.captured != capture.acknowledged
        if capture.captured != seen or waits_for_quorum:
            continue
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write_marker, database, term, node)
            with trio.move_on_after(limit_seconds) as limit:
                while capture.captured == seen:
                    await capture.changes.wait()
            # Without a quorum the row waits for its acknowledgement, which is for Raft to judge.
            nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            raise NoProgress(idle_seconds + limit_seconds)


async def _write_marker(database: Database, term: int, node: str) -> None:
    try:
        await database.write_marker(term, node)
    except (ServerError, OSError) as error:
        log.warning("the progress marker failed", reason=str(error))
