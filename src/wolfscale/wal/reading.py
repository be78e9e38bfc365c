"""Reading batches out of segments, with a few files, headers and decoded batches kept at hand."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from wolfscale.wal.batch import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    decode_batch,
    decode_batch_body,
    decode_batch_header,
    decode_segment_header,
)
from wolfscale.wal.errors import WalCorrupt
from wolfscale.wal.files import File, Files
from wolfscale.wal.layout import segment_name
from wolfscale.wal.record import Record
from wolfscale.wal.summary import POINT_SPACING_BYTES, TRAILER_BYTES, SegmentIndex, decode_trailer

_OPEN_FILES = 16
_KEPT_INDEXES = 16
_KEPT_STRETCHES = 8
_KEPT_BATCHES_BYTES = 4 << 20
_WALK_BYTES = 128 << 10


class SegmentReader:
    """Reads segments by number. Not thread-safe.

    What has been written is never changed, so nothing kept gets stale. Damage raises `WalCorrupt` with the
    file and the offset of the batch.
    """

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory
        self._open: OrderedDict[int, File] = OrderedDict()
        self._indexes: OrderedDict[int, SegmentIndex] = OrderedDict()
        self._stretches: OrderedDict[tuple[int, int, int], list[BatchHeader]] = OrderedDict()
        self._batches: OrderedDict[tuple[int, int], list[Record]] = OrderedDict()
        self._batches_bytes = 0

    def path(self, number: int) -> Path:
        """The segment's file."""
        return self._directory / segment_name(number)

    def file(self, number: int) -> File:
        """The segment's file, open for reading; it belongs to the reader."""
        file = self._open.get(number)
        if file is None:
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            try:
                file = self._files.open(self.path(number))
            except FileNotFoundError as error:
                raise WalCorrupt(self.path(number), 0, "the file is missing") from error
            self._open[number] = file
        else:
            self._open.move_to_end(number)
        return file

    def forget(self, number: int) -> None:
        """Close the segment's file and keep nothing of it."""
        file = self._open.pop(number, None)
        if file is not None:
            file.close()
        self._indexes.pop(number, None)
        for stretch in [key for key in self._stretches if key[0] == number]:
            del self._stretches[stretch]
        for batch in [key for key in self._batches if key[0] == number]:
            self._batches_bytes -= _cost(self._batches.pop(batch))

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self.forget(number)

    def created_ms(self, number: int) -> int:
        """When the segment was made, from its header."""
        try:
            return decode_segment_header(self.file(number).read_at(0, SEGMENT_HEADER_BYTES), number)
        except ValueError as error:
            raise WalCorrupt(self.path(number), 0, str(error)) from error

    def summary_header(self, number: int) -> BatchHeader:
        """The header of the batch that closes the segment."""
        file = self.file(number)
        size = file.size()
        try:
            offset = decode_trailer(file.read_at(max(0, size - TRAILER_BYTES), TRAILER_BYTES), number)
        except ValueError as error:
            raise WalCorrupt(self.path(number), max(0, size - TRAILER_BYTES), str(error)) from error
        header = decode_batch_header(file.read_at(offset, BATCH_HEADER_BYTES), 0, number, offset)
        if header is None or not header.is_summary or header.end + TRAILER_BYTES != size:
            raise WalCorrupt(self.path(number), offset, "the segment's summary is damaged")
        return header

    def index(self, number: int) -> SegmentIndex:
        """The index of a segment that has a summary."""
        index = self._indexes.get(number)
        if index is None:
            header = self.summary_header(number)
            try:
                index = SegmentIndex.decode(decode_batch_body(header, self._stored(number, header)))
            except ValueError as error:
                raise WalCorrupt(self.path(number), header.offset, str(error)) from error
            self._indexes[number] = index
            if len(self._indexes) > _KEPT_INDEXES:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(number)
        return index

    def headers(self, number: int, start: int, end: int) -> list[BatchHeader]:
        """The headers of the batches of a stretch between two points."""
        key = (number, start, end)
        headers = self._stretches.get(key)
        if headers is not None:
            self._stretches.move_to_end(key)
            return headers
        headers = []
        # All of them begin within the spacing of points; only the last body may reach farther.
        data = self.file(number).read_at(start, min(end - start, POINT_SPACING_BYTES + BATCH_HEADER_BYTES))
        offset = start
        while offset < end:
            header = decode_batch_header(data, offset - start, number, offset)
            if header is None:
                raise WalCorrupt(self.path(number), offset, "a batch's header is damaged")
            headers.append(header)
            offset = header.end
        if offset != end:
            raise WalCorrupt(self.path(number), headers[-1].offset, f"a batch reaches beyond byte {end}")
        self._stretches[key] = headers
        if len(self._stretches) > _KEPT_STRETCHES:
            self._stretches.popitem(last=False)
        return headers

    def records(self, number: int, header: BatchHeader) -> list[Record]:
        """All records of a batch, overwritten ones too; the list must not be changed."""
        key = (number, header.offset)
        records = self._batches.get(key)
        if records is not None:
            self._batches.move_to_end(key)
            return records
        try:
            records = decode_batch(header, self._stored(number, header))
        except ValueError as error:
            raise WalCorrupt(self.path(number), header.offset, str(error)) from error
        self._batches[key] = records
        self._batches_bytes += _cost(records)
        while self._batches_bytes > _KEPT_BATCHES_BYTES and len(self._batches) > 1:
            self._batches_bytes -= _cost(self._batches.popitem(last=False)[1])
        return records

    def _stored(self, number: int, header: BatchHeader) -> bytes:
        return self.file(number).read_at(header.offset + BATCH_HEADER_BYTES, header.stored_bytes)


def _cost(records: list[Record]) -> int:
    return sum(len(record.data) + 120 for record in records)


def walk_batches(file: File, number: int, offset: int, size: int) -> Iterator[tuple[BatchHeader, bytes]]:
    """The batches of a segment one after the other, with their stored bodies, up to a header that is damaged.

    Args:
        file: the segment.
        number: its number.
        offset: where the first batch stands.
        size: how far to read.
    """
    buffer = b""
    buffer_start = offset
    while offset + BATCH_HEADER_BYTES <= size:
        at = offset - buffer_start
        if at + BATCH_HEADER_BYTES > len(buffer):
            buffer = file.read_at(offset, min(_WALK_BYTES, size - offset))
            buffer_start, at = offset, 0
        header = decode_batch_header(buffer, at, number, offset)
        if header is None or header.end > size:
            return
        body_at = at + BATCH_HEADER_BYTES
        if body_at + header.stored_bytes > len(buffer):
            stored = file.read_at(offset + BATCH_HEADER_BYTES, header.stored_bytes)
        else:
            stored = buffer[body_at : body_at + header.stored_bytes]
        yield header, stored
        offset = header.end
