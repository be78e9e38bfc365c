"""The HTTP side over real sockets, read by our own client."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from wolfscale.api.client import ask, fetch_cluster, fetch_diagnosis, fetch_status
from wolfscale.api.dashboard_models import Severity
from wolfscale.api.errors import ApiBindError, NodeAnswerError, NodeUnreachableError
from wolfscale.api.models import NodeStatus
from wolfscale.api.server import bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.testing.statuses import follower, node


class Source:
    def __init__(self, shown: NodeStatus) -> None:
        self.shown = shown

    def status(self) -> NodeStatus:
        return self.shown


@asynccontextmanager
async def served(source: Source) -> AsyncIterator[str]:
    listener = bind_http("127.0.0.1:0")
    host, port = listener.getsockname()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_http(Services(status=source), listener, stop=stop.wait, task_status=task_status)

        await nursery.start(serve)
        yield f"http://{host}:{port}"
        stop.set()


async def test_status_and_cluster_come_back_as_they_were_shown() -> None:
    async with served(Source(node())) as endpoint:
        assert await fetch_status(endpoint) == node()
        assert (await fetch_cluster(endpoint)).seen_by == "node-1"
        assert await fetch_status(endpoint.removeprefix("http://")) == node()


async def test_findings_are_those_of_the_dashboard() -> None:
    async with served(Source(node(leader=None))) as endpoint:
        diagnosis = await fetch_diagnosis(endpoint)
        assert diagnosis.status == node(leader=None)
        [first, *_others] = diagnosis.findings
        assert first.severity is Severity.ERROR
        assert "nothing can be written" in first.what


async def test_health_is_200_or_503() -> None:
    source = Source(follower())
    async with served(source) as endpoint:
        assert (await ask(endpoint, "/health")).status == 200
        answer = await ask(endpoint, "/health?role=leader")
        assert (answer.status, answer.body["reason"]) == (503, "the leader is node-1")
        assert (await ask(endpoint, "/health?role=replica")).status == 200
        assert (await ask(endpoint, "/health?role=king")).status == 422
        source.shown = node(leader=None)
        assert (await ask(endpoint, "/health")).status == 503


async def test_stopping_frees_the_port_and_waits_for_no_idle_connection() -> None:
    async with served(Source(node())) as endpoint:
        port = int(endpoint.rpartition(":")[2])
        idle = await trio.open_tcp_stream("127.0.0.1", port)
        await fetch_status(endpoint)
    await idle.aclose()
    with pytest.raises(NodeUnreachableError, match="Connection refused"):
        await ask(endpoint, "/status")
    bind_http(f"127.0.0.1:{port}").close()


async def test_cancelling_stops_at_once() -> None:
    with trio.CancelScope() as scope:
        async with served(Source(node())) as endpoint:
            await fetch_status(endpoint)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


def test_taken_address_is_refused_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ApiBindError, match=r"Address already in use; set bind_address in \[api\]"):
            bind_http(address)


async def _answer_once(answer: bytes) -> str:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def reply(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, reply, listeners)
        try:
            await fetch_status(f"http://127.0.0.1:{port}")
        except (NodeAnswerError, NodeUnreachableError) as error:
            return str(error)
        finally:
            nursery.cancel_scope.cancel()
    raise AssertionError("the answer was taken for a node's")


def _http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "closed before an answer"),
        (b"J\x00\x00\x00\x0a11.8-MariaDB", "not HTTP"),
        (_http(b"<html>"), "no JSON"),
        (_http(b"{}", b"404 Not Found"), "HTTP status 404"),
        (_http(b"{}"), "Field required"),
        (_http(json.dumps([1]).encode()), "does not answer like a WolfScale node"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "not HTTP"),
    ],
)
async def test_answer_of_something_else_is_told_apart(answer: bytes, expected: str) -> None:
    assert expected in await _answer_once(answer)


@pytest.mark.parametrize("endpoint", ["", "http://x", "ftp://127.0.0.1:1", "http://127.0.0.1:99999"])
async def test_unusable_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(NodeUnreachableError, match="write http://HOST:PORT"):
        await ask(endpoint, "/status")


async def test_silent_endpoint_is_given_up_after_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NodeUnreachableError, match=r"nothing within 0\.05 s"):
            await ask(endpoint, "/status", timeout_seconds=0.05)


async def test_failures_have_one_form() -> None:
    async with served(Source(node())) as endpoint:
        unknown = await ask(endpoint, "/nothing")
        assert (unknown.status, unknown.body["error"], unknown.body["field"]) == (404, "not_found", None)
        wrong = await ask(endpoint, "/health?role=king")
        assert (wrong.status, wrong.body["error"], wrong.body["field"]) == (422, "invalid_request", "role")
