"""Looking into a log from outside: reads only, beside a running node or without one.

Everything is read as it lies in the files; nothing is cut and no lock is taken. What a running node appends
or drops meanwhile may or may not be seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wolfscale.wal.batch import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    decode_batch,
)
from wolfscale.wal.errors import WalCorrupt
from wolfscale.wal.files import OsFiles
from wolfscale.wal.layout import BASE_MAGIC, BASE_NAME, Base, segment_number
from wolfscale.wal.reading import SegmentReader, walk_batches
from wolfscale.wal.record import HEAD_BYTES
from wolfscale.wal.stable import StableFile


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedEntry:
    """One record as it lies in the log."""

    index: int
    term: int
    kind: int
    key: int
    data: bytes
    raw_bytes: int
    """What it takes before compression, its head included."""
    stored_bytes: int
    """Its share of what its batch takes in the file."""
    segment: Path
    offset: int
    """Of its batch."""
    overwritten: bool
    """Whether a later append has taken its place: it is not part of the log any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedBase:
    """What stands before the log."""

    index: int
    term: int
    data: bytes


def read_base(directory: Path) -> InspectedBase:
    """What stands before the log in that directory.

    Raises:
        WalCorrupt: its file is damaged, or there is no log.
    """
    base = _read_base(directory)
    return InspectedBase(index=base.index, term=base.term, data=base.data)


def iterate_entries(directory: Path) -> Iterator[InspectedEntry]:
    """The records of the log in that directory in the order of their writing, overwritten ones marked.

    Ends quietly where the last segment does, or where it is torn.

    Raises:
        WalCorrupt: something before the last segment's end is missing or damaged.
    """
    base = _read_base(directory)
    reader = SegmentReader(OsFiles(), directory)
    try:
        names = (segment_number(name) for name in OsFiles().list(directory))
        numbers = [number for number in names if number is not None and number >= base.number]
        for number in range(base.number, max(numbers, default=0)):
            if number not in numbers and number >= _read_base(directory).number:
                raise WalCorrupt(reader.path(number), 0, "the file is missing")
        starts: list[tuple[int, int, int]] = []
        for number in numbers:
            try:
                starts += _run_starts(reader, number, base, is_last=number == numbers[-1])
            except WalCorrupt:
                if number >= _read_base(directory).number:
                    raise
        # What a run holds from the first index of any later one on has been overwritten.
        limits: dict[tuple[int, int], int | None] = {}
        limit: int | None = None
        for number, offset, first_index in reversed(starts):
            limits[number, offset] = limit
            limit = first_index if limit is None else min(limit, first_index)
        for number in numbers:
            try:
                yield from _entries_of(reader, number, base, limits, is_last=number == numbers[-1])
            except WalCorrupt:
                if number >= _read_base(directory).number:
                    raise
    finally:
        reader.close()


def _read_base(directory: Path) -> Base:
    file = StableFile(OsFiles(), directory / BASE_NAME, magic=BASE_MAGIC)
    payload = file.read()
    if payload is None:
        raise WalCorrupt(file.path, 0, "the file is missing, there is no log here")
    return Base.decode(payload, file.path)


def _run_starts(
    reader: SegmentReader, number: int, base: Base, *, is_last: bool
) -> list[tuple[int, int, int]]:
    first_offset = base.offset if number == base.number else SEGMENT_HEADER_BYTES
    if not is_last:
        runs = reader.index(number).runs
        return [(number, run.offset, run.first_index) for run in runs if run.offset >= first_offset]
    starts = []
    following: int | None = None
    for header, _ in _batches(reader, number, first_offset, is_last=True):
        if header.first_index != following:
            starts.append((number, header.offset, header.first_index))
        following = header.last_index + 1
    return starts


def _entries_of(
    reader: SegmentReader,
    number: int,
    base: Base,
    limits: dict[tuple[int, int], int | None],
    *,
    is_last: bool,
) -> Iterator[InspectedEntry]:
    limit: int | None = None
    first_offset = base.offset if number == base.number else SEGMENT_HEADER_BYTES
    for header, stored in _batches(reader, number, first_offset, is_last=is_last):
        limit = limits.get((number, header.offset), limit)
        try:
            records = decode_batch(header, stored)
        except ValueError as error:
            if is_last:
                return
            raise WalCorrupt(reader.path(number), header.offset, str(error)) from error
        for record in records:
            raw_bytes = len(record.data) + HEAD_BYTES
            yield InspectedEntry(
                index=record.index,
                term=record.term,
                kind=record.kind,
                key=record.key,
                data=record.data,
                raw_bytes=raw_bytes,
                stored_bytes=(header.stored_bytes + BATCH_HEADER_BYTES) * raw_bytes // header.raw_bytes,
                segment=reader.path(number),
                offset=header.offset,
                overwritten=limit is not None and record.index >= limit,
            )


def _batches(
    reader: SegmentReader, number: int, offset: int, *, is_last: bool
) -> Iterator[tuple[BatchHeader, bytes]]:
    file = reader.file(number)
    size = file.size()
    try:
        reader.created_ms(number)
    except WalCorrupt:
        if is_last:
            return
        raise
    for header, stored in walk_batches(file, number, offset, size):
        if header.is_summary:
            return
        yield header, stored
        offset = header.end
    if not is_last:
        raise WalCorrupt(reader.path(number), offset, "a batch's header is damaged")
