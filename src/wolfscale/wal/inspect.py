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
    decode_segment_header,
)
from wolfscale.wal.errors import WalCorrupt
from wolfscale.wal.files import File, OsFiles
from wolfscale.wal.layout import BASE_MAGIC, BASE_NAME, Base, segment_name, segment_number
from wolfscale.wal.reading import walk_batches
from wolfscale.wal.record import HEAD_BYTES
from wolfscale.wal.stable import StableFile
from wolfscale.wal.summary import TRAILER_BYTES


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
    # From the last batch to the first: the least index that was written later ends what counts of a batch.
    limits: dict[tuple[int, int], int] = {}
    places = [(number, header) for number, header, _ in _iterate_batches(directory, base)]
    limit: int | None = None
    for number, header in reversed(places):
        if limit is not None:
            limits[number, header.offset] = limit
        limit = header.first_index if limit is None else min(limit, header.first_index)
    for number, header, stored in _iterate_batches(directory, base):
        path = directory / segment_name(number)
        try:
            records = decode_batch(header, stored)
        except ValueError as error:
            if number == max(number for number, _ in places):
                return
            raise WalCorrupt(path, header.offset, str(error)) from error
        live_before = limits.get((number, header.offset), header.last_index + 1)
        total = header.raw_bytes or 1
        for record in records:
            raw_bytes = len(record.data) + HEAD_BYTES
            yield InspectedEntry(
                index=record.index,
                term=record.term,
                kind=record.kind,
                key=record.key,
                data=record.data,
                raw_bytes=raw_bytes,
                stored_bytes=(header.stored_bytes + BATCH_HEADER_BYTES) * raw_bytes // total,
                segment=path,
                offset=header.offset,
                overwritten=record.index >= live_before,
            )


def _read_base(directory: Path) -> Base:
    file = StableFile(OsFiles(), directory / BASE_NAME, magic=BASE_MAGIC)
    payload = file.read()
    if payload is None:
        raise WalCorrupt(file.path, 0, "the file is missing, there is no log here")
    return Base.decode(payload, file.path)


def _iterate_batches(directory: Path, base: Base) -> Iterator[tuple[int, BatchHeader, bytes]]:
    files = OsFiles()
    numbers = [segment_number(name) for name in files.list(directory)]
    present = [number for number in numbers if number is not None and number >= base.number]
    for number in present:
        try:
            file = files.open(directory / segment_name(number))
        except FileNotFoundError:
            continue  # dropped meanwhile
        try:
            yield from _batches_of(file, number, base, is_last=number == present[-1], directory=directory)
        finally:
            file.close()


def _batches_of(
    file: File, number: int, base: Base, *, is_last: bool, directory: Path
) -> Iterator[tuple[int, BatchHeader, bytes]]:
    path = directory / segment_name(number)
    size = file.size()
    try:
        decode_segment_header(file.read_at(0, SEGMENT_HEADER_BYTES), number)
    except ValueError as error:
        if is_last:
            return
        raise WalCorrupt(path, 0, str(error)) from error
    offset = base.offset if number == base.number else SEGMENT_HEADER_BYTES
    for header, stored in walk_batches(file, number, offset, size):
        offset = header.end
        if header.is_summary:
            offset += TRAILER_BYTES
            break
        yield number, header, stored
    if offset != size and not is_last:
        raise WalCorrupt(path, offset, "a batch's header is damaged")
