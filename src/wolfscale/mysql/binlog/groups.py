"""Event groups: events go in one after the other, slices of the groups they make up come out.

A group is everything under one GTID. It is handed on in slices of bounded size as it arrives, so that a
group of any length never stands in memory, not even one that is a single event.

Where a group ends follows from its events (MariaDB sql/sql_repl.cc, send_event_to_slave): a standalone
group with its statement, any other with Xid, XA PREPARE, or a Query event that commits or rolls back. A
semi-synchronous primary also flags the last event of a group that somebody waits for; a flag on an event
that does not look like the last one is believed, and such a group never counts as plain.
"""

import zlib
from dataclasses import dataclass

from wolfscale.mysql.binlog.errors import BinlogError, ChecksumMismatch
from wolfscale.mysql.binlog.events import (
    NOT_PLAIN_FLAGS,
    GroupFlag,
    Statement,
    parse_gtid_event,
    parse_query,
    parse_rotate,
    query_text,
)
from wolfscale.mysql.binlog.format import BinlogFormat, ChecksumAlgorithm, parse_format_description
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import CHECKSUM_BYTES, HEADER, HEADER_BYTES, EventType, check_checksum

SLICE_BYTES = 1 << 20

# Plain integers: an enum member is looked up twice as slowly, and this happens for every event.
_QUERY = int(EventType.QUERY)
_QUERY_COMPRESSED = int(EventType.QUERY_COMPRESSED)
_GTID = int(EventType.GTID)
_XID = int(EventType.XID)
_CONTROL = frozenset(
    {
        EventType.STOP,
        EventType.ROTATE,
        EventType.FORMAT_DESCRIPTION,
        EventType.INCIDENT,
        EventType.HEARTBEAT,
        EventType.BINLOG_CHECKPOINT,
        EventType.GTID_LIST,
        EventType.START_ENCRYPTION,
    }
)
_ENDS_GROUP = frozenset({EventType.XID, EventType.XA_PREPARE})
_ENDS_STANDALONE = frozenset({EventType.QUERY, EventType.QUERY_COMPRESSED, EventType.EXECUTE_LOAD_QUERY})
_ENDING_STATEMENTS = (b"COMMIT", b"ROLLBACK")
_ENDING_XA_STATEMENTS = (b"XA COMMIT", b"XA ROLLBACK")
_FRAME_STATEMENTS = (b"BEGIN", b"COMMIT", b"ROLLBACK")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEnd:
    """What is known once a group is whole.

    Attributes:
        plain: a transaction of engines that can roll back, and nothing else: it ends in Xid, its flags have
            TRANSACTIONAL and none of STANDALONE, DDL, PREPARED_XA, COMPLETED_XA.
        file: the binlog file that it is in, without directory; empty when not told.
        end_position: where it ends there.
        acknowledge: the primary waits for an ACK of this position.
        statement: the group's first statement, BEGIN and the like left out; None when it has only rows.
    """

    plain: bool
    file: str
    end_position: int
    acknowledge: bool
    statement: Statement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSlice:
    """Some of a group's events, as bytes: the slices of a group, joined, are its events.

    Attributes:
        gtid: the group's id.
        flags2: `GroupFlag` bits of its Gtid event.
        number: 0 for the first slice of the group, and so on.
        data: at most the assembler's slice size.
        end: set in the last slice only.
    """

    gtid: Gtid
    flags2: int
    number: int
    data: bytes
    end: GroupEnd | None


class _Event:
    """The event being received: what its beginning said and the checksum so far."""

    __slots__ = ("checksum", "end_position", "head", "left", "length", "tail", "type")

    def __init__(self, head: bytes, event_type: int, length: int, end_position: int) -> None:
        self.head = head
        self.type = event_type
        self.length = length
        self.end_position = end_position
        self.left = length
        self.checksum = 0
        self.tail = b""

    def add(self, data: bytes) -> None:
        """Count bytes and run the checksum over all but the last four of the event."""
        self.left -= len(data)
        data = self.tail + data
        cut = max(0, len(data) - CHECKSUM_BYTES)
        self.checksum = zlib.crc32(memoryview(data)[:cut], self.checksum)
        self.tail = data[cut:]


