"""docs/metrics.md: all metrics, and the alerts that are worth a telephone call."""

from dataclasses import dataclass

from wolfscale.app.observation.metrics.table import metrics_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule for Prometheus' alerting.

    Attributes:
        name: the rule's.
        expression: in PromQL.
        minutes: for how long it must hold.
        meaning: what to think, and where to look.
    """

    name: str
    expression: str
    minutes: int
    meaning: str


ALERTS = (
    Alert(
        name="WolfScaleNodeDown",
        expression='up{job="wolfscale"} == 0',
        minutes=1,
        meaning="The node's process, its machine or the way to it is gone.",
    ),
    Alert(
        name="WolfScaleNoWriter",
        expression="max(wolfscale_mariadb_writable) == 0",
        minutes=1,
        meaning="No member takes writes: see the findings on any node's dashboard.",
    ),
    Alert(
        name="WolfScaleNoMargin",
        expression="max(wolfscale_raft_spare_voters) < 1",
        minutes=5,
        meaning="One more voter lost and writes stop: start the missing ones. Of two voters none is spare.",
    ),
    Alert(
        name="WolfScaleElections",
        expression="increase(wolfscale_raft_leader_changes_total[15m]) > 4",
        minutes=0,
        meaning="Leadership moves about: look at load, disks and the network of the members.",
    ),
    Alert(
        name="WolfScaleReplicaLags",
        expression="wolfscale_mariadb_lag_groups > 10000",
        minutes=5,
        meaning="A replica applies more slowly than the leader commits.",
    ),
    Alert(
        name="WolfScaleDatabaseNotServing",
        expression=(
            "sum by (instance) "
            '(wolfscale_mariadb_state{wolfscale_mariadb_state=~"replica|primary|none"}) == 0'
        ),
        minutes=10,
        meaning="A member's MariaDB is stopped, recovering or being cloned for long.",
    ),
    Alert(
        name="WolfScaleSlowDisk",
        expression=("histogram_quantile(0.99, rate(wolfscale_wal_fsync_seconds_bucket[5m])) > 0.1"),
        minutes=10,
        meaning="Each commit waits for the disks of a majority.",
    ),
    Alert(
        name="WolfScaleDiskNearlyFull",
        expression="wolfscale_disk_free_bytes / wolfscale_disk_total_bytes < 0.1",
        minutes=10,
        meaning="The log and MariaDB's data need room; a node whose disk is full gives leadership away.",
    ),
    Alert(
        name="WolfScaleUnknownOutcomes",
        expression="increase(wolfscale_proxy_outcomes_unknown_total[15m]) > 0",
        minutes=0,
        meaning="Clients were told that nobody knows whether their statement committed: they should look.",
    ),
)

_INTRODUCTION = """\
# Metrics

Every node answers `GET /metrics` on its HTTP address, in Prometheus' text format, or OpenMetrics where the
scraper accepts it. From this machine no token is needed, from others a `read` token:

    scrape_configs:
      - job_name: wolfscale
        authorization: { credentials_file: /etc/prometheus/wolfscale-token }
        static_configs:
          - targets: ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]

Counters begin at 0 when the node's process starts. A node shows what it knows itself: scrape all of them.
What only the leader knows (`wolfscale_peer_match_index`, `wolfscale_raft_commit_seconds`,
`wolfscale_capture_*`) is absent or stands still on the others. An idle leader commits a marker row about
once a second, to prove that its MariaDB can: rates are never quite zero.

This page is written by `make reference`; change `src/wolfscale/app/observation/metrics/` instead.
"""


def metrics_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join(
        [_INTRODUCTION, "## Alerts worth having", "", _alerts(), "## All metrics", "", metrics_table()]
    )


def alert_rules() -> str:
    """The alerts as a rule file."""
    lines = ["groups:", "  - name: wolfscale", "    rules:"]
    for alert in ALERTS:
        lines += [f"      - alert: {alert.name}", f"        expr: {alert.expression}"]
        lines += [f"        for: {alert.minutes}m"] if alert.minutes else []
        lines += ["        annotations:", f"          summary: {_quoted(alert.meaning)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _alerts() -> str:
    indented = "".join(f"    {line}\n" for line in alert_rules().splitlines())
    return f"As a rule file:\n\n{indented}"
