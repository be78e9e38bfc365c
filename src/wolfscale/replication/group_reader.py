"""Reads event groups from the log: committed and complete ones only, in order, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from wolfscale.errors import InvariantError
from wolfscale.mysql.binlog.format import BinlogFormat
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.entry import Fragment, decode_fragment
from wolfscale.replication.log import EVENTS, ReplicatedLog

READ_BYTES = 1 << 20
KEPT_BYTES = 4 << 20
"""A group of several fragments is kept in memory up to this size, and read a second time beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedGroup:
    """A complete, committed group.

    Attributes:
        gtid: its id.
        flags2: the bits of its Gtid event.
        plain: it is a plain transaction.
        format: the format of its events.
        first_index: the log index of its first fragment.
        index: the log index of its last fragment.
        bodies: its slices; None where it is too large to be kept, see `GroupReader.bodies`.
    """

    gtid: Gtid
    flags2: int
    plain: bool
    format: BinlogFormat
    first_index: int
    index: int
    bodies: tuple[bytes | memoryview, ...] | None


@dataclass(slots=True, kw_only=True)
class _Open:
    gtid: Gtid
    format: BinlogFormat
    first_index: int
    next_number: int = 0
    size: int = 0
    bodies: list[bytes | memoryview] | None = field(default_factory=list)


class GroupReader:
    """Walks along the log. One task uses it.

    Attributes:
        next_index: the first entry that was not looked at.
    """

    def __init__(self, log: ReplicatedLog, next_index: int) -> None:
        """Begin at the end of a complete group, or at the beginning of everything."""
        self.next_index = next_index
        self._log = log
        self._open: _Open | None = None
        self._last: Gtid | None = None

    @property
    def has_more(self) -> bool:
        """Whether there are committed entries that were not looked at."""
        return self._log.commit_index >= self.next_index

    def read(self) -> list[LoggedGroup]:
        """Look at about 1 MiB of further committed entries; the groups that they complete.

        Empty when there is nothing more, or only parts of groups; see `has_more`.

        Raises:
            FragmentDamaged: an entry is no fragment.
            InvariantError: the fragments do not follow each other.
        """
        last = self._log.commit_index
        if last < self.next_index:
            return []
        groups = []
        for entry in self._log.read(self.next_index, last, READ_BYTES):
            self.next_index = entry.index + 1
            if entry.kind == EVENTS:
                group = self._take(entry.index, decode_fragment(entry.data))
                if group is not None:
                    groups.append(group)
        return groups

    def bodies(self, group: LoggedGroup) -> Iterator[bytes | memoryview]:
        """The slices of a group, from memory or read again one after the other."""
        if group.bodies is not None:
            yield from group.bodies
            return
        index = group.first_index
        while index <= group.index:
            for entry in self._log.read(index, group.index, READ_BYTES):
                index = entry.index + 1
                if entry.kind == EVENTS:
                    yield decode_fragment(entry.data).body

    def _take(self, index: int, fragment: Fragment) -> LoggedGroup | None:
        if fragment.number == 0:
            # What was open before never got its end: its capture, or its leader, was lost.
            assert fragment.format is not None
            opened = self._open = _Open(gtid=fragment.gtid, format=fragment.format, first_index=index)
        else:
            found = self._open
            if found is None or found.gtid != fragment.gtid or found.next_number != fragment.number:
                raise InvariantError(
                    f"log entry {index} is fragment {fragment.number} of group {fragment.gtid} and does not "
                    "continue what stands before it"
                )
            opened = found
        opened.next_number += 1
        opened.size += len(fragment.body)
        if opened.bodies is not None:
            opened.bodies.append(fragment.body)
            if opened.size > KEPT_BYTES:
                opened.bodies = None
        if not fragment.is_last:
            return None
        self._open = None
        if self._last is not None and self._last.sequence >= fragment.gtid.sequence:
            raise InvariantError(f"log entry {index} completes {fragment.gtid} behind {self._last}")
        self._last = fragment.gtid
        return LoggedGroup(
            gtid=fragment.gtid,
            flags2=fragment.flags2,
            plain=fragment.plain,
            format=opened.format,
            first_index=opened.first_index,
            index=index,
            bodies=None if opened.bodies is None else tuple(opened.bodies),
        )
