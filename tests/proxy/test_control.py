"""Both ends of the control stream against each other, over memory streams."""

import functools
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.constants import NATIVE_PASSWORD
from wolfscale.proxy.accounts import Account, Method
from wolfscale.proxy.control import MAX_FRAME_BYTES, ControlClient, serve_control
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.view import View, Views


class _Node:
    def __init__(self) -> None:
        self.views = Views(View(node="n", term=1))
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.gate = trio.Event()

    async def handle(self, name: str, arguments: dict[str, Any]) -> Any:
        self.seen.append((name, arguments))
        if name == "accounts":
            return [{"user": arguments["user"], "host": "%", "priv": '{"authentication_string": "*AB"}'}]
        if name == "ids":
            return list(range(7, 7 + arguments["count"]))
        if name == "intent_begin":
            await self.gate.wait()
        if arguments.get("connection_id") == 13:
            raise WolfScaleError("unlucky")
        return None


async def test_views_are_pushed_at_once_and_newest_wins() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, node_end, node.views, node.handle)
        client = ControlClient(proxy_end)
        await nursery.start(client.run)
        assert client.views.current == View(node="n", term=1)
        for sequence in range(100):
            node.views.update(msgspec.structs.replace(node.views.current, committed_sequence=sequence))
        await client.views.changes.wait_until(lambda: client.views.current.committed_sequence == 99)
        nursery.cancel_scope.cancel()


@pytest.mark.autojump
async def test_views_that_change_during_a_pause_are_pushed_as_one() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    seen: list[int] = []

    async def note(client: ControlClient) -> None:
        while True:
            await client.views.changes.wait()
            seen.append(client.views.current.committed_sequence)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            functools.partial(serve_control, pause_seconds=1.0), node_end, node.views, node.handle
        )
        client = ControlClient(proxy_end)
        await nursery.start(client.run)
        nursery.start_soon(note, client)
        for sequence in range(1, 51):
            node.views.update(msgspec.structs.replace(node.views.current, committed_sequence=sequence))
            await trio.sleep(0.1)
        await trio.sleep(2.0)
        assert seen[-1] == 50
        assert len(seen) <= 6
        nursery.cancel_scope.cancel()


async def test_requests_are_answered_also_out_of_order() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, node_end, node.views, node.handle)
        client = ControlClient(proxy_end)
        await nursery.start(client.run)
        async with trio.open_nursery() as requests:
            requests.start_soon(client.intent_begin, 7)
            await trio.testing.wait_all_tasks_blocked()
            assert await client.accounts("app") == (
                Account(user="app", host="%", methods=(Method(NATIVE_PASSWORD, "*AB"),)),
            )
            assert await client.take_ids(3) == [7, 8, 9]
            node.gate.set()
        await client.intent_end(7, finished=False)
        assert node.seen[-1] == ("intent_end", {"connection_id": 7, "finished": False})
        with pytest.raises(ControlLost, match="unlucky"):
            await client.intent_end(13, finished=True)
        nursery.cancel_scope.cancel()


@pytest.mark.autojump
async def test_request_that_is_not_answered_fails_in_time() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, node_end, node.views, node.handle)
        client = ControlClient(proxy_end)
        await nursery.start(client.run)
        with pytest.raises(ControlLost, match="did not answer"):
            await client.intent_begin(1)
        nursery.cancel_scope.cancel()


async def test_node_that_goes_ends_the_client_and_its_requests() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    failures: list[str] = []

    async def ask(client: ControlClient) -> None:
        try:
            await client.intent_begin(1)
        except ControlLost as error:
            failures.append(str(error))

    with pytest.RaisesGroup(ControlLost):
        async with trio.open_nursery() as requests, trio.open_nursery() as serving:
            serving.start_soon(serve_control, node_end, node.views, node.handle)
            client = ControlClient(proxy_end)
            await requests.start(client.run)
            requests.start_soon(ask, client)
            await trio.testing.wait_all_tasks_blocked()
            serving.cancel_scope.cancel()
    assert failures == ["the node did not answer intent_begin"]


@pytest.mark.parametrize(
    "data", [b"\0\0\0\5hello", (MAX_FRAME_BYTES + 1).to_bytes(4, "big"), b"\0\0\0\1\xc1", b"\0\0\0\0"]
)
async def test_garbage_on_the_stream_is_an_error(data: bytes) -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    with pytest.RaisesGroup(ControlLost, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control, node_end, node.views, node.handle)
            await proxy_end.send_all(data)
    await proxy_end.aclose()


async def test_worker_that_leaves_ends_the_service_quietly() -> None:
    node = _Node()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, node_end, node.views, node.handle)
        await trio.testing.wait_all_tasks_blocked()
        await proxy_end.aclose()
