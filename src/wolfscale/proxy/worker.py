"""A worker: listening sockets and a control stream in, served sessions out.

`serve` is all that a worker process or a standalone proxy runs. How streams to servers are opened is given by
the caller (`StreamOpener`), since that is the node's knowledge; what the cluster looks like and what the node
has to do comes over the control stream.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from wolfscale.proxy.accounts import Account
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.control import ControlClient
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.listener import MAX_SESSIONS, Listener
from wolfscale.proxy.view import View, Views
from wolfscale.sockets import open_unix_stream

StreamOpener = Callable[[View, bytes], Awaitable[trio.abc.Stream]]
"""Opens a stream to a server, given the newest view and a PROXY header that the server must get first."""


async def open_local_socket(view: View, proxy_header: bytes) -> trio.abc.Stream:
    """The MariaDB beside the node, by the socket that the view names.

    Raises:
        OSError: it cannot be reached.
    """
    if view.database_socket is None:
        raise OSError("this node has no MariaDB of its own")
    stream = await open_unix_stream(view.database_socket)
    try:
        await stream.send_all(proxy_header)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise OSError("MariaDB closed its socket") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


@dataclass(slots=True)
class ControlledBackends:
    """`Backends` over a control stream.

    Attributes:
        control: the stream's client, running.
        local: opens the MariaDB beside the node.
        leader: opens the leader's through a peer link.
    """

    control: ControlClient
    leader: StreamOpener
    local: StreamOpener = open_local_socket

    @property
    def views(self) -> Views:
        """What the node pushes."""
        return self.control.views

    def choose(self) -> bool:
        """There is one MariaDB beside the node."""
        return False

    def avoid(self) -> bool:
        """There is one MariaDB beside the node."""
        return False

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the MariaDB beside the node."""
        return await self.local(self.views.current, proxy_header)

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the leader's MariaDB."""
        return await self.leader(self.views.current, proxy_header)

    async def accounts(self, user: str) -> Sequence[Account]:
        """Asked of the node."""
        return await self.control.accounts(user)

    async def intent_begin(self, connection_id: int) -> None:
        """Asked of the node."""
        await self.control.intent_begin(connection_id)

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """Told to the node."""
        await self.control.intent_end(connection_id, finished=finished)

    async def members(self) -> list[dict[str, str]]:
        """Asked of the node."""
        return await self.control.members()

    async def read_position(self) -> int:
        """Asked of the node."""
        return await self.control.read_position()

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        """Told to the node."""
        await self.control.spread_settings(term=term, names=names, defaults=defaults, user=user)

    async def settings(self) -> list[dict[str, str]]:
        """Asked of the node."""
        return await self.control.settings()

    async def kill(self, call: KillCall) -> Killed:
        """Asked of the node."""
        return await self.control.kill(call)

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Asked of the node."""
        return await self.control.interrupt(connection_id, leader=leader, term=term, connection=connection)

    async def is_applying_blocked(self) -> bool:
        """Asked of the node."""
        return await self.control.is_applying_blocked()

    async def sessions(self) -> list[dict[str, str]]:
        """Asked of the node."""
        return await self.control.sessions()

    async def take_ids(self, count: int) -> list[int]:
        """Asked of the node."""
        return await self.control.take_ids(count)


async def serve(
    sockets: Sequence[socket.socket],
    control_stream: trio.abc.Stream,
    leader: StreamOpener,
    *,
    local: StreamOpener = open_local_socket,
    bounds: Bounds | None = None,
    max_sessions: int = MAX_SESSIONS,
    task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve clients until cancelled or until the node is gone.

    Args:
        sockets: listening already.
        control_stream: to the node; closed on return.
        leader: opens a stream to the leader's MariaDB.
        local: opens a stream to the MariaDB beside the node.
        bounds: how long sessions wait.
        max_sessions: how many clients may be connected.
        task_status: started with the listener, whose counters may be read, when clients may connect.

    Raises:
        ControlLost: the node is gone (perhaps in an exception group, as trio's nurseries raise).
    """
    async with control_stream, trio.open_nursery() as nursery:
        control = ControlClient(control_stream)
        await nursery.start(control.run)
        listener = Listener(
            ControlledBackends(control, leader, local), bounds=bounds, max_sessions=max_sessions
        )
        control.handler = listener.answer
        await nursery.start(listener.serve, sockets)
        task_status.started(listener)
