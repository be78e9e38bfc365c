"""What a member keeps on disk, as the Raft core sees it: its log over the WAL, and its term and vote.

The core appends at once and learns later what is durable. So a log has two ends here: entries are
*handed out* (readable from then on, held in memory), and later *persisted* by a worker thread, several Readys
by one sync. Recent entries stay in memory, which serves the leader's sends and the feed without the disk.
"""

import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wolfscale.errors import InvariantError
from wolfscale.node.measured_files import MeasuredFiles
from wolfscale.node.recent_entries import RecentEntries
from wolfscale.node.statistics import DiskStatistics
from wolfscale.raft.codec import decode_membership, encode_membership
from wolfscale.raft.errors import BadMessage, LogCompacted
from wolfscale.raft.types import Entry, EntryKind, HardState, Index, LogBase, Membership, NodeId, Term
from wolfscale.wal import (
    Files,
    OsFiles,
    Record,
    SegmentInfo,
    StableFile,
    Wal,
    WalCorrupt,
    WalOptions,
    WalOutOfRange,
    WalSyncFailed,
)

HARD_STATE_NAME = "hard-state"
WAL_NAME = "wal"
CACHE_BYTES = 16 << 20
"""What durable entries take in memory; those not yet durable come on top."""

_HARD_STATE_MAGIC = b"WolfHST\n"
_HARD_STATE = struct.Struct("<Q?")
_KINDS = {kind.value: kind for kind in EntryKind}


class Persistable(Protocol):
    """The part of a `Ready` that goes to the disk."""

    @property
    def hard_state(self) -> HardState | None:
        """The new term and vote."""
        ...

    @property
    def base(self) -> LogBase | None:
        """The base that the log begins again after."""
        ...

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Consecutive entries; the first one's index may lie within the log."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A `Persistable` for those who have no Ready at hand."""

    hard_state: HardState | None = None
    base: LogBase | None = None
    entries: tuple[Entry, ...] = ()


