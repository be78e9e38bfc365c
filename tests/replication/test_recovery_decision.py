"""The decision after a recovery, row by row: where the data stands, or why it must be cloned."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.decision import (
    CloneNeeded,
    CloneReason,
    LogBehind,
    LogGroup,
    Outcome,
    Position,
    Recovery,
    decide,
)
from wolfscale.replication.record import (
    BinlogPosition,
    CleanStop,
    DataState,
    NodeRecord,
    Settled,
    TailEvidence,
    Tenure,
    Unsettled,
)

FILE = "binlog-000007.000001"
START = BinlogPosition(file=FILE, offset=300)


@dataclass
class FakeLog:
    """A log of groups of 100 bytes each in the primary's binlog: group n ends at n * 100."""

    groups: list[LogGroup]
    first_index: int = 1
    complete: bool = True
    committed: int = field(default=1 << 60)

    def _known(self) -> list[LogGroup]:
        return [group for group in self.groups if self.first_index <= group.index <= self.committed]

    def find(self, gtid: Gtid) -> int | None:
        return next((group.index for group in self._known() if group.gtid == gtid), None)

    def oldest_sequence(self) -> int | None:
        return self._known()[0].gtid.sequence if self._known() else None

    def newest_sequence(self) -> int | None:
        return self._known()[-1].gtid.sequence if self._known() else None

    def tenure_groups(self, term: int, after: int) -> Sequence[LogGroup]:
        return [group for group in self._known() if group.index > after and group.gtid.server_id == term]

    def last_plain(self, term: int, index: int) -> LogGroup | None:
        found = [g for g in self._known() if g.index <= index and g.gtid.server_id == term and g.plain]
        return found[-1] if found else None


def _gtid(sequence: int, term: int = 7) -> Gtid:
    return Gtid(domain=0, server_id=term, sequence=sequence)


def _end(sequence: int) -> BinlogPosition:
    return BinlogPosition(file=FILE, offset=sequence * 100)


def _group(sequence: int, *, term: int = 7, plain: bool = True) -> LogGroup:
    return LogGroup(gtid=_gtid(sequence, term), index=sequence * 2, plain=plain, end=_end(sequence))


def _log(*not_plain: int, last: int = 12) -> FakeLog:
    """Groups 1 to 3 of term 5, which ended long ago, then those of term 7."""
    old = [_group(n, term=5) for n in range(1, 4)]
    return FakeLog([*old, *(_group(n, plain=n not in not_plain) for n in range(4, last + 1))])


def _settled(sequence: int, term: int = 7) -> Settled:
    return Settled(gtid=str(_gtid(sequence, term)), index=sequence * 2, binlog=_end(sequence))


PRIMARY = NodeRecord(
    data=DataState.PRESENT, tenure=Tenure(term=7, binlog=START), recovering=True, settled=_settled(8)
)
REPLICA = NodeRecord(
    data=DataState.PRESENT, recovering=True, settled=Settled(gtid="0-7-8", index=16), tenure=None
)


def _primary(**changes: object) -> NodeRecord:
    return msgspec.structs.replace(PRIMARY, **changes)


def _replica(**changes: object) -> NodeRecord:
    return msgspec.structs.replace(REPLICA, **changes)


def _stands_at(sequence: int, term: int = 7) -> Position:
    return Position(gtid=_gtid(sequence, term), index=sequence * 2)


def _recovered(last: int | None = None, replicated: int | None = None, **tail: object) -> Recovery:
    return Recovery(
        last_binlog=_end(last) if last else None,
        replicated=_gtid(replicated, 5) if replicated else None,
        tail=msgspec.structs.replace(TailEvidence(), **tail),
    )


