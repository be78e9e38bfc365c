"""All nodes of a cluster, followed by a proxy that has none beside it, each by a control stream of its own.

One of them is asked what a node is asked; each tells what its own MariaDB has applied. Sessions read at one
of them (`session_backends`), chosen by the rules of `proxy.read_choice`.
"""

import functools
import random
from collections.abc import Container, Sequence
from typing import Any, Protocol

import msgspec
import trio

from wolfscale import logs
from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import NodeError, StreamRefused
from wolfscale.proxy.control import ControlClient, Handler
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import Killed
from wolfscale.proxy.read_choice import (
    Candidate,
    Delay,
    Limits,
    best_informed,
    committed,
    excess,
    is_uneven,
    leader_view,
    least_used,
    reader_view,
    readers,
)
from wolfscale.proxy.view import View, Views

log = logs.logger(__name__)

RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
"""A node that comes back is noticed that late at most."""
LOOK_SECONDS = 0.5
"""How often it is looked whether a node has fallen behind while nothing was told, and whether sessions are
spread unevenly."""
QUESTION_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""A node that does not answer for so long is stuck: it is followed no more until it does."""


class Reading(Protocol):
    """A session that reads at a node."""

    def cut(self) -> None:
        """Close what it has open there: the node is lost."""
        ...


class FollowedNode:
    """One node, as long as one control stream to it lasts.

    Attributes:
        address: its peer address.
        control: the stream's client.
        views: what a session sees that reads there.
        delay: of its MariaDB.
        sessions: those that read there.
        moves: so many of them may still choose another node before it is looked again.
        lost: set when the stream has ended.
    """

    def __init__(self, address: str, control: ControlClient) -> None:
        self.address = address
        self.control = control
        self.views = Views()
        self.delay = Delay()
        self.sessions: set[Reading] = set()
        self.moves = 0
        self.lost = trio.Event()

    @property
    def id(self) -> str:
        """The node's id."""
        return self.view.node

    @property
    def view(self) -> View:
        """What it tells."""
        return self.control.views.current


