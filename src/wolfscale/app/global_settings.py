"""SET GLOBAL on its way: from a node's workers to the leader's node, and from there to every node."""

from collections.abc import Sequence

import msgspec
import trio

from wolfscale import logs
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.node.errors import NodeError
from wolfscale.node.node import Node
from wolfscale.replication.errors import DatabaseUnavailable
from wolfscale.replication.lifecycle import Lifecycle

log = logs.logger(__name__)

RECORD = "settings.record"
APPLY = "settings.apply"
CALL_SECONDS = 8.0
SPREAD_SECONDS = 2.0
"""How long the client waits for the other nodes; those that are away learn of it when they are back."""


class RecordCall(msgspec.Struct, frozen=True, kw_only=True):
    """The leader's MariaDB has taken global variables in a term."""

    term: int
    names: list[str]
    defaults: list[str]
    user: str


class ApplyCall(msgspec.Struct, frozen=True, kw_only=True):
    """Settings have changed in the group of this sequence number, or before."""

    sequence: int


class GlobalSettingCalls:
    """Both ends of the calls; made before the node runs, since it registers the handlers.

    Args:
        node: calls the others.
        lifecycle: of the MariaDB beside it; None on a witness.
    """

    def __init__(self, node: Node, lifecycle: Lifecycle | None) -> None:
        self._node = node
        self._lifecycle = lifecycle
        if lifecycle is not None:
            node.handle_rpc(RECORD, self._on_record)
            node.handle_rpc(APPLY, self._on_apply)

    async def spread(self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str) -> None:
        """Have the leader's node keep its values of these variables, and give them to the others.

        Raises:
            RpcUnavailable, RpcUncertain, RpcFailed: it is not known that they are kept.
        """
        call = RecordCall(term=term, names=list(names), defaults=list(defaults), user=user)
        await self._node.call(None, RECORD, msgspec.msgpack.encode(call), timeout=CALL_SECONDS)

    async def listed(self) -> list[dict[str, str]]:
        """The settings, as the MariaDB beside this node has them.

        Raises:
            DatabaseUnavailable: it cannot be asked.
        """
        if self._lifecycle is None or not self._lifecycle.serving:
            raise DatabaseUnavailable("it does not serve")
        try:
            return await self._lifecycle.settings.listed()
        except (ServerError, ConnectionLost) as error:
            raise DatabaseUnavailable(str(error)) from error

    async def _on_record(self, payload: bytes) -> bytes:
        call = msgspec.msgpack.decode(payload, type=RecordCall)
        lifecycle = self._lifecycle
        if lifecycle is None or not lifecycle.writable or lifecycle.tenure != call.term:
            raise DatabaseUnavailable("the leader has changed since")
        try:
            await lifecycle.settings.record(call.names, call.defaults, call.user)
        except (ServerError, ConnectionLost) as error:
            raise DatabaseUnavailable(str(error)) from error
        apply = msgspec.msgpack.encode(ApplyCall(sequence=lifecycle.committed_sequence))
        with trio.move_on_after(SPREAD_SECONDS):
            async with trio.open_nursery() as nursery:
                for member in self._node.membership.members:
                    if member.id != self._node.id and self._node.connected(member.id):
                        nursery.start_soon(self._tell, member.address, apply)
        return b""

    async def _tell(self, address: str, payload: bytes) -> None:
        try:
            await self._node.call(address, APPLY, payload, timeout=SPREAD_SECONDS)
        except (NodeError, WolfScaleError) as error:
            log.debug("a member learns of a setting later", address=address, reason=str(error))

    async def _on_apply(self, payload: bytes) -> bytes:
        call = msgspec.msgpack.decode(payload, type=ApplyCall)
        lifecycle = self._lifecycle
        if lifecycle is None or not lifecycle.serving:
            raise DatabaseUnavailable("it does not serve")
        await lifecycle.applied_changes.wait_until(lambda: lifecycle.applied_sequence >= call.sequence)
        try:
            await lifecycle.settings.apply()
        except (ServerError, ConnectionLost) as error:
            raise DatabaseUnavailable(str(error)) from error
        return b""