class _Group:
    """The group being received."""

    __slots__ = ("flags2", "gtid", "number", "parts", "size", "statement")

    def __init__(self, gtid: Gtid, flags2: int) -> None:
        self.gtid = gtid
        self.flags2 = flags2
        self.number = 0
        self.parts: list[bytes] = []
        self.size = 0
        self.statement: Statement | None = None


class GroupAssembler:
    """Turns events into slices of groups.

    Attributes:
        file: the binlog file that events come from now, named by the last Rotate event.
        format: of the events that come now; None before the first Format Description event.
        ends_by_flag: groups that ended where only the primary's flag said so.
    """

    def __init__(self, *, slice_bytes: int = SLICE_BYTES, file: str = "", checksums: bool = True) -> None:
        """Begin between two groups.

        Args:
            slice_bytes: the longest slice; a shorter one comes only at a group's end.
            file: the binlog file, where events are read from a file.
            checksums: the events before the first Format Description event have CRC32.
        """
        self.file = file
        self.format: BinlogFormat | None = None
        self.ends_by_flag = 0
        self._slice_bytes = slice_bytes
        self._checksums = checksums
        self._event: _Event | None = None
        self._group: _Group | None = None

    @property
    def open_group(self) -> tuple[Gtid, int] | None:
        """GTID and flags2 of the group whose end has not come yet."""
        return (self._group.gtid, self._group.flags2) if self._group is not None else None

    @property
    def checksums(self) -> bool:
        """Whether the events that come now have a CRC32."""
        return self._checksums

    def receive(
        self, data: bytes, *, first: bool = True, last: bool = True, acknowledge: bool = False
    ) -> list[GroupSlice]:
        """Take a whole event, or the next part of one.

        Args:
            data: the bytes; a first part has at least the whole event or 64 bytes.
            first: the event begins with them.
            last: the event ends with them.
            acknowledge: the primary flagged this event.

        Raises:
            ChecksumMismatch: the event was damaged.
            BinlogError: the event makes no sense, or not here.
        """
        if first and last:
            if len(data) < HEADER_BYTES:
                raise BinlogError(f"an event of {len(data)} bytes has no header")
            _, event_type, server_id, length, end_position, _ = HEADER.unpack_from(data)
            if length != len(data):
                raise BinlogError(f"an event of {len(data)} bytes claims to be {length} bytes long")
            if self._checksums or event_type == EventType.FORMAT_DESCRIPTION:
                check_checksum(data)
            if event_type in _CONTROL:
                self._control(event_type, data)
                return []
            if event_type == _GTID:
                self._begin_group(data, server_id)
            return self._append(data, data, event_type, end_position, whole=True, acknowledge=acknowledge)
        return self._receive_part(data, first=first, last=last, acknowledge=acknowledge)

    def _receive_part(self, data: bytes, *, first: bool, last: bool, acknowledge: bool) -> list[GroupSlice]:
        if first:
            if len(data) < HEADER_BYTES:
                raise BinlogError(f"the first {len(data)} bytes of an event have no header")
            _, event_type, _, length, end_position, _ = HEADER.unpack_from(data)
            if event_type in _CONTROL or event_type == _GTID:
                raise BinlogError(f"an event of type {event_type} is {length} bytes long")
            self._event = _Event(data, event_type, length, end_position)
        event = self._event
        if event is None:
            raise BinlogError("the beginning of an event is missing")
        event.add(data)
        # An empty part may be the last one: a payload of exactly 16 MiB - 1 is followed by an empty packet.
        if event.left < 0 or (last and event.left):
            raise BinlogError(f"an event of type {event.type} is not {event.length} bytes long as it claims")
        if not last:
            group = self._open(event.type)
            group.parts.append(data)
            group.size += len(data)
            return self._full_slices(group)
        self._event = None
        if self._checksums and event.checksum != int.from_bytes(event.tail, "little"):
            raise ChecksumMismatch(event.type, event.end_position)
        return self._append(
            data, event.head, event.type, event.end_position, whole=False, acknowledge=acknowledge
        )

    def _control(self, event_type: int, event: bytes) -> None:
        """Take an event that belongs to the file or the stream, not to a group."""
        if event_type == EventType.HEARTBEAT:
            return
        if event_type == EventType.INCIDENT:
            raise BinlogError(
                "the primary's binlog says that it lost events (an Incident event): what follows does not "
                "continue what came before; clone the other members from this one"
            )
        if event_type == EventType.START_ENCRYPTION:
            raise BinlogError("an encrypted binlog cannot be read: set encrypt_binlog=OFF")
        if self._group is not None:
            raise BinlogError(f"the end of group {self._group.gtid} is missing")
        if event_type == EventType.ROTATE:
            self.file = parse_rotate(event, checksum=self._checksums)
        elif event_type == EventType.FORMAT_DESCRIPTION:
            self.format, checksum = parse_format_description(event)
            self._checksums = checksum is ChecksumAlgorithm.CRC32

    def _begin_group(self, event: bytes, server_id: int) -> None:
        if self._group is not None:
            raise BinlogError(f"the end of group {self._group.gtid} is missing")
        begin = parse_gtid_event(event, server_id)
        self._group = _Group(begin.gtid, begin.flags2)

    def _open(self, event_type: int) -> _Group:
        group = self._group
        if group is None:
            raise BinlogError(
                f"an event of type {event_type} stands outside any GTID group: was it written by a server "
                "that is no MariaDB?"
            )
        return group

    def _append(
        self, data: bytes, head: bytes, event_type: int, end_position: int, *, whole: bool, acknowledge: bool
    ) -> list[GroupSlice]:
        """Add the last (or only) bytes of an event to its group; the group may end with it."""
        group = self._open(event_type)
        group.parts.append(data)
        group.size += len(data)
        ends = event_type in _ENDS_GROUP
        if event_type in (_QUERY, _QUERY_COMPRESSED):
            ends = self._take_query(group, head, event_type, whole=whole)
        elif group.flags2 & GroupFlag.STANDALONE and event_type in _ENDS_STANDALONE:
            ends = True
        plain = event_type == _XID and (
            group.flags2 & (GroupFlag.TRANSACTIONAL | NOT_PLAIN_FLAGS) == GroupFlag.TRANSACTIONAL
        )
        if acknowledge and not ends:
            self.ends_by_flag += 1
            ends = True
        if not ends:
            return self._full_slices(group) if group.size > self._slice_bytes else []
        self._group = None
        slices = self._full_slices(group)
        end = GroupEnd(
            plain=plain,
            file=self.file,
            end_position=end_position,
            acknowledge=acknowledge,
            statement=group.statement,
        )
        slices.append(
            GroupSlice(
                gtid=group.gtid,
                flags2=group.flags2,
                number=group.number,
                data=b"".join(group.parts),
                end=end,
            )
        )
        return slices

    def _take_query(self, group: _Group, head: bytes, event_type: int, *, whole: bool) -> bool:
        """Keep a statement's text; whether the group ends with it."""
        end = len(head) - CHECKSUM_BYTES if whole and self._checksums else len(head)
        ends = bool(group.flags2 & GroupFlag.STANDALONE)
        # A compressed statement is never one of these: they are too short to be compressed.
        if event_type == _QUERY and whole:
            text = query_text(head, end)
            if text in _FRAME_STATEMENTS:
                return ends or text in _ENDING_STATEMENTS
            ends = ends or text.startswith(_ENDING_XA_STATEMENTS)
        if group.statement is None:
            group.statement = parse_query(head, end=end, compressed=event_type == _QUERY_COMPRESSED)
        return ends

    def _full_slices(self, group: _Group) -> list[GroupSlice]:
        """Cut off full slices; something is always left for the last one."""
        size = self._slice_bytes
        if group.size <= size:
            return []
        data = b"".join(group.parts)
        slices = []
        start = 0
        while len(data) - start > size:
            slices.append(
                GroupSlice(
                    gtid=group.gtid,
                    flags2=group.flags2,
                    number=group.number,
                    data=data[start : start + size],
                    end=None,
                )
            )
            group.number += 1
            start += size
        group.parts = [data[start:]]
        group.size = len(data) - start
        return slices
