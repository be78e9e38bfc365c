"""Asks a node's HTTP side: what the command line and the demo use. One request a connection, over trio."""

import json
import math
import os
import urllib.parse
from dataclasses import dataclass
from typing import Any, TypeVar

import h11
import trio
from pydantic import BaseModel, ValidationError

from wolfscale.api.errors import NodeAnswerError, NodeUnreachableError
from wolfscale.api.models import ClusterStatus, NodeStatus

_MAXIMUM_BODY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
DEFAULT_TIMEOUT_SECONDS = 5.0

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A node's answer: the HTTP status and the JSON value in the body."""

    status: int
    body: Any


async def ask(endpoint: str, path: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Answer:
    """Send one GET and return the JSON answer, whatever its status.

    Args:
        endpoint: `http://host:port`; the scheme may be left out.
        path: with a leading slash.
        timeout_seconds: for connecting and answering together.

    Raises:
        NodeUnreachableError: nobody listens there, or the answer took too long.
        NodeAnswerError: the answer is not HTTP or not JSON.
    """
    host, port = _target(endpoint)
    with trio.move_on_after(timeout_seconds) as scope:
        try:
            stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=math.inf)
            async with stream:
                return await _exchange(stream, endpoint, f"{host}:{port}", path)
        except trio.BrokenResourceError as error:
            raise NodeUnreachableError(endpoint, "the connection was closed") from error
        except OSError as error:
            raise NodeUnreachableError(endpoint, _reason(error)) from error
        except h11.RemoteProtocolError as error:
            raise NodeAnswerError(endpoint, f"not HTTP ({error})") from error
    if scope.cancelled_caught:
        raise NodeUnreachableError(endpoint, f"nothing within {timeout_seconds:g} s")
    raise AssertionError("unreachable")


def _reason(error: BaseException) -> str:
    """The system's own words: trio wraps the errors of all attempts in one without an errno."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    return _reason(error.__cause__) if error.__cause__ is not None else str(error)


async def fetch_status(endpoint: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> NodeStatus:
    """A node's own view of itself; raises as `ask` does."""
    answer = await ask(endpoint, "/status", timeout_seconds=timeout_seconds)
    return _validated(NodeStatus, endpoint, answer)


async def fetch_cluster(endpoint: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> ClusterStatus:
    """The cluster as a node sees it; raises as `ask` does."""
    answer = await ask(endpoint, "/cluster", timeout_seconds=timeout_seconds)
    return _validated(ClusterStatus, endpoint, answer)


def _validated(model: type[_Model], endpoint: str, answer: Answer) -> _Model:
    if answer.status != 200:
        raise NodeAnswerError(endpoint, f"HTTP status {answer.status}")
    try:
        return model.model_validate(answer.body)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"]))
        raise NodeAnswerError(endpoint, f"{where}: {detail['msg']}") from error


def _target(endpoint: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(endpoint if "//" in endpoint else f"//{endpoint}", scheme="http")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        raise NodeUnreachableError(endpoint, "it is no address: write http://HOST:PORT")
    return parts.hostname, port


async def _exchange(stream: trio.abc.Stream, endpoint: str, host: str, path: str) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", host), ("Connection", "close")])
    await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    status, body, received = 0, bytearray(), 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(_CHUNK_BYTES))
            if not data and not received:
                raise NodeUnreachableError(endpoint, "the connection was closed before an answer")
            received += len(data)
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MAXIMUM_BODY_BYTES:
                raise NodeAnswerError(endpoint, "the answer is too long")
        elif isinstance(event, h11.EndOfMessage):
            break
    try:
        return Answer(status=status, body=json.loads(body))
    except ValueError as error:
        raise NodeAnswerError(endpoint, f"HTTP status {status}, and no JSON") from error
