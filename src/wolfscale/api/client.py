"""Asks a node's HTTP side: what the command line and the demo use. One request a connection, over trio."""

import json
import math
import os
import ssl
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import h11
import trio
from pydantic import BaseModel, ValidationError

from wolfscale.api.dashboard_models import Finding
from wolfscale.api.errors import (
    AuthorityInvalidError,
    EndpointInvalidError,
    NodeAnswerError,
    NodeUnreachableError,
    TokenRefusedError,
)
from wolfscale.api.models import ClusterStatus, NodeStatus, Shown
from wolfscale.api.switching import SwitchedOver, SwitchOverFailed

_MAXIMUM_BODY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
DEFAULT_TIMEOUT_SECONDS = 5.0

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """With what a node is asked.

    Attributes:
        token: sent as a bearer token; a node on this machine needs none.
        ca_file: the authority (PEM) that an https node's certificate must come from, or that certificate
            itself; the system's unless given.
    """

    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


class Diagnosis(Shown):
    """A node as it sees itself, and what is wrong: what of the dashboard's data is asked for.

    Attributes:
        status: the node.
        findings: the worst first; empty when all is well.
    """

    status: NodeStatus
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A node's answer: the HTTP status and the JSON value in the body."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """An endpoint taken apart."""

    host: str
    port: int
    encrypted: bool

    @property
    def header(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


async def ask(
    endpoint: str,
    path: str,
    *,
    access: Access = Access(),
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    body: Any = None,
) -> Answer:
    """Send one GET, or one POST with a body, and return the JSON answer, whatever its status.

    Args:
        endpoint: `http://host:port` or `https://host:port`; without a scheme it is http.
        path: with a leading slash.
        access: token and authority.
        timeout_seconds: for connecting and answering together.
        body: a JSON value to be posted.

    Raises:
        AuthorityInvalidError: `access.ca_file` holds no certificate.
        NodeUnreachableError: nobody listens there, its certificate is not trusted, or the answer took too
            long.
        NodeAnswerError: the answer is not HTTP or not JSON.
    """
    target = _target(endpoint)
    with trio.move_on_after(timeout_seconds) as scope:
        try:
            async with await _connect(target, access) as stream:
                content = b"" if body is None else json.dumps(body).encode()
                return await _exchange(stream, endpoint, _request(target, path, access, content), content)
        except (trio.BrokenResourceError, OSError) as error:
            raise NodeUnreachableError(endpoint, _reason(error)) from error
        except h11.RemoteProtocolError as error:
            raise NodeAnswerError(endpoint, f"not HTTP ({error}); try https://{target.header}") from error
    if scope.cancelled_caught:
        raise NodeUnreachableError(endpoint, f"nothing within {timeout_seconds:g} s")
    raise AssertionError("unreachable")


async def _connect(target: _Target, access: Access) -> trio.abc.Stream:
    context = None
    if target.encrypted:
        # Before anything is connected: a file that cannot be used is the caller's mistake, not the node's.
        try:
            context = ssl.create_default_context(cafile=access.ca_file)
        except ssl.SSLError as error:
            if access.ca_file is None:
                raise
            raise AuthorityInvalidError(access.ca_file) from error
        # A node's own certificate in that file is as good as its authority's (Python 3.13's default).
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    stream = await trio.open_tcp_stream(target.host, target.port, happy_eyeballs_delay=math.inf)
    if context is None:
        return stream
    return trio.SSLStream(stream, context, server_hostname=target.host, https_compatible=True)


def _request(target: _Target, path: str, access: Access, content: bytes) -> h11.Request:
    headers = [("Host", target.header), ("Connection", "close"), ("Accept", "application/json")]
    if access.token is not None:
        headers.append(("Authorization", f"Bearer {access.token}"))
    if content:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    return h11.Request(method="POST" if content else "GET", target=path, headers=headers)


def _reason(error: BaseException) -> str:
    """The system's own words: trio wraps the errors of all attempts in one without an errno."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
            return "it does not speak TLS: write http://"
        return f"TLS failed ({error.reason or error})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    return "the connection was closed" if isinstance(error, trio.BrokenResourceError) else str(error)


async def fetch_status(
    endpoint: str, *, access: Access = Access(), timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> NodeStatus:
    """A node's own view of itself; raises as `ask` does, and `TokenRefusedError`."""
    answer = await ask(endpoint, "/status", access=access, timeout_seconds=timeout_seconds)
    return _validated(NodeStatus, endpoint, answer, access)


async def fetch_diagnosis(
    endpoint: str, *, access: Access = Access(), timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> Diagnosis:
    """A node's own view and what is wrong, of one moment; raises as `ask` does, and `TokenRefusedError`."""
    answer = await ask(endpoint, "/dashboard/data", access=access, timeout_seconds=timeout_seconds)
    return _validated(Diagnosis, endpoint, answer, access)


async def fetch_cluster(
    endpoint: str, *, access: Access = Access(), timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> ClusterStatus:
    """The cluster as a node sees it; raises as `ask` does, and `TokenRefusedError`."""
    answer = await ask(endpoint, "/cluster", access=access, timeout_seconds=timeout_seconds)
    return _validated(ClusterStatus, endpoint, answer, access)


async def switch_over(
    endpoint: str, to: str | None, *, access: Access = Access(), timeout_seconds: float
) -> SwitchedOver:
    """Change the leader; raises as `ask` does, `TokenRefusedError`, and `SwitchOverFailed`."""
    answer = await ask(
        endpoint, "/cluster/leader", access=access, timeout_seconds=timeout_seconds, body={"to": to}
    )
    body = answer.body
    if (
        answer.status not in {200, 401, 403}
        and isinstance(body, dict)
        and {"error", "message"} <= body.keys()
    ):
        raise SwitchOverFailed(str(body["error"]), answer.status, str(body["message"]))
    return _validated(SwitchedOver, endpoint, answer, access)


def _validated(model: type[_Model], endpoint: str, answer: Answer, access: Access) -> _Model:
    if answer.status in {401, 403}:
        raise TokenRefusedError(endpoint, status=answer.status, token_given=access.token is not None)
    if answer.status != 200:
        raise NodeAnswerError(endpoint, f"HTTP status {answer.status}")
    try:
        return model.model_validate(answer.body)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"]))
        raise NodeAnswerError(endpoint, f"{where}: {detail['msg']}") from error


def _target(endpoint: str) -> _Target:
    parts = urllib.parse.urlsplit(endpoint if "//" in endpoint else f"//{endpoint}", scheme="http")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port is None:
        raise EndpointInvalidError(endpoint)
    return _Target(host=parts.hostname, port=port, encrypted=parts.scheme == "https")


async def _exchange(stream: trio.abc.Stream, endpoint: str, request: h11.Request, content: bytes) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    parts: list[h11.Event] = [request, *([h11.Data(data=content)] if content else []), h11.EndOfMessage()]
    await stream.send_all(b"".join(connection.send(part) or b"" for part in parts))
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
