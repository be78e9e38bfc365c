"""A record of the log, and the body of a batch of them as bytes.

A batch's body, little-endian, before compression: for each record a head (term u64, key u64, length u32,
kind u8: 21 bytes), then the data of all of them in the same order. Indexes follow from the batch's first.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = struct.Struct("<QQIB")

HEAD_BYTES = _HEAD.size
"""What a record costs in a body besides its data."""

MAX_DATA_BYTES = 1 << 30
"""The largest record taken; Raft's entries stay far below."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; what its kind, key and data mean is the owner's business."""

    index: int
    """Consecutive along the log, at least 1."""
    term: int
    kind: int
    """0 to 255; `Wal.of_kind` finds the records of a rare kind fast."""
    key: int
    """0: none. Others strictly increase along the log."""
    data: bytes


def encode_body(records: Sequence[Record]) -> bytes:
    """The body of a batch with these records, not compressed."""
    pack = _HEAD.pack
    parts = [pack(record.term, record.key, len(record.data), record.kind) for record in records]
    parts.extend([record.data for record in records])
    return b"".join(parts)


def term_changes(body: bytes, first_index: int, count: int) -> list[tuple[int, int]]:
    """The index and term of a body's first record, and of each one whose term differs from the one before.

    Raises:
        ValueError: the lengths do not add up.
    """
    end = offset = count * HEAD_BYTES
    changes: list[tuple[int, int]] = []
    last = -1
    for index, (term, _, length, _) in enumerate(_HEAD.iter_unpack(body[:offset]), first_index):
        end += length
        if term != last:
            changes.append((index, term))
            last = term
    if offset > len(body) or end != len(body):
        raise ValueError(f"the records of a body of {len(body)} bytes end at {end}")
    return changes


def decode_body(body: bytes, first_index: int, count: int) -> list[Record]:
    """The records of a batch's body.

    Raises:
        ValueError: the lengths do not add up.
    """
    offset = count * HEAD_BYTES
    if offset > len(body):
        raise ValueError(f"a body of {len(body)} bytes cannot hold {count} records")
    records = []
    for index, (term, key, length, kind) in enumerate(_HEAD.iter_unpack(body[:offset]), first_index):
        end = offset + length
        records.append(Record(index, term, kind, key, body[offset:end]))
        offset = end
    if offset != len(body):
        raise ValueError(f"the records of a body of {len(body)} bytes end at {offset}")
    return records
