"""The whole cluster's servers for a proxy that has none beside it: `proxy.backend.Backends` over all nodes.

Every node is followed by a control stream of its own. One of them is asked what a node is asked; each tells
what its own MariaDB has applied. A session reads at one of them (`proxy.read_choice`), which it keeps while
that serves and keeps up.
"""

import contextlib
import functools
import random
from collections.abc import Container, Iterator, Sequence
from typing import Any

import msgspec
import trio

from wolfscale import logs
from wolfscale.app.backends import open_leader_session
from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import NodeError
from wolfscale.proxy.accounts import Account
from wolfscale.proxy.control import ControlClient, Handler
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.read_choice import (
    Candidate,
    Delay,
    Limits,
    best_informed,
    committed,
    leader_view,
    least_used,
    reader_view,
    readers,
)
from wolfscale.proxy.view import View, Views
from wolfscale.sockets import NonblockingStream

log = logs.logger(__name__)

RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
LOOK_SECONDS = 0.5
"""How often it is looked whether a node has fallen behind while nothing was told."""
QUESTION_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""A node that does not answer for so long is stuck: it is followed no more until it does."""
AVOID_SECONDS = 1.0
"""A session that a server has failed chooses another for so long at least."""


class _FollowedNode:
    """One node, as long as one control stream to it lasts.

    Attributes:
        address: its peer address.
        control: the stream's client.
        views: what a session sees that reads there.
        delay: of its MariaDB.
        sessions: those that read there.
        lost: set when the stream has ended.
    """

    def __init__(self, address: str, control: ControlClient) -> None:
        self.address = address
        self.control = control
        self.views = Views()
        self.delay = Delay()
        self.sessions: set[SessionBackends] = set()
        self.lost = trio.Event()

    @property
    def id(self) -> str:
        """The node's id."""
        return self.view.node

    @property
    def view(self) -> View:
        """What it tells."""
        return self.control.views.current


class ClusterBackends:
    """The proxy's `Backends`, for what belongs to no session; `watch` must be running.

    Args:
        dialer: proves the secret.
        peers: addresses of nodes; all members are followed as soon as one of these tells them.
        limits: how far a server may be behind and be read from.
    """

    def __init__(self, dialer: Dialer, peers: Sequence[str], limits: Limits | None = None) -> None:
        self.views = Views()
        """Who leads, as of the node that knows it best."""
        self.handler: Handler | None = None
        """Answers what a node asks the proxy."""
        self.dialer = dialer
        self._peers = tuple(peers)
        self._limits = limits or Limits()
        self._nodes: dict[str, _FollowedNode] = {}
        """By their ids."""
        self._asked: _FollowedNode | None = None
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

    @contextlib.contextmanager
    def session(self) -> Iterator["SessionBackends"]:
        """The servers of one new session."""
        session = SessionBackends(self)
        try:
            yield session
        finally:
            session.leave()

    async def _keep_following(self, address: str, scope: trio.CancelScope) -> None:
        failures, seconds = logs.Repetition(), RETRY_SECONDS
        with scope:
            while True:
                began = trio.current_time()
                try:
                    await self._follow(address)
                except* (NodeError, ControlLost, OSError) as group:
                    reason = str(group.exceptions[0])
                    if times := failures.times(reason):
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
        node = _FollowedNode(address, control)
        control.handler = functools.partial(self._answer, node)
        async with stream, trio.open_nursery() as nursery:
            await nursery.start(control.run)
            other = self._nodes.get(node.id)
            if other is None:
                await self._keep(node)
            nursery.cancel_scope.cancel()
        # It is followed by another address of its already, one of which was given and not a member's.
        assert other is not None
        await other.lost.wait()

    async def _keep(self, node: _FollowedNode) -> None:
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
            node.lost.set()
            self._look()
            node.views.update(reader_view(self.views.current, node.view, ready=False))
            for session in list(node.sessions):
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
            self._look()

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
        for node in nodes.values():
            view = reader_view(base, node.view, ready=node.id in found)
            if view != node.views.current:
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
                    sessions=len(node.sessions),
                )
            )
        return candidates

    def choose(self, but: Container[str]) -> _FollowedNode | None:
        """The node for a session to read at; None: the leader only.

        Args:
            but: none of these ids.
        """
        found = [self._nodes[id] for id in self._readers if id not in but]
        # So that the first sessions of several proxies do not meet at one node.
        random.shuffle(found)
        return least_used(found, lambda node: len(node.sessions))

    async def _answer(self, node: _FollowedNode, name: str, arguments: dict[str, Any]) -> Any:
        """What a node asks the proxy; all but one are told of no sessions, so that none is found twice."""
        if self.handler is None:
            raise ControlLost("this proxy has not begun to serve")
        if node is not self._asked:
            return [] if name == "sessions" else msgspec.to_builtins(Killed())
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


