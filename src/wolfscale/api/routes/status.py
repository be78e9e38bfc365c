"""`GET /status`, `/cluster` and `/health`: what a node knows of itself and of its cluster."""

from fastapi import APIRouter, Response

from wolfscale.api.health import WantedRole, cluster_summary, health
from wolfscale.api.models import ClusterStatus, HealthStatus, NodeStatus
from wolfscale.api.services import Services


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

    @routes.get("/health")
    async def node_health(response: Response, role: WantedRole = WantedRole.ANY) -> HealthStatus:
        """200 when this node can serve (in the wanted role), 503 with the reason when not."""
        answer = health(source.status(), role)
        if not answer.healthy:
            response.status_code = 503
        return answer

    return routes
