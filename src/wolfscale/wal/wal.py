"""The durable log: appends by one thread, reads by others."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wolfscale.errors import InvariantError
from wolfscale.wal.batch import SEGMENT_HEADER_BYTES, kind_bit
from wolfscale.wal.errors import WalBusy, WalCorrupt, WalSyncFailed
from wolfscale.wal.files import Files, OsFiles
from wolfscale.wal.layout import (
    BASE_MAGIC,
    BASE_NAME,
    SYNCED_NAME,
    Base,
    Place,
    SyncedMark,
    segment_number,
)
from wolfscale.wal.logmap import LogMap
from wolfscale.wal.lookup import LogView
from wolfscale.wal.reading import SegmentReader
from wolfscale.wal.record import MAX_DATA_BYTES, Record
from wolfscale.wal.recovery import Recovered, Segment, recover
from wolfscale.wal.stable import StableFile
from wolfscale.wal.writing import SegmentWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class WalOptions:
    """How the log is kept."""

    compression: bool = True
    """LZ4, batch by batch; a batch that does not shrink is stored plain."""
    segment_bytes: int = 64 << 20
    """A segment that has reached this is closed; the append that reaches it may be longer."""
    fsync: bool = True
    """False: appends return before they are on the disk, and after a power cut the log may be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfo:
    """A segment as the log's owner sees it."""

    path: Path
    first: int
    """The first record that is in it and in the log."""
    last: int
    """The last one; `first - 1` when all of its records have been overwritten, or it has none yet."""
    bytes: int
    created: float
    """When it was made, in seconds since 1970: before any of its records was appended."""


