"""Tasks that wait for an entry to be committed, or for a read to be confirmed."""

import heapq
from collections.abc import Callable, Iterable
from itertools import count

import trio

from wolfscale.errors import WolfScaleError
from wolfscale.raft.errors import NotLeader, ProposalDropped, ProposalUncertain, RaftError
from wolfscale.raft.types import Index, NodeId, Term


class Outcome:
    """A result that any number of tasks can wait for."""

    __slots__ = ("_done", "_error", "_index")

    def __init__(self) -> None:
        self._done = trio.Event()
        self._error: WolfScaleError | None = None
        self._index = Index(0)

    def succeed(self, index: Index) -> None:
        """Give the result."""
        self._index = index
        self._done.set()

    def fail(self, error: WolfScaleError) -> None:
        """Raise this error in every task that waits."""
        self._error = error
        self._done.set()

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self._done.is_set()

    async def wait(self) -> Index:
        """The result. A checkpoint; cancelling it disturbs nobody else."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._index


class CommitWaiters:
    """Waits for entries to be committed and durable here.

    Args:
        term_at: the term of a committed entry; raises `RaftError` when the log no longer knows.
    """

    def __init__(self, term_at: Callable[[Index], Term]) -> None:
        self._term_at = term_at
        self._heap: list[tuple[Index, int, Term, Outcome]] = []
        self._sequence = count()

    def add(self, index: Index, term: Term, commit_index: Index) -> Outcome:
        """An outcome that comes when it is known what became of the entry."""
        outcome = Outcome()
        if index <= commit_index:
            self._settle(index, term, outcome)
        else:
            heapq.heappush(self._heap, (index, next(self._sequence), term, outcome))
        return outcome

    def advance(self, commit_index: Index) -> None:
        """Everything up to this index is committed."""
        while self._heap and self._heap[0][0] <= commit_index:
            index, _, term, outcome = heapq.heappop(self._heap)
            self._settle(index, term, outcome)

    def fail(self, error: WolfScaleError) -> None:
        """Nothing more will be known."""
        for _, _, _, outcome in self._heap:
            outcome.fail(error)
        self._heap.clear()

    def _settle(self, index: Index, term: Term, outcome: Outcome) -> None:
        try:
            actual = self._term_at(index)
        except RaftError:
            outcome.fail(ProposalUncertain(index, term))
            return
        if actual == term:
            outcome.succeed(index)
        else:
            outcome.fail(ProposalDropped(f"entry {index} of term {term} gave way to one of term {actual}"))


class ReadWaiters:
    """Reads of a leader; all that arrive before the next pass of the loop share one question to the core."""

    def __init__(self) -> None:
        self._next: Outcome | None = None
        self._asked: dict[bytes, Outcome] = {}
        self._sequence = count(1)

    def request(self) -> Outcome:
        """An outcome that comes with the index that the read must see."""
        if self._next is None:
            self._next = Outcome()
        return self._next

    def ask(self, read_index: Callable[[bytes], None]) -> None:
        """Put the question for the reads that have arrived to the core."""
        if self._next is None:
            return
        outcome, self._next = self._next, None
        context = next(self._sequence).to_bytes(8, "big")
        try:
            read_index(context)
        except RaftError as error:
            outcome.fail(error)
        else:
            self._asked[context] = outcome

    def confirm(self, reads: Iterable[tuple[bytes, Index]]) -> None:
        """The core's answers."""
        for context, index in reads:
            outcome = self._asked.pop(context, None)
            if outcome is not None:
                outcome.succeed(index)

    def leadership_ended(self, leader: NodeId | None) -> None:
        """The core has forgotten what it was asked."""
        self.fail(NotLeader(leader))

    def fail(self, error: WolfScaleError) -> None:
        """No answer will come to what was asked."""
        for outcome in self._asked.values():
            outcome.fail(error)
        self._asked.clear()

    def stop(self, error: WolfScaleError) -> None:
        """Nothing more will be asked or answered."""
        self.fail(error)
        if self._next is not None:
            self._next.fail(error)
            self._next = None