class RaftStorage:
    """One member's durable state; the core's `LogReader`.

    Reading, `handed_out` and the properties belong to one thread, the loop's, and never wait for a sync.
    `persist` and `truncate_prefix` are for one worker thread at a time and run beside them. Entries below the
    recent ones are read from the disk.
    """

    def __init__(
        self,
        *,
        wal: Wal,
        hard_state_file: StableFile,
        hard_state: HardState,
        base: LogBase,
        key_of: Callable[[bytes], int],
        cache_bytes: int,
        statistics: DiskStatistics,
    ) -> None:
        """Use `open`."""
        self.statistics = statistics
        self._lock = threading.Lock()
        self._wal = wal
        self._hard_state_file = hard_state_file
        self._hard_state = hard_state
        self._key_of = key_of
        self._recent = RecentEntries(first=wal.last_index + 1)
        self._cache_bytes = cache_bytes
        self._base = base
        self._last_index = wal.last_index
        self._durable_index = wal.last_index
        self._waiting: deque[_Waiting] = deque()
        self._failed: WalSyncFailed | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        wal_options: WalOptions | None = None,
        key_of: Callable[[bytes], int],
        files: Files | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> "RaftStorage":
        """Open what is in the directory, or begin there with an empty log and term 0.

        Args:
            directory: made if need be; it gets the file `hard-state` and the directory `wal`.
            wal_options: how the log is kept.
            key_of: the key of an `EVENTS` entry's data: 0, or greater than all before it in the log.
            files: the file system.
            cache_bytes: what durable entries may take in memory.

        Raises:
            WalCorrupt: something that had been synced is missing or damaged.
            WalBusy: another process has it open.
            WalError, OSError: the directory cannot be written.
        """
        statistics = DiskStatistics()
        files = MeasuredFiles(files or OsFiles(), statistics)
        files.make_directory(directory)
        hard_state_file = StableFile(files, directory / HARD_STATE_NAME, magic=_HARD_STATE_MAGIC)
        if hard_state_file.read() is None:
            # It is there before the log is: a vote that got lost must not pass for one never given.
            if files.list(directory / WAL_NAME):
                raise WalCorrupt(hard_state_file.path, 0, "the file is missing, although there is a log")
            hard_state_file.write(_encode_hard_state(HardState()))
        wal = Wal.open(directory / WAL_NAME, options=wal_options, files=files)
        try:
            payload = hard_state_file.read()
            if payload is None:
                raise WalCorrupt(hard_state_file.path, 0, "the file has vanished")
            # A process may have died between the file's rename and the sync of that.
            files.sync_directory(directory)
            return cls(
                wal=wal,
                hard_state_file=hard_state_file,
                hard_state=_decode_hard_state(payload, hard_state_file.path),
                base=_base_of(wal, directory),
                key_of=key_of,
                cache_bytes=cache_bytes,
                statistics=statistics,
            )
        except BaseException:
            wal.close()
            raise

    def close(self) -> None:
        """Close the files; what was persisted is durable already."""
        self._wal.close()

    @property
    def hard_state(self) -> HardState:
        """The durable term and vote."""
        return self._hard_state

    @property
    def base(self) -> LogBase:
        """What stands before the first entry."""
        return self._base

    @property
    def first_index(self) -> Index:
        """The index that the first entry has, or would have."""
        return Index(self._base.index + 1)

    @property
    def last_index(self) -> Index:
        """The last entry's index, durable or not; or the base's."""
        return Index(self._last_index)

    @property
    def durable_index(self) -> Index:
        """Up to here the log as it is read is durable.

        Falls when entries that were durable are overwritten, and rises again with their successors.
        """
        return Index(self._durable_index)

    @property
    def unpersisted_bytes(self) -> int:
        """Data of the entries that were handed out and are not durable."""
        with self._lock:
            return sum(waiting.data_bytes for waiting in self._waiting)

    def term(self, index: Index) -> Term:
        """The term of an entry, from the base to the last.

        Raises:
            LogCompacted: the entry is below the base.
            InvariantError: the entry is above the last.
        """
        with self._lock:
            if index == self._base.index:
                return self._base.term
            self._check_range(index)
            entry = self._recent.get(index)
        if entry is not None:
            return entry.term
        try:
            return Term(self._wal.term_at(index))
        except WalOutOfRange as error:
            raise LogCompacted(index, self._base.index) from error

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """The entries from `first` to `last`, inclusive, as many as fit.

        Args:
            first: the first one's index.
            last: the last one's index at most.
            max_bytes: the sum of their data; the first entry is given however large.

        Raises:
            LogCompacted: the first is at the base or below.
            InvariantError: the last is above the log's.
            WalCorrupt: one of them is damaged on the disk.
        """
        if first > last:
            return []
        with self._lock:
            self._check_range(first)
            self._check_range(last)
            recent_first = self._recent.first
            if first >= recent_first:
                return self._recent.take(first, last, max_bytes)
        try:
            records = self._wal.read(first, min(last, recent_first - 1), max_bytes)
        except WalOutOfRange as error:
            raise LogCompacted(first, self._base.index) from error
        result = [_entry(record) for record in records]
        following = Index(first + len(result))
        left = max_bytes - sum(len(entry.data) for entry in result)
        if following < recent_first or following > last or left <= 0:
            return result
        with self._lock:
            # The worker may have let go of entries meanwhile; then the caller asks for the rest.
            if following >= self._recent.first:
                more = self._recent.take(following, last, left)
                if len(more[0].data) <= left:
                    result += more
        return result

    def _check_range(self, index: int) -> None:
        if index <= self._base.index:
            raise LogCompacted(Index(index), self._base.index)
        if index > self._last_index:
            raise InvariantError(f"entry {index} was asked for, the last is {self._last_index}")

    def find_key(self, key: int) -> Index | None:
        """The index of the entry with that key, durable or not."""
        index, found = self._floor(key)
        return Index(index) if index and found == key else None

    def floor_key(self, key: int) -> Index | None:
        """The index of the entry with the greatest key that is at most `key`; None when the log has none."""
        index, _ = self._floor(key)
        return Index(index) if index else None

    def _floor(self, key: int) -> tuple[int, int]:
        with self._lock:
            index, found = self._recent.floor_key(key)
            if index:
                return index, found
            below, base_index = self._recent.first - 1, self._base.index
        if below <= base_index:
            return 0, 0
        older = self._wal.floor_key(key, below)
        if older is None or older <= base_index:
            return 0, 0
        return older, self._wal.newest_key(older)

    def memberships(self) -> list[tuple[Index, Membership]]:
        """The `MEMBERSHIP` entries of the log, oldest first; cheap however long the log is."""
        with self._lock:
            recent_first, base_index = self._recent.first, self._base.index
            recent = [entry for entry in self._recent.entries if entry.kind is EntryKind.MEMBERSHIP]
        older = [
            (Index(record.index), decode_membership(record.data))
            for record in self._wal.of_kind(EntryKind.MEMBERSHIP)
            if base_index < record.index < recent_first
        ]
        return older + [(entry.index, decode_membership(entry.data)) for entry in recent]

    def segments(self) -> list[SegmentInfo]:
        """The log's segments, oldest first, for deciding what may go."""
        return self._wal.segments()

    def handed_out(self, entries: Sequence[Entry], base: LogBase | None = None) -> None:
        """Make a Ready's base and entries readable; to be called once for each, in order, before `persist`.

        Args:
            entries: consecutive; the first one's index may lie within the log, which then ends before it.
            base: where the log begins again, empty, before the entries.

        Raises:
            InvariantError: the entries do not follow the log or each other.
        """
        if not entries and base is None:
            return
        keys = [self._key_of(entry.data) if entry.kind is EntryKind.EVENTS else 0 for entry in entries]
        with self._lock:
            durable_limit = self._last_index
            if base is not None:
                self._base = base
                self._last_index = base.index
                self._recent.clear(base.index + 1)
                durable_limit = base.index
            if entries:
                first = entries[0].index
                if not self._base.index < first <= self._last_index + 1:
                    held = f"{self._base.index + 1} to {self._last_index}"
                    raise InvariantError(f"entry {first} cannot be put in a log of {held}")
                if entries[-1].index - first + 1 != len(entries):
                    raise InvariantError(
                        f"the entries from {first} to {entries[-1].index} are not consecutive"
                    )
                self._recent.put(entries, keys)
                self._last_index = entries[-1].index
                durable_limit = min(durable_limit, first - 1)
            self._waiting.append(
                _Waiting(
                    first=entries[0].index if entries else 0,
                    count=len(entries),
                    base=base,
                    keys=keys,
                    durable_limit=durable_limit,
                    data_bytes=sum(len(entry.data) for entry in entries),
                )
            )
            self._durable_index = min(self._durable_index, durable_limit)

    def persist(self, batches: Sequence[Persistable]) -> None:
        """Make Readys durable that were handed out, in that order; several cost no more than one.

        First the term and vote, when they changed, then the base, then the entries by one sync: after a crash
        in between, the term is at least the entries'. When it raises, the same Readys may be given again with
        others behind them, unless it was `WalSyncFailed`.

        Raises:
            WalFull, WalWriteFailed: something is not durable; the call may be repeated.
            WalSyncFailed: it is unknown what is durable; nothing more is written.
            InvariantError: these are not the Readys that were handed out next.
        """
        if self._failed is not None:
            raise self._failed
        hard_state, base, records, taken = self._merge(batches)
        try:
            if hard_state is not None and hard_state != self._hard_state:
                self._hard_state_file.write(_encode_hard_state(hard_state))
                self._hard_state = hard_state
            if base is not None:
                self._wal.reset(base.index, base.term, encode_membership(base.membership))
            self._wal.append(records)
        except WalSyncFailed as failure:
            self._failed = failure
            raise
        with self._lock:
            for _ in range(taken):
                self._waiting.popleft()
            limits = [waiting.durable_limit for waiting in self._waiting]
            self._durable_index = min([self._wal.last_index, *limits])
            self._recent.evict(self._durable_index, self._cache_bytes)

    def _merge(
        self, batches: Sequence[Persistable]
    ) -> tuple[HardState | None, LogBase | None, list[Record], int]:
        hard_state: HardState | None = None
        base: LogBase | None = None
        records: list[Record] = []
        taken = 0
        with self._lock:
            waiting = list(self._waiting)
        for batch in batches:
            hard_state = batch.hard_state or hard_state
            if batch.base is None and not batch.entries:
                continue
            if taken == len(waiting) or not waiting[taken].matches(batch):
                raise InvariantError("a Ready is to be made durable that was not handed out before")
            if batch.base is not None:
                base = batch.base
                records.clear()
            if batch.entries:
                first = batch.entries[0].index
                if records:
                    del records[max(0, first - records[0].index) :]
                records += [
                    Record(entry.index, entry.term, entry.kind, key, entry.data)
                    for entry, key in zip(batch.entries, waiting[taken].keys, strict=True)
                ]
            taken += 1
        return hard_state, base, records, taken

    def truncate_prefix(self, index: int) -> LogBase:
        """Drop the log's oldest segments whose entries are all at `index` or before.

        Args:
            index: the last entry that may go; it must be committed and durable.

        Returns:
            the base as it is now: often before `index`, since only whole segments go.

        Raises:
            WalFull, WalWriteFailed: nothing was changed.
            WalSyncFailed: it is unknown whether something was; nothing more is written.
        """
        if self._failed is not None:
            raise self._failed
        index = min(index, self._durable_index)
        end = self._wal.prefix_end(index)
        membership = decode_membership(self._wal.base_data) if self._wal.base_data else Membership()
        for record in self._wal.of_kind(EntryKind.MEMBERSHIP):
            if record.index <= end:
                membership = decode_membership(record.data)
        try:
            self._wal.truncate_prefix(end, encode_membership(membership))
        except WalSyncFailed as failure:
            self._failed = failure
            raise
        moved = LogBase(
            index=Index(self._wal.base_index), term=Term(self._wal.base_term), membership=membership
        )
        with self._lock:
            if not any(waiting.base is not None for waiting in self._waiting):
                self._base = moved
                self._recent.drop_until(moved.index)
            return self._base


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """What was handed out at one time and is not durable yet."""

    first: int
    count: int
    base: LogBase | None
    keys: list[int]
    durable_limit: int
    """While this waits, no more than this is durable of the log as it is read."""
    data_bytes: int

    def matches(self, batch: Persistable) -> bool:
        """Whether this is that Ready."""
        return (
            batch.base == self.base
            and len(batch.entries) == self.count
            and (not batch.entries or batch.entries[0].index == self.first)
        )


def _entry(record: Record) -> Entry:
    return Entry(
        index=Index(record.index), term=Term(record.term), kind=_KINDS[record.kind], data=record.data
    )


def _base_of(wal: Wal, directory: Path) -> LogBase:
    try:
        membership = decode_membership(wal.base_data) if wal.base_data else Membership()
    except BadMessage as error:
        raise WalCorrupt(directory / WAL_NAME / "base", 0, str(error)) from error
    return LogBase(index=Index(wal.base_index), term=Term(wal.base_term), membership=membership)


def _encode_hard_state(hard_state: HardState) -> bytes:
    vote = hard_state.vote
    return _HARD_STATE.pack(hard_state.term, vote is not None) + (vote or "").encode()


def _decode_hard_state(payload: bytes, path: Path) -> HardState:
    try:
        term, voted = _HARD_STATE.unpack_from(payload)
        vote = payload[_HARD_STATE.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise WalCorrupt(path, 0, "this is no term and vote") from error
    return HardState(term=Term(term), vote=NodeId(vote) if voted else None)
