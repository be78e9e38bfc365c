"""Counts and logs what becomes of a node's leadership: elections, leaders, time without one."""

import time

from wolfscale import logs
from wolfscale.node.statistics import RaftStatistics
from wolfscale.raft.core import Raft
from wolfscale.raft.types import NodeId, Role, Term

log = logs.logger(__name__)


class Elections:
    """Looks at a core after each change of its role, term or leader.

    Args:
        statistics: where elections are counted.
    """

    def __init__(self, statistics: RaftStatistics) -> None:
        self._statistics = statistics
        self._role = Role.FOLLOWER
        self._term = Term(0)
        self._led_by: tuple[NodeId, Term] | None = None
        self._leaderless_since: float | None = None

    def look(self, raft: Raft) -> None:
        """Take note of what is new."""
        role, term, leader = raft.role, raft.term, raft.leader
        stands = role is Role.CANDIDATE and (self._role, self._term) != (role, term)
        wins = role is Role.LEADER and (self._role, self._term) != (role, term)
        # A member that has nobody to ask stands and wins between two looks.
        if stands or (wins and (self._role, self._term) != (Role.CANDIDATE, term)):
            self._statistics.elections += 1
            log.info("standing for election", term=term)
        self._statistics.elections_won += wins
        self._role, self._term = role, term
        self._look_at_leader(raft, leader, term)

    def _look_at_leader(self, raft: Raft, leader: NodeId | None, term: Term) -> None:
        now = time.monotonic()
        if leader is None:
            if self._led_by is not None and self._leaderless_since is None:
                self._leaderless_since = now
                log.info("no leader", last=_name(raft, self._led_by[0]), term=term)
            return
        if (leader, term) != self._led_by:
            self._led_by = (leader, term)
            self._statistics.leader_changes += 1
            name, own = _name(raft, leader), leader == raft.id
            without = {} if self._leaderless_since is None else {"seconds": now - self._leaderless_since}
            shown = {key: round(value, 3) for key, value in without.items()}
            log.info("leader elected", leader=name, term=term, this_node=own, **shown)
        self._leaderless_since = None


def _name(raft: Raft, id: NodeId) -> str:
    member = raft.membership.get(id)
    return member.name if member is not None else id
