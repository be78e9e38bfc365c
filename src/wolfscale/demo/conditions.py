"""What a cluster is waited for: predicates over all nodes' status; None is a node that is silent."""

from collections.abc import Callable, Mapping

from wolfscale.api.models import DatabaseState, NodeStatus, RaftRole

Statuses = Mapping[int, NodeStatus | None]
Condition = Callable[[Statuses], bool]

_SERVING = frozenset({DatabaseState.REPLICA, DatabaseState.PRIMARY})


def writable_node(statuses: Statuses) -> int | None:
    """The number of the node that takes writes, by its own word and in the highest term; None without one."""
    writers = [
        (status.term, number)
        for number, status in statuses.items()
        if status is not None and status.writable and status.role is RaftRole.LEADER
    ]
    return max(writers)[1] if writers else None


def has_writable(statuses: Statuses) -> bool:
    """Some node takes writes."""
    return writable_node(statuses) is not None


def is_serving(status: NodeStatus | None) -> bool:
    """A node is a full member whose MariaDB serves."""
    return (
        status is not None
        and status.leader is not None
        and status.role in {RaftRole.LEADER, RaftRole.FOLLOWER}
        and status.database.state in _SERVING
    )


def serving(*numbers: int) -> Condition:
    """Each of these nodes serves, and some node takes writes."""

    def holds(statuses: Statuses) -> bool:
        return has_writable(statuses) and all(is_serving(statuses.get(number)) for number in numbers)

    return holds


def level(*numbers: int) -> Condition:
    """Each of these nodes serves and has applied everything that any of them knows to be committed."""
    all_serve = serving(*numbers)

    def holds(statuses: Statuses) -> bool:
        if not all_serve(statuses):
            return False
        present = [status for number in numbers if (status := statuses.get(number)) is not None]
        commits = {status.log.commit_index for status in present}
        sequences = {status.applied.sequence for status in present}
        return len(commits) == 1 and len(sequences) == 1 and not any(s.applied.lag_groups for s in present)

    return holds


def describe(statuses: Statuses) -> str:
    """All nodes in one line, for errors."""
    parts = []
    for number, status in statuses.items():
        if status is None:
            parts.append(f"node-{number} silent")
            continue
        database = status.database.state.value + (
            f" ({status.database.reason})" if status.database.reason else ""
        )
        parts.append(
            f"{status.name} {status.role.value}{' writable' if status.writable else ''} term {status.term} "
            f"commit {status.log.commit_index} applied {status.applied.sequence} "
            f"lag {status.applied.lag_groups} MariaDB {database}"
        )
    return "; ".join(parts)
