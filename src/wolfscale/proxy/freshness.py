"""What a local read must have seen: how the session learns of it, and waits until its server has."""

import contextlib

import trio

from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.proxy.backend import Backends
from wolfscale.proxy.connections import Bounds, Connections
from wolfscale.proxy.consistency import Level, SessionConsistency, sequence_of
from wolfscale.proxy.errors import ER_NO_MAJORITY, ControlLost, ProxyError

CONFIRMATION = "Waiting for a majority to confirm what is committed"


class Freshness:
    """Holds one session's reads back until the server for them is as far as they need it."""

    def __init__(
        self, connections: Connections, backends: Backends, consistency: SessionConsistency, bounds: Bounds
    ) -> None:
        self._connections = connections
        self._backends = backends
        self._consistency = consistency
        self._bounds = bounds

    async def confirm(self) -> None:
        """Have a majority confirm what is committed now; the read must have seen all of it.

        Raises:
            ProxyError: nobody confirms it.
        """
        try:
            with self._connections.waits.interruptible(CONFIRMATION):
                self._consistency.on_position(await self._backends.read_position())
        except ControlLost as error:
            raise ProxyError(
                ER_NO_MAJORITY,
                "HY000",
                f"No majority of the cluster confirms what is committed, as a strong read needs ({error}): "
                "try again, or read with wolfscale_consistency = 'node'",
            ) from error

    async def wait_applied(self) -> bool:
        """Whether the local MariaDB has applied what this session must see, waiting a bounded time.

        Not again, by any session, while it has not even applied what somebody has waited for in vain: it is
        minutes behind then, in the middle of a long ALTER TABLE.
        """
        consistency = self._consistency
        views = self._backends.views
        if consistency.now is Level.EVENTUAL:
            return True
        if consistency.leader_was_read:
            consistency.on_position(await self._leader_position())

        bound = consistency.bound

        def has_applied() -> bool:
            return views.current.applied_sequence >= bound

        if not has_applied() and views.current.applied_sequence >= views.missed_sequence:
            waiting = self._connections.waits.interruptible("Waiting for the local server to catch up")
            with waiting, trio.move_on_after(self._bounds.replica_seconds):
                await views.changes.wait_until(lambda: has_applied() or not views.current.database_ready)
            if not has_applied():
                committed = views.current.committed_sequence
                consistency.on_never_applied(committed)
                views.missed_sequence = min(bound, committed)
        return has_applied()

    async def _leader_position(self) -> int:
        """How far the leader is, which is at least what its answers to this session showed."""
        writer = self._connections.writer
        if writer is not None and not writer.closed and writer.term == self._backends.views.current.term:
            # A leader that hangs is not waited for: its connection is given up with the question.
            with (
                trio.move_on_after(self._bounds.replica_seconds),
                contextlib.suppress(ConnectionLost, ServerError),
            ):
                position = await writer.value("SELECT @@GLOBAL.gtid_binlog_pos") or b""
                return max(sequence_of(item) for item in position.decode().split(","))
        if self._backends.views.current.elsewhere:
            # What the server showed that was read from before, only a majority knows for sure.
            waiting = self._connections.waits.interruptible(CONFIRMATION)
            with waiting, trio.move_on_after(self._bounds.replica_seconds), contextlib.suppress(ControlLost):
                return await self._backends.read_position()
        return self._backends.views.current.committed_sequence
