"""Metrics of the proxy, summed over a node's workers."""

from wolfscale.api.models import ProxyStatus
from wolfscale.app.observation.metrics.metric import Metric, Sample, Samples, counter, gauge

SESSIONS = gauge("proxy_sessions", "Clients that are connected.")

_STATEMENTS = counter("proxy_statements", "Statements that were run, by whose MariaDB ran them.", "target")
_CLASSIFIED = counter(
    "proxy_classifications", "Statements that were judged: from the cache, or parsed.", "source"
)

COUNTERS: dict[str, tuple[Metric, tuple[str, ...]]] = {
    "sessions_total": (counter("proxy_sessions_accepted", "Clients that were accepted."), ()),
    "sessions_failed": (counter("proxy_sessions_failed", "Sessions that a bug of WolfScale ended."), ()),
    "log_ins_failed": (counter("proxy_log_ins_failed", "Log-ins that were refused or broken off."), ()),
    "refused_connections": (
        counter("proxy_connections_refused", "Clients turned away since too many were connected."),
        (),
    ),
    "local_statements": (_STATEMENTS, ("local",)),
    "leader_statements": (_STATEMENTS, ("leader",)),
    "relayed_statements": (
        counter("proxy_relayed_statements", "Of all statements those that took the engine's fast path."),
        (),
    ),
    "refused_statements": (
        counter("proxy_refused_statements", "Statements refused since they would cut a server loose."),
        (),
    ),
    "programs_cut_loose": (
        counter(
            "proxy_programs_cut_loose",
            "Sessions ended since a stored program set sql_log_bin or the like: data may differ.",
        ),
        (),
    ),
    "misjudged_reads": (
        counter("proxy_misjudged_reads", "Statements taken for reads that the replica refused."),
        (),
    ),
    "local_failures": (
        counter("proxy_local_failures", "Reads that went to the leader since the local MariaDB failed."),
        (),
    ),
    "stale_reads": (
        counter("proxy_stale_reads", "Reads that gave up waiting for the local MariaDB."),
        (),
    ),
    "lagging_reads": (
        counter("proxy_lagging_reads", "Reads that went to the leader since the local MariaDB lagged."),
        (),
    ),
    "leader_connections": (counter("proxy_leader_connections", "Connections made to the leader."), ()),
    "transactions_lost": (
        counter("proxy_transactions_lost", "Open transactions that a change of leader ended (1213)."),
        (),
    ),
    "outcomes_unknown": (
        counter("proxy_outcomes_unknown", "Statements of which nobody knows whether they committed."),
        (),
    ),
    "classified_from_cache": (_CLASSIFIED, ("cache",)),
    "classified_anew": (_CLASSIFIED, ("parsed",)),
}
"""A worker's counters by their names, and the metric of each."""

METRICS = (SESSIONS, *dict.fromkeys(metric for metric, _ in COUNTERS.values()))


def proxy_samples(status: ProxyStatus) -> Samples:
    """What a node's proxy shows; counters that no worker has told of are 0."""
    yield Sample(SESSIONS, status.sessions)
    for name, (metric, labels) in COUNTERS.items():
        yield Sample(metric, status.counters.get(name, 0), labels)
