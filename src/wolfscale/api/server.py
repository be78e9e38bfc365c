"""Serves the HTTP side until it is cancelled or told to stop; hypercorn does the work and keeps quiet."""

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from wolfscale.api.access import AccessPolicy
from wolfscale.api.app import build_app
from wolfscale.api.connection import Connections
from wolfscale.api.errors import ApiBindError
from wolfscale.api.gate import DEFAULT_BODY_BYTES, HEADER_BYTES, Gate
from wolfscale.api.requests import CountedRequests
from wolfscale.api.services import Services

# Open requests are answered within this when the node stops.
_GRACEFUL_SECONDS = 2.0
_BACKLOG = 128
_IDLE_SECONDS = 30.0
"""A connection without a whole request line and headers is closed after this."""
_HANDSHAKE_SECONDS = 10.0
_REFRESH_SECONDS = 60.0
DEFAULT_CONNECTIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How HTTP is served.

    Attributes:
        policy: who may do what; by default only this machine may anything.
        tls: speaks https instead of http.
        body_bytes: the longest body of a request.
        connections: open at once.
        refresh: called once a minute, to read again what the operator may have changed; must not fail.
    """

    policy: AccessPolicy = field(default_factory=AccessPolicy)
    tls: ssl.SSLContext | None = None
    body_bytes: int = DEFAULT_BODY_BYTES
    connections: int = DEFAULT_CONNECTIONS
    refresh: Callable[[], None] | None = None


def bind_http(address: str) -> socket.socket:
    """A listening socket for HTTP.

    Args:
        address: `host:port` or `[v6]:port`; port 0 takes a free one.

    Raises:
        ApiBindError: the address is taken or not this machine's.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ApiBindError(address, error.strerror or str(error)) from error
    listener.setblocking(False)
    return listener


async def serve_http(
    services: Services,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[object]],
    options: ServerOptions = ServerOptions(),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` returns, then answer what is open and return; the listener is closed.

    Args:
        services: what the routes ask.
        listener: from `bind_http`, so that a taken address is an error at start and names itself.
        stop: awaited for the word to stop, e.g. an event's `wait`. Cancelling stops at once.
        options: who is let in, and how much of what.
        task_status: started when requests are taken.
    """
    gate = Gate(build_app(services), options.policy, body_bytes=options.body_bytes)
    app = CountedRequests(gate, services.requests)
    context = WorkerContext(None)
    connections = Connections(
        ASGIWrapper(app),  # type: ignore[arg-type]
        _hypercorn_config(),
        context,
        limit=options.connections,
    )
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with accepting, trio.open_nursery() as serving:
        async with trio.open_nursery() as taking:
            listeners: list[trio.abc.Listener[trio.abc.Stream]] = [
                trio.SSLListener(accepting, options.tls, https_compatible=True) if options.tls else accepting
            ]
            taking.start_soon(_take, connections, listeners, serving)
            if options.refresh is not None:
                taking.start_soon(_repeat, options.refresh)
            task_status.started()
            await stop()
            taking.cancel_scope.cancel()
        await context.terminated.set()
        serving.cancel_scope.deadline = trio.current_time() + _GRACEFUL_SECONDS


async def _repeat(refresh: Callable[[], None]) -> None:
    while True:
        await trio.sleep(_REFRESH_SECONDS)
        refresh()


async def _take(
    connections: Connections, listeners: list[trio.abc.Listener[trio.abc.Stream]], serving: trio.Nursery
) -> None:
    await trio.serve_listeners(connections.serve, listeners, handler_nursery=serving)


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.keep_alive_timeout = _IDLE_SECONDS
    config.ssl_handshake_timeout = _HANDSHAKE_SECONDS
    config.h11_max_incomplete_size = HEADER_BYTES
    config.include_server_header = False
    return config
