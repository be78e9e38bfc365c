"""The leader's intent mark around a statement that is no plain change of rows: there before it is sent."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from wolfscale.proxy.backend import BackendConnection, Backends
from wolfscale.proxy.connections import Bounds, Connections
from wolfscale.proxy.errors import ER_READ_ONLY_SERVER, ControlLost, ProxyError
from wolfscale.proxy.requests import Request
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.state import SessionState


class IntentMark:
    """Has the node keep a mark while one of the session's statements is under way on the leader."""

    def __init__(
        self,
        connections: Connections,
        backends: Backends,
        state: SessionState,
        facts: SessionFacts,
        bounds: Bounds,
    ) -> None:
        self._connections = connections
        self._backends = backends
        self._state = state
        self._facts = facts
        self._bounds = bounds

    @asynccontextmanager
    async def around(self, writer: BackendConnection, request: Request) -> AsyncIterator[None]:
        """What is done inside sends the request on this connection and sees its end.

        Raises:
            ProxyError: the mark is not known to be there; nothing was sent.
        """
        number, waits = writer.connection_id, self._connections.waits
        waits.check()
        await self._begin(number)
        finished = True
        try:
            # Killed meanwhile: it is not sent, and takes the mark back.
            await trio.lowlevel.checkpoint_if_cancelled()
            waits.check()
            finished = False
            yield
            finished = True
        finally:
            # A node that is gone needs no telling: its workers' marks stay.
            with (
                trio.CancelScope(shield=True),
                trio.move_on_after(self._bounds.open_seconds),
                contextlib.suppress(ControlLost),
            ):
                await self._backends.intent_end(number, finished=finished or request.cut_short)

    async def _begin(self, number: int) -> None:
        try:
            # A KILL has to wait: half written, the mark could not be taken back.
            with self._connections.waits.named("Writing the intent mark"), trio.CancelScope(shield=True):
                await self._backends.intent_begin(number)
        except ControlLost as error:
            if not self._facts.in_transaction and not self._state.lost_with_leader():
                # If it is there after all, it goes with the connection that it is about.
                await self._connections.drop_writer()
            raise ProxyError(
                ER_READ_ONLY_SERVER,
                "HY000",
                f"The cluster is not ready for this statement, which was not executed ({error}): try again",
            ) from error
