"""What `GET /dashboard/data` answers: a node, its cluster and their last minutes, for the page at `/`."""

from enum import StrEnum

from pydantic import Field

from wolfscale.api.models import ClusterStatus, NodeStatus, Shown

Value = float | None
"""None where nothing is known of that second."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something does not work now."""
    WARNING = "warning"
    """It works, but not for long or not after one more failure."""
    INFO = "info"
    """Good to know; it passes by itself."""


class HistorySeries(Shown):
    """One value a second, the newest last; all lists have the same length.

    Attributes:
        commits_per_second: transactions that the cluster committed, as this node learned of them.
        commit_p50_ms: median time from a transaction's entry into the log to its commit, by the leader's
            word; None in a second without one.
        commit_p99_ms: likewise, what 99 of 100 stayed below.
        local_per_second: statements that this node's proxy ran on its own MariaDB.
        leader_per_second: statements that it sent to the leader.
        sessions: clients connected to this node.
        lag_groups: committed transactions that this node's MariaDB had not applied.
        log_bytes_per_second: bytes that this node wrote to its log.
    """

    commits_per_second: tuple[Value, ...] = ()
    commit_p50_ms: tuple[Value, ...] = ()
    commit_p99_ms: tuple[Value, ...] = ()
    local_per_second: tuple[Value, ...] = ()
    leader_per_second: tuple[Value, ...] = ()
    sessions: tuple[Value, ...] = ()
    lag_groups: tuple[Value, ...] = ()
    log_bytes_per_second: tuple[Value, ...] = ()


class History(Shown):
    """The last minutes of this node.

    Attributes:
        interval_seconds: between two values.
        end_time: when the newest values were taken, in seconds since 1970.
        series: the values.
    """

    interval_seconds: int = 1
    end_time: float = 0.0
    series: HistorySeries = HistorySeries()


class Event(Shown):
    """Something notable that happened on this node.

    Attributes:
        time: in seconds since 1970.
        kind: a word for programs: election, leader, promotion, demotion, recovery, clone, database, member,
            refusal, divergence, program, disk, process.
        text: what happened, for people.
        fields: with what: names and values as in the log line.
    """

    time: float
    kind: str
    text: str
    fields: dict[str, str] = Field(default_factory=dict)


class Finding(Shown):
    """Something that is wrong, or soon will be.

    Attributes:
        severity: how bad it is.
        what: what is wrong, with whom.
        next_step: what to do, in plain words.
    """

    severity: Severity
    what: str
    next_step: str


class StatementCounts(Shown):
    """Where the statements of this node's clients went, since the node started.

    Attributes:
        local: run on this node's MariaDB.
        leader: run on the leader's.
        refused: not let through.
        misjudged: taken for plain reads, refused by the replica, run on the leader.
        stale: reads that went to the leader since this node's MariaDB lagged too far behind.
    """

    local: int = 0
    leader: int = 0
    refused: int = 0
    misjudged: int = 0
    stale: int = 0


class DashboardData(Shown):
    """All that the page shows.

    Attributes:
        node: name of the node that answers.
        status: the node as it sees itself.
        cluster: the cluster as it sees it.
        history: its last minutes.
        events: the newest first.
        findings: the worst first; empty when all is well.
        statements: where its clients' statements went.
    """

    node: str
    status: NodeStatus
    cluster: ClusterStatus
    history: History
    events: tuple[Event, ...]
    findings: tuple[Finding, ...]
    statements: StatementCounts