ROWS: dict[str, tuple[Recovery, NodeRecord, FakeLog, Outcome | CloneReason | type[LogBehind]]] = {
    "primary: what InnoDB names last is in the log": (
        _recovered(last=10, replicated=3), _primary(), _log(), _stands_at(10),
    ),
    "primary: InnoDB names the settled group": (
        _recovered(last=8), _primary(), _log(), _stands_at(8),
    ),
    "primary: only groups that are not plain lie between InnoDB's and the settled one": (
        _recovered(last=6), _primary(), _log(7, 8), _stands_at(8),
    ),
    "primary: InnoDB is behind a plain group that was settled": (
        _recovered(last=6), _primary(), _log(8), CloneReason.UNSETTLED,
    ),
    "primary: nothing committed in this tenure, position of the replica it was": (
        Recovery(last_binlog=BinlogPosition(file="binlog-000006.000002", offset=900), replicated=_gtid(3, 5)),
        _primary(settled=Settled(gtid="0-5-3", index=6)),
        _log(last=3),
        _stands_at(3, 5),
    ),
    "primary: InnoDB names an earlier tenure although this one was settled": (
        Recovery(last_binlog=BinlogPosition(file="binlog-000006.000002", offset=900)),
        _primary(), _log(), CloneReason.UNSETTLED,
    ),
    "primary: InnoDB says nothing, and nothing came after the settled record": (
        _recovered(), _primary(settled=_settled(12)), _log(), _stands_at(12),
    ),
    "primary: InnoDB says nothing, and groups in the log are not settled": (
        _recovered(), _primary(), _log(), CloneReason.UNSETTLED,
    ),
    "primary: InnoDB says nothing, and groups in the binlog are not settled": (
        _recovered(groups=1), _primary(settled=_settled(12)), _log(), CloneReason.UNSETTLED,
    ),
    "primary: InnoDB committed what the log does not hold": (
        _recovered(last=13), _primary(), _log(), CloneReason.DIVERGED,
    ),
    "primary: InnoDB committed what the log does not hold yet": (
        _recovered(last=13), _primary(), replace(_log(), complete=False), LogBehind,
    ),
    "primary: the log is not known to its end": (
        _recovered(last=10), _primary(), replace(_log(), complete=False), LogBehind,
    ),
    "primary: a group that is not plain came after the settled record": (
        _recovered(last=10), _primary(), _log(11), CloneReason.UNSETTLED,
    ),
    "primary: the binlog shows a group that is not plain, not in the log": (
        _recovered(last=10, groups=3, first_not_plain="0-7-13"), _primary(), _log(), CloneReason.UNSETTLED,
    ),
    "primary: the intent mark stands": (
        _recovered(last=10), _primary(intent="DDL"), _log(), CloneReason.UNSETTLED,
    ),
    "primary: groups of other primaries that are not plain do not matter": (
        _recovered(last=4, replicated=3),
        _primary(settled=Settled(gtid="0-5-3", index=6)),
        FakeLog([*_log(last=4).groups, _group(5, term=9, plain=False)]),
        _stands_at(4),
    ),
    "replica: gtid_slave_pos": (
        _recovered(replicated=3), _replica(settled=Settled()), _log(), _stands_at(3, 5),
    ),
    "replica: the settled record is later than a copied gtid_slave_pos": (
        _recovered(replicated=3), _replica(), _log(), _stands_at(8),
    ),
    "replica: a group that is not plain was being executed": (
        _recovered(replicated=3),
        _replica(unsettled=Unsettled(gtid="0-7-9", index=18)),
        _log(),
        CloneReason.UNSETTLED,
    ),
    "replica: groups that are not plain after its position were never given to it": (
        _recovered(replicated=3), _replica(), _log(9, 10, 11), _stands_at(8),
    ),
    "replica: it ended while its position was being set": (
        _recovered(), _replica(), _log(), CloneReason.UNSETTLED,
    ),
    "primary: it ended while the position of the replica it was was being set": (
        _recovered(last=10), _primary(tenure=Tenure(term=7, binlog=START, start="0-5-3")), _log(),
        CloneReason.UNSETTLED,
    ),
    "copy of a primary's data, which had never been a replica": (
        _recovered(), _replica(settled=Settled(gtid="0-7-8")), _log(), _stands_at(8),
    ),
    "replica: it wrote something by itself": (
        _recovered(replicated=3, own_change="0-2147483649-9"), _replica(), _log(), CloneReason.DIVERGED,
    ),
    "replica: it finished a DDL by itself while it booted": (
        Recovery(boot_group=_gtid(9, 0x80000001)), _replica(), _log(), CloneReason.UNSETTLED,
    ),
    "replica: its position is another primary's": (
        _recovered(), _replica(settled=Settled(gtid="0-6-8")), _log(), CloneReason.DIVERGED,
    ),
    "replica: its position is before the log's first entry": (
        _recovered(replicated=3), _replica(settled=Settled()), replace(_log(), first_index=9),
        CloneReason.TOO_FAR_BEHIND,
    ),
    "replica: everything was dropped from the log": (
        _recovered(replicated=3), _replica(), replace(_log(), first_index=40), CloneReason.TOO_FAR_BEHIND,
    ),
    "replica: its position is not committed here yet": (
        _recovered(), _replica(settled=Settled(gtid="0-7-12")), replace(_log(), complete=False, committed=10),
        LogBehind,
    ),
    "replica: it is ahead of the whole log": (
        _recovered(), _replica(settled=Settled(gtid="0-7-13")), _log(), CloneReason.DIVERGED,
    ),
    "empty data and a log from its beginning": (
        Recovery(), _replica(settled=Settled()), _log(), Position(),
    ),
    "empty data and a log that begins later": (
        Recovery(), _replica(settled=Settled()), replace(_log(), first_index=5), CloneReason.TOO_FAR_BEHIND,
    ),
    "clean stop": (
        Recovery(clean_stop=CleanStop(gtid="0-7-10"), replicated=_gtid(3, 5)),
        _replica(settled=_settled(10)), _log(11, 12), _stands_at(10),
    ),
    "no data": (Recovery(data=DataState.ABSENT), NodeRecord(), _log(), CloneReason.NO_DATA),
    "unfinished clone": (
        Recovery(data=DataState.UNFINISHED), NodeRecord(data=DataState.UNFINISHED), _log(),
        CloneReason.NO_DATA,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_decision_follows_its_table(row: str) -> None:
    recovery, record, log, expected = ROWS[row]
    outcome = decide(recovery, record, log)
    if isinstance(expected, CloneReason):
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is expected
        assert outcome.detail in str(outcome)
    elif isinstance(expected, type):
        assert isinstance(outcome, expected)
    else:
        assert outcome == expected


@given(
    committed=st.integers(4, 12),
    settled=st.integers(4, 12),
    captured=st.integers(4, 12),
    not_plain=st.sets(st.integers(4, 12)),
    seen_in_binlog=st.integers(0, 12),
)
def test_decision_about_a_primary_is_the_truth_or_a_clone(
    committed: int, settled: int, captured: int, not_plain: set[int], seen_in_binlog: int
) -> None:
    """Whatever was lost, a position is only given when it is exactly what the engine holds."""
    settled = min(settled, committed)
    log = _log(*not_plain, last=captured)
    plain = [n for n in range(4, committed + 1) if n not in not_plain]
    unsettled = range(settled + 1, max(captured, committed) + 1)
    in_binlog = [n for n in unsettled if n <= seen_in_binlog]
    recovery = Recovery(
        last_binlog=_end(plain[-1]) if plain else START,
        replicated=_gtid(3, 5),
        tail=TailEvidence(
            groups=len(in_binlog),
            first_not_plain=next((str(_gtid(n)) for n in in_binlog if n in not_plain), ""),
        ),
    )
    # What the log does not hold is named by the intent mark if it is not plain.
    marked = any(n in not_plain for n in unsettled if n > captured)
    record = _primary(settled=_settled(settled), intent="DDL" if marked else "")
    outcome = decide(recovery, record, log)
    if isinstance(outcome, Position):
        assert outcome.gtid == _gtid(committed)
        assert not any(n in not_plain for n in unsettled)
    else:
        assert isinstance(outcome, CloneNeeded)
        doubtful = any(n in not_plain for n in unsettled)
        hidden = plain[-1:] == [] or START.offset >= (plain[-1] * 100)
        assert doubtful or committed > captured or hidden
