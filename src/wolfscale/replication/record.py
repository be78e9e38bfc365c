"""What a node knows of its database across crashes: a small file that is replaced as a whole.

The record is the witness in recovery, since the server's own binlog cannot be believed: what was settled,
whether the server was primary, whether a statement that is no plain transaction may have been under way.
Each change is on disk (file and directory) before `RecordStore.update` returns.
"""

import zlib
from enum import StrEnum
from pathlib import Path

import msgspec
import trio

from wolfscale.durability import replace_file
from wolfscale.replication.server_errors import RecordDamaged


class DataState(StrEnum):
    """What the data directory is worth."""

    ABSENT = "absent"
    """There is none, or leftovers that were never whole."""
    UNFINISHED = "unfinished"
    """A clone or creation is under way; whatever is there is not to be trusted."""
    PRESENT = "present"


class BinlogPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a server's own binlog: file name without directory, and offset in bytes."""

    file: str
    offset: int

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to here is on the disk and whole, whatever kind of group it is.

    Attributes:
        gtid: "0-7-100"; empty before the first group.
        index: log index of that group's last fragment; 0 when not known.
        binlog: the group's end in the primary's own binlog; None on a replica.
    """

    gtid: str = ""
    index: int = 0
    binlog: BinlogPosition | None = None


class Tenure(msgspec.Struct, frozen=True, kw_only=True):
    """The server was made primary and nothing has proved its data since.

    Attributes:
        term: Raft term, and server id of its groups.
        binlog: where its own binlog stood when it was promoted; what InnoDB names before this is of an
            earlier tenure.
        start: `gtid_slave_pos` when it was promoted; empty: there was no group yet.
    """

    term: int
    binlog: BinlogPosition
    start: str = ""


class CleanStop(msgspec.Struct, frozen=True, kw_only=True):
    """The server was drained and stopped in good order at this position (a GTID; empty: no group yet)."""

    gtid: str
    index: int = 0


class Unsettled(msgspec.Struct, frozen=True, kw_only=True):
    """A group that is not plain is being served to this replica: whole only when settled."""

    gtid: str
    index: int


class TailEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the server's own binlog showed after the settled record, before recovery deleted it.

    Attributes:
        groups: number of whole groups.
        first_not_plain: GTID of the first that is no plain transaction; empty: none is.
        own_change: GTID of the first under a reserved server id that may change data; empty: none.
    """

    groups: int = 0
    first_not_plain: str = ""
    own_change: str = ""


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that one node knows of its database.

    Attributes:
        data: what the data directory is worth.
        boots: number of starts of the server; names the next binlog.
        tenure: set durably before promotion, cleared when recovery or a demotion has a proven position.
        last_binlog: InnoDB's own last binlog position, read from the error log of the first boot after a
            crash; kept until recovery is complete since later boots do not print it.
        recovering: a recovery has begun; `tail` and `last_binlog` are its results so far.
        tail: what the own binlog showed.
        settled: the newest position that a power cut cannot take away.
        unsettled: the group that a replica may have half executed.
        intent: why a statement that is no plain transaction may be under way on this primary; empty: none is.
        clean_stop: set after an orderly stop, cleared before the next start.
    """

    data: DataState = DataState.ABSENT
    boots: int = 0
    tenure: Tenure | None = None
    last_binlog: BinlogPosition | None = None
    recovering: bool = False
    tail: TailEvidence = TailEvidence()
    settled: Settled = Settled()
    unsettled: Unsettled | None = None
    intent: str = ""
    clean_stop: CleanStop | None = None


_decoder = msgspec.json.Decoder(NodeRecord)


def encode_record(record: NodeRecord) -> bytes:
    """Return the record as stored: eight hex digits of CRC-32, a space, JSON, a newline."""
    body = msgspec.json.encode(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_record(data: bytes) -> NodeRecord:
    """Return the stored record.

    Raises:
        ValueError: it is damaged.
    """
    checksum, separator, rest = data.partition(b" ")
    body = rest.removesuffix(b"\n")
    if not separator or body == rest or len(checksum) != 8:
        raise ValueError("it is not a whole record")
    if checksum != b"%08x" % zlib.crc32(body):
        raise ValueError("its checksum is wrong")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def _write(path: Path, data: bytes) -> None:
    replace_file(path, data, mode=0o600)


class RecordStore:
    """The record in its file. Any number of tasks of one event loop may update it."""

    def __init__(self, path: Path, record: NodeRecord) -> None:
        self._path = path
        self._wanted = record
        self._durable = record
        self._version = 0
        self._durable_version = 0
        self._lock = trio.Lock()

    @classmethod
    def open(cls, path: Path) -> "RecordStore":
        """Read the record; a missing file is a node that has no data yet.

        Raises:
            RecordDamaged: the file is there and cannot be believed.
            OSError: it cannot be read.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return cls(path, NodeRecord())
        try:
            return cls(path, decode_record(data))
        except ValueError as error:
            raise RecordDamaged(path, str(error)) from error

    @property
    def current(self) -> NodeRecord:
        """The record as it is on the disk."""
        return self._durable

    async def update(self, **changes: object) -> NodeRecord:
        """Change fields of the record durably; changes of tasks that wait together share one write.

        A checkpoint. When cancelled, the change may or may not have been made.

        Raises:
            OSError: it could not be written; the file holds the old record or the new one.
        """
        self._wanted = msgspec.structs.replace(self._wanted, **changes)
        self._version += 1
        version = self._version
        async with self._lock:
            if self._durable_version < version:
                newest, record = self._version, self._wanted
                await trio.to_thread.run_sync(_write, self._path, encode_record(record))
                self._durable, self._durable_version = record, newest
        return self._durable

    async def next_boot(self) -> int:
        """Count a start of the server and return its number, never given before."""
        return (await self.update(boots=self._wanted.boots + 1)).boots
