"""Where a proxy worker has its back-end connections from: MariaDB's socket, or the leader's node."""

from collections.abc import Sequence

import trio

from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import NodeError
from wolfscale.proxy.control import ControlClient
from wolfscale.proxy.view import Views


class NodeBackends:
    """The proxy's `Backends` over the control stream to the node and the peer links.

    Args:
        control: the stream to the node.
        dialer: opens sessions on other nodes.
    """

    def __init__(self, control: ControlClient, dialer: Dialer) -> None:
        self._control = control
        self._dialer = dialer

    @property
    def views(self) -> Views:
        """What the node pushes."""
        return self._control.views

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the MariaDB beside the node, the PROXY header already sent."""
        view = self.views.current
        if not view.database_ready or view.database_socket is None:
            raise OSError("the MariaDB beside this node is not serving")
        stream = await trio.open_unix_socket(view.database_socket)
        try:
            await stream.send_all(proxy_header)
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise OSError("the MariaDB beside this node closed the connection") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        """A stream to the leader's MariaDB, which gets the PROXY header first."""
        view = self.views.current
        if view.is_leader:
            return await self.open_local(proxy_header)
        if view.leader_address is None or not view.writable:
            raise OSError("no leader takes writes now")
        try:
            return await self._dialer.open_stream(view.leader_address, "session", proxy_header)
        except NodeError as error:
            raise OSError(str(error)) from error

    async def password_hashes(self, user: str) -> Sequence[str]:
        """The native password hashes of all accounts of this name."""
        return await self._control.password_hashes(user)

    async def intent_begin(self, connection_id: int) -> None:
        """Make the leader's intent mark durable."""
        await self._control.intent_begin(connection_id)

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """That statement has ended."""
        await self._control.intent_end(connection_id, finished=finished)
