"""One node's ids, sans-IO: which come next, and what must be done before they may be given.

Times are milliseconds since 1970 by the node's own clock, which may step either way between two calls.
"""

from dataclasses import dataclass

from wolfscale.errors import InvariantError
from wolfscale.ids.bits import (
    END_MS,
    EPOCH_MS,
    MAX_COUNT,
    NODE_NUMBERS,
    SEQUENCE_BITS,
    id_at,
    position_of,
    time_of,
)
from wolfscale.ids.errors import IdTimeOverflow

MARK_STEP_MS = 3_000
"""How far ahead of the ids in use the mark is put, so how many milliseconds' ids a restart may skip."""

LEASE_MS = 3_600_000
"""How long a node gives ids without hearing from a majority, and how far ids may be ahead of its clock."""

CLOCK_ERROR_MS = 3_600_000
"""By how much the clocks of two members may differ when the second uses the ten bits of the first."""

QUARANTINE_MS = LEASE_MS + CLOCK_ERROR_MS
"""How long a member waits whose ten bits may have been another's, or who has lost its mark."""

_LAST_MARK = position_of(END_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkNeeded:
    """This mark must be on disk first; then call `IdGenerator.mark_written`."""

    mark_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseNeeded:
    """A majority must confirm the membership first; then call `IdGenerator.extend_lease`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadOfClock:
    """The ids are as far ahead of the clock as they may be: the clock must come nearer.

    Attributes:
        wait_ms: by how much; for a clock that runs as it should, how long that takes.
    """

    wait_ms: int


Obstacle = MarkNeeded | LeaseNeeded | AheadOfClock


class IdGenerator:
    """Gives one member's ids.

    Args:
        number: the member's, as given by the cluster.
        mark_ms: the newest mark on disk; ids begin there.
    """

    def __init__(self, number: int, *, mark_ms: int = EPOCH_MS) -> None:
        self.number = number
        self._node = number % NODE_NUMBERS
        self._next = self._mark = position_of(max(EPOCH_MS, mark_ms))
        self._lease = 0

    @property
    def next_ms(self) -> int:
        """The millisecond of the earliest id that may still come."""
        return time_of(self._next)

    def obstacle(self, now_ms: int, count: int) -> Obstacle | None:
        """What stands before `take` with the same arguments; ask again when it is done.

        Raises:
            IdTimeOverflow: the clock, or the last id, has come to the end of 41 bits.
        """
        end = self._start(now_ms) + count
        if end > _LAST_MARK:
            raise IdTimeOverflow(time_of(end))
        if end > self._lease:
            wait_ms = time_of(end) + 1 - now_ms - LEASE_MS
            return AheadOfClock(wait_ms=wait_ms) if wait_ms > 0 else LeaseNeeded()
        if end > self._mark:
            return MarkNeeded(mark_ms=time_of(min(end + (MARK_STEP_MS << SEQUENCE_BITS), _LAST_MARK)))
        return None

    def take(self, now_ms: int, count: int) -> list[int]:
        """The next ids, ascending, at the clock's time or later.

        Raises:
            InvariantError: there is an obstacle.
        """
        if not 1 <= count <= MAX_COUNT or self.obstacle(now_ms, count) is not None:
            raise InvariantError(f"{count} ids were taken that may not be given yet")
        start = self._start(now_ms)
        self._next = start + count
        return [id_at(position, self._node) for position in range(start, self._next)]

    def mark_written(self, mark_ms: int) -> None:
        """A mark is on disk, for good."""
        self._mark = max(self._mark, position_of(mark_ms))

    def extend_lease(self, asked_ms: int) -> None:
        """A majority has confirmed that this number is this node's.

        Args:
            asked_ms: the clock before the majority was asked.
        """
        self._lease = max(self._lease, asked_ms + LEASE_MS - EPOCH_MS << SEQUENCE_BITS)

    def _start(self, now_ms: int) -> int:
        return max(self._next, now_ms - EPOCH_MS << SEQUENCE_BITS)
