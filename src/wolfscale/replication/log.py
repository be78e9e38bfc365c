"""The replicated log as replication sees it: what the node's log must offer, structurally."""

from collections.abc import Sequence
from typing import Protocol

from wolfscale.changes import Changes

EVENTS = 2
"""The kind of the entries that carry event groups; others are Raft's own."""


class LogEntry(Protocol):
    """One entry of the log."""

    @property
    def index(self) -> int:
        """Its place, from 1."""

    @property
    def term(self) -> int:
        """The Raft term in which it was proposed."""

    @property
    def kind(self) -> int:
        """`EVENTS`, or a kind of Raft's own."""

    @property
    def data(self) -> bytes:
        """Its content; for `EVENTS` a fragment, see `wolfscale.replication.entry`."""


class ReplicatedLog(Protocol):
    """The log of this node. All of it is used from one event loop."""

    @property
    def changes(self) -> Changes:
        """Notified when the commit index or the role has moved."""

    @property
    def first_index(self) -> int:
        """The first entry that is still there."""

    @property
    def commit_index(self) -> int:
        """Everything up to it is committed, and durable on this node."""

    @property
    def unpersisted_bytes(self) -> int:
        """Bytes of entries that wait for this node's disk."""

    def propose(self, datas: Sequence[bytes], *, term: int) -> int:
        """Append `EVENTS` entries in this order and return the last one's index; they get successive ones.

        Raises:
            WolfScaleError: this node does not (or no longer) lead `term`; nothing was appended.
        """

    def read(self, first: int, last: int, max_bytes: int) -> Sequence[LogEntry]:
        """Committed entries from `first` to `last`: at least one, further ones while their data fits."""

    def term_at(self, index: int) -> int:
        """The term of the entry at an index, committed or not."""

    def find_sequence(self, sequence: int) -> int | None:
        """The index of the last fragment of the group of that GTID sequence, if it is complete.

        It may be an entry that is not committed (yet).
        """