class FollowedCluster:
    """What the proxy knows of the cluster; `watch` must be running.

    Args:
        dialer: proves the secret.
        peers: addresses of nodes; all members are followed as soon as one of these tells them.
        limits: how far a server may be behind and be read from.
        quiet: nodes that cannot be followed are no news to whoever needs the leader only.
    """

    def __init__(
        self, dialer: Dialer, peers: Sequence[str], limits: Limits | None = None, *, quiet: bool = False
    ) -> None:
        self.views = Views()
        """Who leads, as of the node that knows it best."""
        self.handler: Handler | None = None
        """Answers what a node asks the proxy."""
        self.dialer = dialer
        self._peers = tuple(peers)
        self._limits = limits or Limits()
        self._quiet = quiet
        self._nodes: dict[str, FollowedNode] = {}
        """By their ids."""
        self._left: set[FollowedNode] = set()
        """Nodes that are lost; their sessions wait for what the others tell until they choose again."""
        self._asked: FollowedNode | None = None
        """The node that is asked, and that asks."""
        self._readers: frozenset[str] = frozenset()
        """The ids of those that sessions may read from."""

    async def watch(self) -> None:
        """Follow the cluster's nodes until cancelled."""
        scopes: dict[str, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_regularly)
            while True:
                members = self.views.current.peers
                wanted = {*self._peers, *members}
                for address in wanted - scopes.keys():
                    scopes[address] = trio.CancelScope()
                    nursery.start_soon(self._keep_following, address, scopes[address])
                for address in scopes.keys() - wanted:
                    scopes.pop(address).cancel()
                await self.views.changes.wait_until(
                    lambda seen=members: self.views.current.peers != seen  # type: ignore[misc]
                )

    async def _keep_following(self, address: str, scope: trio.CancelScope) -> None:
        failures, seconds = logs.Repetition(), RETRY_SECONDS
        with scope:
            while True:
                began = trio.current_time()
                try:
                    await self._follow(address)
                except* StreamRefused as group:
                    # A witness, or a node whose proxy is switched off: nobody reads there.
                    if failures.times(StreamRefused) == 1:
                        log.info("a node takes no proxies", through=address, reason=str(group.exceptions[0]))
                except* (NodeError, ControlLost, OSError) as group:
                    reason = str(group.exceptions[0])
                    if (times := failures.times(reason)) and not self._quiet:
                        log.warning("cannot follow a node", through=address, reason=reason, times=times)
                lasted = trio.current_time() - began > LONGEST_RETRY_SECONDS
                seconds = RETRY_SECONDS if lasted else min(2 * seconds, LONGEST_RETRY_SECONDS)
                await trio.sleep(seconds)

    async def _follow(self, address: str) -> None:
        """Follow a node until it is lost.

        Raises: what has ended it, within an exception group.
        """
        stream = await self.dialer.open_stream(address, "watch")
        control = ControlClient(stream)
        node = FollowedNode(address, control)
        control.handler = functools.partial(self._answer, node)
        async with stream, trio.open_nursery() as nursery:
            with trio.move_on_after(ANSWER_SECONDS) as scope:
                await nursery.start(control.run)
            if scope.cancelled_caught:
                raise ControlLost(f"the node told nothing for {ANSWER_SECONDS:g} s")
            other = self._nodes.get(node.id)
            if other is None:
                await self._keep(node)
            nursery.cancel_scope.cancel()
        # It is followed by another address of its already, one of which was given and not a member's.
        assert other is not None
        await other.lost.wait()

    async def _keep(self, node: FollowedNode) -> None:
        id = node.id
        self._nodes[id] = node
        log.info("following a node", node=id, through=node.address)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._question, node.control)
                while True:
                    self._look()
                    await node.control.views.changes.wait()
        finally:
            del self._nodes[id]
            self._left.add(node)
            node.lost.set()
            self._look()
            for session in node.sessions:
                session.cut()

    async def _question(self, control: ControlClient) -> None:
        """A process that is stopped, or a machine that hangs, keeps its connections and says nothing."""
        while True:
            await trio.sleep(QUESTION_SECONDS)
            with trio.move_on_after(ANSWER_SECONDS) as scope:
                await control.members()
            if scope.cancelled_caught:
                raise ControlLost(f"the node did not answer for {ANSWER_SECONDS:g} s")

    async def _look_regularly(self) -> None:
        while True:
            await trio.sleep(LOOK_SECONDS)
            self._count()
            self._look()

    def _count(self) -> None:
        """Let some sessions of the nodes move that have many more than another."""
        least = min((len(self._nodes[id].sessions) for id in self._readers), default=0)
        for id, node in self._nodes.items():
            node.moves = excess(len(node.sessions), least) if id in self._readers else 0

    def _look(self) -> None:
        """Put together what the nodes have told."""
        nodes = self._nodes
        asked = self._asked
        views = [node.view for node in nodes.values()]
        best = best_informed(views, asked.view if asked is not None else None)
        if best is None:
            # Who leads now nobody knows; what is open on the leader may go on.
            self._asked = None
            found: frozenset[str] = frozenset()
            base = msgspec.structs.replace(self.views.current, writable=False)
        else:
            self._asked = asked = nodes[best.node]
            self.views.place = asked.control.views.place
            base = msgspec.structs.replace(best, committed_sequence=committed(best, views))
            found = readers(base, self._candidates(base), self._limits)
        changed, self._readers = found != self._readers, found
        # All at once: whoever is woken by one of them finds the others up to date.
        if (view := leader_view(base, alone=not found)) != self.views.current or changed:
            self.views.update(view)
        self._left = {node for node in self._left if node.sessions}
        for node in (*nodes.values(), *self._left):
            ready = node.id in found and not node.lost.is_set()
            view = reader_view(base, node.view, ready=ready, crowded=node.moves > 0)
            # Whoever waits at a node that does not serve may choose one that has come.
            if view != node.views.current or changed:
                node.views.update(view)

    def _candidates(self, base: View) -> list[Candidate]:
        now = trio.current_time()
        candidates = []
        for node in self._nodes.values():
            view = node.view
            node.delay.update(now, committed=base.committed_sequence, applied=view.applied_sequence)
            candidates.append(
                Candidate(
                    node=view.node,
                    readable=view.readable,
                    applied_sequence=view.applied_sequence,
                    delay_seconds=node.delay.seconds(now),
                )
            )
        return candidates

    def choose(self, but: Container[str]) -> FollowedNode | None:
        """The node for a session to read at; None: the leader only.

        Args:
            but: none of these ids.
        """
        found = [self._nodes[id] for id in self._readers if id not in but]
        # So that the first sessions of several proxies do not meet at one node.
        random.shuffle(found)
        return least_used(found, lambda node: len(node.sessions))

    def choose_anew(self, node: FollowedNode, but: Container[str]) -> FollowedNode | None:
        """Another node for a session of one that has many; None: it stays.

        Args:
            node: where it reads.
            but: none of these ids.
        """
        other = self.choose(but)
        if other is None or not is_uneven(len(node.sessions), len(other.sessions)):
            return None
        node.moves -= 1
        if not node.moves:
            node.views.update(msgspec.structs.replace(node.views.current, crowded=False))
        return other

    async def _answer(self, node: FollowedNode, name: str, arguments: dict[str, Any]) -> Any:
        """What a node asks the proxy; all but one are told of no sessions, so that none is found twice."""
        if self.handler is None:
            raise ControlLost("this proxy has not begun to serve")
        if node is not self._asked:
            return {"sessions": [], "uploads": 0}.get(name, msgspec.to_builtins(Killed()))
        return await self.handler(name, arguments)

    @property
    def control(self) -> ControlClient:
        """Of the node that is asked.

        Raises:
            ControlLost: there is none.
        """
        if self._asked is None:
            raise ControlLost("no node of the cluster can be reached")
        return self._asked.control
