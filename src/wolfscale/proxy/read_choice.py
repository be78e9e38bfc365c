"""Where a proxy without a MariaDB of its own lets sessions read: pure, views of nodes in, the choice out.

Such a proxy follows every node. One of them tells it who leads; each tells what its own MariaDB has applied.
The two together, for one node, are the view of a session that reads there: to it that node is "this node".
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from wolfscale.proxy.view import View

DELAY_SECONDS = 2.0
"""Servers that are busy are behind by less."""
UNEVEN_SHARE = 4
"""Sessions move where a server has this part of its own more than another."""
MOVING_SHARE = 8
"""This part of a difference moves at a time, so that a server that has just started is not run over."""


class Delay:
    """How long a server has been without something that was committed.

    Counted in transactions, a burst of small ones looks like a server that stands still. So it is told by
    the clock: one position at a time is noted when it is seen to be committed, and waited for.
    """

    __slots__ = ("_noted", "_noted_at")

    def __init__(self) -> None:
        self._noted: int | None = None
        self._noted_at = 0.0

    def update(self, now: float, *, committed: int, applied: int) -> None:
        """Tell what is known.

        Args:
            now: seconds of any clock.
            committed: the newest sequence that is committed.
            applied: the newest that the server has applied.
        """
        if self._noted is None or applied >= self._noted:
            self._noted = committed if applied < committed else None
            self._noted_at = now

    def seconds(self, now: float) -> float:
        """Since when it has been waited for what was committed then; 0: the server has all of it."""
        return 0.0 if self._noted is None else now - self._noted_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far behind a server may be and be chosen.

    Attributes:
        transactions: so many; 0: any number.
        seconds: what was committed so long ago it should have applied, if others have.
    """

    transactions: int = 0
    seconds: float = DELAY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that is followed.

    Attributes:
        node: its id.
        readable: it serves, and is no learner.
        applied_sequence: what its MariaDB has applied.
        delay_seconds: see `Delay.seconds`.
    """

    node: str
    readable: bool
    applied_sequence: int
    delay_seconds: float


def best_informed(views: Iterable[View], present: View | None = None) -> View | None:
    """The view to go by of who leads: one of the newest term, best the leader's own.

    Args:
        views: one of each node that is followed.
        present: of the node whose word has counted until now; it goes on, if others know no better.
    """

    def rank(view: View) -> tuple[int, bool, bool, bool]:
        return view.term, view.writable, view.leader == view.node, view is present

    return max(views, key=rank, default=None)


def committed(base: View, views: Iterable[View]) -> int:
    """The newest sequence that any node knows to be committed, as far as it counts in the term of `base`.

    What a node knows in another term says nothing about a write of this one: see `Views.is_committed`.
    """
    return max((view.committed_sequence for view in views if view.term == base.term), default=0)


def readers(base: View, candidates: Sequence[Candidate], limits: Limits) -> frozenset[str]:
    """The ids of the nodes that sessions may read from now.

    Followers that keep up, or if none does, all that are not too many transactions behind: the leader answers
    the reads that must have seen more. The leader is none of them, since what the proxy sends to it needs no
    second connection. While nobody leads, any server that serves is better than none.
    """
    readable = [candidate for candidate in candidates if candidate.readable]
    followers = [
        candidate
        for candidate in readable
        if not (base.writable and candidate.node == base.leader)
        and not 0 < limits.transactions < base.committed_sequence - candidate.applied_sequence
    ]
    kept_up = [candidate for candidate in followers if candidate.delay_seconds <= limits.seconds]
    found = kept_up or followers or ([] if base.writable else readable)
    return frozenset(candidate.node for candidate in found)


_T = TypeVar("_T")


def least_used(items: Iterable[_T], sessions: Callable[[_T], int]) -> _T | None:
    """That with the fewest sessions, of several the first; None: there is none."""
    return min(items, key=sessions, default=None)


def excess(sessions: int, least: int) -> int:
    """How many of a server's sessions shall choose another one now.

    Args:
        sessions: it has so many.
        least: that with the fewest has so many.
    """
    difference = sessions - least
    if not is_uneven(sessions, least) or difference * UNEVEN_SHARE < sessions:
        return 0
    return -(-difference // MOVING_SHARE)


def is_uneven(sessions: int, least: int) -> bool:
    """Whether a session that moves from the first of two servers to the second makes them more even."""
    return sessions - least >= 2


def leader_view(base: View, *, alone: bool) -> View:
    """What a session sees that reads nowhere but on the leader.

    Args:
        base: who leads.
        alone: there is no other node to read from, so that "this node" may be taken for the leader's; if not,
            the session has to choose.
    """
    leads = alone and base.writable
    return msgspec.structs.replace(
        base,
        node="",
        elsewhere=True,
        is_leader=leads,
        database_ready=leads,
        applied_sequence=base.committed_sequence,
    )


def reader_view(base: View, view: View, *, ready: bool, crowded: bool = False) -> View:
    """What a session sees that reads from a node.

    Args:
        base: who leads.
        view: the node's own.
        ready: whether it is one of the `readers`.
        crowded: whether sessions shall move away from it.
    """
    return msgspec.structs.replace(
        base,
        node=view.node,
        elsewhere=True,
        is_leader=False,
        database_ready=ready,
        applied_sequence=view.applied_sequence,
        crowded=ready and crowded,
    )
