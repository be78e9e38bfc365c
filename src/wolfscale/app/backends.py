"""How a proxy reaches the leader's MariaDB: a session stream to the leader's node."""

import trio

from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import NodeError
from wolfscale.proxy.view import View


async def open_leader_session(dialer: Dialer, view: View, proxy_header: bytes) -> trio.abc.Stream:
    """Open a stream to the leader's MariaDB, which gets the PROXY header first.

    Raises:
        OSError: there is no leader that takes writes, or it cannot be reached.
    """
    if view.leader_address is None or not view.writable:
        raise OSError("no leader takes writes now")
    try:
        return await dialer.open_nonblocking_stream(view.leader_address, "session", proxy_header)
    except NodeError as error:
        raise OSError(str(error)) from error
