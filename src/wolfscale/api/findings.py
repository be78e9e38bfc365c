"""What is wrong with a cluster and what to do about it, from what one node sees. Pure."""

from collections.abc import Sequence

from wolfscale.api.dashboard_models import Event, Finding, History, Severity
from wolfscale.api.models import NodeStatus


def findings(status: NodeStatus, history: History, events: Sequence[Event]) -> tuple[Finding, ...]:
    """All findings, the worst first."""
    if status.leader is not None:
        return ()
    return (
        Finding(
            severity=Severity.ERROR,
            what="no leader is known",
            next_step="start the members that are down: a majority of the voters elects a leader",
        ),
    )
