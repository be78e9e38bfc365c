"""What the committed part of the log says about a server's past: the answers that `decision` asks for."""

from collections.abc import Iterator, Sequence

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.decision import LogGroup
from wolfscale.replication.entry import Fragment, decode_fragment, sequence_of
from wolfscale.replication.log import EVENTS, ReplicatedLog
from wolfscale.replication.positions import newest_group
from wolfscale.replication.record import BinlogPosition

READ_BYTES = 1 << 20
BACKWARD_ENTRIES = 64


class CommittedLog:
    """`decision.LogEvidence` over the node's log as it is when asked.

    Args:
        log: the node's log.
        complete: the leader has confirmed that everything committed when it was asked is committed here.
    """

    def __init__(self, log: ReplicatedLog, *, complete: bool) -> None:
        self._log = log
        self._complete = complete

    @property
    def first_index(self) -> int:
        """Index of the oldest entry that is kept."""
        return self._log.first_index

    @property
    def complete(self) -> bool:
        """Whether nothing that was committed is missing here."""
        return self._complete

    def find(self, gtid: Gtid) -> int | None:
        """Return the index of the committed group with exactly this GTID."""
        index = self._log.find_sequence(gtid.sequence)
        if index is None or index > self._log.commit_index:
            return None
        [entry] = self._log.read(index, index, READ_BYTES)
        return index if decode_fragment(entry.data).gtid == gtid else None

    def oldest_sequence(self) -> int | None:
        """Return the sequence number of the first committed group that is kept."""
        for _, fragment in self._groups(self._log.first_index):
            return fragment.gtid.sequence
        return None

    def newest_sequence(self) -> int | None:
        """Return the sequence number of the last committed group."""
        newest = newest_group(self._log, self._log.commit_index)
        return newest[0].sequence if newest else None

    def tenure_groups(self, term: int, after: int) -> Sequence[LogGroup]:
        """Return the groups that the primary of a term wrote, after an index, in order."""
        found = []
        for index, fragment in self._groups(after + 1):
            if fragment.gtid.server_id > term:
                break  # a later primary's: nothing of this one follows, however long the log goes on
            if fragment.gtid.server_id == term:
                found.append(_log_group(index, fragment))
        return found

    def last_plain(self, term: int, index: int) -> LogGroup | None:
        """Return the newest plain group of that primary at or below an index."""
        last = min(index, self._log.commit_index)
        while last >= self._log.first_index:
            first = max(self._log.first_index, last - BACKWARD_ENTRIES + 1)
            for found, fragment in reversed(list(self._groups(first, last))):
                if fragment.gtid.server_id == term and fragment.plain:
                    return _log_group(found, fragment)
            last = first - 1
        return None

    def _groups(self, first: int, last: int | None = None) -> Iterator[tuple[int, Fragment]]:
        """The last fragments of complete committed groups, without their bodies being copied."""
        index = max(first, self._log.first_index)
        end = self._log.commit_index if last is None else last
        while index <= end:
            for entry in self._log.read(index, end, READ_BYTES):
                if entry.kind == EVENTS and sequence_of(entry.data):
                    yield entry.index, decode_fragment(entry.data)
                index = entry.index + 1


def _log_group(index: int, fragment: Fragment) -> LogGroup:
    return LogGroup(
        gtid=fragment.gtid,
        index=index,
        plain=fragment.plain,
        end=BinlogPosition(file=fragment.file, offset=fragment.end_position),
    )
