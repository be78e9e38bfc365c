"""`GET /dashboard/data`: what the page at `/` shows, in one JSON value."""

from fastapi import APIRouter

from wolfscale.api.dashboard_models import DashboardData, StatementCounts
from wolfscale.api.findings import findings
from wolfscale.api.health import cluster_summary
from wolfscale.api.models import ProxyStatus
from wolfscale.api.services import Services


def router(services: Services) -> APIRouter:
    """The route over status, history and events."""
    routes = APIRouter(tags=["status"])

    @routes.get("/dashboard/data")
    async def dashboard_data() -> DashboardData:
        """This node, its cluster, their last ten minutes, and what is wrong."""
        status = services.status.status()
        history, events = services.history.history(), services.history.events()
        return DashboardData(
            node=status.name,
            status=status,
            cluster=cluster_summary(status),
            history=history,
            events=events,
            findings=findings(status, history, events),
            statements=statement_counts(status.proxy),
        )

    return routes


def statement_counts(proxy: ProxyStatus | None) -> StatementCounts:
    """Where statements went, from the proxy's counters."""
    counters = proxy.counters if proxy is not None else {}
    return StatementCounts(
        local=counters.get("local_statements", 0),
        leader=counters.get("leader_statements", 0),
        refused=counters.get("refused_statements", 0),
        misjudged=counters.get("misjudged_reads", 0),
        stale=counters.get("stale_reads", 0) + counters.get("lagging_reads", 0),
    )
