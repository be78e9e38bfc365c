"""What can go wrong with a request to a Raft member, or with bytes that claim to be a message."""

from wolfscale.errors import WolfScaleError
from wolfscale.raft.types import Index, NodeId, Term


class RaftError(WolfScaleError):
    """The root of Raft's errors."""


class NotLeader(RaftError):
    """This member does not lead; `leader` is the member to ask instead, where known."""

    def __init__(self, leader: NodeId | None) -> None:
        self.leader = leader
        hint = f"ask {leader}" if leader else "no leader is known, try again after the election"
        super().__init__(f"this member is not the leader: {hint}")


class ProposalDropped(RaftError):
    """Nothing was appended; the proposal may be made again."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the proposal was not taken: {reason}; it may be made again")


class ProposalUncertain(RaftError):
    """An appended entry was lost sight of: it may or may not become committed, so it must not be repeated."""

    def __init__(self, index: Index, term: Term) -> None:
        self.index = index
        self.term = term
        super().__init__(
            f"leadership of term {term} ended before entry {index} was seen committed: "
            "its outcome is unknown, look it up in the log before doing it again"
        )


class LogCompacted(RaftError):
    """An entry was asked for that the log no longer holds."""

    def __init__(self, index: Index, base: Index) -> None:
        self.index = index
        self.base = base
        super().__init__(f"entry {index} is not in the log, which begins after {base}: start from its base")


class MembershipRefused(RaftError):
    """A change of the membership that must not be made, or not now."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the membership was not changed: {reason}")


class TransferRefused(RaftError):
    """Leadership cannot be handed to that member."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"leadership was not handed over: {reason}")


class BadMessage(RaftError):
    """Bytes that are not a message, or not a membership, of this version."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"these bytes are not from a member of this version: {reason}")
