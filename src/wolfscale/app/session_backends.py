"""The servers of one session of a proxy that has none beside it: `proxy.backend.Backends` over all nodes.

The session reads at one node, which it keeps while that serves, keeps up, and has no more than its share of
the sessions; everything else is the leader's.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager

import trio

from wolfscale.app.backends import open_leader_session
from wolfscale.app.followed_cluster import FollowedCluster, FollowedNode
from wolfscale.node.errors import NodeError
from wolfscale.proxy.accounts import Account
from wolfscale.proxy.control import ControlClient
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.view import Views
from wolfscale.sockets import NonblockingStream

AVOID_SECONDS = 1.0
"""A server that has failed the session is not chosen for so long."""


@contextmanager
def session_backends(cluster: FollowedCluster) -> Iterator["SessionBackends"]:
    """The servers of one new session, while it lasts."""
    session = SessionBackends(cluster)
    try:
        yield session
    finally:
        session.leave()


class SessionBackends:
    """One session's `Backends`: the node that it reads at, and the leader.

    Args:
        cluster: all nodes.
    """

    def __init__(self, cluster: FollowedCluster) -> None:
        self._cluster = cluster
        self._node: FollowedNode | None = None
        self._avoided: dict[str, float] = {}
        """Nodes that have failed this session, and until when they are not chosen."""
        self._stream: NonblockingStream | None = None

    @property
    def views(self) -> Views:
        """Who leads, and how far the MariaDB of the chosen node is."""
        return self._cluster.views if self._node is None else self._node.views

    def choose(self) -> bool:
        """Choose another node if this one does not serve, lags, leads or is crowded; whether there is one."""
        view, node = self.views.current, self._node
        if not view.database_ready:
            return self._move_to(self._choice())
        if node is None or not view.crowded:
            return False
        other = self._cluster.choose_anew(node, self._avoided_now)
        return other is not None and self._move_to(other)

    def avoid(self) -> bool:
        """The chosen node has failed this session: choose another; false: there is none but the leader."""
        node = self._node
        if node is None:
            return False
        self._avoided[node.id] = trio.current_time() + AVOID_SECONDS
        other = self._choice()
        return other is not None and self._move_to(other)

    def _choice(self) -> FollowedNode | None:
        return self._cluster.choose(self._avoided_now)

    @property
    def _avoided_now(self) -> Container[str]:
        now = trio.current_time()
        self._avoided = {id: until for id, until in self._avoided.items() if now < until}
        return self._avoided

    def _move_to(self, node: FollowedNode | None) -> bool:
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
        node = self._node
        control = self._cluster.control if node is None or node.lost.is_set() else node.control
        return await control.accounts(user)

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
        """Of the chosen node; no other one may be asked about its MariaDB."""
        if self._node is None:
            raise ControlLost("this session reads on the leader only")
        return self._node.control
