"""Tells the log of refused requests: soon, but not of each, since strangers decide how many come."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from wolfscale import logs
from wolfscale.api.access import Asked, Refused

log = logs.logger(__name__)

PAUSE_SECONDS: Final = 60.0
_SHOWN: Final = 100


class RefusalLog:
    """One line for the first refusal of a kind, then one a minute at most, with how many there were.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._unsaid: Counter[str] = Counter()
        self._said_at: dict[str, float] = {}

    def note(self, asked: Asked, refused: Refused) -> None:
        """Count a refusal, and say so when it is time."""
        kind = refused.error
        self._unsaid[kind] += 1
        now = self._clock()
        if now - self._said_at.get(kind, float("-inf")) < PAUSE_SECONDS:
            return
        self._said_at[kind] = now
        log.info(
            "refused a request for want of a right",
            error=kind,
            times=self._unsaid.pop(kind),
            peer=asked.peer,
            method=asked.method[:_SHOWN],
            path=asked.path[:_SHOWN],
        )
