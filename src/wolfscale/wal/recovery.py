"""What opening a log finds: the map of what is whole, the torn tail cut, or `WalCorrupt`. See DESIGN.md.

All segments but the last are taken by their summaries; a batch in them is checked when it is read. The last
one is read whole.
"""

from dataclasses import dataclass
from pathlib import Path

from wolfscale.wal.batch import (
    BATCH_HEADER_BYTES,
    BATCH_MAGIC,
    SEGMENT_HEADER_BYTES,
    BatchFlags,
    BatchHeader,
    decode_batch_body,
    decode_batch_header,
    decode_segment_header,
)
from wolfscale.wal.errors import WalCorrupt
from wolfscale.wal.files import File, Files
from wolfscale.wal.layout import Base, Place, segment_name, segment_number
from wolfscale.wal.logmap import LogMap
from wolfscale.wal.reading import SegmentReader, walk_batches
from wolfscale.wal.record import term_changes
from wolfscale.wal.summary import TRAILER_BYTES, SegmentIndex, decode_trailer

_REWRITE_BYTES = 1 << 20
_SEARCH_BYTES = 1 << 20


@dataclass(slots=True, kw_only=True)
class Segment:
    """What is always in memory of a segment."""

    number: int
    path: Path
    created_ms: int
    size: int
    kinds: int = 0
    """The kinds of its records, overwritten ones too; as in `BatchHeader.kinds`."""
    last_append: int
    """The number of its last append, its summary counted; of the one before when it is empty."""
    closed: bool = False
    """Whether it has its summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A log as it was found."""

    map: LogMap
    segments: list[Segment]
    writable: SegmentIndex | None
    """The runs and points of the last segment, if that can be written to."""


def recover(
    files: Files, directory: Path, *, base: Base, synced: Place, reader: SegmentReader, fsync: bool
) -> Recovered:
    """Find the log that begins at `base`, cut its torn tail and remove what no longer belongs to it.

    Args:
        files: the file system.
        directory: the log's.
        base: where the log begins.
        synced: the place up to which everything had been synced.
        reader: for the segments of that directory.
        fsync: whether what is found is made durable: a process may have died between a write and its sync.

    Raises:
        WalCorrupt: what had been synced is not there.
    """
    if base.offset > SEGMENT_HEADER_BYTES:
        synced = max(synced, Place(base.number, base.offset))
    numbers = _segment_numbers(files, directory, base.number)
    _check_numbers(numbers, directory, base, synced)
    log = LogMap(base_index=base.index, base_term=base.term, base_key=base.key)
    segments: list[Segment] = []
    append = base.append
    for number in numbers[:-1]:
        segment = _take_closed(log, reader, number, base)
        append = segment.last_append
        segments.append(segment)
    writable = None
    if numbers:
        tail = _Tail(files, reader.path(numbers[-1]), numbers[-1], log=log, base=base, synced=synced)
        try:
            found = tail.take(append)
            if found is not None:
                segments.append(found)
                if not found.closed:
                    writable = tail.index
                if fsync:
                    tail.make_durable(found.size)
        finally:
            tail.close()
        if found is None:
            files.remove(tail.path)
        if fsync:
            _sync_closed(files, reader, numbers[:-1], synced)
    if fsync:
        files.sync_directory(directory)
    return Recovered(map=log, segments=segments, writable=writable)


def _segment_numbers(files: Files, directory: Path, first: int) -> list[int]:
    numbers = []
    for name in files.list(directory):
        number = segment_number(name)
        if number is None:
            continue
        if number < first:
            files.remove(directory / name)
        else:
            numbers.append(number)
    return numbers


def _check_numbers(numbers: list[int], directory: Path, base: Base, synced: Place) -> None:
    last = max(numbers, default=base.number - 1)
    if synced.number >= base.number:
        last = max(last, synced.number)
    present = set(numbers)
    for number in range(base.number, last + 1):
        if number not in present:
            raise WalCorrupt(directory / segment_name(number), 0, "the file is missing")


def _take_closed(log: LogMap, reader: SegmentReader, number: int, base: Base) -> Segment:
    path = reader.path(number)
    header = reader.summary_header(number)
    index = reader.index(number)
    for run in index.runs:
        if number == base.number and run.offset < base.offset:
            continue
        if not log.fits(run.first_index):
            raise WalCorrupt(path, run.offset, _gap(run.first_index, log))
        log.add_run(number, run, header.last_key)
    return Segment(
        number=number,
        path=path,
        created_ms=reader.created_ms(number),
        size=header.end + TRAILER_BYTES,
        kinds=index.all_kinds,
        last_append=header.append,
        closed=True,
    )