class Wal:
    """A log of records in a directory of its own.

    `append`, `reset`, `truncate_prefix` and `close` are for one thread at a time; everything else may be
    called from any thread meanwhile, sees the log as it was before or after, and never waits for a sync.
    """

    def __init__(
        self,
        *,
        base_file: StableFile,
        base: Base,
        synced: SyncedMark,
        files: Files,
        reader: SegmentReader,
        writer: SegmentWriter,
        found: Recovered,
    ) -> None:
        """Use `open`."""
        self._lock = threading.Lock()
        self._files = files
        self._base_file = base_file
        self._base = base
        self._synced = synced
        self._view = LogView(reader, found.map)
        self._writer = writer
        self._segments = found.segments
        if found.writable is not None:
            self._writer.resume(self._segments[-1], found.writable)
            self._view.active = (self._segments[-1].number, found.writable)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        options: WalOptions | None = None,
        files: Files | None = None,
        now: Callable[[], float] = time.time,
    ) -> "Wal":
        """Open the log in the directory, or begin one there; a torn tail is cut, and what is left is durable.

        Args:
            directory: made if need be.
            options: how the log is kept from now on.
            files: the file system.
            now: the time in seconds since 1970, for `SegmentInfo.created`.

        Raises:
            WalCorrupt: something that had been synced is missing or damaged; nothing was changed.
            WalBusy: another process has it open.
            OSError: the directory cannot be read or written.
        """
        options = options or WalOptions()
        files = files or OsFiles()
        files.make_directory(directory)
        base_file = StableFile(files, directory / BASE_NAME, magic=BASE_MAGIC)
        synced = _open_mark(files, directory, fresh=base_file.read() is None)
        reader = SegmentReader(files, directory)
        try:
            # Read again: only now can no other process change it.
            payload = base_file.read()
            if payload is None:
                base_file.write(Base().encode())
                base = Base()
            else:
                base = Base.decode(payload, base_file.path)
            place = synced.read()
            found = recover(files, directory, base=base, synced=place, reader=reader, fsync=options.fsync)
            if found.segments and options.fsync:
                synced.write(Place(found.segments[-1].number, found.segments[-1].size))
                synced.sync()
            writer = SegmentWriter(
                files,
                directory,
                synced=synced,
                fsync=options.fsync,
                compress=options.compression,
                segment_bytes=options.segment_bytes,
                now_ms=lambda: int(now() * 1000),
            )
            return cls(
                base_file=base_file,
                base=base,
                synced=synced,
                files=files,
                reader=reader,
                writer=writer,
                found=found,
            )
        except BaseException:
            reader.close()
            synced.close()
            raise

    def close(self) -> None:
        """Close the files; everything appended is durable already."""
        with self._lock:
            self._writer.close()
            self._view.reader.close()
            with contextlib.suppress(OSError):  # the mark may lag
                self._synced.sync()
            self._synced.close()

    @property
    def base_index(self) -> int:
        """The index of the last record before the log, 0 at its birth."""
        return self._view.map.base_index

    @property
    def base_term(self) -> int:
        """The term of that record."""
        return self._view.map.base_term

    @property
    def base_data(self) -> bytes:
        """What the owner stored with the base."""
        return self._base.data

    @property
    def first_index(self) -> int:
        """The index that the first record has, or would have."""
        return self._view.map.base_index + 1

    @property
    def last_index(self) -> int:
        """The index of the last record, or the base's."""
        return self._view.map.last_index

    @property
    def last_key(self) -> int:
        """The greatest key in the log or, as far as known, before it; 0 for none."""
        return self._view.map.last_key

    def append(self, records: Sequence[Record]) -> None:
        """Put the records at the end of the log; they are durable on return.

        One write and one sync, however many there are. When the first index lies within the log, what stood
        there and behind it is replaced: after a crash the log ends with the old records or with a beginning
        of the new ones.

        Raises:
            WalFull: no room; nothing was appended, the call may be repeated.
            WalWriteFailed: nothing was appended.
            WalSyncFailed: it is unknown what was appended; nothing will be taken any more.
            InvariantError: the records do not follow the log or each other.
        """
        self._writer.check()
        if not records:
            return
        previous_key = self._check_records(records)
        if self._writer.is_due:
            self._next_segment()
        headers = self._writer.append(records, previous_key)
        assert self._view.active is not None
        number, index = self._view.active
        first = records[0].index
        noted = [
            (header, _terms(records[header.first_index - first : header.last_index - first + 1]))
            for header in headers
        ]
        with self._lock:
            for header, terms in noted:
                index.add(header, terms)
                self._view.map.add(number, header, terms)

    def _check_records(self, records: Sequence[Record]) -> int:
        first = records[0].index
        if not self._view.map.fits(first):
            raise InvariantError(
                f"record {first} cannot be put in a log of {self.first_index} to {self.last_index}"
            )
        previous_key = key = self.newest_key(first - 1)
        for index, record in enumerate(records, first):
            if record.index != index:
                raise InvariantError(f"record {record.index} cannot follow record {index - 1}")
            if record.key:
                if record.key <= key:
                    raise InvariantError(f"record {index} has key {record.key}, an earlier one has {key}")
                key = record.key
            if len(record.data) > MAX_DATA_BYTES:
                raise InvariantError(f"record {index} has {len(record.data)} bytes")
        return previous_key

    def _next_segment(self) -> None:
        self._writer.finish_segment(last_index=self.last_index, last_key=self.last_key)
        if self._segments:
            last = self._segments[-1]
            number, last_append = last.number + 1, last.last_append
        else:
            number, last_append = self._base.number, self._base.append
        with self._lock:
            # Read from now on by its summary, like the others.
            self._view.active = None
        segment = self._writer.begin_segment(number, last_append)
        with self._lock:
            self._segments.append(segment)
            self._view.active = (number, self._writer.index)

    def reset(self, base_index: int, base_term: int, base_data: bytes) -> None:
        """Drop all records and begin again after that base; durable on return, in one step.

        Raises:
            WalFull, WalWriteFailed: nothing was changed.
            WalSyncFailed: see there.
        """
        if self._segments:
            number, append = self._segments[-1].number + 1, self._segments[-1].last_append
        else:
            number, append = self._base.number, self._base.append
        self._move_base(
            Base(index=base_index, term=base_term, number=number, append=append, data=base_data),
            dropped=list(self._segments),
            log=LogMap(base_index=base_index, base_term=base_term, base_key=0),
        )

    def prefix_end(self, index: int) -> int:
        """The base index that `truncate_prefix(index, ...)` would lead to."""
        dropped = self._droppable(index)
        numbers = {segment.number for segment in dropped}
        return max(
            (run.last_index for run in self._view.map.runs if run.number in numbers),
            default=self._view.map.base_index,
        )

    def _droppable(self, index: int) -> list[Segment]:
        last_of = {run.number: run.last_index for run in self._view.map.runs}
        dropped = []
        for segment in self._segments:
            if last_of.get(segment.number, 0) > index or not (
                segment.closed or segment is not self._segments[-1]
            ):
                break
            dropped.append(segment)
        return dropped

    def truncate_prefix(self, index: int, base_data: bytes) -> None:
        """Drop the oldest segments whose records are all at `index` or before; durable on return.

        The segment in use stays, so the base moves to `prefix_end(index)`: often less than `index`.

        Args:
            index: the last record that may go.
            base_data: the owner's, for the new base.

        Raises:
            WalFull, WalWriteFailed: nothing was changed.
            WalSyncFailed: see there.
        """
        dropped = self._droppable(index)
        if not dropped:
            return
        base_index = self.prefix_end(index)
        base_term, base_key = self.term_at(base_index), self.newest_key(base_index)
        numbers = {segment.number for segment in dropped}
        first = next((run for run in self._view.map.runs if run.number not in numbers), None)
        if first is not None:
            with self._lock:
                header = self._view.header_of(first, first.first_index)
            start, append = Place(first.number, first.offset), header.append - 1
        elif len(dropped) < len(self._segments):
            # Only overwritten records are left: the log begins behind them.
            last = self._segments[-1]
            start, append = Place(last.number, last.size), last.last_append
        else:
            last = self._segments[-1]
            start, append = Place(last.number + 1, SEGMENT_HEADER_BYTES), last.last_append
        self._move_base(
            Base(
                index=base_index,
                term=base_term,
                key=base_key,
                number=start.number,
                offset=start.offset,
                append=append,
                data=base_data,
            ),
            dropped=[segment for segment in self._segments if segment.number < start.number],
            log=None,
        )

    def _move_base(self, base: Base, *, dropped: list[Segment], log: LogMap | None) -> None:
        self._writer.check()
        try:
            self._base_file.write(base.encode())
        except WalSyncFailed as failure:
            self._writer.broke(failure)
            raise
        numbers = {segment.number for segment in dropped}
        if self._writer.segment is not None and self._writer.segment.number in numbers:
            self._writer.close()
        with self._lock:
            self._base = base
            if log is not None:
                self._view.map = log
            else:
                self._view.map.move_base(base_index=base.index, base_term=base.term, base_key=base.key)
            self._segments = [segment for segment in self._segments if segment.number not in numbers]
            if self._view.active is not None and self._view.active[0] in numbers:
                self._view.active = None
            for number in numbers:
                self._view.reader.forget(number)
        for segment in dropped:
            with contextlib.suppress(OSError):  # left-overs below the base are removed at the next open
                self._files.remove(segment.path)

    def read(self, first: int, last: int, max_bytes: int) -> list[Record]:
        """The records from `first` to `last`, inclusive, as many as fit.

        Args:
            first: the first one's index.
            last: the last one's index at most.
            max_bytes: the sum of their data; the first record is returned however large.

        Raises:
            WalOutOfRange: the log does not hold them.
            WalCorrupt: one of them is damaged.
        """
        if first > last:
            return []
        with self._lock:
            return self._view.read(first, last, max_bytes)

    def term_at(self, index: int) -> int:
        """The term of a record, or of the base; from memory.

        Raises:
            WalOutOfRange: the log does not hold it.
        """
        with self._lock:
            return self._view.term_at(index)

    def find_key(self, key: int) -> int | None:
        """The index of the record with that key."""
        with self._lock:
            found = self._view.floor(key)
            return found[0] if found is not None and found[1] == key else None

    def floor_key(self, key: int, last: int | None = None) -> int | None:
        """The index of the record with the greatest key that is at most `key`; None when the log has none.

        Args:
            key: the bound, inclusive.
            last: only records up to that index count; None for all.
        """
        with self._lock:
            found = self._view.floor(key)
            if found is not None and last is not None and found[0] > last:
                found = self._view.floor(self._view.newest_key(last))
            return found[0] if found is not None else None

    def newest_key(self, index: int) -> int:
        """The greatest key of the records up to that index, those before the base included; 0 for none."""
        with self._lock:
            return self._view.newest_key(index)

    def of_kind(self, kind: int) -> list[Record]:
        """All records of a kind, oldest first; cheap for a kind that is rare, however long the log is."""
        with self._lock:
            with_kind = {segment.number for segment in self._segments if segment.kinds & kind_bit(kind)}
            return self._view.of_kind(kind, with_kind)

    def scan_backwards(self) -> Iterator[Record]:
        """The records from the last to the first; records dropped meanwhile are not given."""
        index = self.last_index
        while True:
            with self._lock:
                records = self._view.batch_until(index)
            if not records:
                return
            yield from reversed(records)
            index = records[0].index - 1

    def segments(self) -> list[SegmentInfo]:
        """The segments, oldest first."""
        with self._lock:
            firsts: dict[int, int] = {}
            lasts: dict[int, int] = {}
            for run in self._view.map.runs:
                firsts.setdefault(run.number, run.first_index)
                lasts[run.number] = run.last_index
            result = []
            following = self._view.map.base_index + 1
            for segment in self._segments:
                first = firsts.get(segment.number, following)
                last = lasts.get(segment.number, first - 1)
                following = last + 1
                result.append(
                    SegmentInfo(
                        path=segment.path,
                        first=first,
                        last=last,
                        bytes=segment.size,
                        created=segment.created_ms / 1000,
                    )
                )
            return result


def _terms(records: Sequence[Record]) -> list[tuple[int, int]]:
    changes: list[tuple[int, int]] = []
    for record in records:
        if not changes or changes[-1][1] != record.term:
            changes.append((record.index, record.term))
    return changes


def _open_mark(files: Files, directory: Path, *, fresh: bool) -> SyncedMark:
    path = directory / SYNCED_NAME
    try:
        file = files.open(path, writable=True)
        created = False
    except FileNotFoundError:
        if not fresh:
            raise WalCorrupt(path, 0, "the file is missing") from None
        file = files.create(path)
        created = True
    mark = SyncedMark(file, path)
    if not mark.lock():
        mark.close()
        raise WalBusy(directory)
    if fresh:
        segments = [name for name in files.list(directory) if segment_number(name) is not None]
        if segments:
            mark.close()
            raise WalCorrupt(directory / BASE_NAME, 0, "the file is missing, although there are segments")
        if created or _is_unfinished(mark):
            mark.write(Place(0, 0))
            mark.sync()
            files.sync_directory(directory)
    return mark


def _is_unfinished(mark: SyncedMark) -> bool:
    try:
        return mark.read() == Place(0, 0)
    except WalCorrupt:
        return True
