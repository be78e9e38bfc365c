"""The bytes of a segment: its header, then batches, each with a header of its own. See DESIGN.md.

All integers are little-endian. Checksums are CRC-32 (zlib's). A batch header's checksum begins with the
segment's number and the batch's offset, so that bytes are a batch only in the place they were written for:
neither a block that a file system put in another file nor a log stored as a record's data can pass for one.

    segment header, 32 bytes   magic 8, checksum u32, version u16, 0 u16, number u64, created_ms u64
    batch header, 64 bytes     magic 4, checksum u32 (of number, offset and what follows), body checksum u32,
                               flags u8, 0 u8, 0 u16, stored_bytes u32, raw_bytes u32, count u32, kinds u32,
                               append u64, first_index u64, previous_key u64, last_key u64
    body                       stored_bytes bytes, LZ4 block or plain
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from zlib import crc32

import lz4.block

from wolfscale.wal.record import HEAD_BYTES, Record, decode_body, encode_body

SEGMENT_MAGIC = b"WolfWAL\n"
BATCH_MAGIC = b"\xf5WB1"
VERSION = 1

_SEGMENT_HEADER = struct.Struct("<8sIHHQQ")
_BATCH_HEADER = struct.Struct("<4sIIBBHIIIIQQQQ")
_PLACE = struct.Struct("<QQ")
_CHECKED_FROM = 8

SEGMENT_HEADER_BYTES = _SEGMENT_HEADER.size
BATCH_HEADER_BYTES = _BATCH_HEADER.size

BATCH_RAW_BYTES = 256 << 10
"""Records are put in one batch until their bodies reach this: reading one record costs decompressing its
batch, and LZ4 gains little beyond 64 KiB."""


class BatchFlags(IntFlag):
    """What a batch is."""

    COMPRESSED = 1
    """The body is an LZ4 block."""
    STARTS_APPEND = 2
    """The first batch of its append: everything before it had been synced when it was written."""
    SUMMARY = 4
    """Not records but the segment's summary (`summary.py`), its last batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """A batch's header, read from its place."""

    offset: int
    """Of the header in its segment."""
    flags: BatchFlags
    stored_bytes: int
    """The body's length in the file."""
    raw_bytes: int
    """The body's length when decompressed."""
    body_checksum: int
    count: int
    kinds: int
    """Bit k is set when a record of kind k is in it; bit 31 stands for all kinds from 31 on."""
    append: int
    """The number of the append (one write, one sync) that it belongs to; consecutive along the log."""
    first_index: int
    previous_key: int
    """The greatest key of the records before it in the log, 0 when there is none."""
    last_key: int
    """The same, its own records included."""

    @property
    def end(self) -> int:
        """The offset of what follows the batch."""
        return self.offset + BATCH_HEADER_BYTES + self.stored_bytes

    @property
    def last_index(self) -> int:
        """The index of its last record."""
        return self.first_index + self.count - 1

    @property
    def is_summary(self) -> bool:
        """Whether it closes the segment."""
        return bool(self.flags & BatchFlags.SUMMARY)


def kind_bit(kind: int) -> int:
    """The bit of a kind in `BatchHeader.kinds`."""
    return 1 << min(kind, 31)


def encode_segment_header(number: int, created_ms: int) -> bytes:
    """The header of segment `number`, made at that time (milliseconds since 1970)."""
    checksum = crc32(_SEGMENT_HEADER.pack(SEGMENT_MAGIC, 0, VERSION, 0, number, created_ms))
    return _SEGMENT_HEADER.pack(SEGMENT_MAGIC, checksum, VERSION, 0, number, created_ms)


def decode_segment_header(data: bytes, number: int) -> int:
    """The time at which the segment was made, in milliseconds since 1970.

    Raises:
        ValueError: these bytes are not that segment's header; the message says why.
    """
    if len(data) < SEGMENT_HEADER_BYTES:
        raise ValueError(f"the segment ends after {len(data)} bytes, within its header")
    magic, checksum, version, _, found, created_ms = _SEGMENT_HEADER.unpack_from(data)
    if magic != SEGMENT_MAGIC:
        raise ValueError("this is not the header of a segment")
    if checksum != crc32(_SEGMENT_HEADER.pack(magic, 0, version, 0, found, created_ms)):
        raise ValueError("the segment's header does not match its checksum")
    if version != VERSION:
        raise ValueError(f"the segment has format {version}, this program knows {VERSION}")
    if found != number:
        raise ValueError(f"the segment's header belongs to segment {found}")
    return int(created_ms)