def _gap(first_index: int, log: LogMap) -> str:
    return (
        f"records from {first_index} on do not follow those before, {log.base_index} (the base) to "
        f"{log.last_index}"
    )


def _sync_closed(files: Files, reader: SegmentReader, numbers: list[int], synced: Place) -> None:
    # Each was synced before the next one was made, unless the log was written with fsync off.
    for number in numbers:
        if number >= synced.number:
            file = files.open(reader.path(number), writable=True)
            try:
                file.sync()
            finally:
                file.close()


class _Tail:
    """The last segment while it is read, judged and cut."""

    def __init__(
        self, files: Files, path: Path, number: int, *, log: LogMap, base: Base, synced: Place
    ) -> None:
        self.path = path
        self.index = SegmentIndex()
        self._number = number
        self._log = log
        self._base = base
        self._synced_offset = synced.offset if synced.number == number else 0
        self._file: File = files.open(path, writable=True)
        self._size = self._file.size()

    def close(self) -> None:
        self._file.close()

    def take(self, append: int) -> Segment | None:
        """Put what is whole on the map and cut the rest; None when the segment was never finished.

        Args:
            append: the number of the last append before what is read.
        """
        try:
            created_ms = decode_segment_header(self._file.read_at(0, SEGMENT_HEADER_BYTES), self._number)
        except ValueError as error:
            # The header is synced before the first append: without one, whatever is here was never synced.
            self._refuse_what_was_synced(0, str(error))
            if self._search_batch(SEGMENT_HEADER_BYTES) is not None:
                raise WalCorrupt(self.path, 0, str(error)) from error
            return None
        segment = Segment(
            number=self._number, path=self.path, created_ms=created_ms, size=0, last_append=append
        )
        offset = self._base.offset if self._number == self._base.number else SEGMENT_HEADER_BYTES
        why = "the file ends where more had been synced"
        for header, stored in walk_batches(self._file, self._number, offset, self._size):
            try:
                body = decode_batch_body(header, stored)
                if header.is_summary:
                    self._take_summary(header)
                    segment.closed = True
                else:
                    self._take_records(header, body)
            except ValueError as error:
                why = str(error)
                break
            segment.last_append = header.append
            segment.kinds |= header.kinds
            offset = header.end
            if segment.closed:
                offset += TRAILER_BYTES
                break
        else:
            if offset < self._size:
                why = "a batch is incomplete or its header is damaged"
        segment.size = offset
        if offset != self._size or offset < self._synced_offset:
            self._cut(offset, segment.last_append, why)
        return segment

    def _take_records(self, header: BatchHeader, body: bytes) -> None:
        terms = term_changes(body, header.first_index, header.count)
        if not self._log.fits(header.first_index):
            raise WalCorrupt(self.path, header.offset, _gap(header.first_index, self._log))
        self.index.add(header, terms)
        self._log.add(self._number, header, terms)

    def _take_summary(self, header: BatchHeader) -> None:
        trailer = self._file.read_at(header.end, TRAILER_BYTES)
        if decode_trailer(trailer, self._number) != header.offset:
            raise ValueError("the segment's trailer is not its summary's")

    def _refuse_what_was_synced(self, offset: int, why: str) -> None:
        if offset < self._synced_offset:
            raise WalCorrupt(self.path, offset, why)

    def _cut(self, offset: int, append: int, why: str) -> None:
        self._refuse_what_was_synced(offset, why)
        later = self._search_batch(offset + 1)
        while later is not None:
            # A batch of a later append was written after the sync of everything before that append.
            if later.append > append + 1 or later.flags & BatchFlags.STARTS_APPEND:
                raise WalCorrupt(self.path, offset, f"{why}, and what was written later follows it")
            later = self._search_batch(later.end)
        self._file.truncate(offset)
        self._size = offset

    def _search_batch(self, offset: int) -> BatchHeader | None:
        while offset + BATCH_HEADER_BYTES <= self._size:
            data = self._file.read_at(offset, _SEARCH_BYTES)
            at = data.find(BATCH_MAGIC)
            while at >= 0 and at + BATCH_HEADER_BYTES <= len(data):
                header = decode_batch_header(data, at, self._number, offset + at)
                if header is not None:
                    return header
                at = data.find(BATCH_MAGIC, at + 1)
            offset += max(1, len(data) - BATCH_HEADER_BYTES + 1)
        return None

    def make_durable(self, size: int) -> None:
        """Write again what may not have been synced, and sync it.

        A sync alone would not do: after one that failed the kernel holds pages for clean that the disk does
        not have.
        """
        offset = self._synced_offset
        while offset < size:
            data = self._file.read_at(offset, min(_REWRITE_BYTES, size - offset))
            self._file.write_at(offset, data)
            offset += len(data)
        self._file.sync()
