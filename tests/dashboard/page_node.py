"""A node's HTTP side as far as the page uses it: the real page, and data that a test decides on."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hypercorn.trio
import trio
from dashboard_values import data, healthy_node
from fastapi import FastAPI, Request, Response
from hypercorn.config import Config

from wolfscale.api.dashboard_models import DashboardData
from wolfscale.api.models import NodeStatus
from wolfscale.api.problems import ProblemBody
from wolfscale.api.routes import dashboard
from wolfscale.api.services import Services


class FakeNode:
    """Answers as told; may be changed while it is asked.

    Attributes:
        data: what it answers.
        token: what it wants to be sent; None: nothing.
        failure: a status with which it fails instead; None: it does not.
        silent: it takes requests and never answers.
        asked: how often its data was asked for.
    """

    def __init__(self) -> None:
        self.data: DashboardData = data()
        self.token: str | None = None
        self.failure: int | None = None
        self.silent = False
        self.asked = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self.port}/"

    def status(self) -> NodeStatus:
        """What the routes' services want; the page's files do not ask for it."""
        return healthy_node()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Answer within the block, always on the same port; nobody listens there after it."""
        app = FastAPI()
        app.include_router(dashboard.router(Services(status=self)))
        app.add_api_route("/dashboard/data", self._answer, response_model=None)
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.accesslog = None
        config.errorlog = None
        config.graceful_timeout = 0
        config.shutdown_timeout = 0
        stop = trio.Event()
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                await hypercorn.trio.serve(
                    app,  # type: ignore[arg-type]
                    config,
                    shutdown_trigger=stop.wait,
                    mode="asgi",
                    task_status=task_status,
                )

            await nursery.start(serve)
            yield
            nursery.cancel_scope.cancel()

    async def _answer(self, request: Request) -> Response:
        self.asked += 1
        if self.silent:
            await trio.sleep_forever()
        if self.failure is not None:
            return _problem(self.failure, "the log is being read, try again")
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            return _problem(401, "this node does not know the token")
        return Response(self.data.model_dump_json(), media_type="application/json")


def _problem(status: int, message: str) -> Response:
    body = ProblemBody(error="failed", message=message)
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")
