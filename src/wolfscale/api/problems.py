"""How a request fails: one JSON form for all routes, and the exception that carries it."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from wolfscale.api.errors import ApiError


class ProblemBody(BaseModel):
    """What every answer that is no success holds.

    Attributes:
        error: a word for programs, e.g. `unknown_column`.
        message: what happened, to what, and what to do next.
        field: the part of the request that is wrong, as in `values.email`; None when it is none.
        errno: MariaDB's own error number, unchanged, when it is MariaDB's error.
        sqlstate: likewise.
    """

    error: str
    message: str
    field: str | None = None
    errno: int | None = None
    sqlstate: str | None = None


class Problem(ApiError):
    """Raised in a route, answered as `ProblemBody` with its status.

    Attributes:
        status: the HTTP status, 400 to 599.
        body: what the client reads.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        field: str | None = None,
        errno: int | None = None,
        sqlstate: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body = ProblemBody(error=error, message=message, field=field, errno=errno, sqlstate=sqlstate)
        self.headers = headers or {}
        super().__init__(message)


def answer_problems(app: FastAPI) -> None:
    """Have every failure of a request answered in the one form."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_failure)


def problem_response(problem: Problem) -> JSONResponse:
    """The answer to a request that failed with this."""
    return JSONResponse(problem.body.model_dump(), status_code=problem.status, headers=problem.headers)


def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error)


def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    # The first part says where in the request it was: body, query, path or header.
    where = ".".join(str(part) for part in first["loc"][1:])
    message = f"{where}: {first['msg']}" if where else str(first["msg"])
    return problem_response(Problem(422, "invalid_request", message, field=where or None))


def _on_failure(_request: Request, _error: Exception) -> JSONResponse:
    """A mistake of ours, which the log gets; its text may hold what is none of the client's business."""
    return problem_response(
        Problem(500, "internal_error", "the node failed to answer this: its log says why")
    )


def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    word = str(error.detail).lower().replace(" ", "_")
    problem = Problem(error.status_code, word, str(error.detail), headers=dict(error.headers or {}))
    return problem_response(problem)
