"""The replicated log as the rest of the program sees it: what is committed, and a place to propose."""

from collections.abc import Sequence

from wolfscale.changes import Changes
from wolfscale.node.driver import Driver
from wolfscale.raft.errors import LogCompacted
from wolfscale.raft.types import Entry, Index, Term


class CommittedLog:
    """Shows a node's log; structurally what the replication asks for.

    Args:
        driver: the node's.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._storage = driver.storage

    @property
    def changes(self) -> Changes:
        """Notified when the commit index or the role has moved."""
        return self._driver.changes

    @property
    def first_index(self) -> Index:
        """The first entry that is still there."""
        return Index(self._storage.base.index + 1)

    @property
    def last_index(self) -> Index:
        """The last entry, committed or not."""
        return self._driver.raft.last_index

    @property
    def commit_index(self) -> Index:
        """Everything up to it is committed, and durable here."""
        return self._driver.commit_index

    @property
    def unpersisted_bytes(self) -> int:
        """Bytes of entries that wait for the disk."""
        return self._driver.unpersisted_bytes

    def propose(self, datas: Sequence[bytes], *, term: int) -> Index:
        """Append entries in this order and return at once; returns the last one's index.

        Args:
            datas: the entries' data.
            term: append only while leading this term.

        Raises:
            NotLeader: this node does not lead.
            ProposalDropped: it leads another term, or is handing leadership over.
            NodeStopped: it is stopping.
        """
        return self._driver.propose(datas, term=term)

    def read(self, first: int, last: int, max_bytes: int) -> Sequence[Entry]:
        """Committed entries from `first` to `last`: one at least, further ones while their data fits.

        Empty when `first` is not committed yet, or above `last`.

        Raises:
            LogCompacted: `first` is no longer in the log.
            WalError: the disk gave something else than what was written.
        """
        if first < self.first_index:
            raise LogCompacted(Index(first), self._storage.base.index)
        last = min(last, self.commit_index)
        if first > last:
            return ()
        return self._storage.entries(Index(first), Index(last), max_bytes)

    def term_at(self, index: int) -> Term:
        """The term of an entry.

        Raises:
            LogCompacted: it is no longer in the log.
        """
        return self._storage.term(Index(index))

    def find_sequence(self, sequence: int) -> Index | None:
        """The entry that completes the group of that GTID sequence; it may be uncommitted still."""
        return self._storage.find_key(sequence)
