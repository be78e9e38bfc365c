"""Stands before the routes: lets in who may, bounds what is read, and gives every answer its headers.

Plain ASGI, since what wraps routes for asyncio does not run on trio. The routes see the caller's right as
`request.state.scope`, and a body that has already arrived: no route waits for a client.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Final

import trio

from wolfscale import logs
from wolfscale.api.access import AccessPolicy, Asked, Granted, Preflight, Refused, decide
from wolfscale.api.origins import Headers
from wolfscale.api.refusals import RefusalLog
from wolfscale.api.scopes import is_safe, rule_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logs.logger(__name__)

DEFAULT_BODY_BYTES: Final = 4 << 20
HEADER_BYTES: Final = 32 << 10
"""The longest request line and headers together."""
BODY_SECONDS: Final = 60.0
"""A body must be here within this."""
_REFUSED_BODY_BYTES: Final = 64 << 10
_REFUSED_BODY_SECONDS: Final = 2.0
"""So much is read of a body that nobody wants, so that the client reads the answer instead of a reset."""

SECURITY_HEADERS: Final = (
    # Nothing of ours is a script, style or frame of another site's page, whatever its browser would allow.
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)
# The state of a moment: a cache that answered it later would lie.
_CACHE = ("cache-control", "no-store")


class Gate:
    """An ASGI application in front of another one.

    Args:
        app: what answers those who are let in.
        policy: who is.
        body_bytes: the longest body.
    """

    def __init__(self, app: App, policy: AccessPolicy, *, body_bytes: int = DEFAULT_BODY_BYTES) -> None:
        self._app = app
        self._policy = policy
        self._body_bytes = body_bytes
        self._refusals = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        client = scope.get("client")
        asked = Asked(
            method=scope["method"],
            path=scope["path"],
            scheme=scope["scheme"],
            peer=client[0] if client else None,
            headers=headers,
        )
        decision = decide(asked, self._policy)
        if isinstance(decision, Granted):
            await self._go_on(scope, headers, decision, receive, send)
            return
        whole = await _discard(receive)
        ending = () if whole else (("connection", "close"),)
        if isinstance(decision, Preflight):
            await _send_empty(send, 204, (*decision.headers, *ending))
        else:
            self._refusals.note(asked, decision)
            await _send_problem(send, decision, ending)

    async def _go_on(
        self, scope: Scope, headers: Headers, granted: Granted, receive: Receive, send: Send
    ) -> None:
        length = headers.get("content-length", ("0",))[0]
        body: bytes | Refused
        if _size(scope) > HEADER_BYTES:
            body = _LONG_HEADERS
        elif length.isascii() and length.isdigit() and int(length) > self._body_bytes:
            body = self._too_large()
        elif (unusable := _unusable_type(scope["method"], scope["path"], headers)) is not None:
            body = unusable
        else:
            body = await self._body(receive)
        if isinstance(body, Refused):
            whole = await _discard(receive)
            ending = () if whole else (("connection", "close"),)
            await _send_problem(send, body, (*granted.headers, *ending))
            return
        started = finished = False

        async def send_on(message: Message) -> None:
            nonlocal started, finished
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _completed(message.get("headers", []), granted.headers)
            elif message["type"] == "http.response.body":
                finished = not message.get("more_body", False)
            await send(message)

        # Routes know GET only; the server leaves out the body of an answer to HEAD.
        asked = {**scope, "method": "GET" if scope["method"] == "HEAD" else scope["method"]}
        asked["state"] = {**scope.get("state", {}), "scope": granted.scope}
        try:
            await self._app(asked, _replaying(body, receive), send_on)
        except Exception as error:
            log.error("a request failed", error=error, method=scope["method"], path=scope["path"])
            if not started:
                await _send_problem(send, _INTERNAL, granted.headers)
            elif not finished:
                raise  # the server breaks the connection off: half an answer must not look whole

    async def _body(self, receive: Receive) -> bytes | Refused:
        body = bytearray()
        with trio.move_on_after(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return _DISCONNECTED
                body += message.get("body", b"")
                if len(body) > self._body_bytes:
                    return self._too_large()
                if not message.get("more_body", False):
                    return bytes(body)
        return _SLOW

    def _too_large(self) -> Refused:
        return Refused(
            status=413,
            error="body_too_large",
            message=f"the body has more than {self._body_bytes} bytes: send it in parts, or raise "
            "max_body_kb in [api]",
            field="body",
        )


_LONG_HEADERS: Final = Refused(
    status=431,
    error="headers_too_large",
    message=f"the request's line and headers have more than {HEADER_BYTES} bytes",
)
_INTERNAL: Final = Refused(
    status=500, error="internal_error", message="the node failed to answer: its log says why"
)
_DISCONNECTED: Final = Refused(
    status=400, error="incomplete_body", message="the body ended early", field="body"
)
_SLOW: Final = Refused(
    status=408,
    error="body_too_slow",
    message=f"the body was not here within {BODY_SECONDS:g} seconds",
    field="body",
)


def _size(scope: Scope) -> int:
    line = len(scope["raw_path"]) + len(scope["query_string"])
    return line + sum(len(name) + len(value) for name, value in scope["headers"])


def _headers(scope: Scope) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _unusable_type(method: str, path: str, headers: Headers) -> Refused | None:
    """Why a body cannot be taken for what its header says; a web page's form can send no JSON."""
    if is_safe(method) or rule_of(method, path) is None:
        return None
    given = headers.get("content-type", ("",))[0]
    kind = given.partition(";")[0].strip().lower()
    if kind == "application/json":
        return None
    found = f"not {given[:100]!r}" if given else "which is missing"
    return Refused(
        status=415,
        error="unsupported_media_type",
        message=f"a body here is JSON: send the header 'Content-Type: application/json', {found}",
        field="Content-Type",
    )


async def _discard(receive: Receive) -> bool:
    """Read the rest of a body that nobody wants; returns whether all of it came, within bounds."""
    read = 0
    with trio.move_on_after(_REFUSED_BODY_SECONDS):
        while read <= _REFUSED_BODY_BYTES:
            message = await receive()
            if message["type"] != "http.request":
                return False
            read += len(message.get("body", b""))
            if not message.get("more_body", False):
                return True
    return False


def _replaying(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that has been read, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _completed(
    headers: Iterable[tuple[bytes, bytes]], further: Sequence[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    """An answer's headers with those that every answer has; what a route has set stays."""
    completed = list(headers)
    present = {name.lower() for name, _ in completed}
    for name, value in (*SECURITY_HEADERS, _CACHE):
        if name.encode() not in present:
            completed.append((name.encode(), value.encode()))
    completed += [(name.encode(), value.encode()) for name, value in further]
    return completed


async def _send_problem(send: Send, refused: Refused, further: Sequence[tuple[str, str]] = ()) -> None:
    # The form of `wolfscale.api.problems`.
    problem = {
        "error": refused.error,
        "message": refused.message,
        "field": refused.field,
        "errno": None,
        "sqlstate": None,
    }
    body = json.dumps(problem, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    completed = _completed(headers, (*refused.headers, *further))
    await send({"type": "http.response.start", "status": refused.status, "headers": completed})
    await send({"type": "http.response.body", "body": body})


async def _send_empty(send: Send, status: int, headers: Sequence[tuple[str, str]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _completed([], headers)})
    await send({"type": "http.response.body", "body": b""})
