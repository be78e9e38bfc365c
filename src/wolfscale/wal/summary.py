"""What stands where in one segment: kept in memory for the segment being written, in its summary afterwards.

A *run* is a stretch of batches whose indexes follow each other. A segment begins one, and so does each append
that overwrites. A *point* is a batch that can be found without reading what stands before it: the first of a
run, and from there the first one in every `POINT_SPACING_BYTES`.

The summary batch's body, little-endian u64s: the numbers of runs, terms and points; for each run offset, end,
first index, last index, previous key; for each term the run's place in that list, index, term; the offsets of
the points, then their first indexes, their previous keys and the kinds in them. Behind the summary batch the
segment ends with a trailer of 16 bytes: the summary's offset u64, CRC-32 of the number and that offset u32,
magic 4.
"""

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from wolfscale.wal.batch import BatchHeader

POINT_SPACING_BYTES = 64 << 10
"""A lookup reads at most this many bytes of headers; a segment of 64 MiB costs about 32 KiB of points."""

TRAILER_BYTES = 16
_TRAILER = struct.Struct("<QI4s")
_TRAILER_MAGIC = b"WEND"
_PLACE = struct.Struct("<QQ")
_RUN_FIELDS = 5


@dataclass(slots=True, kw_only=True)
class SegmentRun:
    """A run as it was written, whatever has been overwritten since."""

    offset: int
    end: int
    """Where its last batch ends."""
    first_index: int
    last_index: int
    previous_key: int
    """The greatest key before it in the log as it was then."""
    terms: list[tuple[int, int]] = field(default_factory=list)
    """The index and term of the first record, and of each one whose term differs from the one before."""


class SegmentIndex:
    """The runs and points of one segment."""

    __slots__ = ("first_indexes", "kinds", "offsets", "previous_keys", "runs")

    def __init__(self) -> None:
        self.runs: list[SegmentRun] = []
        self.offsets = array("Q")
        self.first_indexes = array("Q")
        self.previous_keys = array("Q")
        self.kinds = array("Q")

    def add(self, header: BatchHeader, terms: Sequence[tuple[int, int]]) -> None:
        """Take note of the batch that was written behind the others.

        Args:
            header: its header.
            terms: as in `SegmentRun.terms`, for this batch: its first record's always among them.
        """
        run = self.runs[-1] if self.runs else None
        if run is None or header.first_index != run.last_index + 1:
            run = SegmentRun(
                offset=header.offset,
                end=header.offset,
                first_index=header.first_index,
                last_index=header.first_index - 1,
                previous_key=header.previous_key,
            )
            self.runs.append(run)
        if run.offset == header.offset or header.offset - self.offsets[-1] >= POINT_SPACING_BYTES:
            self.offsets.append(header.offset)
            self.first_indexes.append(header.first_index)
            self.previous_keys.append(header.previous_key)
            self.kinds.append(0)
        self.kinds[-1] |= header.kinds
        run.end = header.end
        run.last_index = header.last_index
        for index, term in terms:
            if not run.terms or run.terms[-1][1] != term:
                run.terms.append((index, term))

    @property
    def all_kinds(self) -> int:
        """The kinds of all records in the segment, as in `BatchHeader.kinds`."""
        kinds = 0
        for bits in self.kinds:
            kinds |= bits
        return kinds

    def stretch_of_index(self, index: int, start: int, end: int) -> tuple[int, int]:
        """The stretch between two points, within the run of these offsets, that holds the index."""
        low, high = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        return self._stretch(bisect_right(self.first_indexes, index, low, high) - 1, high, end)

    def stretch_of_key(self, key: int, start: int, end: int) -> tuple[int, int]:
        """The same for the smallest key of the run that is at least `key`, if the run has one."""
        low, high = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        return self._stretch(max(low, bisect_left(self.previous_keys, key, low, high) - 1), high, end)

    def stretches_of_kind(self, bit: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The stretches within the run that hold a record of the kind, the last first."""
        low, high = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        for point in range(high - 1, low - 1, -1):
            if self.kinds[point] & bit:
                yield self._stretch(point, high, end)

    def _stretch(self, point: int, high: int, end: int) -> tuple[int, int]:
        return self.offsets[point], self.offsets[point + 1] if point + 1 < high else end

    def encode(self) -> bytes:
        """The body of the summary batch."""
        values = [len(self.runs), sum(len(run.terms) for run in self.runs), len(self.offsets)]
        for run in self.runs:
            values += (run.offset, run.end, run.first_index, run.last_index, run.previous_key)
        for place, run in enumerate(self.runs):
            for index, term in run.terms:
                values += (place, index, term)
        for column in (self.offsets, self.first_indexes, self.previous_keys, self.kinds):
            values += column
        return struct.pack(f"<{len(values)}Q", *values)

    @classmethod
    def decode(cls, body: bytes) -> "SegmentIndex":
        """The index that a summary batch's body is.

        Raises:
            ValueError: it is none.
        """
        if len(body) < 24 or len(body) % 8:
            raise ValueError(f"a segment's summary cannot have {len(body)} bytes")
        values = struct.unpack(f"<{len(body) // 8}Q", body)
        runs, terms, points = values[:3]
        if len(values) != 3 + _RUN_FIELDS * runs + 3 * terms + 4 * points:
            raise ValueError(f"a segment's summary of {len(body)} bytes does not add up")
        self = cls()
        at = 3
        for _ in range(runs):
            offset, end, first, last, previous = values[at : at + _RUN_FIELDS]
            self.runs.append(
                SegmentRun(offset=offset, end=end, first_index=first, last_index=last, previous_key=previous)
            )
            at += _RUN_FIELDS
        for _ in range(terms):
            place, index, term = values[at : at + 3]
            self.runs[place].terms.append((index, term))
            at += 3
        for column in (self.offsets, self.first_indexes, self.previous_keys, self.kinds):
            column.extend(values[at : at + points])
            at += points
        return self


def encode_trailer(number: int, offset: int) -> bytes:
    """The last bytes of segment `number`, whose summary stands at `offset`."""
    return _TRAILER.pack(offset, crc32(_PLACE.pack(number, offset)), _TRAILER_MAGIC)


def decode_trailer(data: bytes, number: int) -> int:
    """The offset of the segment's summary.

    Raises:
        ValueError: these bytes are not the trailer of that segment.
    """
    if len(data) == TRAILER_BYTES:
        offset, checksum, magic = _TRAILER.unpack(data)
        if magic == _TRAILER_MAGIC and checksum == crc32(_PLACE.pack(number, offset)):
            return int(offset)
    raise ValueError("the segment is not the last one and does not end with its summary")
