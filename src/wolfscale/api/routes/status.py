"""`GET /status`, `/cluster` and `/health`: what a node knows of itself and of its cluster."""

from typing import Any

from fastapi import APIRouter, Request, Response

from wolfscale.api.health import WantedRole, cluster_nodes, cluster_summary, health
from wolfscale.api.models import ClusterNodes, ClusterStatus, HealthStatus, NodeStatus
from wolfscale.api.scopes import Scope
from wolfscale.api.services import Services

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthStatus, "description": "This node cannot serve, or not in the wanted role."}
}


def router(services: Services) -> APIRouter:
    """The routes over a source of status."""
    routes = APIRouter(tags=["status"])
    source = services.status

    @routes.get("/status")
    async def status() -> NodeStatus:
        """This node as it sees itself and its cluster."""
        return source.status()

    @routes.get("/cluster")
    async def cluster() -> ClusterStatus:
        """The cluster as this node sees it."""
        return cluster_summary(source.status())

    @routes.get("/cluster/nodes")
    async def nodes() -> ClusterNodes:
        """The members: where each can be reached, what it does, and whether it can serve."""
        return cluster_nodes(source.status())

    @routes.get("/health", response_model_exclude_none=True, responses=_UNHEALTHY)
    async def node_health(
        request: Request, response: Response, role: WantedRole = WantedRole.ANY
    ) -> HealthStatus:
        """200 when this node can serve (in the wanted role), 503 with the reason when not.

        Needs no token; without one it says no more than that and why.
        """
        answer = health(source.status(), role)
        if not answer.healthy:
            response.status_code = 503
        if getattr(request.state, "scope", Scope.NOTHING) is Scope.NOTHING:
            return HealthStatus(healthy=answer.healthy, reason=answer.reason)
        return answer

    return routes
