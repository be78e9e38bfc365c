"""Reads the groups of a binlog file: of a primary that died, so the file may be torn at its end."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wolfscale.mysql.binlog.errors import BinlogError, ChecksumMismatch
from wolfscale.mysql.binlog.events import NOT_PLAIN_FLAGS, GroupFlag, Statement
from wolfscale.mysql.binlog.groups import GroupAssembler
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import HEADER_BYTES, EventType, parse_header

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedGroup:
    """A group as a file has it.

    Attributes:
        gtid: its id.
        flags2: the bits of its Gtid event.
        plain: see `groups.GroupEnd`. For a group whose end is missing: nothing in its flags says otherwise.
        end_position: where it ends in the file; for a group whose end is missing, where the file ends.
        statement: its first statement; None when it has only rows.
    """

    gtid: Gtid
    flags2: int
    plain: bool
    end_position: int
    statement: Statement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScan:
    """What a binlog file holds.

    Attributes:
        file: its name without directory.
        groups: the complete groups, in order.
        incomplete: the group whose end is missing at the end of the file.
        end_position: the end of the last whole event.
        size: bytes of the file.
        damage: why the scan ended before the end of the file; None when everything was read.
    """

    file: str
    groups: tuple[ScannedGroup, ...]
    incomplete: ScannedGroup | None
    end_position: int
    size: int
    damage: str | None


def scan_file(path: Path, *, start: int = 0, only_not_plain: bool = False) -> FileScan:
    """Read the groups of a binlog file.

    A file that ends in the middle of an event, or in bytes that are no event, is torn: what came before is
    returned, and `damage` says what is wrong. Reads the whole file in pieces of 1 MiB and checks checksums,
    so it takes about a second per GiB: call it in a worker thread.

    Args:
        path: the file.
        start: begin at this event's offset, the end of a group; 0: at the beginning.
        only_not_plain: leave out the plain groups; there may be a million of them.

    Raises:
        BinlogError: the file is encrypted, or is no binlog at all.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return _Scan(path.name, file, start, only_not_plain=only_not_plain).run()


class _Scan:
    def __init__(self, name: str, file: BinaryIO, start: int, *, only_not_plain: bool) -> None:
        self._name = name
        self._file = file
        self._start = start
        self._only_not_plain = only_not_plain
        self._size = os.fstat(file.fileno()).st_size
        self._position = len(MAGIC)
        self._groups: list[ScannedGroup] = []
        self._assembler = GroupAssembler(file=name)

    def run(self) -> FileScan:
        magic = self._file.read(len(MAGIC))
        if magic == ENCRYPTED_MAGIC:
            raise BinlogError(f"{self._name} is encrypted and cannot be read: set encrypt_binlog=OFF")
        if magic != MAGIC and magic != MAGIC[: len(magic)]:
            raise BinlogError(f"{self._name} is no binlog: it begins with {magic.hex(' ')}")
        damage: str | None = None
        try:
            while self._position < self._size:
                if not self._read_event():
                    break
        except _TornError as torn:
            damage = str(torn)
        except ChecksumMismatch as error:
            damage = f"at offset {self._position}: {error}"
        opened = self._assembler.open_group
        incomplete = None
        if opened is not None:
            gtid, flags2 = opened
            incomplete = ScannedGroup(
                gtid=gtid,
                flags2=flags2,
                plain=flags2 & (GroupFlag.TRANSACTIONAL | NOT_PLAIN_FLAGS) == GroupFlag.TRANSACTIONAL,
                end_position=self._size,
                statement=None,
            )
        return FileScan(
            file=self._name,
            groups=tuple(self._groups),
            incomplete=incomplete,
            end_position=min(self._position, self._size),
            size=self._size,
            damage=damage,
        )

    def _read_event(self) -> bool:
        """Read one event; False when no group can follow in this file."""
        head = self._file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            raise _TornError(f"the file ends {len(head)} bytes into an event at offset {self._position}")
        try:
            header = parse_header(head)
        except BinlogError as error:
            raise _TornError(f"at offset {self._position}: {error}") from error
        end = self._position + header.length
        if end > self._size:
            raise _TornError(
                f"the event at offset {self._position} should be {header.length} bytes long, "
                f"{self._size - self._position} are there"
            )
        if header.type == EventType.ROTATE:
            self._position = end
            return False
        if header.type == EventType.START_ENCRYPTION:
            raise BinlogError(f"{self._name} is encrypted and cannot be read: set encrypt_binlog=OFF")
        first = True
        left = header.length
        while left:
            data = head + self._file.read(min(left, READ_BYTES) - len(head))
            head = b""
            left -= len(data)
            self._receive(data, first=first, last=left == 0, end=end)
            first = False
        self._position = end
        if header.type == EventType.FORMAT_DESCRIPTION and self._start > self._position:
            self._position = self._start
            self._file.seek(self._start)
        return True

    def _receive(self, data: bytes, *, first: bool, last: bool, end: int) -> None:
        try:
            slices = self._assembler.receive(data, first=first, last=last)
        except ChecksumMismatch:
            raise
        except BinlogError as error:
            if self._assembler.format is None:
                raise BinlogError(f"{self._name}: {error}") from error
            raise _TornError(f"at offset {self._position}: {error}") from error
        for piece in slices:
            if piece.end is None or (piece.end.plain and self._only_not_plain):
                continue
            self._groups.append(
                ScannedGroup(
                    gtid=piece.gtid,
                    flags2=piece.flags2,
                    plain=piece.end.plain,
                    end_position=end,
                    statement=piece.end.statement,
                )
            )


class _TornError(Exception):
    """The file ends before its last event does."""
