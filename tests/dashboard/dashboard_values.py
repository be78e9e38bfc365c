"""Answers of `/dashboard/data` for tests of the page, built from the API's own models."""

import math
import time
from collections.abc import Sequence

from wolfscale.api.dashboard_models import (
    DashboardData,
    Event,
    Finding,
    History,
    HistorySeries,
    Severity,
    StatementCounts,
)
from wolfscale.api.health import cluster_summary
from wolfscale.api.models import MemberStatus, NodeStatus, ProcessStatus, ProxyStatus
from wolfscale.testing.statuses import member, node

NOW = time.time()


def healthy_node() -> NodeStatus:
    """The leader of three members that serve HTTP on ports that nobody listens on."""
    return node(members=tuple(healthy_members())).model_copy(
        update={
            "proxy": ProxyStatus(address="127.0.0.1:3307", sessions=12),
            "process": ProcessStatus(
                process_id=7, version="0.1.0", uptime_seconds=93_784.5, rss_bytes=71 << 20
            ),
        }
    )


def healthy_members() -> Sequence[MemberStatus]:
    """Three of them."""
    return [
        member(number, writable=number == 1).model_copy(update={"api_url": f"http://127.0.0.1:{number}"})
        for number in (1, 2, 3)
    ]


def history(seconds: int = 600, *, unknown: Sequence[int] = ()) -> History:
    """Waves; None at the given seconds, counted from the oldest."""

    def wave(low: float, high: float, period: float) -> tuple[float | None, ...]:
        middle, reach = (low + high) / 2, (high - low) / 2
        values = (middle + reach * math.sin(second * math.tau / period) for second in range(seconds))
        return tuple(None if second in unknown else round(value, 3) for second, value in enumerate(values))

    return History(
        interval_seconds=1,
        end_time=NOW,
        series=HistorySeries(
            commits_per_second=wave(900, 1300, 120),
            commit_p50_ms=wave(1.5, 2.5, 90),
            commit_p99_ms=wave(4, 12, 70),
            local_per_second=wave(2000, 4000, 200),
            leader_per_second=wave(400, 700, 150),
            sessions=wave(10, 14, 300),
            lag_groups=wave(0, 6, 60),
            log_bytes_per_second=wave(200_000, 400_000, 100),
        ),
    )


EVENTS = (
    Event(time=NOW - 30, kind="leader", text="node-1 leads", fields={"term": "3", "after_ms": "212"}),
    Event(time=NOW - 31, kind="election", text="this node asks for votes", fields={"term": "3"}),
)


def data(
    status: NodeStatus | None = None,
    *,
    findings: Sequence[Finding] = (),
    events: Sequence[Event] = EVENTS,
    shown_history: History | None = None,
) -> DashboardData:
    """What a healthy node answers, unless said otherwise."""
    status = status or healthy_node()
    return DashboardData(
        node=status.name,
        status=status,
        cluster=cluster_summary(status),
        history=shown_history or history(),
        events=tuple(events),
        findings=tuple(findings),
        statements=StatementCounts(local=750, leader=250, refused=3, misjudged=1),
    )


WORRIES = (
    Finding(
        severity=Severity.ERROR,
        what="node-3 has not been heard from for 42 s",
        next_step="look at its machine; start it again with: systemctl start wolfscale",
    ),
    Finding(
        severity=Severity.WARNING,
        what="one more failure stops all writes",
        next_step="bring node-3 back, or add a member",
    ),
    Finding(severity=Severity.INFO, what="node-2 is being cloned from node-1", next_step="wait for it"),
)
