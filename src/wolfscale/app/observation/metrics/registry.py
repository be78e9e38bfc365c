"""All metrics of one running node."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry

from wolfscale.api.health import cluster_summary, spare_voters
from wolfscale.api.requests import RequestCounts
from wolfscale.api.services import StatusSource
from wolfscale.app.observation.metrics.collector import registry_of
from wolfscale.app.observation.metrics.database import database_samples, lifecycle_samples
from wolfscale.app.observation.metrics.metric import Sample
from wolfscale.app.observation.metrics.process import IDS, process_samples, request_samples
from wolfscale.app.observation.metrics.proxy import proxy_samples
from wolfscale.app.observation.metrics.raft import peer_samples, raft_samples
from wolfscale.app.observation.metrics.replication import capture_samples, feed_samples
from wolfscale.app.observation.metrics.wal import wal_samples
from wolfscale.node.node import Node
from wolfscale.node.storage import RaftStorage
from wolfscale.replication.feed import Feed
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.notice import MemberNotice


def build_registry(
    *,
    node: Node,
    storage: RaftStorage,
    database: tuple[Lifecycle, Feed] | None,
    notice: Callable[[], MemberNotice],
    status: StatusSource,
    requests: RequestCounts,
    ids_given: Callable[[], int],
) -> CollectorRegistry:
    """A registry that reads these objects at each scrape.

    Args:
        node: the node.
        storage: its log.
        database: its database's lifecycle and feed; None on a witness.
        notice: what it says of itself.
        status: what it shows.
        requests: what was asked of its HTTP side.
        ids_given: how many ids it has given.
    """

    def samples() -> Iterator[Sample]:
        seen, shown, said = node.status(), status.status(), notice()
        yield from raft_samples(seen, node.statistics, spare_voters(cluster_summary(shown)))
        yield from peer_samples(seen)
        yield from wal_samples(storage, seen.disk_problem)
        yield from database_samples(said)
        if database is not None:
            lifecycle, feed = database
            yield from lifecycle_samples(lifecycle.statistics)
            yield from capture_samples(lifecycle.statistics.capture)
            yield from feed_samples(feed)
        if shown.proxy is not None:
            yield from proxy_samples(shown.proxy)
        yield from process_samples(node.name, node.id, shown.process, said.host)
        yield Sample(IDS, ids_given())
        yield from request_samples(requests)

    return registry_of(samples)
