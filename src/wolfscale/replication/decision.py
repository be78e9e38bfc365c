"""Decides from what a recovery found where a server's data stands, or that only a clone helps. Pure.

The rules are the design's ("The life of a node's MariaDB", steps 1 and 2). A wrong position is silent
data loss, so every doubt ends in a clone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid
from wolfscale.replication.record import BinlogPosition, CleanStop, DataState, NodeRecord, TailEvidence
from wolfscale.replication.tail import order


class CloneReason(StrEnum):
    """Why a server's data must be replaced by a peer's."""

    NO_DATA = "no data"
    """There is none, or a creation or clone did not come to its end."""
    DIVERGED = "diverged"
    """It holds something that the log does not."""
    TOO_FAR_BEHIND = "too far behind"
    """The log no longer holds what comes next."""
    UNSETTLED = "unsettled"
    """A statement that is no plain transaction may be half done in it."""
    UNUSABLE = "unusable"
    """The server does not start on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the data stands: everything up to this group is in it, whole, and nothing else.

    Attributes:
        gtid: the last group; None: none.
        index: log index of that group's last fragment; 0 when there is none.
    """

    gtid: Gtid | None = None
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneNeeded:
    """The data cannot be used.

    Attributes:
        reason: which rule says so.
        detail: what was found, for people.
        position: the best guess of where it stands; only for the case that no member is any better.
    """

    reason: CloneReason
    detail: str
    position: Gtid | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBehind:
    """The log of this node does not reach as far yet: ask again when more of it is committed.

    Attributes:
        detail: what is waited for.
    """

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a recovery found.

    Attributes:
        data: what the data directory is worth.
        last_binlog: InnoDB's "last binlog file ... position ..."; None when no boot has printed it.
        replicated: gtid_slave_pos of the data; exact for everything that was replicated.
        tail: what the server's own binlog had after the settled record; a torn or lost binlog shows fewer
            groups than there were.
        boot_group: a group that the server wrote by itself while it booted.
        clean_stop: the server had been stopped in good order, and where.
    """

    data: DataState = DataState.PRESENT
    last_binlog: BinlogPosition | None = None
    replicated: Gtid | None = None
    tail: TailEvidence = field(default_factory=TailEvidence)
    boot_group: Gtid | None = None
    clean_stop: CleanStop | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroup:
    """One complete event group in the log.

    Attributes:
        gtid: its GTID.
        index: log index of its last fragment.
        plain: whether it is a plain InnoDB transaction.
        end: where it ends in the binlog of the primary that wrote it.
    """

    gtid: Gtid
    index: int
    plain: bool
    end: BinlogPosition


class LogEvidence(Protocol):
    """What the decision asks of the committed part of the log."""

    @property
    def first_index(self) -> int:
        """Index of the oldest entry that is kept; 1 when none was ever dropped."""

    @property
    def complete(self) -> bool:
        """Whether everything that the cluster had committed when it was asked is committed here too."""

    def find(self, gtid: Gtid) -> int | None:
        """Return the index of the committed group with exactly this GTID."""

    def oldest_sequence(self) -> int | None:
        """Return the sequence number of the first committed group that is kept."""

    def newest_sequence(self) -> int | None:
        """Return the sequence number of the last committed group."""

    def tenure_groups(self, term: int, after: int) -> Sequence[LogGroup]:
        """Return the groups that the primary of a term wrote, after an index, in order."""

    def last_plain(self, term: int, index: int) -> LogGroup | None:
        """Return the newest plain group of that primary at or below an index."""


Outcome = Position | CloneNeeded | LogBehind


def decide(recovery: Recovery, record: NodeRecord, log: LogEvidence) -> Outcome:
    """Return where the data stands, that it must be cloned, or that the log must be waited for.

    Args:
        recovery: what the recovery found.
        record: the node's record after it.
        log: the committed log.
    """
    if recovery.data is not DataState.PRESENT:
        return CloneNeeded(reason=CloneReason.NO_DATA, detail=f"the data directory is {recovery.data}")
    if recovery.clean_stop is not None:
        return _locate(_latest(recovery.replicated, _parse(record.settled.gtid)), log)
    groups = log.tenure_groups(record.tenure.term, record.settled.index) if record.tenure else ()
    committed = _engine_position(recovery, record, groups, log)
    guess = _latest(
        recovery.replicated,
        _parse(record.settled.gtid),
        committed if isinstance(committed, Gtid) else None,
    )
    doubt = _doubt(recovery, record, groups)
    if doubt is not None:
        return CloneNeeded(reason=CloneReason.UNSETTLED, detail=doubt, position=guess)
    if recovery.tail.own_change:
        return CloneNeeded(
            reason=CloneReason.DIVERGED,
            detail=f"the server wrote {recovery.tail.own_change} by itself while it was a replica",
            position=guess,
        )
    if isinstance(committed, CloneNeeded):
        return CloneNeeded(reason=committed.reason, detail=committed.detail, position=guess)
    if isinstance(committed, LogBehind):
        return committed
    if record.tenure is not None and not log.complete:
        # A group that is no plain transaction may stand in the part that is not known to be committed yet.
        return LogBehind(detail=f"the whole log of term {record.tenure.term} must be known")
    return _locate(guess, log)


