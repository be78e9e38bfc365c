"""Drops what the log no longer needs to keep: old, and on the disk of every living member's MariaDB."""

import itertools
import time

import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.node.node import Node
from wolfscale.node.storage import RaftStorage
from wolfscale.replication.cluster import Cluster
from wolfscale.replication.lifecycle import Lifecycle

log = logs.logger(__name__)

CHECK_SECONDS = 60.0


async def keep_log_short(
    node: Node, storage: RaftStorage, cluster: Cluster, lifecycle: Lifecycle, *, retention_hours: float
) -> None:
    """Check once a minute until cancelled.

    A member that is silent for long is not waited for: what it misses then, it gets by a clone.
    """
    while True:
        await trio.sleep(CHECK_SECONDS)
        settled = [peer.notice.settled_index for peer in cluster.peers()]
        # A member finds its place by its settled group's own entry, so that one stays too.
        horizon = min([lifecycle.notice().settled_index, *settled]) - 1
        old_enough = _last_index_older_than(storage, time.time() - retention_hours * 3600)
        index = min(horizon, old_enough)
        if index < node.log.first_index:
            continue
        try:
            base = await node.purge(index)
        except (WolfScaleError, OSError) as error:
            log.warning("the log could not be shortened", reason=str(error))
        else:
            log.info("shortened the log", first_index=base + 1)


def _last_index_older_than(storage: RaftStorage, moment: float) -> int:
    """The last index of which every record was appended before a moment (seconds since 1970).

    A segment's records are older than the making of the segment that follows it.
    """
    segments = storage.segments()
    last = 0
    for segment, following in itertools.pairwise(segments):
        if following.created < moment:
            last = segment.last
    return last
