"""The last entries of a member's log, in memory, with their keys."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from wolfscale.raft.types import Entry

_ENTRY_OVERHEAD_BYTES = 256
"""What the objects of an entry take beside its data, about."""


class RecentEntries:
    """The log's last entries, consecutive, with the keys for finding them."""

    __slots__ = ("_bytes", "_dropped_key", "_keys", "entries", "first")

    def __init__(self, *, first: int) -> None:
        self.first = first
        self.entries: list[Entry] = []
        # The greatest key among the entries up to each one, so that it can be bisected.
        self._keys: list[int] = []
        self._dropped_key = 0
        self._bytes = 0

    def clear(self, first: int) -> None:
        """Forget everything; the next entry has that index."""
        self.first = first
        self.entries.clear()
        self._keys.clear()
        self._dropped_key = 0
        self._bytes = 0

    def get(self, index: int) -> Entry | None:
        """The entry of that index, if it is among them."""
        place = index - self.first
        return self.entries[place] if 0 <= place < len(self.entries) else None

    def put(self, entries: Sequence[Entry], keys: Sequence[int]) -> None:
        """Put entries at the end, or over the end, or in the place of everything."""
        place = entries[0].index - self.first
        if place < 0 or place > len(self.entries):
            self.clear(entries[0].index)
        else:
            self._bytes -= sum(_cost(entry) for entry in self.entries[place:])
            del self.entries[place:]
            del self._keys[place:]
        greatest = self._keys[-1] if self._keys else self._dropped_key
        for entry, key in zip(entries, keys, strict=True):
            greatest = max(greatest, key)
            self.entries.append(entry)
            self._keys.append(greatest)
            self._bytes += _cost(entry)

    def take(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """The entries from `first` to `last`, as many as fit but one at least; `first` is among them."""
        start = end = first - self.first
        stop = min(last - self.first + 1, len(self.entries))
        while end < stop:
            max_bytes -= len(self.entries[end].data)
            if max_bytes < 0 and end > start:
                break
            end += 1
        return self.entries[start:end]

    def floor_key(self, key: int) -> tuple[int, int]:
        """The index and key of the entry with the greatest key at most `key`; zeros when there is none."""
        place = bisect_right(self._keys, key) - 1
        if place < 0 or self._keys[place] <= self._dropped_key:
            return 0, 0  # it belongs to an entry that is not held any more, or to none
        found = self._keys[place]
        return self.first + bisect_left(self._keys, found), found

    def evict(self, durable_index: int, max_bytes: int) -> None:
        """Let go of the oldest durable entries beyond that size."""
        dropped = 0
        size = self._bytes
        while size > max_bytes and dropped < len(self.entries) and self.first + dropped <= durable_index:
            size -= _cost(self.entries[dropped])
            dropped += 1
        self._drop(dropped)

    def drop_until(self, index: int) -> None:
        """Let go of the entries up to that one."""
        self._drop(min(max(0, index + 1 - self.first), len(self.entries)))

    def _drop(self, count: int) -> None:
        if not count:
            return
        self._bytes -= sum(_cost(entry) for entry in self.entries[:count])
        self._dropped_key = self._keys[count - 1]
        del self.entries[:count]
        del self._keys[:count]
        self.first += count


def _cost(entry: Entry) -> int:
    return len(entry.data) + _ENTRY_OVERHEAD_BYTES