def _doubt(recovery: Recovery, record: NodeRecord, groups: Sequence[LogGroup]) -> str | None:
    if record.unsettled is not None:
        return f"it was executing {record.unsettled.gtid}, which is no plain transaction"
    if record.intent:
        return f"the intent mark stands: {record.intent}"
    for group in groups:
        if not group.plain:
            return f"{group.gtid} in the log is no plain transaction and not settled"
    if recovery.tail.first_not_plain:
        return f"{recovery.tail.first_not_plain} in its binlog is no plain transaction and not settled"
    if recovery.replicated is None and _had_position(record):
        return "its replication position is gone: it ended while that was being set"
    if recovery.boot_group is not None:
        return f"it finished something by itself while it booted ({recovery.boot_group})"
    return None


def _had_position(record: NodeRecord) -> bool:
    """Whether `gtid_slave_pos` cannot be empty by right.

    MariaDB sets it by emptying its table and filling it again; a server that ends in between has nothing.
    What was settled may be older than the data then.
    """
    if record.tenure is not None:
        return bool(record.tenure.start)
    # A copy of a primary's data knows its position from the backup; no place in the log is recorded yet.
    return record.settled.index > 0


def _engine_position(
    recovery: Recovery, record: NodeRecord, groups: Sequence[LogGroup], log: LogEvidence
) -> Gtid | CloneNeeded | LogBehind | None:
    """The last group of its own tenure that InnoDB committed; None: none beyond the other positions."""
    tenure, last = record.tenure, recovery.last_binlog
    if tenure is None:
        return None
    settled = record.settled
    settled_here = settled.binlog is not None and _term(settled.gtid) == tenure.term
    if last is None:
        if groups or recovery.tail.groups:
            return CloneNeeded(
                reason=CloneReason.UNSETTLED,
                detail="InnoDB did not say how far it had committed, and it had written groups that are not "
                "settled",
            )
        return None
    if _key(last) <= _key(tenure.binlog):
        if settled_here:
            return _contradiction(last, record)
        return None  # nothing was committed in this tenure, not even the marker row
    for group in groups:
        if group.end == last:
            return group.gtid
    if settled_here and settled.binlog is not None and _key(last) <= _key(settled.binlog):
        # Groups that are not plain move no position in InnoDB, so it may rightly be behind the record.
        plain = log.last_plain(tenure.term, settled.index)
        if plain is not None and _key(plain.end) > _key(last):
            return _contradiction(last, record)
        return None
    detail = f"InnoDB committed a group that ends at {last.file}:{last.offset}, which the log does not hold"
    if not log.complete:
        return LogBehind(detail=detail)
    return CloneNeeded(reason=CloneReason.DIVERGED, detail=detail)


def _contradiction(last: BinlogPosition, record: NodeRecord) -> CloneNeeded:
    return CloneNeeded(
        reason=CloneReason.UNSETTLED,
        detail=f"InnoDB says {last.file}:{last.offset}, which is before the settled {record.settled.gtid}",
    )


def _locate(gtid: Gtid | None, log: LogEvidence) -> Outcome:
    if gtid is None:
        if log.first_index > 1:
            return CloneNeeded(
                reason=CloneReason.TOO_FAR_BEHIND,
                detail="the data is empty and the log no longer begins at 1",
            )
        return Position()
    index = log.find(gtid)
    if index is not None:
        return Position(gtid=gtid, index=index)
    oldest, newest = log.oldest_sequence(), log.newest_sequence()
    if not log.complete and (newest is None or newest < gtid.sequence):
        return LogBehind(detail=f"the data stands at {gtid}, the log here at sequence {newest}")
    if log.first_index > 1 and (oldest is None or gtid.sequence < oldest):
        return CloneNeeded(
            reason=CloneReason.TOO_FAR_BEHIND,
            detail=f"the data stands at {gtid}, the log begins at sequence {oldest}",
            position=gtid,
        )
    return CloneNeeded(
        reason=CloneReason.DIVERGED,
        detail=f"the data stands at {gtid}, which is not in the log",
        position=gtid,
    )


def _latest(*positions: Gtid | None) -> Gtid | None:
    known = [position for position in positions if position is not None]
    return max(known, key=lambda gtid: gtid.sequence, default=None)


def _parse(text: str) -> Gtid | None:
    return parse_gtid(text) if text else None


def _term(text: str) -> int:
    gtid = _parse(text)
    return gtid.server_id if gtid else 0


def _key(position: BinlogPosition) -> tuple[str, int, int]:
    return (*order(position.file), position.offset)
