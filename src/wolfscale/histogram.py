"""A histogram with fixed bounds, cheap enough for every commit: one bisection and two additions a value."""

from bisect import bisect_left
from collections.abc import Sequence

LATENCY_BOUNDS_SECONDS = (
    *(round(step * 10.0**decade, 6) for decade in range(-4, 1) for step in (1, 1.5, 2, 3, 5, 7)),
    10.0,
)
"""0.1 ms to 10 s, so close that a quantile between two bounds is right to a fifth or so."""


class Histogram:
    """Counts values by the bound that they do not exceed. One thread writes, any may read.

    Attributes:
        bounds: ascending; a last bucket takes what exceeds them all.
        counts: how many values fell into each bucket, one more than there are bounds.
        total: the sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCY_BOUNDS_SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it was seen."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


def counts_between(earlier: Sequence[int], later: Sequence[int]) -> list[int]:
    """What was counted between two moments of one histogram."""
    return [after - before for before, after in zip(earlier, later, strict=True)]


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """What `share` of the values stay below, interpolated within its bucket; None when there are none.

    Values beyond the last bound count as the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    for number, count in enumerate(counts[:-1]):
        if count and below + count >= rank:
            lower = bounds[number - 1] if number else 0.0
            return lower + (bounds[number] - lower) * max(0.0, rank - below) / count
        below += count
    return bounds[-1]
