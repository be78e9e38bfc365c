"""Decides what a node's MariaDB should do next. Pure: state in, one step out, no clock and no socket.

The design's rule is "one way in, one way out": a server always boots as a replica at a position that is
exactly InnoDB's, becomes primary only when its node leads and it has applied everything before the
leader's own first entry, and leaves that role by being drained (planned) or killed and recovered.
"""

from dataclasses import dataclass
from enum import Enum


class DatabaseState(Enum):
    """What the MariaDB beside the node is doing."""

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


class Step(Enum):
    """What the lifecycle does next."""

    WAIT = "wait"
    """Nothing to do until something changes."""
    RECOVER = "recover"
    """Make sure that no server runs, recover its data, boot it as a replica."""
    CLONE = "clone"
    """Replace the data by a peer's."""
    PROMOTE = "promote"
    """Make the replica the primary of the current term."""
    FENCE = "fence"
    """Kill a primary whose term is over; recovery follows."""
    HAND_OVER = "hand over"
    """Ask Raft to give the leadership to a member that can serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that the decision depends on.

    Attributes:
        state: what the database is doing now.
        is_leader: whether this node leads in `term`.
        term: the node's Raft term.
        term_start_committed: whether the leader's own first entry of `term` is committed.
        tenure: the term in which the database became primary; None when it is not.
        witness: this member has no database by design.
        has_successor: another voter with a healthy database is connected.
        stepping_down: a planned hand-over is under way.
    """

    state: DatabaseState
    is_leader: bool
    term: int
    term_start_committed: bool
    tenure: int | None
    witness: bool = False
    has_successor: bool = False
    stepping_down: bool = False


def next_step(situation: Situation) -> Step:
    """Return the one thing to do in this situation.

    Losing the term comes before everything else: a primary of an older term may hold commits that wait
    for an acknowledgement that must never come.
    """
    s = situation
    if s.witness:
        return Step.HAND_OVER if s.is_leader and s.has_successor else Step.WAIT
    if s.tenure is not None and (not s.is_leader or s.tenure != s.term):
        return Step.FENCE
    leads_without_database = s.is_leader and s.has_successor
    match s.state:
        case DatabaseState.STOPPED:
            return Step.HAND_OVER if leads_without_database else Step.RECOVER
        case DatabaseState.CLONE_NEEDED:
            return Step.HAND_OVER if leads_without_database else Step.CLONE
        case DatabaseState.FAILED:
            return Step.HAND_OVER if leads_without_database else Step.WAIT
        case DatabaseState.REPLICA:
            if s.is_leader and s.term_start_committed and not s.stepping_down:
                return Step.PROMOTE
            return Step.WAIT
        case _:
            return Step.WAIT
