"""Where in the log a replica's position is."""

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.entry import decode_fragment
from wolfscale.replication.log import EVENTS, ReplicatedLog

POSITION_ERRNO = 1236
"""ER_MASTER_FATAL_ERROR_READING_BINLOG: a replica that gets it stops and reports it."""


async def find_start(log: ReplicatedLog, position: tuple[Gtid, ...]) -> int:
    """The log index that follows a position.

    A position that the log has but does not know to be committed yet is waited for: after a start, a node
    learns from its leader what is committed. Continuing behind an entry that another leader then replaces
    would be a divergence that nobody notices.

    Args:
        log: the log.
        position: GTIDs of the domains that the replica knows; empty: it has nothing.

    Raises:
        ServerError: 1236, the log does not have the position.
    """
    if not position:
        if log.first_index > 1:
            raise _unknown("the replica has no position, and the log no longer has everything from the start")
        return 1
    if len(position) > 1 or position[0].domain != 0:
        text = ",".join(str(gtid) for gtid in position)
        raise _unknown(f"the position {text} has other domains than 0")
    gtid = position[0]
    index = log.find_sequence(gtid.sequence)
    if index is None:
        raise _unknown(f"the log does not have {gtid}")
    await log.changes.wait_until(lambda: log.commit_index >= index)
    # It may have been replaced while it was waited for.
    if log.find_sequence(gtid.sequence) != index or _gtid_at(log, index) != gtid:
        raise _unknown(f"the log has another transaction in the place of {gtid}")
    return index + 1


def _gtid_at(log: ReplicatedLog, index: int) -> Gtid | None:
    for entry in log.read(index, index, 1):
        if entry.kind == EVENTS:
            return decode_fragment(entry.data).gtid
    return None


def _unknown(why: str) -> ServerError:
    return ServerError(
        POSITION_ERRNO, "HY000", f"WolfScale: {why}; the node replaces this server's data by a clone"
    )
