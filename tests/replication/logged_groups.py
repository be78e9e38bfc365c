"""Groups of made-up events in a log, for tests of whatever reads them back."""

import struct

from memory_log import MemoryLog

from wolfscale.mysql.binlog.format import BinlogFormat
from wolfscale.mysql.binlog.groups import GroupAssembler
from wolfscale.mysql.binlog.header import build_event
from wolfscale.replication.entry import encode_fragment, fragment_of

FORMAT = BinlogFormat(server_version="10.11.19-MariaDB-log")


def events(sequence: int, *sizes: int, plain: bool = True, server_id: int = 7) -> list[bytes]:
    """A group: its Gtid event, row events of these sizes, and its end."""
    flags2 = 0x0C if plain else 0x29
    gtid = build_event(162, struct.pack("<QIB6x", sequence, 0, flags2), server_id=server_id)
    rows = [build_event(23, bytes((sequence & 0xFF,)) * size, server_id=server_id) for size in sizes]
    if plain:
        end = build_event(16, struct.pack("<Q", 1), server_id=server_id, end_position=sequence * 100)
    else:
        sql = struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"t\0CREATE TABLE a (i INT)"
        end = build_event(2, sql, server_id=server_id, end_position=sequence * 100)
    return [gtid, *rows, end]


def fragments(
    sequence: int,
    *sizes: int,
    plain: bool = True,
    server_id: int = 7,
    slice_bytes: int = 1 << 20,
    binlog_format: BinlogFormat = FORMAT,
) -> list[bytes]:
    """The entries' data of a group."""
    assembler = GroupAssembler(slice_bytes=slice_bytes, file="bin.000001")
    slices = []
    for event in events(sequence, *sizes, plain=plain, server_id=server_id):
        if len(event) < 1 << 20:
            slices += assembler.receive(event)
            continue
        slices += assembler.receive(event[:1000], first=True, last=False)
        slices += assembler.receive(event[1000:], first=False, last=True)
    return [encode_fragment(fragment_of(piece, binlog_format)) for piece in slices]


def append_group(log: MemoryLog, sequence: int, *sizes: int, term: int = 7, plain: bool = True) -> int:
    """Append a whole group and return the index of its last fragment."""
    index = 0
    for data in fragments(sequence, *sizes, plain=plain, server_id=term):
        index = log.append(data, term=term)
    return index
