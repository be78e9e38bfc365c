"""Finds event groups in the log by where they stand, not by their GTID."""

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.entry import decode_fragment, sequence_of
from wolfscale.replication.log import EVENTS, LogEntry, ReplicatedLog

SCAN_ENTRIES = 16
"""Entries read at a time while walking backwards; a fragment is at most 1 MiB."""


def newest_group(log: ReplicatedLog, index: int, above: int = 0) -> tuple[Gtid, int] | None:
    """Return GTID and index of the newest complete group in `above + 1 .. index`; None when there is none.

    Only committed entries are looked at. The first read mostly finds it: what else can stand at the end
    are entries of Raft's own and the fragments of a group whose end has not come.
    """
    last = min(index, log.commit_index)
    lowest = max(log.first_index, above + 1)
    step = 1
    while last >= lowest:
        first = max(lowest, last - step + 1)
        entries: list[LogEntry] = []
        next_index = first
        while next_index <= last:
            chunk = log.read(next_index, last, SCAN_ENTRIES << 20)
            entries.extend(chunk)
            next_index = chunk[-1].index + 1
        for entry in reversed(entries):
            if entry.kind == EVENTS and sequence_of(entry.data):
                return decode_fragment(entry.data).gtid, entry.index
        last = first - 1
        step = SCAN_ENTRIES
    return None


class CommittedSequence:
    """The GTID sequence of the newest committed group, looked up when asked and remembered."""

    def __init__(self, log: ReplicatedLog) -> None:
        self._log = log
        self._seen_index = 0
        self._sequence = 0

    @property
    def value(self) -> int:
        """The sequence; 0 while no group is committed."""
        commit_index = self._log.commit_index
        if commit_index != self._seen_index:
            found = newest_group(self._log, commit_index, above=self._seen_index)
            self._seen_index = commit_index
            if found is not None:
                self._sequence = found[0].sequence
        return self._sequence
