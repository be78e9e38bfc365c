"""`POST /write/*`: rows changed one by one or together, tables defined; on any node, done by the leader."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Request, Response

from wolfscale.api.defining import define
from wolfscale.api.gateway import SqlGateway
from wolfscale.api.idempotency import HEADER, REPLAY_HEADER, RetryKey, retry_key
from wolfscale.api.json_body import StrictJsonRoute
from wolfscale.api.problems import Problem
from wolfscale.api.routes.query import RESPONSES
from wolfscale.api.services import Services
from wolfscale.api.write_models import (
    BatchAnswer,
    BatchRequest,
    DdlAnswer,
    DdlRequest,
    DeleteRequest,
    InsertRequest,
    Integers,
    RowResult,
    UpdateRequest,
    WriteAnswer,
)
from wolfscale.api.writing import Placed, Writer, Written

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Makes the request safe to send again: it is carried out once. Kept for 24 hours, the "
        "same for all clients; a random UUID is right.",
    ),
]


def router(services: Services) -> APIRouter:
    """The routes over a gateway."""
    routes = APIRouter(prefix="/write", tags=["data"], route_class=StrictJsonRoute, responses=RESPONSES)
    gateway = services.sql
    writer = Writer(gateway, services.ids) if gateway is not None else None

    def present() -> tuple[SqlGateway, Writer]:
        if gateway is None or writer is None:
            raise Problem(503, "no_database", "this process reaches no database")
        return gateway, writer

    @routes.post("/insert", response_model=WriteAnswer)
    async def insert(body: InsertRequest, request: Request, key: IdempotencyKey = None) -> Response:
        """Insert a row."""
        written = await present()[1].write([Placed(write=body)], await _key(request, key))
        return _answer(written, _one(written, body.integers))

    @routes.post("/update", response_model=WriteAnswer)
    async def update(body: UpdateRequest, request: Request, key: IdempotencyKey = None) -> Response:
        """Update the row of a primary or unique key; no such row is no error: `matched_rows` is 0."""
        written = await present()[1].write([Placed(write=body)], await _key(request, key))
        return _answer(written, _one(written))

    @routes.post("/delete", response_model=WriteAnswer)
    async def delete(body: DeleteRequest, request: Request, key: IdempotencyKey = None) -> Response:
        """Delete the row of a primary or unique key; no such row is no error: `affected_rows` is 0."""
        written = await present()[1].write([Placed(write=body)], await _key(request, key))
        return _answer(written, _one(written))

    @routes.post("/batch", response_model=BatchAnswer)
    async def batch(body: BatchRequest, request: Request, key: IdempotencyKey = None) -> Response:
        """Carry out several writes in one transaction: all of them, or none."""
        placed = [Placed(write=write, field=f"writes.{n}.") for n, write in enumerate(body.writes)]
        written = await present()[1].write(placed, await _key(request, key))
        results = [_row(result, body.integers) for result in written.results]
        return _answer(written, {"results": results, "gtid": written.gtid})

    @routes.post("/ddl", response_model=DdlAnswer)
    async def ddl(body: DdlRequest, request: Request, key: IdempotencyKey = None) -> Response:
        """Create, alter, drop, rename or truncate something."""
        written = await define(present()[0], body, await _key(request, key))
        affected = written.results[0].affected_rows
        return _answer(written, {"affected_rows": affected, "gtid": written.gtid})

    return routes


async def _key(request: Request, key: str | None) -> RetryKey | None:
    return retry_key(key, request.url.path, await request.body())


def _row(result: RowResult, integers: Integers) -> dict[str, Any]:
    row = result.model_dump(exclude_none=True)
    if integers is Integers.STRING and "id" in row:
        row["id"] = str(row["id"])
    return row


def _one(written: Written, integers: Integers = Integers.NUMBER) -> dict[str, Any]:
    [result] = written.results
    return {**_row(result, integers), "gtid": written.gtid}


def _answer(written: Written, body: dict[str, Any]) -> Response:
    headers = {REPLAY_HEADER: "true"} if written.replayed else None
    return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)
