"""Calls between nodes."""

from pathlib import Path

import pytest
import trio
from node_cluster import cluster

from wolfscale.errors import WolfScaleError
from wolfscale.node import RpcFailed, RpcUnavailable, RpcUncertain
from wolfscale.node.node import Node


class Refusal(WolfScaleError):
    pass


async def double(payload: bytes) -> bytes:
    return payload * 2


async def refuse(_payload: bytes) -> bytes:
    raise Refusal("not today")


async def break_down(_payload: bytes) -> bytes:
    raise KeyError("a bug")


async def hang(_payload: bytes) -> bytes:
    await trio.sleep_forever()
    return b""


def prepare(node: Node) -> None:
    async def who(_payload: bytes) -> bytes:
        return node.name.encode()

    for name, handler in {
        "double": double,
        "refuse": refuse,
        "break": break_down,
        "hang": hang,
        "who": who,
    }.items():
        node.handle_rpc(name, handler)


async def test_calls_are_answered_many_at_a_time_over_one_stream(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)
        answers: dict[int, bytes] = {}

        async def call(number: int) -> None:
            answers[number] = await two.node.call(one.node.address, "double", b"%d." % number)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(call, number)
        assert answers == {number: b"%d." % number * 2 for number in range(100)}
        assert await two.node.call(one.node.address, "double", b"x" * 3_000_000) == b"x" * 6_000_000


async def test_call_to_the_leader_runs_on_whoever_leads(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)
        three = await nodes.start("node-3", prepare=prepare)
        for other in (two, three):
            await other.node.become_voter()
            assert await other.node.call(None, "who") == b"node-1"
        assert await one.node.call(None, "who") == b"node-1"
        await one.stop()
        answers = {await other.node.call(None, "who", timeout=30) for other in (two, three)}
        assert len(answers) == 1
        assert answers <= {b"node-2", b"node-3"}


async def test_errors_of_a_handler_reach_the_caller(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)
        for name, kind, message in (
            ("refuse", "Refusal", "not today"),
            ("break", "KeyError", "a bug"),
            ("nothing", "UnknownCall", "no such call"),
        ):
            with pytest.raises(RpcFailed, match=message) as caught:
                await two.node.call(one.node.address, name)
            assert (caught.value.kind, caught.value.name) == (kind, name)
        with pytest.raises(RpcFailed, match="not today"):
            await one.node.call(None, "refuse")


async def test_call_without_an_answer_is_uncertain_and_others_go_on(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)
        with pytest.raises(RpcUncertain):
            await two.node.call(one.node.address, "hang", timeout=0.05)
        assert await two.node.call(one.node.address, "double", b"1") == b"11"


async def test_call_whose_node_dies_is_uncertain(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)

        async def stop_soon() -> None:
            await two.node.call(one.node.address, "double", b"1")
            await one.stop()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_soon)
            with pytest.raises(RpcUncertain):
                await two.node.call(one.node.address, "hang", timeout=50)
        with pytest.raises(RpcUnavailable):
            await two.node.call(one.node.address, "double", b"1")


async def test_cancelled_call_leaves_the_stream_usable(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, prepare=prepare)
        two = await nodes.start("node-2", prepare=prepare)
        with trio.move_on_after(0.05):
            await two.node.call(one.node.address, "hang")
        assert await two.node.call(one.node.address, "double", b"1") == b"11"


async def test_call_to_a_leader_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", peers=["127.0.0.1:1"], prepare=prepare)
        with pytest.raises(RpcUnavailable, match="no leader is known"):
            await one.node.call(None, "who", timeout=0.05)
