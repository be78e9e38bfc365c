"""KILL, and the lists of sessions, between a node's workers and all nodes."""

import contextlib
from typing import TypeVar

import msgspec
import trio

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.node.errors import NodeError
from wolfscale.node.node import Node
from wolfscale.proxy.control import Caller
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.replication.errors import DatabaseUnavailable
from wolfscale.replication.lifecycle import Lifecycle

KILL = "sessions.kill"
INTERRUPT = "sessions.interrupt"
UPLOADS = "sessions.uploads"
KILL_SECONDS = 9.0
UPLOADS_SECONDS = 0.25
"""Writes stand still meanwhile."""
INTERRUPT_SECONDS = 3.0
"""With the wait for a commit (`proxy.interruption.COMMIT_SECONDS`) it is less than the other."""

_Answer = TypeVar("_Answer")


class InterruptCall(msgspec.Struct, frozen=True, kw_only=True):
    """A connection of a proxy to the primary of a term."""

    connection_id: int
    term: int
    connection: bool


class SessionCalls:
    """Both ends of the calls; made before the node runs, since it registers the handlers.

    Attributes:
        workers: ask the proxy workers that follow this node; whoever serves them adds and removes them.
    """

    def __init__(self, node: Node, lifecycle: Lifecycle) -> None:
        self.workers: set[Caller] = set()
        self._node = node
        self._lifecycle = lifecycle
        node.handle_rpc(KILL, self._on_kill)
        node.handle_rpc(INTERRUPT, self._on_interrupt)
        node.handle_rpc(UPLOADS, self._on_uploads)
        lifecycle.count_uploads = self.uploads

    async def kill(self, call: KillCall) -> Killed:
        """Kill sessions in the whole cluster.

        A member that cannot be reached may have had the session: then it is gone, or nobody can kill it now.
        """
        found = [await self._kill_here(call)]
        if found[0].found and call.user is None:
            return found[0]
        found += await self._ask_others(KILL, msgspec.msgpack.encode(call), Killed, timeout=KILL_SECONDS)
        return sum(found, Killed())

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Have the MariaDB beside this node, or the leader's, interrupt a connection; false: it commits.

        Raises:
            WolfScaleError: it was perhaps not done.
        """
        if not leader:
            return await self._interrupt_here(connection_id, connection=connection)
        call = InterruptCall(connection_id=connection_id, term=term, connection=connection)
        answer = await self._node.call(
            None, INTERRUPT, msgspec.msgpack.encode(call), timeout=INTERRUPT_SECONDS
        )
        return answer == b"\x01"

    async def uploads(self) -> int:
        """How many commands proxies of all nodes are passing on to the leader that they cannot send again.

        A member that does not answer at once has none.
        """
        here = await self._uploads_here()
        return here + sum(await self._ask_others(UPLOADS, b"", int, timeout=UPLOADS_SECONDS))

    async def is_applying_blocked(self) -> bool:
        """Whether this node's MariaDB cannot apply the log because a session holds a lock.

        Raises:
            DatabaseUnavailable: it cannot be asked.
        """
        try:
            return await self._lifecycle.is_applying_blocked()
        except (ServerError, ConnectionLost) as error:
            raise DatabaseUnavailable(str(error)) from error

    async def listed(self) -> list[dict[str, str]]:
        """The sessions of the workers that follow this node."""
        rows: list[dict[str, str]] = []
        for worker in list(self.workers):
            try:
                rows += await worker.request("sessions")
            except ControlLost:
                continue
        return sorted(rows, key=lambda row: int(row["Id"]))

    async def _kill_here(self, call: KillCall) -> Killed:
        killed = Killed()
        for worker in list(self.workers):
            try:
                answer = await worker.request("kill", call=msgspec.to_builtins(call))
            except ControlLost:
                continue
            killed += msgspec.convert(answer, Killed)
        return killed

    async def _interrupt_here(self, connection_id: int, *, connection: bool) -> bool:
        try:
            return await self._lifecycle.interrupt(connection_id, connection=connection)
        except (ServerError, ConnectionLost) as error:
            raise DatabaseUnavailable(str(error)) from error

    async def _ask_others(
        self, method: str, payload: bytes, answer_type: type[_Answer], *, timeout: float
    ) -> list[_Answer]:
        """Ask all other members at the same time; those that do not answer are left out."""
        found: list[_Answer] = []

        async def ask(address: str) -> None:
            try:
                answer = await self._node.call(address, method, payload, timeout=timeout)
            except (NodeError, WolfScaleError):
                return
            found.append(msgspec.msgpack.decode(answer, type=answer_type))

        async with trio.open_nursery() as nursery:
            for member in self._node.membership.members:
                if member.id != self._node.id and self._node.connected(member.id):
                    nursery.start_soon(ask, member.address)
        return found

    async def _uploads_here(self) -> int:
        count = 0
        for worker in list(self.workers):
            with trio.move_on_after(UPLOADS_SECONDS), contextlib.suppress(ControlLost):
                count += await worker.request("uploads")
        return count

    async def _on_uploads(self, payload: bytes) -> bytes:
        return msgspec.msgpack.encode(await self._uploads_here())

    async def _on_kill(self, payload: bytes) -> bytes:
        killed = await self._kill_here(msgspec.msgpack.decode(payload, type=KillCall))
        return msgspec.msgpack.encode(killed)

    async def _on_interrupt(self, payload: bytes) -> bytes:
        call = msgspec.msgpack.decode(payload, type=InterruptCall)
        if self._lifecycle.tenure != call.term:
            raise DatabaseUnavailable("the leader has changed since")
        done = await self._interrupt_here(call.connection_id, connection=call.connection)
        return b"\x01" if done else b"\x00"
