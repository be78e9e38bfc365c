"""What of a KILL goes between workers and nodes."""

import msgspec


class KillCall(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to kill, on its way from worker to node, between nodes, and from node to worker.

    Attributes:
        connection: whether sessions end, not only their statements.
        by: the name that the caller has logged in by.
        privileged: whether it may kill sessions of others.
        id: the session's.
        leader_id: its connection's on the leader's MariaDB.
        user: all sessions of this name.
        but: not this session, which has asked.
    """

    connection: bool
    by: str
    privileged: bool = False
    id: int | None = None
    leader_id: int | None = None
    user: str | None = None
    but: int = 0


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: so many sessions each.

    Attributes:
        done: killed.
        denied: somebody else's.
        waiting: they commit, and have not ended within the bound.
    """

    done: int = 0
    denied: int = 0
    waiting: int = 0

    def __add__(self, other: "Killed") -> "Killed":
        """Both together."""
        return Killed(
            done=self.done + other.done,
            denied=self.denied + other.denied,
            waiting=self.waiting + other.waiting,
        )

    @property
    def found(self) -> bool:
        """Whether there was any."""
        return bool(self.done or self.denied or self.waiting)
