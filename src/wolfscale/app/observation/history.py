"""The last minutes, one sample a second, in a fixed piece of memory."""

import math
from array import array
from collections.abc import Mapping

from wolfscale.api.dashboard_models import History, HistorySeries

KEPT_SAMPLES = 600
INTERVAL_SECONDS = 1
NAMES = tuple(HistorySeries.model_fields)


class Samples:
    """A ring of samples; 8 bytes for each value, whatever happens.

    Args:
        kept: how many samples are kept.
    """

    def __init__(self, kept: int = KEPT_SAMPLES) -> None:
        self._kept = kept
        self._series = {name: array("d", [math.nan]) * kept for name in NAMES}
        self._taken = 0
        self._end_time = 0.0

    def add(self, time: float, values: Mapping[str, float | None]) -> None:
        """Add one sample, taken at a time in seconds since 1970; what it does not hold is unknown."""
        place = self._taken % self._kept
        for name, series in self._series.items():
            value = values.get(name)
            series[place] = math.nan if value is None else value
        self._taken += 1
        self._end_time = time

    def add_gap(self, samples: int) -> None:
        """Note that so many samples could not be taken."""
        for _ in range(min(samples, self._kept)):
            self.add(self._end_time, {})

    def history(self) -> History:
        """All samples, the oldest first."""
        count = min(self._taken, self._kept)
        first = self._taken - count
        order = [(first + number) % self._kept for number in range(count)]
        series = {
            name: tuple(_shown(values[place]) for place in order) for name, values in self._series.items()
        }
        # Built here from floats: checking thousands of them again would cost more than making them.
        return History.model_construct(
            interval_seconds=INTERVAL_SECONDS,
            end_time=self._end_time,
            series=HistorySeries.model_construct(None, **series),
        )


def _shown(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
