"""A simulated member's disk: what the core was shown, and what would survive a crash."""

from collections.abc import Sequence

from wolfscale.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    LogBase,
    Membership,
    Ready,
    Term,
    decode_membership,
)

ORIGIN = 0
"""The chain of a log before its first entry."""


class ChainedLog:
    """A log after a base, with for each entry a hash of it and everything before it.

    Two logs with the same chain at an index are the same up to there, whatever their bases: that makes
    "the logs are identical up to here" a comparison of two numbers.
    """

    def __init__(self, base: LogBase, chain: int = ORIGIN) -> None:
        self.reset(base, chain)

    def reset(self, base: LogBase, chain: int) -> None:
        """Drop everything and begin after `base`."""
        self.base = base
        self._entries: list[Entry] = []
        self._chains = [chain]
        self._memberships: list[Entry] = []

    @property
    def last_index(self) -> Index:
        """The last entry's index, or the base's."""
        return Index(self.base.index + len(self._entries))

    def term(self, index: Index) -> Term:
        """The term at an index from the base to the last."""
        if index == self.base.index:
            return self.base.term
        return self._entries[self._place(index)].term

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """As `LogReader.entries`."""
        found: list[Entry] = []
        for entry in self._entries[self._place(first) : self._place(last) + 1]:
            max_bytes -= len(entry.data)
            if found and max_bytes < 0:
                break
            found.append(entry)
        return found

    def chain(self, index: Index) -> int | None:
        """The chain at an index; None below the base."""
        return self._chains[index - self.base.index] if index >= self.base.index else None

    def membership(self, index: Index) -> Membership:
        """The membership in force at an index: the newest entry's that holds one, or the base's."""
        for entry in reversed(self._memberships):
            if self.base.index < entry.index <= index:
                return decode_membership(entry.data)
        return self.base.membership

    def write(self, entries: Sequence[Entry]) -> None:
        """Put entries at the end or over it."""
        first = entries[0].index
        assert self.base.index < first <= self.last_index + 1, "entries leave a hole, or go below the base"
        del self._entries[first - self.base.index - 1 :]
        del self._chains[first - self.base.index :]
        while self._memberships and self._memberships[-1].index >= first:
            self._memberships.pop()
        for entry in entries:
            self._entries.append(entry)
            if entry.kind is EntryKind.MEMBERSHIP:
                self._memberships.append(entry)
            self._chains.append(hash((self._chains[-1], entry.term, int(entry.kind), entry.data)))

    def compact(self, base: LogBase) -> None:
        """Drop everything up to `base`."""
        dropped = base.index - self.base.index
        del self._entries[:dropped]
        del self._chains[:dropped]
        self.base = base

    def copy(self) -> "ChainedLog":
        """The same log, independent of this one."""
        other = ChainedLog(self.base)
        other._entries = self._entries.copy()
        other._chains = self._chains.copy()
        other._memberships = self._memberships.copy()
        return other

    def _place(self, index: Index) -> int:
        place = index - self.base.index - 1
        assert 0 <= place < len(self._entries), (
            f"entry {index} is not in {self.base.index}..{self.last_index}"
        )
        return place


class Disk:
    """The two states of a disk: `shown` is what the core reads back, `durable` what a crash leaves."""

    def __init__(self, base: LogBase) -> None:
        self.shown = ChainedLog(base)
        self.durable = ChainedLog(base)
        self.hard_state = HardState()
        self.queue: list[tuple[Ready, int]] = []

    def show(self, ready: Ready, base_chain: int) -> None:
        """Let the core see what it has handed out; `base_chain` is the chain at a base it installs."""
        if ready.base is not None:
            self.shown.reset(ready.base, base_chain)
        if ready.entries:
            self.shown.write(ready.entries)
        if ready.needs_persist or ready.messages_after_persist:
            self.queue.append((ready, base_chain))

    def sync(self, count: int) -> list[Ready]:
        """Make the oldest `count` queued Readys durable, and return them."""
        done, self.queue = self.queue[:count], self.queue[count:]
        for ready, base_chain in done:
            if ready.hard_state is not None:
                self.hard_state = ready.hard_state
            if ready.base is not None:
                self.durable.reset(ready.base, base_chain)
            if ready.entries:
                self.durable.write(ready.entries)
        return [ready for ready, _ in done]

    def compact(self, base: LogBase) -> None:
        """Drop everything up to `base`, here and on the platter; only what is durable may go."""
        self.shown.compact(base)
        self.durable.compact(base)

    def crash(self) -> None:
        """Lose whatever was not made durable."""
        self.queue.clear()
        self.shown = self.durable.copy()
