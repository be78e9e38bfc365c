"""Judges a primary by whether it makes progress, not by whether it answers.

A MariaDB that answers `SELECT 1` but cannot commit (stopped, stalled disk) is as dead as a crashed one.
So a primary that has sent the capture nothing and written next to nothing for a while is asked to commit a
marker row; what counts is that the row reaches the capture, or that a large commit ahead of it moves on.
Whether a quorum then acknowledges it is not MariaDB's doing.
"""

from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.capture import Capture
from wolfscale.replication.database import Database

log = logs.logger(__name__)

POLL_SECONDS = 0.1


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

    def progress() -> tuple[object, ...]:
        # A large commit reaches the capture piece by piece, and before that is written to the binlog.
        return capture.captured, capture.statistics.bytes, _written_mebibytes(database.process_id)

    while True:
        seen = progress()
        await trio.sleep(idle_seconds)
        waits_for_quorum = capture.captured != capture.acknowledged
        if progress() != seen or waits_for_quorum:
            continue
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write_marker, database, term, node)
            with trio.move_on_after(limit_seconds) as limit:
                while progress() == seen:
                    with trio.move_on_after(POLL_SECONDS):
                        await capture.changes.wait()
            # Without a quorum the row waits for its acknowledgement, which is for Raft to judge.
            nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            raise NoProgress(idle_seconds + limit_seconds)


def _written_mebibytes(process_id: int) -> int:
    """What a process has written so far, in whole MiB (`wchar`, proc(5)); 0 when that cannot be read."""
    try:
        text = Path(f"/proc/{process_id}/io").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("wchar:")) >> 20


async def _write_marker(database: Database, term: int, node: str) -> None:
    try:
        await database.write_marker(term, node)
    except (ServerError, OSError) as error:
        log.warning("the progress marker failed", reason=str(error))
