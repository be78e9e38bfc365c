"""Requests are counted by route and status, whatever they ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter

from wolfscale.api.client import Access, ask
from wolfscale.api.requests import CountedRequests, RequestCounts
from wolfscale.api.server import bind_http, serve_http
from wolfscale.api.services import Services
from wolfscale.testing.statuses import node


class Source:
    def status(self) -> object:
        return node()


@asynccontextmanager
async def served(services: Services) -> AsyncIterator[str]:
    listener = bind_http("127.0.0.1:0")
    host, port = listener.getsockname()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_http(services, listener, stop=stop.wait, task_status=task_status)

        await nursery.start(serve)
        yield f"{host}:{port}"
        stop.set()


async def get(address: str, path: str, *headers: str) -> tuple[str, str]:
    """Head and body of an answer."""
    host, _, port = address.rpartition(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {address}", "Connection: close", *headers, "", ""]
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all("\r\n".join(lines).encode())
        answer = b"".join([bytes(part) async for part in stream])
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


async def test_each_answer_is_counted_under_its_route() -> None:
    services = Services(status=Source())  # type: ignore[arg-type]
    async with served(services) as address:
        await ask(address, "/status")
        await ask(address, "/status?x=1")
        await ask(address, "/health?role=king")
        await ask(address, "/made/up")
    assert dict(services.requests.answers) == {
        ("GET", "/status", 200): 2,
        ("GET", "/health", 422): 1,
        ("other", "other", 404): 1,
    }
    assert services.requests.seconds.count == 4


async def test_what_the_gate_refuses_is_counted_too() -> None:
    services = Services(status=Source())  # type: ignore[arg-type]
    async with served(services) as address:
        head, _ = await get(address, "/status", "Origin: https://elsewhere.example")
        assert " 403 " in head.splitlines()[0]
        assert (await ask(address, "/status", access=Access(token="unknown"))).status == 401
    assert services.requests.answers == {("GET", "/status", 403): 1, ("GET", "/status", 401): 1}


async def test_request_that_fails_before_an_answer_is_counted_and_raised() -> None:
    counts = RequestCounts()

    async def fails(*_: object) -> None:
        raise OSError("broken")

    async def nothing(*_: object) -> None:
        raise AssertionError("not called")

    counted = CountedRequests(fails, counts)
    scope = {"type": "http", "method": "GET", "path": "/status"}
    with pytest.raises(OSError, match="broken"):
        await counted(scope, nothing, nothing)  # type: ignore[arg-type]
    assert dict(counts.answers) == {("GET", "/status", 0): 1}


async def test_metrics_come_in_the_format_that_is_accepted() -> None:
    registry = CollectorRegistry()
    Counter("wolfscale_examples", "Examples.", registry=registry).inc()
    services = Services(status=Source(), metrics=registry)  # type: ignore[arg-type]
    async with served(services) as address:
        head, body = await get(address, "/metrics")
        assert "content-type: text/plain; version=0.0.4" in head.lower()
        assert "wolfscale_examples_total 1.0" in body
        assert "# EOF" not in body
        head, body = await get(address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0")
        assert "content-type: application/openmetrics-text; version=1.0.0" in head.lower()
        assert body.endswith("# EOF\n")


async def test_node_without_metrics_answers_with_none() -> None:
    services = Services(status=Source())  # type: ignore[arg-type]
    async with served(services) as address:
        head, body = await get(address, "/metrics")
        assert " 200 " in head.splitlines()[0]
        assert not body
