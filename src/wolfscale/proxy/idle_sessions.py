"""Sessions whose client has asked for nothing for `wait_timeout` seconds end, as MariaDB ends its own.

MariaDB closes such a connection without a word, and what lives on it is gone: the session must not go on with
others. Each session stands in the bucket of the moment at which it could be due; a session that has been used
meanwhile moves to a later one when that moment comes. So most cost nothing while they are idle.
"""

import math
import time
from collections import defaultdict
from typing import Protocol

import trio

STEP_SECONDS = 0.25
"""Between two looks: MariaDB is no more than this ahead."""


class IdleSession(Protocol):
    """What is asked of a session."""

    @property
    def idle_due(self) -> float:
        """When it is to end if nothing is asked of it until then, in seconds of the monotonic clock."""
        ...

    def end_idle(self) -> None:
        """End it."""
        ...


class IdleSessions:
    """One worker's sessions, by when they could be due."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[IdleSession]] = defaultdict(set)
        self._places: dict[IdleSession, int] = {}
        self._checked = math.floor(time.monotonic() / STEP_SECONDS)

    @property
    def count(self) -> int:
        """How many are watched."""
        return len(self._places)

    def watch(self, session: IdleSession) -> None:
        """End the session when it is due; also when that moment has become another."""
        self.forget(session)
        place = max(math.ceil(session.idle_due / STEP_SECONDS), self._checked + 1)
        self._places[session] = place
        self._buckets[place].add(session)

    def forget(self, session: IdleSession) -> None:
        """It has ended, or is watched no more."""
        place = self._places.pop(session, None)
        if place is None:
            return
        bucket = self._buckets[place]
        bucket.discard(session)
        if not bucket:
            del self._buckets[place]

    def check(self, now: float) -> None:
        """End what is due at this time of the monotonic clock, in seconds."""
        for place in range(self._checked + 1, math.floor(now / STEP_SECONDS) + 1):
            self._checked = place
            for session in tuple(self._buckets.get(place, ())):
                if session.idle_due <= place * STEP_SECONDS:
                    self.forget(session)
                    session.end_idle()
                else:
                    self.watch(session)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await trio.sleep(STEP_SECONDS)
            self.check(time.monotonic())
