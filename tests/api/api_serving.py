"""A served HTTP side for tests, and a client that sends whatever bytes a test likes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import trio

from wolfscale.api.models import NodeStatus
from wolfscale.api.server import ServerOptions, bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.testing.statuses import node

PATIENCE = 60.0


class Source:
    """Always the same status."""

    def __init__(self, shown: NodeStatus | None = None) -> None:
        self.shown = shown or node()

    def status(self) -> NodeStatus:
        return self.shown


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def serving(
    options: ServerOptions | None = None, services: Services | None = None
) -> AsyncIterator[int]:
    """The port of a served HTTP side."""
    listener = bind_http("127.0.0.1:0")
    port = listener.getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                services or Services(status=Source()),
                listener,
                stop=stop.wait,
                options=options or ServerOptions(),
                task_status=task_status,
            )

        await nursery.start(serve)
        with trio.fail_after(PATIENCE):
            yield port
        stop.set()


async def connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def read_answer(stream: trio.abc.Stream, method: str = "GET") -> Answer:
    """The next answer on a connection."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, body)


async def exchange(port: int, method: str, path: str, body: bytes = b"", /, **headers: str) -> Answer:
    """One request on a connection of its own."""
    named = {"host": f"localhost:{port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body and "transfer-encoding" not in named:
        named.setdefault("content-length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    async with await connect(port) as stream:
        await stream.send_all(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return await read_answer(stream, method)


async def is_closed(stream: trio.abc.Stream) -> bool:
    """Wait until the other end closes; drops what still comes."""
    try:
        while await stream.receive_some(65536):
            pass
    except trio.BrokenResourceError:
        pass
    return True
