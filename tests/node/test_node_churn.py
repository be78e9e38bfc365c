"""Nodes that come and go while somebody writes: what was acknowledged is on every one of them at the end."""

import os
import random
from pathlib import Path

import trio
from node_cluster import Cluster, Running, cluster, committed_everywhere, propose

from wolfscale.node import NodeError
from wolfscale.raft.errors import RaftError

ROUNDS = 60 if os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos" else 6


async def write(nodes: Cluster, acknowledged: dict[bytes, int]) -> None:
    number = 0
    while True:
        for one in list(nodes.running):
            if not one.node.is_leader:
                continue
            number += 1
            data = b"%d" % number
            try:
                with trio.fail_after(5):
                    acknowledged[data] = await propose(one, data)
            except (NodeError, RaftError, trio.TooSlowError):
                break
        await trio.sleep(0.001)


async def write_the_end(nodes: Cluster) -> tuple[Running, int]:
    """Commit one more entry; a leader whose disk is slow just then may be handing leadership on."""
    while True:
        leader = await nodes.leader()
        try:
            return leader, await propose(leader, b"the end")
        except (NodeError, RaftError):
            await trio.sleep(0.005)


def contents(one: Running) -> list[tuple[int, int, bytes]]:
    log = one.node.log
    entries = log.read(log.first_index, log.commit_index, 1 << 30)
    return [(entry.index, entry.term, entry.data) for entry in entries]


async def test_acknowledged_entries_survive_nodes_that_come_and_go(tmp_path: Path) -> None:
    chance = random.Random(8)
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=0.5)
        acknowledged: dict[bytes, int] = {}
        async with trio.open_nursery() as writers:
            writers.start_soon(write, nodes, acknowledged)
            for _ in range(ROUNDS):
                victim = chance.choice(nodes.running)
                seen = len(acknowledged)
                await victim.stop()
                while len(acknowledged) < seen + 10:
                    await trio.sleep(0.005)
                await nodes.restart(victim)
                await nodes.leader()
            writers.cancel_scope.cancel()
        leader, last = await write_the_end(nodes)
        await committed_everywhere(nodes.running, last)
        expected = contents(leader)
        assert all(contents(one)[: len(expected)] == expected for one in nodes.running)
        found = {data: index for index, _, data in expected}
        assert {data: found.get(data) for data in acknowledged} == acknowledged
