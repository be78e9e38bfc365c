"""Reads that wait for the proof that their leader still was one when they arrived (thesis 6.4).

Reads that arrive between two Readys share one round of heartbeats. No clock is trusted: there are no
leases.
"""

from collections import deque

from wolfscale.raft.types import Index


class ReadQueue:
    """A leader's waiting reads, in the order of their arrival."""

    __slots__ = ("_arrived", "_early", "_waiting", "round")

    def __init__(self) -> None:
        self.round = 0
        """The newest round begun; heartbeats carry it."""
        self._early: list[bytes] = []
        self._arrived: list[tuple[bytes, Index]] = []
        self._waiting: deque[tuple[int, bytes, Index]] = deque()

    def add(self, context: bytes, commit_index: Index | None) -> None:
        """Take a read that must see `commit_index`; None: nothing of the leader's term is committed."""
        if commit_index is None:
            self._early.append(context)
        else:
            self._arrived.append((context, commit_index))

    def term_committed(self, commit_index: Index) -> None:
        """The leader's commit index can be relied on from now on: reads that came before are taken."""
        self._arrived += [(context, commit_index) for context in self._early]
        self._early.clear()

    def begin_round(self) -> bool:
        """Put the reads that have arrived into a new round; False when there are none."""
        if not self._arrived:
            return False
        self.round += 1
        self._waiting += [(self.round, context, index) for context, index in self._arrived]
        self._arrived.clear()
        return True

    def confirmed(self, round: int) -> list[tuple[bytes, Index]]:
        """The reads that a majority's answer to `round` lets go."""
        reads = []
        while self._waiting and self._waiting[0][0] <= round:
            _, context, index = self._waiting.popleft()
            reads.append((context, index))
        return reads
