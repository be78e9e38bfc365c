"""Which stretches of which segments make up the log now: in memory, a few bytes a segment."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.wal.batch import BatchHeader
from wolfscale.wal.summary import SegmentRun


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """A run's part that has not been overwritten."""

    number: int
    """Of the segment."""
    offset: int
    end: int
    """Where the run's last batch ends, overwritten or not."""
    first_index: int
    last_index: int
    """The last one that is still in the log; batches up to `end` may hold more."""
    previous_key: int


class LogMap:
    """The log as a list of runs, oldest first, and a table of its terms.

    An append whose first index lies within the log ends the runs before it there: replaying the batches in
    the order of their writing gives the same map again, so overwriting needs no write of its own.
    """

    __slots__ = (
        "_term_starts",
        "_terms",
        "base_index",
        "base_key",
        "base_term",
        "last_index",
        "last_key",
        "runs",
    )

    def __init__(self, *, base_index: int, base_term: int, base_key: int) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self.base_key = base_key
        self.last_index = base_index
        self.last_key = base_key
        self.runs: list[LiveRun] = []
        self._term_starts = array("Q")
        self._terms = array("Q")

    def fits(self, first_index: int) -> bool:
        """Whether records from that index on can be put behind the base and leave no gap."""
        return self.base_index < first_index <= self.last_index + 1

    def add(self, number: int, header: BatchHeader, terms: Sequence[tuple[int, int]]) -> None:
        """Put a batch at the end of the log, or over its end."""
        run = self.runs[-1] if self.runs else None
        if run is None or run.number != number or header.first_index != self.last_index + 1:
            self._overwrite(header.first_index)
            run = LiveRun(
                number=number,
                offset=header.offset,
                end=header.offset,
                first_index=header.first_index,
                last_index=header.first_index - 1,
                previous_key=header.previous_key,
            )
            self.runs.append(run)
        run.end = header.end
        self._extend(run, header.last_index, terms)
        self.last_key = header.last_key

    def add_run(self, number: int, written: SegmentRun, last_key: int) -> None:
        """Put a whole run of a segment that is not written any more at the end, or over the end.

        Args:
            number: the segment's.
            written: the run as it was written.
            last_key: the greatest key of the log after it, or before the next run where that is not known.
        """
        self._overwrite(written.first_index)
        run = LiveRun(
            number=number,
            offset=written.offset,
            end=written.end,
            first_index=written.first_index,
            last_index=written.last_index,
            previous_key=written.previous_key,
        )
        self.runs.append(run)
        self._extend(run, written.last_index, written.terms)
        self.last_key = last_key

    def _extend(self, run: LiveRun, last_index: int, terms: Sequence[tuple[int, int]]) -> None:
        run.last_index = last_index
        self.last_index = last_index
        for index, term in terms:
            if not self._terms or self._terms[-1] != term:
                self._term_starts.append(index)
                self._terms.append(term)

    def _overwrite(self, first_index: int) -> None:
        while self.runs and self.runs[-1].first_index >= first_index:
            self.runs.pop()
        if self.runs:
            self.runs[-1].last_index = min(self.runs[-1].last_index, first_index - 1)
        kept = bisect_left(self._term_starts, first_index)
        del self._term_starts[kept:]
        del self._terms[kept:]
        self.last_index = min(self.last_index, first_index - 1)

    def term_at(self, index: int) -> int:
        """The term of a record of the log, or of the base."""
        if index == self.base_index:
            return self.base_term
        return self._terms[bisect_right(self._term_starts, index) - 1]

    def run_of_index(self, index: int) -> int:
        """The place in `runs` of the one that holds a record of the log."""
        return bisect_right(self.runs, index, key=_first_index) - 1

    def run_of_key(self, key: int) -> int:
        """The place in `runs` of the one that holds the smallest key at least `key`, if any does; or -1."""
        return bisect_left(self.runs, key, key=_previous_key) - 1

    def move_base(self, *, base_index: int, base_term: int, base_key: int) -> None:
        """Forget the runs that end at the new base or before it."""
        self.base_index = base_index
        self.base_term = base_term
        self.base_key = base_key
        dropped = 0
        while dropped < len(self.runs) and self.runs[dropped].last_index <= base_index:
            dropped += 1
        del self.runs[:dropped]
        # The term of base_index + 1 may have begun earlier: its start stays.
        forgotten = max(0, bisect_right(self._term_starts, base_index + 1) - 1)
        del self._term_starts[:forgotten]
        del self._terms[:forgotten]


def _first_index(run: LiveRun) -> int:
    return run.first_index


def _previous_key(run: LiveRun) -> int:
    return run.previous_key
