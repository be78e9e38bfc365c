"""Ending what a session runs, or the session itself, from outside of its task.

The MariaDB that runs the statement is asked by its node, with the node's account. A statement that commits is
not interrupted, since MariaDB would commit it without a majority: its end is waited for. What waits in the
proxy (`waits`) is given up at once.
"""

import contextlib

import trio

from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.connections import Connections
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.waits import RECEIVING

COMMIT_SECONDS = 5.0
"""How long a KILL waits for a commit to end."""
LAST_WORD_SECONDS = 2.0
"""How long a killed session has to end by itself."""
_POLL_SECONDS = 0.02


class Interruption:
    """One session's.

    Attributes:
        scope: what the session's task does; cancelled, the session ends.
        ended: the session's task does nothing more.
    """

    def __init__(self, connections: Connections, backends: Backends) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._connections = connections
        self._backends = backends

    @property
    def running_on(self) -> BackendConnection | None:
        """The connection that a statement runs on."""
        for connection in (self._connections.writer, self._connections.reader):
            if connection is not None and not connection.closed and not connection.tracker.done:
                return connection
        return None

    async def interrupt(self) -> bool:
        """Interrupt the statement, if there is one; false: it has not ended within the bound."""
        waits = self._connections.waits
        if waits.interrupt():
            return True
        if waits.state == RECEIVING:
            return await self._interrupt_received()
        return await self._interrupt(connection=False)

    async def _interrupt_received(self) -> bool:
        """Interrupt a command of which the client has not sent all, once the leader runs it."""
        with trio.move_on_after(COMMIT_SECONDS):
            while self._connections.waits.state == RECEIVING:
                await trio.sleep(_POLL_SECONDS)
            # MariaDB does not hear it before it has read the command.
            while self.running_on is not None:
                await self._interrupt(connection=False)
                await trio.sleep(_POLL_SECONDS)
            return True
        return False

    async def end(self) -> bool:
        """End the session; false: its statement has not ended within the bound, and it goes on."""
        self._connections.killed = True
        if self._connections.waits.end():
            with trio.move_on_after(LAST_WORD_SECONDS):
                await self.ended.wait()
            self.scope.cancel()
            return True
        done = await self._interrupt(connection=True)
        self._connections.killed = done
        if done:
            await self._until_idle(LAST_WORD_SECONDS)
            self.scope.cancel()
        return done

    async def _interrupt(self, *, connection: bool) -> bool:
        running = self.running_on
        if running is None:
            return True
        done = False
        # A leader that is being lost takes the statement with it.
        with contextlib.suppress(ControlLost):
            done = await self._backends.interrupt(
                running.connection_id, leader=running.leader, term=running.term, connection=connection
            )
        return done or await self._until_idle(COMMIT_SECONDS)

    async def _until_idle(self, seconds: float) -> bool:
        # Nothing tells the end of a statement that the relay engine carries.
        with trio.move_on_after(seconds):
            while self.running_on is not None:
                await trio.sleep(_POLL_SECONDS)
            return True
        return False
