"""Serves the HTTP side until it is cancelled or told to stop; hypercorn does the work and keeps quiet."""

import logging
import socket
from collections.abc import Awaitable, Callable

import hypercorn.trio
import trio
from fastapi import FastAPI
from hypercorn.config import Config as HypercornConfig

from wolfscale.api.app import build_app
from wolfscale.api.errors import ApiBindError
from wolfscale.api.services import Services

# Open requests are answered within this when the node stops; none of ours takes longer.
_GRACEFUL_SECONDS = 2.0
_BACKLOG = 128


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
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` returns, then answer what is open and return; the listener is closed.

    Args:
        services: what the routes ask.
        listener: from `bind_http`, so that a taken address is an error at start and names itself.
        stop: awaited for the word to stop, e.g. an event's `wait`. Cancelling stops at once.
        task_status: started when requests are taken.
    """
    config = HypercornConfig()
    # hypercorn makes its own socket object of the descriptor and closes that one.
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = _quiet_logger()
    config.graceful_timeout = _GRACEFUL_SECONDS
    config.shutdown_timeout = _GRACEFUL_SECONDS
    config.keep_alive_timeout = 30.0
    config.include_server_header = False
    app = build_app(services)
    async with trio.open_nursery() as nursery:
        # hypercorn's own task status gives the addresses it bound.
        await nursery.start(_serve, app, config, stop)
        task_status.started()


def _quiet_logger() -> logging.Logger:
    """hypercorn's own logger without its announcements; errors of a request still come out."""
    quiet = logging.getLogger("hypercorn.error")
    quiet.setLevel(logging.WARNING)
    return quiet


async def _serve(
    app: FastAPI,
    config: HypercornConfig,
    stop: Callable[[], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[object],
) -> None:
    await hypercorn.trio.serve(
        app,  # type: ignore[arg-type]
        config,
        shutdown_trigger=stop,  # type: ignore[arg-type]
        mode="asgi",
        task_status=task_status,
    )
