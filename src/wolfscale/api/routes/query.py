"""`POST /query`: reads with bound parameters and a consistency level."""

from fastapi import APIRouter, Response

from wolfscale.api.json_body import StrictJsonRoute
from wolfscale.api.problems import Problem, ProblemBody
from wolfscale.api.query_models import QueryAnswer, QueryRequest
from wolfscale.api.querying import Reader
from wolfscale.api.services import Services

RESPONSES: dict[int | str, dict[str, object]] = {
    400: {"model": ProblemBody, "description": "No JSON, or SQL that the server does not understand."},
    403: {"model": ProblemBody, "description": "Not allowed."},
    404: {"model": ProblemBody, "description": "No such table or database."},
    409: {"model": ProblemBody, "description": "In conflict with what is there."},
    413: {"model": ProblemBody, "description": "Too large."},
    415: {"model": ProblemBody, "description": "No JSON by its Content-Type."},
    422: {"model": ProblemBody, "description": "A field is wrong; it is named."},
    500: {"model": ProblemBody, "description": "The server failed; its error is passed on."},
    503: {"model": ProblemBody, "description": "No leader now; nothing was done."},
    504: {"model": ProblemBody, "description": "Not answered in time."},
    507: {"model": ProblemBody, "description": "The server's disk is full."},
}


def router(services: Services) -> APIRouter:
    """The route over a gateway."""
    routes = APIRouter(tags=["data"], route_class=StrictJsonRoute)
    reader = Reader(services.sql) if services.sql is not None else None

    @routes.post("/query", response_model=QueryAnswer, responses=RESPONSES)
    async def query(request: QueryRequest) -> Response:
        """Run one read-only statement with bound parameters."""
        if reader is None:
            raise Problem(503, "no_database", "this process reaches no database")
        return Response(await reader.query(request), media_type="application/json")

    return routes
