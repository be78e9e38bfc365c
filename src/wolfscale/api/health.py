"""From a node's status to an answer for load balancers, and to the cluster's summary. Pure."""

from enum import StrEnum

from wolfscale.api.models import ClusterStatus, DatabaseState, HealthStatus, NodeStatus, RaftRole

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
        return f"this node is {'a ' if status.role is not RaftRole.JOINING else ''}{status.role}"
    if status.leader is None:
        return "this node knows no leader"
    if status.database.state not in _SERVING:
        detail = f": {status.database.reason}" if status.database.reason else ""
        return f"MariaDB is in state {status.database.state.value!r}{detail}"
    return ""


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
