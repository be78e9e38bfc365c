"""Watches a replica's own threads: what stopped them decides between waiting, trying again and a clone."""

import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.replication.database import Database, ReplicaStatus

log = logs.logger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 2.0

ER_UNKNOWN_ERROR = 1105
UNKNOWN_POSITION_ERRNO = 1236
"""The feed does not hold the replica's position."""
PASSING_ERRNOS = frozenset({1021, 1030, 1114, 1205, 1213, 2003, 2013, 2026})
"""Full disk, storage engine out of room, lock waits and lost connections: they end without our doing."""


class ReplicaBroken(WolfScaleError):
    """The replica cannot apply the log: its data differs from the cluster's."""

    def __init__(self, errno: int, message: str) -> None:
        self.errno = errno
        super().__init__(
            f"MariaDB could not apply the log (error {errno}: {message}). Its data differs from the "
            "cluster's and is replaced by a clone of a peer's; nothing is to be done."
        )


async def watch_replica(database: Database) -> None:
    """Run while the replica's threads are well, and restart them after what passes by itself.

    Raises:
        ReplicaBroken: an error that only a clone mends.
        DatabaseUnavailable: the server does not answer.
    """
    reported = 0
    while True:
        status = await database.replica_status()
        errno, message = failure(status)
        if errno == 0:
            reported = 0
        elif errno in PASSING_ERRNOS:
            if errno != reported:
                log.warning("replica stopped, trying again", errno=errno, reason=message)
                reported = errno
            await trio.sleep(RETRY_SECONDS)
            await database.restart_replica()
        else:
            raise ReplicaBroken(errno, message)
        await trio.sleep(CHECK_SECONDS)


def failure(status: ReplicaStatus) -> tuple[int, str]:
    """Return the error that stopped a replica thread, (0, "") when none did."""
    if status.sql_errno:
        return status.sql_errno, status.sql_error
    if status.sql_error and not status.sql_running:
        # "Query caused different errors on master and slave" has the replica's own: 0 if it had none.
        return ER_UNKNOWN_ERROR, status.sql_error
    if status.io_errno:
        return status.io_errno, status.io_error
    return 0, ""
