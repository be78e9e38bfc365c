"""The durable log: records by index, checksummed and compressed, one sync for each append.

It knows indexes, terms, kinds and keys as numbers and data as bytes; it knows no rule of Raft, nothing of
MariaDB and nothing of the network. How the bytes lie and what survives which crash is in DESIGN.md.

Public: `Wal`, `WalOptions`, `Record`, `SegmentInfo`; the errors under `WalError`; `Files`, `File` and
`OsFiles`, the file operations it needs; `StableFile`, a small file replaced in one step;
`inspect.iterate_entries` for looking into a log beside a running node.
"""

from wolfscale.wal.errors import (
    WalBusy,
    WalCorrupt,
    WalError,
    WalFull,
    WalOutOfRange,
    WalSyncFailed,
    WalWriteFailed,
)
from wolfscale.wal.files import File, Files, OsFiles
from wolfscale.wal.record import Record
from wolfscale.wal.stable import StableFile
from wolfscale.wal.wal import SegmentInfo, Wal, WalOptions

__all__ = [
    "File",
    "Files",
    "OsFiles",
    "Record",
    "SegmentInfo",
    "StableFile",
    "Wal",
    "WalBusy",
    "WalCorrupt",
    "WalError",
    "WalFull",
    "WalOptions",
    "WalOutOfRange",
    "WalSyncFailed",
    "WalWriteFailed",
]
