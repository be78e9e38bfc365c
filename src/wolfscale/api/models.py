"""What the HTTP side shows: one node as it sees itself and its cluster. Frozen values, JSON by themselves."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Shown(BaseModel):
    """What all values here share: they never change, and a reader skips what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RaftRole(StrEnum):
    """A node's part in the cluster."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
    WITNESS = "witness"
    JOINING = "joining"


class DatabaseState(StrEnum):
    """What the MariaDB beside a node is doing."""

    STOPPED = "stopped"
    RECOVERING = "recovering"
    CLONE_NEEDED = "clone needed"
    CLONING = "cloning"
    REPLICA = "replica"
    PROMOTING = "promoting"
    PRIMARY = "primary"
    DEMOTING = "demoting"
    FAILED = "failed"
    NONE = "none"
    """A witness has no MariaDB."""


class CloneStatus(Shown):
    """How far a clone is.

    Attributes:
        donor: name of the member that the data comes from.
        phase: what is being done, in words.
        received_bytes: bytes received so far.
    """

    donor: str
    phase: str
    received_bytes: int


class DatabaseStatus(Shown):
    """A node's MariaDB.

    Attributes:
        state: what it is doing.
        reason: why it is not serving; empty when it is.
        clone: progress while it clones.
        version: the server's version; empty when unknown.
        time_zone: its global time zone, as its distance to UTC; empty when unknown.
        process_id: the server's process; 0 when it does not run.
    """

    state: DatabaseState
    reason: str = ""
    clone: CloneStatus | None = None
    version: str = ""
    time_zone: str = ""
    process_id: int = 0


class LogStatus(Shown):
    """A node's log.

    Attributes:
        first_index: the oldest entry that is still there.
        last_index: the newest entry, committed or not.
        commit_index: the newest entry that a majority holds, as far as this node knows.
        problem: why nothing can be written to it at the moment; empty when it can.
    """

    first_index: int = 0
    last_index: int = 0
    commit_index: int = 0
    problem: str = ""


class AppliedStatus(Shown):
    """How far a node's MariaDB has come along the log.

    Attributes:
        sequence: GTID sequence of the newest group that it has applied.
        index: log index of that group.
        lag_groups: committed groups that it has not applied yet.
        settled_index: log index up to which its own data survives a power cut.
    """

    sequence: int = 0
    index: int = 0
    lag_groups: int = 0
    settled_index: int = 0


class LeaderStatus(Shown):
    """The member that leads."""

    id: str
    name: str
    address: str


class HostStatus(Shown):
    """The machine and the process that a member runs on, by its own word.

    Attributes:
        version: WolfScale's version; empty when unknown.
        disk_total_bytes: size of the file system that holds its data directory; 0 when unknown.
        disk_free_bytes: what is left of it.
        fsync: its log is synced before anything is promised.
        certificate_ends: when its first given certificate expires, in seconds since 1970; 0 without any.
        clock_offset_seconds: how far its clock is ahead of the answering node's, to a fraction of a second.
    """

    version: str = ""
    disk_total_bytes: int = 0
    disk_free_bytes: int = 0
    fsync: bool = True
    certificate_ends: float = 0.0
    clock_offset_seconds: float = 0.0


class MemberStatus(Shown):
    """A member as the answering node knows it: from Raft, and from what the member says of itself.

    Attributes:
        id: its identity, made at its first start.
        name: its configured name.
        number: given by the cluster, never used again.
        address: `host:port` of its peer port.
        suffrage: voter, learner or witness.
        alive: heard from recently.
        silent_seconds: how long ago it was last heard from; None when never.
        match_index: the newest entry that it surely holds; known by the leader only, else 0.
        database: its MariaDB, by its own word.
        applied: how far it has applied, by its own word.
        writable: it takes writes, by its own word.
        mysql_address: `host:port` where applications connect, by its own word; empty when other machines
            cannot.
        api_url: `http://host:port` of its HTTP side, by its own word; empty when it serves none that
            other machines can reach.
        host: the machine that it runs on, by its own word.
    """

    id: str
    name: str
    number: int
    address: str
    suffrage: str
    alive: bool
    silent_seconds: float | None = None
    match_index: int = 0
    database: DatabaseStatus
    applied: AppliedStatus = AppliedStatus()
    writable: bool = False
    mysql_address: str = ""
    api_url: str = ""
    host: HostStatus = HostStatus()


class ProxyStatus(Shown):
    """A node's proxy: where it listens, its sessions now, and counters since the node started."""

    address: str = ""
    sessions: int = 0
    counters: dict[str, int] = Field(default_factory=dict)


class ProcessStatus(Shown):
    """The node's process: identity, age and cost."""

    process_id: int
    version: str
    uptime_seconds: float
    rss_bytes: int = 0


class NodeStatus(Shown):
    """One node, whole: what `GET /status` answers.

    Attributes:
        writable: this node's MariaDB is the primary and takes writes.
        leader: as far as this node knows; None during an election.
        members: everyone in the membership, this node included.
    """

    id: str
    name: str
    number: int
    address: str
    role: RaftRole
    term: int
    leader: LeaderStatus | None
    log: LogStatus
    applied: AppliedStatus
    database: DatabaseStatus
    writable: bool
    members: tuple[MemberStatus, ...]
    proxy: ProxyStatus | None = None
    process: ProcessStatus


class ClusterStatus(Shown):
    """The cluster as one node sees it: what `GET /cluster` answers.

    Attributes:
        seen_by: name of the node that answers.
        writable: some member says that it takes writes in the current term.
        voters: members that count for a majority.
        alive_voters: those of them heard from recently.
    """

    seen_by: str
    term: int
    leader: LeaderStatus | None
    writable: bool
    voters: int
    alive_voters: int
    commit_index: int
    members: tuple[MemberStatus, ...]


class ClusterNode(Shown):
    """One member in `GET /cluster/nodes`: where it is, what it does, and whether it can serve.

    Attributes:
        id: its identity, made at its first start.
        name: its configured name.
        number: given by the cluster, never used again.
        role: what it does in the cluster, as far as the answering node knows.
        alive: heard from recently.
        healthy: it can serve clients, by its own word and the answering node's.
        reason: why not; empty when healthy.
        writable: it takes writes.
        state: what its MariaDB is doing.
        lag_groups: committed transactions that it has not applied yet.
        mysql_address: `host:port` where applications connect; empty when other machines cannot.
        api_url: its HTTP side; empty when other machines cannot reach it.
        peer_address: `host:port` for the other nodes.
    """

    id: str
    name: str
    number: int
    role: RaftRole
    alive: bool
    healthy: bool
    reason: str
    writable: bool
    state: DatabaseState
    lag_groups: int
    mysql_address: str
    api_url: str
    peer_address: str


class ClusterNodes(Shown):
    """The members as one node sees them: what `GET /cluster/nodes` answers.

    Attributes:
        seen_by: name of the node that answers.
        nodes: everyone in the membership, this node included.
    """

    seen_by: str
    nodes: tuple[ClusterNode, ...]


class HealthStatus(Shown):
    """Whether a load balancer should send clients here: what `GET /health` answers.

    Whoever has no token and is not on the node's machine is told the first two only.

    Attributes:
        healthy: the answer; 200 or 503 say the same.
        reason: why not; empty when healthy.
    """

    healthy: bool
    reason: str
    name: str | None = None
    role: RaftRole | None = None
    writable: bool | None = None
