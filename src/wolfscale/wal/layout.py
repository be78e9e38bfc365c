"""A log's directory: its file names, where the log begins, and how far it is known to be synced.

    base               a `StableFile`: what stands before the log, and where its first batch is
    synced             how far the log was synced at least: magic 8, CRC-32 u32, segment u64, offset u64
    <20 digits>.wal    the segments, numbered from 1 on; no number is used twice

All integers are little-endian.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from wolfscale.wal.batch import SEGMENT_HEADER_BYTES
from wolfscale.wal.errors import WalCorrupt
from wolfscale.wal.files import File

BASE_NAME = "base"
BASE_MAGIC = b"WolfBAS\n"
SYNCED_NAME = "synced"

_BASE = struct.Struct("<QQQQQQ")
_SYNCED_MAGIC = b"WolfSYN\n"
_SYNCED = struct.Struct("<8sIQQ")
_SEGMENT_NAME = re.compile(r"([0-9]{20})\.wal")


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:020d}.wal"


def segment_number(name: str) -> int | None:
    """The number of the segment of that file name; None for other files."""
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What stands before the log's first record."""

    index: int = 0
    term: int = 0
    key: int = 0
    """The greatest key up to there, 0 when unknown or none."""
    number: int = 1
    """The segment that the log begins in; older ones are left-overs. It may not have been made yet."""
    offset: int = SEGMENT_HEADER_BYTES
    """Where in it the first batch stands; batches before it had been overwritten."""
    append: int = 0
    """The number of the last append before that place."""
    data: bytes = b""
    """The owner's, stored with the base in one step."""

    def encode(self) -> bytes:
        """The payload of the base file."""
        return _BASE.pack(self.index, self.term, self.key, self.number, self.offset, self.append) + self.data

    @classmethod
    def decode(cls, payload: bytes, path: Path) -> "Base":
        """The base that was stored.

        Raises:
            WalCorrupt: the payload is too short.
        """
        if len(payload) < _BASE.size:
            raise WalCorrupt(path, len(payload), "the base ends too early")
        index, term, key, number, offset, append = _BASE.unpack_from(payload)
        return cls(
            index=index,
            term=term,
            key=key,
            number=number,
            offset=offset,
            append=append,
            data=payload[_BASE.size :],
        )


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the log's files; what was written later is greater."""

    number: int
    offset: int


class SyncedMark:
    """The file that says how far the log was synced: written after each sync, itself never waited for.

    So it may be behind after a power cut but is never ahead, and it cannot be torn, since it fits in a
    sector. Without it, damage to the last append could not be told from an append that a power cut tore.
    """

    __slots__ = ("_file", "path")

    def __init__(self, file: File, path: Path) -> None:
        self._file = file
        self.path = path

    def read(self) -> Place:
        """The place up to which everything had been synced.

        Raises:
            WalCorrupt: the file is not as it was written.
        """
        data = self._file.read_at(0, _SYNCED.size)
        if len(data) < _SYNCED.size:
            raise WalCorrupt(self.path, len(data), "the mark of what was synced ends too early")
        magic, checksum, number, offset = _SYNCED.unpack(data)
        if magic != _SYNCED_MAGIC or checksum != _checksum(number, offset):
            raise WalCorrupt(self.path, 0, "the mark of what was synced does not match its checksum")
        return Place(number, offset)

    def write(self, place: Place) -> None:
        """Say that everything up to there was synced."""
        checksum = _checksum(place.number, place.offset)
        self._file.write_at(0, _SYNCED.pack(_SYNCED_MAGIC, checksum, place.number, place.offset))

    def sync(self) -> None:
        """Make the mark itself durable."""
        self._file.sync()

    def lock(self) -> bool:
        """Claim the log for this process; False when another has it."""
        return self._file.lock()

    def close(self) -> None:
        """Let go of the file and of the claim."""
        self._file.close()


def _checksum(number: int, offset: int) -> int:
    return crc32(_SYNCED.pack(_SYNCED_MAGIC, 0, number, offset))
