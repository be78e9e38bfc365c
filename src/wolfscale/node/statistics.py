"""What a node counts, since its start: plain numbers, for whoever shows them."""

from dataclasses import dataclass, field

from wolfscale.histogram import Histogram


@dataclass(slots=True, kw_only=True)
class DiskStatistics:
    """What went to the log's segments.

    Attributes:
        appended_bytes: bytes written.
        writes: times that something was written.
        fsync_seconds: how long each sync took.
    """

    appended_bytes: int = 0
    writes: int = 0
    fsync_seconds: Histogram = field(default_factory=Histogram)


@dataclass(slots=True, kw_only=True)
class RaftStatistics:
    """What happened around the Raft core.

    Attributes:
        elections: times that this node stood for election.
        elections_won: times that it became leader.
        leader_changes: times that it learned of another leader than before.
        proposals: entries that it appended as the leader.
        proposed_bytes: their data.
        commit_seconds: on the leader, from a proposal to its commit, for each entry.
    """

    elections: int = 0
    elections_won: int = 0
    leader_changes: int = 0
    proposals: int = 0
    proposed_bytes: int = 0
    commit_seconds: Histogram = field(default_factory=Histogram)
