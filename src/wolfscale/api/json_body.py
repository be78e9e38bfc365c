"""Bodies read strictly and without loss: no digit dropped, no name twice, nothing that is nearly JSON."""

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from wolfscale.api.problems import Problem


def parse_json(body: bytes) -> Any:
    """A body's JSON value; numbers with a fraction or an exponent become `Decimal`.

    Raises:
        Problem: 400, says where the text stops being JSON.
    """
    try:
        return json.loads(
            body.decode(),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _bad(f"the body is no JSON: {error.msg} at {where}") from error
    except UnicodeDecodeError as error:
        raise _bad(f"the body is no JSON: it is no UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise _bad("the body is nested too deeply") from error
    except ValueError as error:
        raise _bad(f"the body is no JSON that can be used: {error}") from error


def _bad(message: str) -> Problem:
    return Problem(400, "bad_json", message, field="body")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"JSON knows no {text}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


class _StrictRequest(Request):
    parsed: Any = None

    async def json(self) -> Any:
        return self.parsed


class StrictJsonRoute(APIRoute):
    """A route whose body is read by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler over a request that was parsed so, before FastAPI looks at it."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            request = _StrictRequest(request.scope, request.receive)
            body = await request.body()
            if not body:
                raise _bad("the body is empty: send a JSON object")
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/json":
                raise Problem(
                    415,
                    "unsupported_media_type",
                    f"the body's Content-Type is {content_type or 'missing'}: send JSON with "
                    "Content-Type: application/json",
                    field="Content-Type",
                )
            request.parsed = parse_json(body)
            return await handle(request)

        return strict
