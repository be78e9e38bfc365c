"""The HTTP application: every group of routes over the services that it needs. Knows no socket."""

from fastapi import FastAPI

from wolfscale import __version__
from wolfscale.api.openapi import describe_api
from wolfscale.api.problems import ProblemBody, answer_problems
from wolfscale.api.routes import dashboard, dashboard_data, docs, ids, leader, metrics, query, status, writes
from wolfscale.api.services import Services

ROUTERS = (
    status.router,
    leader.router,
    writes.router,
    query.router,
    ids.router,
    dashboard.router,
    dashboard_data.router,
    metrics.router,
    docs.router,
)


def build_app(services: Services) -> FastAPI:
    """All routes, every failure in the one form of `wolfscale.api.problems`."""
    app = FastAPI(
        title="WolfScale",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={422: {"model": ProblemBody}},
    )
    answer_problems(app)
    for router in ROUTERS:
        app.include_router(router(services))
    describe_api(app)
    return app
