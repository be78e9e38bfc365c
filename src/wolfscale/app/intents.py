"""Intents on their way to the leader's node: from its own workers, and from other nodes' by call."""

import msgspec

from wolfscale.node.node import Node
from wolfscale.replication.errors import DatabaseUnavailable
from wolfscale.replication.lifecycle import Lifecycle

BEGIN = "intent.begin"
END = "intent.end"
CALL_SECONDS = 8.0


class IntentCall(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the leader's MariaDB begins or has ended a statement that is no plain transaction."""

    connection_id: int
    finished: bool = False


class IntentCalls:
    """Both ends of the calls; made before the node runs, since it registers the handlers.

    Args:
        node: calls the leader's.
        lifecycle: of the MariaDB beside it; None on a witness, which is never the called one.
    """

    def __init__(self, node: Node, lifecycle: Lifecycle | None) -> None:
        self._node = node
        self._lifecycle = lifecycle
        if lifecycle is not None:
            node.handle_rpc(BEGIN, self._on_begin)
            node.handle_rpc(END, self._on_end)

    async def begin(self, connection_id: int) -> None:
        """Have the leader's mark on its disk; the statement may be sent then only.

        Raises:
            RpcUnavailable, RpcUncertain, RpcFailed: it is not known to be there.
        """
        await self._call(BEGIN, IntentCall(connection_id=connection_id))

    async def end(self, connection_id: int, *, finished: bool) -> None:
        """Say that the statement has ended.

        Raises:
            RpcUnavailable, RpcUncertain, RpcFailed: the leader was not told; its sweep finds out.
        """
        await self._call(END, IntentCall(connection_id=connection_id, finished=finished))

    async def _call(self, name: str, call: IntentCall) -> None:
        await self._node.call(None, name, msgspec.msgpack.encode(call), timeout=CALL_SECONDS)

    async def _on_begin(self, payload: bytes) -> bytes:
        call = msgspec.msgpack.decode(payload, type=IntentCall)
        if self._lifecycle is None or not self._lifecycle.writable:
            raise DatabaseUnavailable("it is not the primary")
        await self._lifecycle.open_intents.begin(call.connection_id)
        return b""

    async def _on_end(self, payload: bytes) -> bytes:
        call = msgspec.msgpack.decode(payload, type=IntentCall)
        if self._lifecycle is not None:
            self._lifecycle.open_intents.end(call.connection_id, finished=call.finished)
        return b""
