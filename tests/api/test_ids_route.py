"""`GET /ids` over a real socket."""

import pytest
from api_serving import Answer, Source, exchange, serving

from wolfscale.api.services import Services
from wolfscale.ids import MAX_COUNT, IdsUnavailable

FIRST = 117_000_000_000_000_001


class Ids:
    """Counts up from a number that JavaScript would round."""

    def __init__(self) -> None:
        self.next = FIRST
        self.failure: IdsUnavailable | None = None

    async def take(self, count: int) -> list[int]:
        if self.failure is not None:
            raise self.failure
        taken = list(range(self.next, self.next + count))
        self.next += count
        return taken


async def get(path: str, ids: Ids | None) -> Answer:
    async with serving(services=Services(status=Source(), ids=ids)) as port:
        return await exchange(port, "GET", path)


async def test_ids_without_a_count_is_one() -> None:
    answer = await get("/ids", Ids())
    assert answer.status == 200
    assert answer.json == {"ids": [FIRST], "strings": [str(FIRST)]}
    assert answer.headers["cache-control"] == "no-store", "a cache would give ids twice"


async def test_ids_as_many_as_asked_for_come_as_numbers_and_as_strings() -> None:
    answer = await get(f"/ids?count={MAX_COUNT}", Ids())
    assert answer.json["ids"] == list(range(FIRST, FIRST + MAX_COUNT))
    assert answer.json["strings"] == [str(id) for id in answer.json["ids"]]


@pytest.mark.parametrize("count", ["0", "-1", str(MAX_COUNT + 1), "many", "1.5", ""])
async def test_ids_count_out_of_bounds_is_refused_with_its_name(count: str) -> None:
    answer = await get(f"/ids?count={count}", Ids())
    assert answer.status == 422
    assert answer.json["field"] == "count"


async def test_ids_that_are_not_given_now_are_a_503_that_says_why_and_when() -> None:
    ids = Ids()
    ids.failure = IdsUnavailable("the clock is wrong", retry_ms=61_500)
    answer = await get("/ids", ids)
    assert answer.status == 503
    assert answer.json["error"] == "no_ids"
    assert "the clock is wrong" in answer.json["message"]
    assert answer.headers["retry-after"] == "62"


async def test_ids_of_a_node_that_has_none_yet_are_a_503() -> None:
    answer = await get("/ids", None)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
