"""What a node says of itself, as frozen values for people and metrics."""

from dataclasses import dataclass

from wolfscale.node.links import LinkStatus
from wolfscale.node.listener import ListenerStatus
from wolfscale.raft.types import Index, NodeId, Role, Suffrage, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a member has published of itself.

    Attributes:
        data: its bytes; their meaning is the application's.
        received_at: trio's clock when it was last heard, this node's own when it was published.
    """

    data: bytes
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """One member of the cluster, as this node sees it.

    Attributes:
        connected: a stream to or from it is open; True for this node itself.
        active: the leader has heard from it within the election timeout; None on other nodes.
        match_index: the leader knows it to be durable there; None on other nodes.
        notice_age: seconds since it was last heard to publish something; None when never.
    """

    id: NodeId
    name: str
    address: str
    number: int
    suffrage: Suffrage
    connected: bool
    active: bool | None
    match_index: Index | None
    notice_age: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """This node at one moment.

    Attributes:
        number: 0 while it is no member.
        joining: what it is doing to become a member; None when it is one.
        removed: the cluster has removed this identity for good.
        leader: the leader's identity; None while unknown.
        first_index: the log's first entry that is still there.
        commit_index: committed, and durable here.
        unpersisted_bytes: bytes of entries that wait for the disk.
        persists: writes of the log since the start.
        persisted_readys: Readys that they served.
        dropped_ticks: ticks lost because the process was stopped or starved.
    """

    id: NodeId
    name: str
    address: str
    number: int
    joining: str | None
    removed: bool
    role: Role
    term: Term
    leader: NodeId | None
    leader_name: str | None
    first_index: Index
    last_index: Index
    persisted_index: Index
    commit_index: Index
    unpersisted_bytes: int
    persists: int
    persisted_readys: int
    dropped_ticks: int
    members: tuple[MemberStatus, ...]
    links: tuple[LinkStatus, ...]
    listener: ListenerStatus
