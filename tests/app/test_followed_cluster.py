"""A proxy without a MariaDB follows nodes that are streams in memory, and its sessions choose among them."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from wolfscale import logs
from wolfscale.app.followed_cluster import FollowedCluster
from wolfscale.app.session_backends import SessionBackends, session_backends
from wolfscale.node.errors import StreamRefused, Unreachable
from wolfscale.proxy.control import Caller, serve_control
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.read_choice import Limits
from wolfscale.proxy.view import View, Views

BOUND = 60.0


class Node:
    """A node that serves control streams."""

    def __init__(self, name: str, **view: Any) -> None:
        self.address = f"{name}:7400"
        self.views = Views(View(node=name, readable=True, **view))
        self.callers: set[Caller] = set()
        self.streams: list[trio.abc.Stream] = []
        self.up = True
        self.refuses = False
        self.answers = True
        self.asked: list[str] = []

    def change(self, **fields: Any) -> None:
        self.views.update(msgspec.structs.replace(self.views.current, **fields))

    async def answer(self, name: str, _arguments: dict[str, Any]) -> Any:
        self.asked.append(name)
        if not self.answers:
            await trio.sleep_forever()
        return []

    async def lose(self) -> None:
        self.up = False
        for stream in self.streams:
            await trio.aclose_forcefully(stream)


class Network:
    """Stands in for a `Dialer`, and for the cluster a, b and c, of which a leads."""

    def __init__(self, nursery: trio.Nursery, *, aliases: dict[str, str] | None = None) -> None:
        self._nursery = nursery
        self._aliases = aliases or {}
        shared = {"term": 1, "leader": "a", "leader_address": "a:7400", "writable": True}
        shared |= {"committed_sequence": 10, "applied_sequence": 10}
        peers = ("a:7400", "b:7400", "c:7400")
        self.nodes = {name: Node(name, peers=peers, **shared) for name in "abc"}
        self.opened: list[tuple[str, str, bytes]] = []

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def change(self, **fields: Any) -> None:
        """All nodes learn the same."""
        for node in self.nodes.values():
            node.change(**fields)

    async def open_stream(self, address: str, kind: str) -> trio.abc.Stream:
        assert kind == "watch"
        name = self._aliases.get(address, address).partition(":")[0]
        node = self.nodes.get(name)
        if node is None or not node.up:
            raise Unreachable(address, "nobody there")
        if node.refuses:
            raise StreamRefused(address, "this node takes no streams of kind 'watch'")
        ours, theirs = trio.testing.memory_stream_pair()
        node.streams.append(theirs)
        self._nursery.start_soon(self._serve, node, theirs)
        return ours

    async def _serve(self, node: Node, stream: trio.abc.Stream) -> None:
        try:
            await serve_control(stream, node.views, node.answer, callers=node.callers)
        except* ControlLost:
            pass

    async def open_nonblocking_stream(self, address: str, kind: str, header: bytes) -> "Opened":
        self.opened.append((address, kind, header))
        return Opened()


class Opened:
    """A stream to a server."""

    closed = False

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def followed(
    peers: tuple[str, ...] = ("a:7400",),
    *,
    limits: Limits | None = None,
    aliases: dict[str, str] | None = None,
) -> AsyncIterator[tuple[FollowedCluster, Network]]:
    """A cluster of three that a proxy follows, knowing all of them."""
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            network = Network(nursery, aliases=aliases)
            cluster = FollowedCluster(network, peers, limits)  # type: ignore[arg-type]
            nursery.start_soon(cluster.watch)
            await until(cluster, lambda: len(chosen(cluster, 2)) == 2)
            yield cluster, network
            nursery.cancel_scope.cancel()


async def until(cluster: FollowedCluster, predicate: Callable[[], bool]) -> None:
    """Wait for what a change brings about."""
    while not predicate():
        with trio.move_on_after(0.1):
            await cluster.views.changes.wait()


def chosen(cluster: FollowedCluster, sessions: int) -> set[str]:
    """Where so many new sessions would read."""
    found = [SessionBackends(cluster) for _ in range(sessions)]
    for session in found:
        session.choose()
    names = {session.views.current.node for session in found}
    for session in found:
        session.leave()
    return names - {""}


async def test_all_members_are_followed_and_sessions_spread_over_the_followers() -> None:
    async with followed() as (cluster, _):
        sessions = [SessionBackends(cluster) for _ in range(4)]
        assert all(session.choose() for session in sessions)
        assert sorted(session.views.current.node for session in sessions) == ["b", "b", "c", "c"]
        # They stay where they are.
        assert not any(session.choose() for session in sessions)


async def test_session_that_ends_counts_no_more() -> None:
    async with followed() as (cluster, _):
        first = SessionBackends(cluster)
        first.choose()
        for _ in range(3):
            with session_backends(cluster) as other:
                other.choose()
                assert other.views.current.node != first.views.current.node


async def test_lost_node_loses_its_sessions_and_comes_back_for_new_ones() -> None:
    async with followed() as (cluster, network):
        session = SessionBackends(cluster)
        session.choose()
        lost = session.views.current.node
        stream = await session.open_local(b"header")
        assert network.opened == [(f"{lost}:7400", "read-session", b"header")]
        await network[lost].lose()
        await until(cluster, lambda: not session.views.current.database_ready)
        assert isinstance(stream, Opened)
        assert stream.closed
        assert session.choose()
        assert session.views.current.node == ({"b", "c"} - {lost}).pop()
        network[lost].up = True
        await until(cluster, lambda: chosen(cluster, 1) == {lost})


async def test_session_of_a_lost_node_still_learns_who_leads() -> None:
    async with followed() as (cluster, network):
        session = SessionBackends(cluster)
        session.choose()
        views, lost = session.views, session.views.current.node
        await network[lost].lose()
        await until(cluster, lambda: not views.current.database_ready)
        network.change(term=2, leader="x", committed_sequence=11)
        await until(cluster, lambda: views.current.term == 2)
        assert views.current.leader == "x"
        assert views.is_committed(11, 2)


async def test_follower_that_becomes_the_leader_is_left() -> None:
    async with followed() as (cluster, network):
        session = SessionBackends(cluster)
        session.choose()
        new = session.views.current.node
        network.change(term=2, leader=new, leader_address=f"{new}:7400")
        await until(cluster, lambda: not session.views.current.database_ready)
        assert session.choose()
        assert session.views.current.node in {"a", "b", "c"} - {new}


async def test_session_reads_on_the_leader_until_a_follower_serves() -> None:
    async with followed() as (cluster, network):
        for name in "bc":
            network[name].change(readable=False)
        await until(cluster, lambda: cluster.views.current.is_leader)
        session = SessionBackends(cluster)
        assert not session.choose()
        assert session.views.current.is_leader
        await session.open_local(b"header")
        assert network.opened == [("a:7400", "session", b"header")]
        network["c"].change(readable=True)
        await until(cluster, lambda: not session.views.current.is_leader)
        assert session.choose()
        assert session.views.current.node == "c"


async def test_server_that_failed_a_session_is_avoided_by_it_alone() -> None:
    async with followed() as (cluster, _):
        session, other = SessionBackends(cluster), SessionBackends(cluster)
        session.choose()
        failed = session.views.current.node
        assert session.avoid()
        assert session.views.current.node != failed
        assert not session.avoid(), "there is none but these two"
        other.choose()
        assert other.views.current.node == failed


@pytest.mark.autojump
async def test_follower_that_stands_still_is_left_and_one_with_a_backlog_is_not() -> None:
    async with followed(limits=Limits(seconds=2.0)) as (cluster, network):
        network.change(committed_sequence=20)
        network["b"].change(applied_sequence=15)
        network["c"].change(applied_sequence=10)
        began = trio.current_time()
        while trio.current_time() < began + 4:
            network["b"].change(
                applied_sequence=network["b"].views.current.applied_sequence + 10,
                committed_sequence=network["b"].views.current.committed_sequence + 10,
            )
            await trio.sleep(0.1)
        assert chosen(cluster, 2) == {"b"}
        network["c"].change(applied_sequence=network["b"].views.current.committed_sequence)
        await until(cluster, lambda: chosen(cluster, 2) == {"b", "c"})


async def test_follower_with_too_many_transactions_to_apply_is_left() -> None:
    async with followed(limits=Limits(transactions=5)) as (cluster, network):
        network["c"].change(applied_sequence=4)
        await until(cluster, lambda: chosen(cluster, 2) == {"b"})


@pytest.mark.autojump
async def test_node_that_answers_no_more_is_lost() -> None:
    async with followed() as (cluster, network):
        network["b"].answers = False
        await until(cluster, lambda: chosen(cluster, 2) == {"c"})


async def test_node_known_by_two_addresses_is_followed_once() -> None:
    async with followed(("first:1", "a:7400"), aliases={"first:1": "a:7400"}) as (cluster, network):
        await until(cluster, lambda: len(network["a"].callers) == 1)
        await network["a"].lose()
        network["a"].up = True
        network["a"].streams.clear()
        network.change(term=2, leader="b", leader_address="b:7400")
        await until(cluster, lambda: chosen(cluster, 2) == {"a", "c"})


async def test_node_that_is_removed_is_followed_no_more() -> None:
    async with followed() as (cluster, network):
        network.change(peers=("a:7400", "c:7400"))
        await until(cluster, lambda: chosen(cluster, 2) == {"c"})
        await until(cluster, lambda: not network["b"].callers)


@pytest.mark.autojump
async def test_witness_is_passed_over_and_no_warning() -> None:
    events: list[tuple[int, str]] = []
    async with followed() as (cluster, network):
        network["c"].refuses = True
        with logs.subscription(lambda event: events.append((event.level, event.text))):
            for stream in network["c"].streams:
                await trio.aclose_forcefully(stream)
            await until(cluster, lambda: chosen(cluster, 2) == {"b"})
            await trio.sleep(30.0)
            assert chosen(cluster, 2) == {"b"}
    told = [event for event in events if event != (logging.WARNING, "cannot follow a node")]
    assert told == [(logging.INFO, "a node takes no proxies")]
    assert len(events) == 2, "that it was lost, before"


async def test_sessions_are_shown_and_killed_through_one_node_only() -> None:
    async with followed() as (cluster, network):

        async def answer(name: str, _arguments: dict[str, Any]) -> Any:
            return [{"Id": "1"}] if name == "sessions" else msgspec.to_builtins(Killed(done=1))

        cluster.handler = answer
        callers = [caller for node in network.nodes.values() for caller in node.callers]
        assert len(callers) == 3
        call = msgspec.to_builtins(KillCall(connection=True, by="app", id=1))
        listed = [row for caller in callers for row in await caller.request("sessions")]
        killed = [msgspec.convert(await caller.request("kill", call=call), Killed) for caller in callers]
        assert listed == [{"Id": "1"}]
        assert sum(killed, Killed()) == Killed(done=1)


async def test_while_no_node_is_left_the_last_word_stands_but_nobody_leads() -> None:
    async with followed() as (cluster, network):
        for node in network.nodes.values():
            await node.lose()
        await until(cluster, lambda: not cluster.views.current.writable)
        view = cluster.views.current
        assert (view.term, view.leader, view.database_ready) == (1, "a", False)
        with pytest.raises(ControlLost):
            await SessionBackends(cluster).members()
        for node in network.nodes.values():
            node.up = True
        await until(cluster, lambda: cluster.views.current.writable)


async def test_commit_that_any_node_of_the_term_knows_is_known() -> None:
    async with followed() as (cluster, network):
        session = SessionBackends(cluster)
        session.choose()
        network["b"].change(committed_sequence=12)
        await until(cluster, lambda: session.views.is_committed(12, 1))
        network["c"].change(term=2, leader="b", committed_sequence=30)
        await until(cluster, lambda: session.views.current.term == 2)
        assert not session.views.is_committed(13, 1)
