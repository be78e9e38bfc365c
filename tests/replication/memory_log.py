"""A replicated log in memory that commits when told to, for the tests of capture and feed."""

from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.replication.entry import sequence_of
from wolfscale.replication.log import EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEntry:
    index: int
    term: int
    kind: int
    data: bytes


class NotLeadingError(WolfScaleError):
    pass


class MemoryLog:
    """Commits at once unless `hold` is set; `term` is the term led, None when not leading."""

    def __init__(self, *, term: int | None = None) -> None:
        self.changes = Changes()
        self.term = term
        self.hold = False
        self.commit_index = 0
        self.first_index = 1
        self.unpersisted_bytes = 0
        self.entries: list[MemoryEntry] = []
        self.most_bytes_read = 0
        self._sequences: dict[int, int] = {}

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    def append(self, data: bytes, *, term: int, kind: int = EVENTS) -> int:
        index = self.last_index + 1
        self.entries.append(MemoryEntry(index=index, term=term, kind=kind, data=data))
        if kind == EVENTS and (sequence := sequence_of(data)):
            self._sequences[sequence] = index
        return index

    def truncate(self, index: int) -> None:
        """Drop the entries from `index` on, as another leader's log does."""
        assert index > self.commit_index
        del self.entries[index - self.first_index :]
        self._sequences = {key: at for key, at in self._sequences.items() if at < index}

    def commit(self, index: int | None = None) -> None:
        self.commit_index = self.last_index if index is None else index
        self.changes.notify()

    def release(self) -> None:
        """Stop holding commits back."""
        self.hold = False
        self.commit()

    def propose(self, datas: Sequence[bytes], *, term: int) -> int:
        if term != self.term:
            raise NotLeadingError(f"leads {self.term}, not {term}")
        index = self.last_index
        for data in datas:
            index = self.append(data, term=term)
        if not self.hold:
            self.commit()
        return index

    def read(self, first: int, last: int, max_bytes: int) -> Sequence[MemoryEntry]:
        assert self.first_index <= first
        chosen: list[MemoryEntry] = []
        size = 0
        for index in range(first, min(last, self.commit_index) + 1):
            entry = self.entries[index - self.first_index]
            size += len(entry.data)
            if chosen and size > max_bytes:
                break
            chosen.append(entry)
        self.most_bytes_read = max(self.most_bytes_read, sum(len(entry.data) for entry in chosen))
        return chosen

    def term_at(self, index: int) -> int:
        return self.entries[index - self.first_index].term

    def find_sequence(self, sequence: int) -> int | None:
        return self._sequences.get(sequence)
