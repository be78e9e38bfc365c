"""Who may log in now: bounded in all and per address, so that half-open connections keep nobody else out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class _Address:
    """What one address has under way."""

    __slots__ = ("half_open", "turns")

    def __init__(self, at_once: int) -> None:
        self.half_open = 0
        self.turns = trio.Semaphore(at_once)


class Admission:
    """Gives turns to connections that are not logged in yet.

    A turn costs a connection to MariaDB. An address that has half of all turns waits for its own to end;
    one that has three quarters of all connections without having logged in is turned away. So one address
    that floods the proxy leaves room for the others, and one that comes back with all of its clients after a
    failure has them logged in, one after the other.
    """

    def __init__(self, *, max_sessions: int, max_log_ins: int) -> None:
        """Bound what is not logged in.

        Args:
            max_sessions: connections at once, logged in or not.
            max_log_ins: connections that are logging in at once.
        """
        self._half_open_of_one = max_sessions - max_sessions // 4
        self._at_once_of_one = max(1, max_log_ins // 2)
        self._turns = trio.Semaphore(max_log_ins)
        self._addresses: dict[str, _Address] = {}

    def arrive(self, address: str) -> bool:
        """Note a connection that has just been accepted; false if its address has too many.

        Every connection that was let in leaves again.
        """
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._addresses[address] = _Address(self._at_once_of_one)
        elif entry.half_open >= self._half_open_of_one:
            return False
        entry.half_open += 1
        return True

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for the turn to log in, and have it."""
        async with self._addresses[address].turns, self._turns:
            yield

    def leave(self, address: str) -> None:
        """The connection is logged in, or gone."""
        entry = self._addresses[address]
        entry.half_open -= 1
        if not entry.half_open:
            # Nobody waits for, or has, a turn of this address.
            del self._addresses[address]

    @property
    def addresses(self) -> int:
        """How many addresses have connections that are not logged in."""
        return len(self._addresses)
