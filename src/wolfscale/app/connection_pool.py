"""A few connections that are used again and again; each belongs to an epoch and ends with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from wolfscale.api.errors import ApiError
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.session_reset import reset_session


class Pool:
    """Bounded, last used first. One event loop, any number of tasks.

    A request takes a `slot`, then a connection by `get`, and holds it in `using`.

    Args:
        open_connection: logs in, for an epoch.
        size: connections at most.
    """

    def __init__(self, open_connection: Callable[[int], Awaitable[Connection]], *, size: int) -> None:
        self._open = open_connection
        self._slots = trio.Semaphore(size)
        self._idle: list[Connection] = []
        self._epochs: dict[Connection, int] = {}

    @asynccontextmanager
    async def slot(self, until: float) -> AsyncIterator[bool]:
        """A place among the connections; false when none came free in time."""
        with trio.move_on_at(until) as scope:
            await self._slots.acquire()
        if scope.cancelled_caught:
            yield False
            return
        try:
            yield True
        finally:
            self._slots.release()

    async def get(self, epoch: int, setup: str, database: str | None) -> Connection:
        """A connection as good as new, in which a statement has been run.

        Raises:
            ServerError: the server refused the log-in, the statement or the database.
            ConnectionLost, RemoteProtocolError, OSError: there is no server.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.closed or self._epochs[connection] != epoch:
                await self._drop(connection)
                continue
            try:
                await self._set_up(connection, setup, database)
            except (ConnectionLost, RemoteProtocolError):
                continue  # it had ended while nobody looked
            return connection
        connection = await self._open(epoch)
        self._epochs[connection] = epoch
        await self._set_up(connection, setup, database)
        return connection

    async def _set_up(self, connection: Connection, setup: str, database: str | None) -> None:
        try:
            await reset_session(connection, [setup], database=database)
        except ServerError:
            # Usable still, but it is not worth a rule which of the steps was done.
            await self._drop(connection)
            raise
        except BaseException:
            self._epochs.pop(connection, None)
            raise

    def epoch_of(self, connection: Connection) -> int:
        """The epoch in which a connection was opened."""
        return self._epochs[connection]

    @asynccontextmanager
    async def using(self, connection: Connection) -> AsyncIterator[None]:
        """Use a connection, and keep it for the next request, which resets it.

        Not after an error that nobody answers with: it may hold locks until then.
        """
        kept = False
        try:
            yield
            kept = True
        except (ApiError, ServerError):
            kept = True
            raise
        finally:
            if kept and not connection.closed:
                self._idle.append(connection)
            else:
                await self._drop(connection)

    async def keep_only(self, epoch: int, *, idle: bool) -> None:
        """Break the connections of other epochs, those in use too; and idle ones unless they are wanted.

        Whoever waits for an answer on one gets `ConnectionLost`.
        """
        for connection, opened in list(self._epochs.items()):
            if opened != epoch or (not idle and connection in self._idle):
                await connection.aclose_forcefully()

    async def close(self) -> None:
        """Break everything; also when cancelled."""
        for connection in list(self._epochs):
            await connection.aclose_forcefully()

    async def _drop(self, connection: Connection) -> None:
        self._epochs.pop(connection, None)
        with trio.CancelScope(shield=True), trio.move_on_after(1):
            await connection.aclose()
