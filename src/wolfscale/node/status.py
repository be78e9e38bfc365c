"""What a node says of itself, as frozen values for people and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from wolfscale.node.driver import Driver
from wolfscale.node.links import Links, LinkStatus
from wolfscale.node.listener import Listener, ListenerStatus
from wolfscale.node.residence import Residence
from wolfscale.raft.types import Index, Member, NodeId, Role, Suffrage, Term


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
        writing_for: seconds for which the write that is under way has lasted.
        persists: writes of the log since the start.
        persisted_readys: Readys that they served.
        dropped_ticks: ticks lost because the process was stopped or starved.
        disk_problem: why the log cannot be written at the moment (no room); None when it can.
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
    writing_for: float
    persists: int
    persisted_readys: int
    dropped_ticks: int
    disk_problem: str | None
    members: tuple[MemberStatus, ...]
    links: tuple[LinkStatus, ...]
    listener: ListenerStatus


def build_status(
    *,
    driver: Driver,
    residence: Residence,
    links: Links,
    listener: Listener,
    notices: Mapping[NodeId, Notice],
) -> NodeStatus:
    """A node's status from its parts."""
    raft = driver.raft.status()
    progress = {peer.id: peer for peer in raft.peers}
    leads = raft.role is Role.LEADER
    now = trio.current_time()

    def describe(member: Member) -> MemberStatus:
        own = member.id == raft.id
        peer = progress.get(member.id)
        notice = notices.get(member.id)
        return MemberStatus(
            id=member.id,
            name=member.name,
            address=member.address,
            number=member.number,
            suffrage=member.suffrage,
            connected=own or links.connected(member.id),
            active=(True if own else peer is not None and peer.active) if leads else None,
            match_index=(raft.persisted_index if own else peer.match_index if peer else Index(0))
            if leads
            else None,
            notice_age=now - notice.received_at if notice else None,
        )

    identity = residence.identity
    leader = raft.membership.get(raft.leader) if raft.leader is not None else None
    return NodeStatus(
        id=identity.id,
        name=identity.name,
        address=residence.address,
        number=identity.number,
        joining=residence.joining,
        removed=residence.removed,
        role=raft.role,
        term=raft.term,
        leader=raft.leader,
        leader_name=leader.name if leader else None,
        first_index=Index(raft.base_index + 1),
        last_index=raft.last_index,
        persisted_index=raft.persisted_index,
        commit_index=driver.commit_index,
        unpersisted_bytes=driver.unpersisted_bytes,
        writing_for=driver.writing_for,
        persists=driver.persists,
        persisted_readys=driver.persisted_readys,
        dropped_ticks=driver.dropped_ticks,
        disk_problem=driver.disk_problem,
        members=tuple(map(describe, raft.membership.members)),
        links=links.status(),
        listener=listener.status(),
    )
