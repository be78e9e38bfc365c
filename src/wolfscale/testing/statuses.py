"""Made-up nodes for tests of what is shown."""

from wolfscale.api.models import (
    AppliedStatus,
    CloneStatus,
    DatabaseState,
    DatabaseStatus,
    LeaderStatus,
    LogStatus,
    MemberStatus,
    NodeStatus,
    ProcessStatus,
    RaftRole,
)

LEADER = LeaderStatus(id="node-1.aa", name="node-1", address="127.0.0.1:7400")


def member(
    number: int, *, writable: bool = False, alive: bool = True, suffrage: str = "voter"
) -> MemberStatus:
    """A member as the leader of a healthy cluster knows it."""
    return MemberStatus(
        id=f"node-{number}.aa",
        name=f"node-{number}",
        number=number,
        address=f"127.0.0.1:{7399 + number}",
        suffrage=suffrage,
        alive=alive,
        match_index=90,
        database=DatabaseStatus(state=DatabaseState.PRIMARY if writable else DatabaseState.REPLICA),
        applied=AppliedStatus(sequence=50, lag_groups=2),
        writable=writable,
    )


def node(
    number: int = 1,
    *,
    role: RaftRole = RaftRole.LEADER,
    state: DatabaseState = DatabaseState.PRIMARY,
    writable: bool = True,
    leader: LeaderStatus | None = LEADER,
    reason: str = "",
    clone: CloneStatus | None = None,
    term: int = 3,
    commit_index: int = 99,
    applied: AppliedStatus | None = None,
    members: tuple[MemberStatus, ...] | None = None,
) -> NodeStatus:
    """A node; the leader of a healthy cluster unless said otherwise."""
    return NodeStatus(
        id=f"node-{number}.aa",
        name=f"node-{number}",
        number=number,
        address=f"127.0.0.1:{7399 + number}",
        role=role,
        term=term,
        leader=leader,
        log=LogStatus(first_index=1, last_index=100, commit_index=commit_index),
        applied=applied or AppliedStatus(sequence=50, index=98),
        database=DatabaseStatus(state=state, reason=reason, clone=clone),
        writable=writable,
        members=members if members is not None else (member(1, writable=True), member(2), member(3)),
        process=ProcessStatus(process_id=1, version="0", uptime_seconds=1.0),
    )


def follower(number: int = 2) -> NodeStatus:
    """A follower whose MariaDB serves."""
    return node(number, role=RaftRole.FOLLOWER, state=DatabaseState.REPLICA, writable=False)
