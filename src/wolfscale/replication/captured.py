"""What a capture has done: the groups that it gave to the log, and its counters."""

from dataclasses import dataclass, field

from wolfscale.histogram import Histogram
from wolfscale.mysql.binlog.events import Statement
from wolfscale.mysql.binlog.groups import GroupEnd, GroupSlice
from wolfscale.mysql.binlog.gtid import Gtid


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedGroup:
    """A group that the log holds.

    Attributes:
        gtid: its id.
        index: the log index of its last fragment.
        file: the primary's binlog file.
        end_position: where it ends there.
        plain: it is a plain transaction.
        statement: its first statement; None when it has only rows.
    """

    gtid: Gtid
    index: int
    file: str
    end_position: int
    plain: bool
    statement: Statement | None


@dataclass(slots=True, kw_only=True)
class CaptureStatistics:
    """What a capture has done since it was made.

    Attributes:
        connections: dumps begun.
        groups: groups proposed to the log whole.
        not_plain: those of them that are no plain transactions.
        fragments: entries proposed.
        bytes: bytes of events in them.
        resent: groups that the primary sent again and the log had already.
        acknowledgements: ACKs sent.
        ends_by_flag: groups whose end only the primary's flag told.
        pauses: times that reading waited for the node's disk.
        ack_seconds: from a group's end on the wire to its ACK, for each group.
    """

    connections: int = 0
    groups: int = 0
    not_plain: int = 0
    fragments: int = 0
    bytes: int = 0
    resent: int = 0
    acknowledgements: int = 0
    ends_by_flag: int = 0
    pauses: int = 0
    ack_seconds: Histogram = field(default_factory=Histogram)


def captured_group(piece: GroupSlice, end: GroupEnd, index: int) -> CapturedGroup:
    """The group that ends with a slice, whose fragment is the log's entry `index`."""
    return CapturedGroup(
        gtid=piece.gtid,
        index=index,
        file=end.file,
        end_position=end.end_position,
        plain=end.plain,
        statement=end.statement,
    )
