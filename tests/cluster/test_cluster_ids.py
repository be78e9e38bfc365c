"""Ids from three nodes at once, by SQL and by HTTP, while one of them is killed and comes back."""

import http.client
import json
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pymysql
import pytest
import trio
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.cluster import Part
from wolfscale.demo.plan import LOOPBACK
from wolfscale.ids import NODE_NUMBERS, parse_id

pytestmark = pytest.mark.cluster

EACH = 400
"""Ids that each client takes before the kill, and again when the node is back."""
ROWS = 40
BATCH = 40


@dataclass
class Taker:
    """A client and the ids that it has got, in order, by the node that it asked."""

    name: str
    take: Callable[[int], list[int]]
    nodes: tuple[int, ...]
    taken: dict[int, list[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(len(ids) for ids in self.taken.values())

    async def run(self) -> None:
        turn = 0
        while True:
            number = self.nodes[turn % len(self.nodes)]
            turn += 1
            try:
                ids = await trio.to_thread.run_sync(self.take, number, abandon_on_cancel=True)
            except (pymysql.err.MySQLError, OSError, http.client.HTTPException) as error:
                self.failures.append(str(error))
                await trio.sleep(POLL_SECONDS)
            else:
                self.taken.setdefault(number, []).extend(ids)


async def _until(condition: Callable[[], bool], takers: list[Taker]) -> None:
    with trio.move_on_after(PATIENCE) as scope:
        while not condition():
            await trio.sleep(POLL_SECONDS)
    counts = [(taker.name, taker.count, taker.failures[-1:]) for taker in takers]
    assert not scope.cancelled_caught, f"clients do not get on: {counts}"


def _takers(cluster: ClusterUnderTest) -> list[Taker]:
    first, second, third = cluster.numbers

    def by_select(number: int) -> list[int]:
        with cluster.clients.connect(number) as connection, connection.cursor() as cursor:
            ids: list[int] = []
            for _ in range(BATCH):
                cursor.execute("SELECT wolfscale_id(), wolfscale_id() AS id")
                ids += cursor.fetchall()[0]
            return ids

    def by_insert(number: int) -> list[int]:
        with cluster.clients.connect(number) as connection, connection.cursor() as cursor:
            rows = ", ".join(["(wolfscale_id(), 'x')"] * ROWS)
            # An id that comes twice is an error here already: the column is the primary key.
            cursor.execute(f"INSERT INTO named VALUES {rows} RETURNING id")
            return [id for (id,) in cursor.fetchall()]

    def by_http(number: int) -> list[int]:
        url = f"http://{LOOPBACK}:{cluster.node(number).http_port}/ids?count={BATCH}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            body = json.load(answer)
        assert body["strings"] == [str(id) for id in body["ids"]]
        ids: list[int] = body["ids"]
        return ids

    return [
        Taker("select", by_select, (first, second, third)),
        Taker("insert", by_insert, (third, first, second)),
        Taker("http", by_http, (second, third, first)),
        Taker("http of one node", by_http, (second,)),
    ]


async def _leading(cluster: ClusterUnderTest) -> int:
    return await cluster.wait_successor(0)


async def _following(cluster: ClusterUnderTest) -> int:
    return cluster.followers(await cluster.wait_successor(0))[0]


@pytest.mark.parametrize("victim", [_following, _leading], ids=["follower", "leader"])
async def test_ids_stay_distinct_and_ascending_while_a_node_is_killed(
    cluster: ClusterUnderTest, victim: Callable[[ClusterUnderTest], Awaitable[int]]
) -> None:
    takers = _takers(cluster)

    def prepare() -> None:
        with cluster.clients.connect(cluster.numbers[0]) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE OR REPLACE TABLE named (id BIGINT PRIMARY KEY, v VARCHAR(10))")

    await trio.to_thread.run_sync(prepare)
    killed = await victim(cluster)
    async with trio.open_nursery() as nursery:
        for taker in takers:
            nursery.start_soon(taker.run)
        await _until(lambda: all(taker.count >= EACH for taker in takers), takers)
        cluster.kill(killed, Part.BOTH)
        before = {taker.name: len(taker.taken.get(killed, ())) for taker in takers}
        cluster.launch(killed)
        await cluster.wait_serving()
        counts = {taker.name: taker.count for taker in takers}
        await _until(
            lambda: all(
                taker.count >= counts[taker.name] + EACH
                and (killed not in taker.nodes or len(taker.taken[killed]) > before[taker.name])
                for taker in takers
            ),
            takers,
        )
        nursery.cancel_scope.cancel()
    _check(takers, before, killed)
    members = {number: (await cluster.status_of(number)).number % NODE_NUMBERS for number in cluster.numbers}
    for taker in takers:
        for number, ids in taker.taken.items():
            assert {parse_id(id).node for id in ids} == {members[number]}


def _check(takers: list[Taker], before: dict[str, int], killed: int) -> None:
    everything = [id for taker in takers for ids in taker.taken.values() for id in ids]
    assert len(everything) > 2 * EACH * len(takers)
    assert len(everything) == len(set(everything)), "an id came twice"
    for taker in takers:
        for number, ids in taker.taken.items():
            assert ids == sorted(ids), f"ids of node-{number} did not ascend for {taker.name}"
    old = [id for taker in takers for id in taker.taken.get(killed, [])[: before[taker.name]]]
    new = [id for taker in takers for id in taker.taken.get(killed, [])[before[taker.name] :]]
    assert max(old) < min(new), "the node began again with ids that it had given"