class SessionBackends:
    """One session's `Backends`: the node that it reads at, and the leader.

    Args:
        cluster: all nodes.
    """

    def __init__(self, cluster: ClusterBackends) -> None:
        self._cluster = cluster
        self._node: _FollowedNode | None = None
        self._avoided: dict[str, float] = {}
        """Nodes that have failed this session, and until when they are not chosen."""
        self._stream: NonblockingStream | None = None

    @property
    def views(self) -> Views:
        """Who leads, and how far the MariaDB of the chosen node is."""
        return self._cluster.views if self._node is None else self._node.views

    def choose(self) -> bool:
        """Choose another node if the present one does not serve, lags or leads; whether it is another."""
        if self.views.current.database_ready:
            return False
        return self._move_to(self._choice())

    def avoid(self) -> bool:
        """The chosen node has failed this session: choose another; false: there is none but the leader."""
        node = self._node
        if node is None:
            return False
        self._avoided[node.id] = trio.current_time() + AVOID_SECONDS
        other = self._choice()
        return other is not None and self._move_to(other)

    def _choice(self) -> _FollowedNode | None:
        now = trio.current_time()
        self._avoided = {id: until for id, until in self._avoided.items() if now < until}
        return self._cluster.choose(but=self._avoided)

    def _move_to(self, node: _FollowedNode | None) -> bool:
        if node is self._node:
            return False
        self.leave()
        self._node = node
        if node is not None:
            node.sessions.add(self)
        return True

    def leave(self) -> None:
        """Read nowhere any more."""
        node, self._node, self._stream = self._node, None, None
        if node is not None:
            node.sessions.discard(self)

    def cut(self) -> None:
        """Close the connection to the chosen node's MariaDB: what it runs has no answer to come."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the MariaDB of the chosen node, or of the leader if the session reads there."""
        node = self._node
        if node is None:
            return await self.open_leader(proxy_header)
        try:
            stream = await self._cluster.dialer.open_nonblocking_stream(
                node.address, "read-session", proxy_header
            )
        except NodeError as error:
            raise OSError(str(error)) from error
        if node.lost.is_set():
            stream.close()
            raise OSError(f"the node {node.id} has just been lost")
        self._stream = stream
        return stream

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the leader's MariaDB, which gets the PROXY header first."""
        return await open_leader_session(self._cluster.dialer, self._cluster.views.current, proxy_header)

    async def accounts(self, user: str) -> Sequence[Account]:
        """All accounts that a client of this name may be logged in to, of the server that is read from."""
        return await self._reading.accounts(user)

    async def intent_begin(self, connection_id: int) -> None:
        """Make the leader's intent mark durable."""
        await self._cluster.control.intent_begin(connection_id)

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """That statement has ended."""
        await self._cluster.control.intent_end(connection_id, finished=finished)

    async def members(self) -> list[dict[str, str]]:
        """The members, as the node knows them that is asked."""
        return await self._cluster.control.members()

    async def read_position(self) -> int:
        """What is committed, confirmed by a majority."""
        return await self._cluster.control.read_position()

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        """Told to the node that is asked, which tells the leader's."""
        await self._cluster.control.spread_settings(term=term, names=names, defaults=defaults, user=user)

    async def settings(self) -> list[dict[str, str]]:
        """As the node knows them that is asked."""
        return await self._cluster.control.settings()

    async def kill(self, call: KillCall) -> Killed:
        """Carried out by the node that is asked."""
        return await self._cluster.control.kill(call)

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Carried out by the node whose MariaDB it is."""
        control = self._cluster.control if leader else self._reading
        return await control.interrupt(connection_id, leader=leader, term=term, connection=connection)

    async def is_applying_blocked(self) -> bool:
        """Whether the MariaDB that is read from cannot apply the log because a session holds a lock."""
        return await self._reading.is_applying_blocked()

    async def sessions(self) -> list[dict[str, str]]:
        """As the node knows them that is asked."""
        return await self._cluster.control.sessions()

    async def take_ids(self, count: int) -> list[int]:
        """New ids of the node that is asked."""
        return await self._cluster.control.take_ids(count)

    @property
    def _reading(self) -> ControlClient:
        return self._cluster.control if self._node is None else self._node.control
