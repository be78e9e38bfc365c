"""Linearizable reads of a node: whoever asks while a question is under way shares the next one."""

import trio

from wolfscale.node.errors import RpcUnavailable
from wolfscale.node.leader_calls import LeaderCalls
from wolfscale.raft.types import Index

READ_INDEX = "node.read_index"


class ReadIndex:
    """Asks the leader, one question at a time, for an index that covers everything acknowledged so far.

    A read may only use an answer to a question that was put after the read had arrived.
    """

    def __init__(self, leader_calls: LeaderCalls) -> None:
        self._leader_calls = leader_calls
        self._turn = trio.Lock()
        self._next = _Question()

    async def get(self, *, timeout: float) -> Index:
        """See `Node.read_index`. A checkpoint; whoever is cancelled disturbs nobody else."""
        deadline = trio.current_time() + timeout
        question = self._next
        try:
            with trio.fail_at(deadline):
                async with self._turn:
                    if question.answer is None:
                        if question is self._next:
                            self._next = _Question()
                        remaining = deadline - trio.current_time()
                        answer = await self._leader_calls.call(READ_INDEX, b"", timeout=remaining)
                        question.answer = Index(int.from_bytes(answer, "big"))
                    return question.answer
        except trio.TooSlowError:
            raise RpcUnavailable(f"no leader confirmed a read within {timeout:g} s") from None


class _Question:
    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Index | None = None
