"""A storage without a disk, which can also be told to fail."""

from collections.abc import Sequence

from wolfscale.raft.errors import LogCompacted
from wolfscale.raft.ready import Ready
from wolfscale.raft.types import Entry, HardState, Index, LogBase, Membership, Term


class MemoryStorage:
    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base = LogBase()
        self.log: list[Entry] = []
        self.failure: Exception | None = None
        self.batches: list[int] = []

    @property
    def last_index(self) -> Index:
        return Index(self.base.index + len(self.log))

    def term(self, index: Index) -> Term:
        if index == self.base.index:
            return self.base.term
        if index < self.base.index:
            raise LogCompacted(index, self.base.index)
        return self.log[index - self.base.index - 1].term

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        found: list[Entry] = []
        for entry in self.log[first - self.base.index - 1 : last - self.base.index]:
            max_bytes -= len(entry.data)
            if found and max_bytes < 0:
                break
            found.append(entry)
        return found

    def handed_out(self, entries: Sequence[Entry], base: LogBase | None = None) -> None:
        if base is not None:
            self.base = base
            self.log.clear()
        if entries:
            del self.log[entries[0].index - self.base.index - 1 :]
            self.log += entries

    def persist(self, batches: Sequence[Ready]) -> None:
        if self.failure is not None:
            raise self.failure
        self.batches.append(len(batches))
        for ready in batches:
            if ready.hard_state is not None:
                self.hard_state = ready.hard_state

    def find_sequence(self, sequence: int) -> Index | None:
        return next((entry.index for entry in self.log if entry.data == b"%d" % sequence), None)

    def truncate_prefix(self, index: Index, membership: Membership) -> None:
        dropped = index - self.base.index
        self.base = LogBase(index=index, term=self.log[dropped - 1].term, membership=membership)
        del self.log[:dropped]

    def close(self) -> None:
        pass
