"""A binlog file that a real server wrote, and strategies for events and groups.

`recorded.bin`: MariaDB 10.11.19-MariaDB-0+deb12u1, server id 7, binlog_format ROW, binlog_checksum CRC32.
The statements, each on its own: CREATE DATABASE, CREATE TABLE, INSERT, a transaction of INSERT and UPDATE,
CREATE TABLE of Aria, INSERT into it, a transaction over Aria and InnoDB that is rolled back, CREATE TABLE ...
SELECT, CREATE USER, CREATE SEQUENCE, NEXTVAL, XA PREPARE, XA COMMIT, XA PREPARE, XA ROLLBACK, XA COMMIT ...
ONE PHASE, CREATE EVENT, TRUNCATE, DROP TABLE; then with log_bin_compress=1 CREATE TABLE with a long comment,
INSERT of a long value, FLUSH.
"""

import struct
from pathlib import Path

from hypothesis import strategies as st

from wolfscale.mysql.binlog.header import build_event, parse_header

RECORDED = Path(__file__).parent / "recorded.bin"

PLAIN = {3, 4, 16, 21}
GROUPS = 21


def recorded_events() -> list[bytes]:
    """The events of the recorded file, its Rotate at the end included."""
    data = RECORDED.read_bytes()
    events = []
    position = 4
    while position < len(data):
        length = parse_header(data, position).length
        events.append(data[position : position + length])
        position += length
    return events


def gtid_event(sequence: int, flags2: int, *, domain: int = 0, server_id: int = 7) -> bytes:
    return build_event(162, struct.pack("<QIB6x", sequence, domain, flags2), server_id=server_id)


def rows_event(size: int, end_position: int = 0) -> bytes:
    return build_event(23, b"r" * size, server_id=7, end_position=end_position)


def xid_event(end_position: int) -> bytes:
    return build_event(16, struct.pack("<Q", 99), server_id=7, end_position=end_position)


def query_event(sql: bytes, *, database: bytes = b"t", variables: bytes = b"", kind: int = 2) -> bytes:
    head = struct.pack("<IIBHH", 1, 0, len(database), 0, len(variables))
    return build_event(kind, head + variables + database + b"\0" + sql, server_id=7, end_position=500)


def transaction(sequence: int, *sizes: int, flags2: int = 0x0C) -> list[bytes]:
    """A plain transaction with row events of these sizes."""
    return [
        gtid_event(sequence, flags2),
        *(rows_event(size) for size in sizes),
        xid_event(sequence * 1000),
    ]


server_ids = st.integers(0, 0xFFFFFFFF)
sequences = st.integers(1, 0xFFFFFFFFFFFFFFFF)
