"""Raft's ticks from trio's clock, forgiving about a process that was stopped for a while."""

import trio

MAX_TICKS_AT_ONCE = 2
"""A process that was stopped (SIGSTOP, swapping, a paused machine) must not find that an election
timeout has passed before it has read what waits in its sockets."""


class Ticker:
    """Says how many ticks are due; ticks that a stall swallowed are dropped, not made up for.

    Args:
        interval: seconds between two ticks.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = trio.current_time() + interval
        self.dropped = 0
        """Ticks that were never given because the process stalled."""

    async def due(self) -> int:
        """Wait for the next tick and return how many are due: 1, or `MAX_TICKS_AT_ONCE` at most.

        A checkpoint; cancelling it loses at most one tick. For one task only.
        """
        await trio.sleep_until(self._next)
        now = trio.current_time()
        elapsed = 1 + int((now - self._next) / self._interval)
        if elapsed <= MAX_TICKS_AT_ONCE:
            self._next += elapsed * self._interval
            return elapsed
        self.dropped += elapsed - MAX_TICKS_AT_ONCE
        self._next = now + self._interval
        return MAX_TICKS_AT_ONCE
