"""What a session's statement waits for in the proxy, and how a KILL ends that."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from wolfscale.proxy.errors import ConnectionKilled, ProxyError, QueryInterrupted

RECEIVING = "Receiving the command"
"""What a command waits for that is passed on as its client sends it."""


class Waits:
    """One session's.

    Attributes:
        state: what is waited for now, as SHOW WOLFSCALE SESSIONS tells it; "" for nothing.
    """

    def __init__(self) -> None:
        self.state = ""
        self._scope: trio.CancelScope | None = None
        self._interrupted: type[ProxyError] | None = None

    def begin_command(self) -> None:
        """What was interrupted is over."""
        self._interrupted = None

    def interrupt(self) -> bool:
        """KILL QUERY: end what waits, now or later in this command; whether anything waits now."""
        return self._end(QueryInterrupted)

    def end(self) -> bool:
        """KILL: end what waits, and with it the session; whether anything waits now."""
        return self._scope is not None and self._end(ConnectionKilled)

    def _end(self, error: type[ProxyError]) -> bool:
        self._interrupted = error
        if self._scope is None:
            return False
        self._scope.cancel()
        return True

    def check(self) -> None:
        """Raise if this command is to end.

        Raises:
            QueryInterrupted: it was interrupted.
            ConnectionKilled: so was its session.
        """
        if self._interrupted is not None:
            raise self._interrupted

    @contextmanager
    def interruptible(self, state: str) -> Iterator[None]:
        """What is done inside may be given up at any moment: nothing is on its way to a server yet.

        Args:
            state: what it waits for.

        Raises:
            QueryInterrupted: it was given up.
            ConnectionKilled: likewise.
        """
        self.check()
        outer = self._scope
        with trio.CancelScope() as scope, self.named(state):
            self._scope = scope
            try:
                yield
            finally:
                self._scope = outer
        if scope.cancelled_caught:
            self.check()

    @contextmanager
    def named(self, state: str) -> Iterator[None]:
        """What is done inside has a name, and takes its time whoever kills it."""
        outer, self.state = self.state, state
        try:
            yield
        finally:
            self.state = outer
