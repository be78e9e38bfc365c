"""Fragments: what the log's entries hold of event groups.

A group's events, joined, are cut into slices of at most 1 MiB, and each slice becomes one entry with a small
header. A group is there when its last fragment is; one whose end never came is skipped by readers, which
notice because the next fragment has number 0.

Layout, little-endian:

    version       u8   = 1
    flags         u8   LAST 1, PLAIN 2 (last fragment only), see `_Flag`
    flags2        u8   of the group's Gtid event
    file length   u8   bytes of the binlog file's name; 0 unless LAST
    domain        u32
    server id     u32
    sequence      u64
    number        u32  0 for the first fragment of the group
    end position   u64  where the group ends in the primary's binlog file; 0 unless LAST
    file          the binlog file's name
    -- in the first fragment only, so that every group can be read by itself:
    version length u8, server version: what the Format Description event of the primary said
    lengths length u8, post-header lengths; none where they are the usual ones
    -- then the slice
"""

import struct
from dataclasses import dataclass
from enum import IntFlag

from wolfscale.mysql.binlog.format import POST_HEADER_LENGTHS, BinlogFormat
from wolfscale.mysql.binlog.groups import SLICE_BYTES, GroupSlice
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.errors import FragmentDamaged

VERSION = 1
MAX_SLICE_BYTES = SLICE_BYTES
_HEAD = struct.Struct("<BBBBIIQIQ")
_LONGEST_NAME = 255


class _Flag(IntFlag):
    LAST = 1
    PLAIN = 2


_LAST = int(_Flag.LAST)
_PLAIN = int(_Flag.PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One entry's part of an event group.

    Attributes:
        gtid: the group's id.
        flags2: the bits of its Gtid event.
        number: 0 for the group's first fragment, and so on.
        is_last: the group is complete with this one.
        plain: the group is a plain transaction; known, and set, in the last fragment only.
        file: the primary's binlog file; in the last fragment only.
        end_position: where the group ends there; in the last fragment only.
        format: the format of the events; in the first fragment only.
        body: the slice; a view of the entry's data where it was decoded.
    """

    gtid: Gtid
    flags2: int
    number: int
    is_last: bool
    plain: bool = False
    file: str = ""
    end_position: int = 0
    format: BinlogFormat | None = None
    body: bytes | memoryview


def fragment_of(piece: GroupSlice, binlog_format: BinlogFormat) -> Fragment:
    """The fragment for a slice of a group whose events have this format."""
    end = piece.end
    return Fragment(
        gtid=piece.gtid,
        flags2=piece.flags2,
        number=piece.number,
        is_last=end is not None,
        plain=end is not None and end.plain,
        file=end.file if end is not None else "",
        end_position=end.end_position if end is not None else 0,
        format=binlog_format if piece.number == 0 else None,
        body=piece.data,
    )


def encode_fragment(fragment: Fragment) -> bytes:
    """The fragment as an entry's data.

    Raises:
        ValueError: a name is longer than 255 bytes, or a first fragment has no format.
    """
    gtid = fragment.gtid
    file = fragment.file.encode(errors="surrogateescape")
    flags = (_LAST if fragment.is_last else 0) | (_PLAIN if fragment.plain else 0)
    if len(file) > _LONGEST_NAME:
        raise ValueError(f"the binlog file name {fragment.file!r} is too long")
    head = _HEAD.pack(
        VERSION,
        flags,
        fragment.flags2,
        len(file),
        gtid.domain,
        gtid.server_id,
        gtid.sequence,
        fragment.number,
        fragment.end_position,
    )
    if fragment.number:
        return b"".join((head, file, fragment.body))
    if fragment.format is None:
        raise ValueError(f"the first fragment of {gtid} has no format")
    return b"".join((head, file, _encode_format(fragment.format), fragment.body))


def _encode_format(binlog_format: BinlogFormat) -> bytes:
    version = binlog_format.server_version.encode(errors="surrogateescape")
    lengths = binlog_format.post_header_lengths
    if lengths == POST_HEADER_LENGTHS:
        lengths = b""
    if len(version) > _LONGEST_NAME or len(lengths) > _LONGEST_NAME:
        raise ValueError(f"the binlog format of server version {binlog_format.server_version!r} is too long")
    return b"".join((bytes((len(version),)), version, bytes((len(lengths),)), lengths))


def decode_fragment(data: bytes) -> Fragment:
    """Read an entry's data; the body is a view of it, not a copy.

    Raises:
        FragmentDamaged: it is no fragment, or one of a version that is not known.
    """
    if len(data) < _HEAD.size:
        raise FragmentDamaged(f"an entry of {len(data)} bytes is too short to be a fragment")
    version, flags, flags2, file_length, domain, server_id, sequence, number, end_position = (
        _HEAD.unpack_from(data)
    )
    if version != VERSION:
        raise FragmentDamaged(
            f"a fragment has version {version}, this node knows {VERSION}: a newer WolfScale wrote it, so "
            "update this node"
        )
    start = _HEAD.size + file_length
    file = data[_HEAD.size : start].decode(errors="surrogateescape")
    binlog_format = None
    if number == 0:
        binlog_format, start = _decode_format(data, start)
    if start > len(data):
        raise FragmentDamaged(f"a fragment of {len(data)} bytes is shorter than the lengths in it")
    return Fragment(
        gtid=Gtid(domain=domain, server_id=server_id, sequence=sequence),
        flags2=flags2,
        number=number,
        is_last=bool(flags & _LAST),
        plain=bool(flags & _PLAIN),
        file=file,
        end_position=end_position,
        format=binlog_format,
        body=memoryview(data)[start:],
    )


# Most groups have the same format: decoding it once saves half the time of decoding a fragment.
_decoded_formats: dict[bytes, BinlogFormat] = {}
_KEPT_FORMATS = 16


def _decode_format(data: bytes, start: int) -> tuple[BinlogFormat, int]:
    """The format at `start`, and where it ends."""
    try:
        version_end = start + 1 + data[start]
        end = version_end + 1 + data[version_end]
    except IndexError:
        raise FragmentDamaged("a fragment ends within its format") from None
    raw = data[start:end]
    known = _decoded_formats.get(raw)
    if known is None:
        known = BinlogFormat(
            server_version=data[start + 1 : version_end].decode(errors="surrogateescape"),
            post_header_lengths=data[version_end + 1 : end] or POST_HEADER_LENGTHS,
        )
        if len(_decoded_formats) >= _KEPT_FORMATS:
            _decoded_formats.clear()
        _decoded_formats[raw] = known
    return known, end


def sequence_of(data: bytes) -> int:
    """The GTID sequence of the group that an entry completes; 0 when it completes none.

    It is the entry's key in the log on disk. Only entries of events may be asked about.
    """
    if len(data) < _HEAD.size:
        return 0
    version, flags, _, _, _, _, sequence, _, _ = _HEAD.unpack_from(data)
    return int(sequence) if version == VERSION and flags & _LAST else 0
