"""`GET /metrics`: everything that is counted, for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from prometheus_client.exposition import choose_encoder

from wolfscale.api.services import Services


def router(services: Services) -> APIRouter:
    """The route over a registry of metrics."""
    routes = APIRouter(tags=["status"])

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """All metrics of this node: Prometheus' text format, or OpenMetrics where that is accepted."""
        encode, content_type = choose_encoder(accept)
        return Response(encode(services.metrics), media_type=content_type)

    return routes
