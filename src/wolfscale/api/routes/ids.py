"""`GET /ids`: snowflake ids, for whoever names rows before writing them."""

import math
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from wolfscale.api.problems import Problem, ProblemBody
from wolfscale.api.services import Services
from wolfscale.errors import WolfScaleError
from wolfscale.ids import MAX_COUNT, IdsUnavailable

Count = Annotated[int, Query(ge=1, le=MAX_COUNT, description="how many")]


class Ids(BaseModel):
    """New ids, ascending.

    Attributes:
        ids: as numbers, which JavaScript rounds: they are longer than 53 bits.
        strings: the same as strings of digits.
    """

    ids: list[int]
    strings: list[str]


def router(services: Services) -> APIRouter:
    """The route over a source of ids."""
    routes = APIRouter(tags=["ids"])

    @routes.get("/ids", responses={503: {"model": ProblemBody, "description": "This node gives none now."}})
    async def ids(count: Count = 1) -> Ids:
        """This many ids that no node of the cluster has given or will give."""
        taken = await take_ids(services, count)
        return Ids(ids=taken, strings=[str(id) for id in taken])

    return routes


async def take_ids(services: Services, count: int) -> list[int]:
    """New ids of this node.

    Raises:
        Problem: there are none now: 503.
    """
    try:
        if services.ids is None:
            raise IdsUnavailable("it is starting, ask again")
        return await services.ids.take(count)
    except WolfScaleError as error:
        wait_ms = error.retry_ms if isinstance(error, IdsUnavailable) else 0
        seconds = max(1, math.ceil(wait_ms / 1000))
        raise Problem(503, "no_ids", str(error), headers={"Retry-After": str(seconds)}) from error
