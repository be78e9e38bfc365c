"""A read that has to wait for a leader goes back to a server for reads as soon as one can answer it.

It waits since none could when it began: the server was down or behind, or was lost with the read. That may
be over before the cluster has a leader, which without a majority never comes.
"""

from typing import TYPE_CHECKING

import trio

from wolfscale.proxy.consistency import Level

if TYPE_CHECKING:
    from wolfscale.proxy.execution import Executor

LOOK_SECONDS = 0.2
"""How often the servers are chosen among while they tell nothing: one that has failed may be chosen again."""
RETRY_SECONDS = 1.0
"""A server that seemed to be able to answer, and was not, is tried again after this time."""
MOST_SERVERS = 3
"""A read that has lost so many is the leader's: perhaps it is what ends them."""


class ReaderServes(Exception):
    """A server can answer the read now; nothing of it was sent to a leader."""


class WaitingRead:
    """One read that no server for reads has answered.

    Attributes:
        until: how long it waits in all, by trio's clock.
    """

    def __init__(self, executor: "Executor", lost_before: int) -> None:
        """Begin to wait.

        Args:
            executor: the session's.
            lost_before: `servers_lost` of it when the read began.
        """
        self.until = trio.current_time() + executor.bounds.leader_seconds
        self._executor = executor
        self._lost_before = lost_before

    async def until_writable(self) -> None:
        """Wait until the cluster has a leader that takes statements; a checkpoint.

        Raises:
            ReaderServes: the read need not wait.
        """
        await trio.lowlevel.checkpoint()
        executor = self._executor
        connections = executor.connections
        served, retry_at = self._serves(), trio.current_time() + RETRY_SECONDS
        while not executor.views.current.writable:
            with trio.move_on_after(LOOK_SECONDS):
                await executor.views.changes.wait()
            if await connections.choose():
                served = False
            serves = self._serves()
            if serves and (not served or trio.current_time() >= retry_at):
                raise ReaderServes
            served = served and serves

    def _serves(self) -> bool:
        executor = self._executor
        view, consistency = executor.views.current, executor.consistency
        return (
            view.database_ready
            and executor.connections.may_read
            and executor.servers_lost - self._lost_before < MOST_SERVERS
            and not executor.bounds.lags(view)
            and (
                consistency.now is Level.EVENTUAL
                or consistency.leader_was_read
                or view.applied_sequence >= consistency.bound
            )
        )
