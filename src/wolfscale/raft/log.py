"""The log as the core sees it: what it has handed out, read back through the owner, and a short tail on top.

The core keeps an entry only until the next `Ready`; from then on the owner shows it through `LogReader`,
durable or not. What *is* durable is tracked here, Ready by Ready, because an overwritten entry takes back
the durability of everything after it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from wolfscale.errors import InvariantError
from wolfscale.raft.errors import LogCompacted
from wolfscale.raft.types import Entry, Index, LogBase, Term


class LogReader(Protocol):
    """The log that the owner keeps: everything durable, and everything handed out to become so."""

    @property
    def base(self) -> LogBase:
        """What stands before the first entry."""
        ...

    @property
    def last_index(self) -> Index:
        """The last entry's index, or the base's."""
        ...

    def term(self, index: Index) -> Term:
        """The term of an entry from the base to the last."""
        ...

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """The entries from `first` on, to `last` at most: one at least, more while their data fits."""
        ...


class RaftLog:
    """One member's log; positions and order are its concern, roles and commits are not.

    `_tail` holds the entries from `_offset` on that no Ready has handed out. `_run_first` is the first index
    from which every entry has the last term: most questions about a term are answered by it.
    """

    __slots__ = (
        "_base",
        "_in_flight",
        "_offset",
        "_reader",
        "_run_first",
        "_tail",
        "last_index",
        "last_term",
        "persisted_index",
    )

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._base: LogBase | None = None
        self._tail: list[Entry] = []
        self._offset = reader.last_index + 1
        self._in_flight: deque[tuple[int, Index]] = deque()
        self.last_index = reader.last_index
        self.last_term = reader.term(reader.last_index)
        self.persisted_index = reader.last_index
        self._run_first = reader.last_index

    @property
    def base(self) -> LogBase:
        """What stands before the first entry."""
        return self._base or self._reader.base

    def term(self, index: Index) -> Term:
        """The term of an entry from the base to the last.

        Raises:
            LogCompacted: the entry is below the base.
            InvariantError: the entry is above the last.
        """
        if index > self.last_index:
            raise InvariantError(f"the term of entry {index} was asked for, the last is {self.last_index}")
        if index >= self._run_first:
            return self.last_term
        base = self.base
        if index <= base.index:
            if index == base.index:
                return base.term
            raise LogCompacted(index, base.index)
        if index >= self._offset:
            return self._tail[index - self._offset].term
        return self._reader.term(index)

    def entries(self, first: Index, last: Index, max_bytes: int) -> tuple[Entry, ...]:
        """The entries from `first` on, to `last` at most: one at least, more while their data fits."""
        if first < self._offset:
            handed_out = self._reader.entries(first, Index(min(last, self._offset - 1)), max_bytes)
            if not handed_out or handed_out[0].index != first:
                raise InvariantError(f"the log's owner gave no entry {first} of {first}..{last}")
            reached = handed_out[-1].index
            max_bytes -= sum(len(entry.data) for entry in handed_out)
            if reached < self._offset - 1 or last < self._offset or max_bytes <= 0:
                return tuple(handed_out)
            return (*handed_out, *self._tail_from(self._offset, last, max_bytes, at_least=0))
        return tuple(self._tail_from(first, last, max_bytes, at_least=1))

    def _tail_from(self, first: int, last: int, max_bytes: int, *, at_least: int) -> list[Entry]:
        wanted = self._tail[first - self._offset : last - self._offset + 1]
        for place, entry in enumerate(wanted):
            max_bytes -= len(entry.data)
            if max_bytes < 0 and place >= at_least:
                return wanted[:place]
        return wanted

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries at the end, or over the end: the first one's index says where they begin."""
        first = entries[0].index
        if first != self.last_index + 1:
            self._truncate(first)
        for entry in reversed(entries):
            if entry.term != entries[-1].term:
                self._run_first = Index(entry.index + 1)
                break
        else:
            if entries[-1].term != self.last_term:
                self._run_first = first
        self._tail += entries
        self.last_index = entries[-1].index
        self.last_term = entries[-1].term

    def _truncate(self, first: Index) -> None:
        base = self.base
        if not base.index < first <= self.last_index:
            raise InvariantError(f"entry {first} cannot follow a log of {base.index}..{self.last_index}")
        kept = Index(first - 1)
        if kept < self._run_first:
            self.last_term = self.term(kept)
            self._run_first = kept
        self.last_index = kept
        if first < self._offset:
            self._tail.clear()
            self._offset = first
        else:
            del self._tail[first - self._offset :]
        self.persisted_index = Index(min(self.persisted_index, kept))
        self._in_flight = deque((number, Index(min(last, kept))) for number, last in self._in_flight)

    def install(self, base: LogBase) -> None:
        """Drop everything and begin after `base`."""
        self._base = base
        self._tail.clear()
        self._offset = base.index + 1
        self.last_index = base.index
        self.last_term = base.term
        self._run_first = base.index
        self.persisted_index = Index(0)
        self._in_flight = deque((number, Index(0)) for number, _ in self._in_flight)

    def find_agreement(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last place, `index` at most, where this log's term is `term` or older, and the term there.

        A log of the other side that has `term` at `index` cannot agree with this one beyond it. Terms never
        fall along a log, so the place is found by bisection. The base is never passed.
        """
        base = self.base
        low = base.index
        if index <= low:
            return low, base.term
        found = bisect_right(range(low + 1, min(index, self.last_index) + 1), term, key=self._term_at) + low
        return Index(found), self.term(Index(found))

    def _term_at(self, index: int) -> Term:
        return self.term(Index(index))

    @property
    def has_unpersisted(self) -> bool:
        """Whether a Ready that must be made durable is not yet so."""
        return bool(self._in_flight)

    @property
    def has_news(self) -> bool:
        """Whether there is anything to hand out."""
        return bool(self._tail) or self._base is not None

    def hand_out(self) -> tuple[LogBase | None, tuple[Entry, ...]]:
        """Give the base and the entries to the owner, who shows them from now on."""
        base, self._base = self._base, None
        entries = tuple(self._tail)
        self._tail.clear()
        self._offset = self.last_index + 1
        return base, entries

    def awaiting(self, number: int) -> None:
        """Ready `number` has something to be made durable, with the log as it is now."""
        self._in_flight.append((number, self.last_index))

    def persisted(self, number: int) -> None:
        """Everything up to Ready `number` is durable."""
        while self._in_flight and self._in_flight[0][0] <= number:
            self.persisted_index = Index(max(self.persisted_index, self._in_flight.popleft()[1]))
