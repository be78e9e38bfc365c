"""From a node's status to an answer for load balancers, and to the cluster's summary. Pure."""

from enum import StrEnum

from wolfscale.api.models import (
    ClusterNode,
    ClusterNodes,
    ClusterStatus,
    DatabaseState,
    DatabaseStatus,
    HealthStatus,
    MemberStatus,
    NodeStatus,
    RaftRole,
)

_SERVING = frozenset({DatabaseState.REPLICA, DatabaseState.PRIMARY})
_NO_VOTE = frozenset({RaftRole.LEARNER, RaftRole.WITNESS, RaftRole.JOINING})


class WantedRole(StrEnum):
    """What the one who asks for health is looking for."""

    ANY = "any"
    LEADER = "leader"
    REPLICA = "replica"


def health(status: NodeStatus, wanted: WantedRole = WantedRole.ANY) -> HealthStatus:
    """Say whether this node can serve clients, or serve them in the wanted role."""
    reason = _why_not(status) or _why_not_as(status, wanted)
    return HealthStatus(
        healthy=not reason, reason=reason, name=status.name, role=status.role, writable=status.writable
    )


def _why_not(status: NodeStatus) -> str:
    if status.role in _NO_VOTE:
        return f"this node is {_described(status.role)}"
    if status.leader is None:
        return "this node knows no leader"
    return _why_no_database(status.database)


def _described(role: RaftRole) -> str:
    return role.value if role is RaftRole.JOINING else f"a {role.value}"


def _why_no_database(database: DatabaseStatus) -> str:
    if database.state in _SERVING:
        return ""
    detail = f": {database.reason}" if database.reason else ""
    return f"MariaDB is in state {database.state.value!r}{detail}"


def _why_not_as(status: NodeStatus, wanted: WantedRole) -> str:
    if wanted is WantedRole.LEADER and not (status.role is RaftRole.LEADER and status.writable):
        return (
            f"the leader is {status.leader.name if status.leader else 'unknown'}"
            if (status.role is not RaftRole.LEADER)
            else "this node leads, and its MariaDB does not take writes yet"
        )
    if wanted is WantedRole.REPLICA and status.role is RaftRole.LEADER:
        return "this node leads"
    return ""


def cluster_summary(status: NodeStatus) -> ClusterStatus:
    """The cluster as this node sees it."""
    voters = [member for member in status.members if member.suffrage in {"voter", "witness"}]
    return ClusterStatus(
        seen_by=status.name,
        term=status.term,
        leader=status.leader,
        writable=any(member.writable and member.alive for member in status.members),
        voters=len(voters),
        alive_voters=sum(member.alive for member in voters),
        commit_index=status.log.commit_index,
        members=status.members,
    )


def cluster_nodes(status: NodeStatus) -> ClusterNodes:
    """The members as this node sees them."""
    return ClusterNodes(seen_by=status.name, nodes=tuple(_node(member, status) for member in status.members))


def _node(member: MemberStatus, seen_by: NodeStatus) -> ClusterNode:
    role = _role(member, seen_by)
    reason = _why_not_member(member, role, seen_by)
    return ClusterNode(
        id=member.id,
        name=member.name,
        number=member.number,
        role=role,
        alive=member.alive,
        healthy=not reason,
        reason=reason,
        writable=member.writable and member.alive,
        state=member.database.state,
        lag_groups=member.applied.lag_groups,
        mysql_address=member.mysql_address,
        api_url=member.api_url,
        peer_address=member.address,
    )


def _role(member: MemberStatus, seen_by: NodeStatus) -> RaftRole:
    if member.id == seen_by.id:
        return seen_by.role
    if seen_by.leader is not None and member.id == seen_by.leader.id:
        return RaftRole.LEADER
    return _ROLE_BY_SUFFRAGE.get(member.suffrage, RaftRole.FOLLOWER)


_ROLE_BY_SUFFRAGE = {"learner": RaftRole.LEARNER, "witness": RaftRole.WITNESS}


def _why_not_member(member: MemberStatus, role: RaftRole, seen_by: NodeStatus) -> str:
    if member.id == seen_by.id:
        return _why_not(seen_by)
    if not member.alive:
        return f"{seen_by.name} has not heard from it lately"
    if role in _NO_VOTE:
        return f"it is {_described(role)}"
    return _why_no_database(member.database)


def spare_voters(cluster: ClusterStatus) -> int:
    """How many more voters may be lost before nothing can be committed; below 0 nothing can."""
    return cluster.alive_voters - (cluster.voters // 2 + 1)