def encode_batch(
    *,
    number: int,
    offset: int,
    flags: BatchFlags,
    raw: bytes,
    compress: bool,
    count: int,
    kinds: int,
    append: int,
    first_index: int,
    previous_key: int,
    last_key: int,
) -> bytes:
    """A batch with that body, for its place at `offset` of segment `number`."""
    stored = raw
    if compress:
        compressed = lz4.block.compress(raw, store_size=False)
        if len(compressed) < len(raw):
            stored = compressed
            flags |= BatchFlags.COMPRESSED
    fields = (
        crc32(stored), int(flags), 0, 0, len(stored), len(raw), count, kinds,
        append, first_index, previous_key, last_key,
    )  # fmt: skip
    checked = _BATCH_HEADER.pack(BATCH_MAGIC, 0, *fields)[_CHECKED_FROM:]
    checksum = crc32(checked, crc32(_PLACE.pack(number, offset)))
    return b"".join((BATCH_MAGIC, checksum.to_bytes(4, "little"), checked, stored))


def decode_batch_header(data: bytes | memoryview, at: int, number: int, offset: int) -> BatchHeader | None:
    """The batch header at `data[at:]`, or None when there is no intact one for that place."""
    if len(data) - at < BATCH_HEADER_BYTES or data[at : at + 4] != BATCH_MAGIC:
        return None
    checked = data[at + _CHECKED_FROM : at + BATCH_HEADER_BYTES]
    (
        _, checksum, body_checksum, flags, _, _, stored, raw, count, kinds, append, first, previous, last
    ) = _BATCH_HEADER.unpack_from(data, at)  # fmt: skip
    if checksum != crc32(checked, crc32(_PLACE.pack(number, offset))):
        return None
    return BatchHeader(
        offset=offset,
        flags=BatchFlags(flags),
        stored_bytes=stored,
        raw_bytes=raw,
        body_checksum=body_checksum,
        count=count,
        kinds=kinds,
        append=append,
        first_index=first,
        previous_key=previous,
        last_key=last,
    )


def decode_batch_body(header: BatchHeader, stored: bytes) -> bytes:
    """The body of a batch, checked and decompressed.

    Raises:
        ValueError: it is not what the header says; the message says why.
    """
    if len(stored) < header.stored_bytes:
        raise ValueError(f"a batch of {header.stored_bytes} bytes ends after {len(stored)}")
    if crc32(stored) != header.body_checksum:
        raise ValueError("a batch does not match its checksum")
    if not header.flags & BatchFlags.COMPRESSED:
        return stored
    try:
        raw: bytes = lz4.block.decompress(stored, uncompressed_size=header.raw_bytes)
    except lz4.block.LZ4BlockError as error:
        raise ValueError("a batch cannot be decompressed") from error
    if len(raw) != header.raw_bytes:
        raise ValueError(f"a batch of {header.raw_bytes} bytes decompresses to {len(raw)}")
    return raw


def decode_batch(header: BatchHeader, stored: bytes) -> list[Record]:
    """The records of a batch.

    Raises:
        ValueError: the body is not what the header says; the message says why.
    """
    return decode_body(decode_batch_body(header, stored), header.first_index, header.count)


def encode_append(
    records: Sequence[Record], *, number: int, offset: int, append: int, previous_key: int, compress: bool
) -> tuple[list[BatchHeader], bytes]:
    """The batches of one append, for their place from `offset` of segment `number` on.

    Returns:
        their headers, and the bytes of all of them.
    """
    headers = []
    parts = []
    start = 0
    flags = BatchFlags.STARTS_APPEND
    while start < len(records):
        end = start
        size = 0
        kinds = 0
        last_key = previous_key
        while end < len(records) and (
            end == start or size + len(records[end].data) + HEAD_BYTES <= BATCH_RAW_BYTES
        ):
            record = records[end]
            size += len(record.data) + HEAD_BYTES
            kinds |= kind_bit(record.kind)
            last_key = record.key or last_key
            end += 1
        data = encode_batch(
            number=number,
            offset=offset,
            flags=flags,
            raw=encode_body(records[start:end]),
            compress=compress,
            count=end - start,
            kinds=kinds,
            append=append,
            first_index=records[start].index,
            previous_key=previous_key,
            last_key=last_key,
        )
        header = decode_batch_header(data, 0, number, offset)
        assert header is not None
        headers.append(header)
        parts.append(data)
        offset += len(data)
        start = end
        previous_key = last_key
        flags = BatchFlags(0)
    return headers, b"".join(parts)
