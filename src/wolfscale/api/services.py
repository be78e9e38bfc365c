"""What the HTTP side needs of the node that it stands in: one narrow interface for each group of routes."""

from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry

from wolfscale.api.dashboard_models import Event, History
from wolfscale.api.gateway import SqlGateway
from wolfscale.api.models import NodeStatus
from wolfscale.api.requests import RequestCounts
from wolfscale.api.switching import LeaderSwitch


class StatusSource(Protocol):
    """The node's state, at any time, at once."""

    def status(self) -> NodeStatus:
        """The node as it is now; called once a request, must not block."""


class IdSource(Protocol):
    """Gives snowflake ids, of which no two in the cluster are ever alike."""

    async def take(self, count: int) -> list[int]:
        """This many new ids, ascending. A checkpoint; waits while the ids run too far ahead of the clock.

        Raises:
            WolfScaleError: this node gives none now; the message says why and what to do.
        """


class HistorySource(Protocol):
    """What this node remembers of its last minutes, at any time, at once."""

    def history(self) -> History:
        """One value a second of each series."""

    def events(self) -> tuple[Event, ...]:
        """The last notable events, the newest first."""


class NoHistory:
    """A node that remembers nothing."""

    def history(self) -> History:
        """Empty series."""
        return History()

    def events(self) -> tuple[Event, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that the routes may ask for; the composition root fills it.

    Attributes:
        status: the node as it sees itself.
        ids: new ids; None where there is nobody to give them.
        history: the last minutes, for the dashboard.
        metrics: what is counted, for Prometheus.
        requests: where requests are counted.
        sql: the databases of this node and of the leader; None where there are none.
        leader: changes the leader; None where there is no cluster.
    """

    status: StatusSource
    ids: IdSource | None = None
    history: HistorySource = field(default_factory=NoHistory)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: RequestCounts = field(default_factory=RequestCounts)
    sql: SqlGateway | None = None
    leader: LeaderSwitch | None = None
