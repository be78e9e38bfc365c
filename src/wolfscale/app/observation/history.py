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
            series[place] = math.nan if value is None else round(value, 3)
        self._taken += 1
        self._end_time = time

    def add_gap(self, samples: int) -> None:
        """Note that so many samples could not be taken."""
        for _ in range(min(samples, self._kept)):
            self.add(self._end_time, {})

    def history(self) -> History:
        """All samples, the oldest first."""
        if self._taken < self._kept:
            ordered = {name: values[: self._taken] for name, values in self._series.items()}
        else:
            oldest = self._taken % self._kept
            ordered = {name: values[oldest:] + values[:oldest] for name, values in self._series.items()}
        # Only NaN differs from itself.
        series = {
            name: tuple([None if value != value else value for value in values])  # noqa: PLR0124
            for name, values in ordered.items()
        }
        # Built here from floats: checking thousands of them again would cost more than making them.
        return History.model_construct(
            interval_seconds=INTERVAL_SECONDS,
            end_time=self._end_time,
            series=HistorySeries.model_construct(None, **series),
        )
