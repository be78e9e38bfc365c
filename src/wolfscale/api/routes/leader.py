"""`POST /cluster/leader`: a planned change of the leader, for maintenance."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from wolfscale.api.json_body import StrictJsonRoute
from wolfscale.api.problems import Problem, ProblemBody
from wolfscale.api.services import Services
from wolfscale.api.switching import SwitchedOver, SwitchOverFailed

_RESPONSES: dict[int | str, dict[str, object]] = {
    400: {"model": ProblemBody, "description": "No JSON."},
    404: {"model": ProblemBody, "description": "No member has this name."},
    409: {"model": ProblemBody, "description": "This member cannot lead now; the old leader goes on."},
    503: {"model": ProblemBody, "description": "No leader now, or nobody took over; nothing is lost."},
    504: {"model": ProblemBody, "description": "Not known to be done in time: look at `/cluster`."},
}


class LeaderRequest(BaseModel):
    """Who is to lead.

    Attributes:
        to: the member's name or id; the one that is placed best unless given.
    """

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str | None, Field(min_length=1, max_length=255)] = None


def router(services: Services) -> APIRouter:
    """The route over what changes the leader."""
    routes = APIRouter(tags=["cluster"], route_class=StrictJsonRoute)

    @routes.post("/cluster/leader", responses=_RESPONSES)
    async def switch_over(body: LeaderRequest) -> SwitchedOver:
        """Hand leadership to another member; answered when that one takes writes."""
        if services.leader is None:
            raise Problem(503, "starting", "this node is starting, ask again")
        try:
            return await services.leader.switch_over(body.to)
        except SwitchOverFailed as error:
            field = "to" if error.status == 404 else None
            raise Problem(error.status, error.word, str(error), field=field) from error

    return routes
