"""The values that Raft speaks of: terms, entries, members and what must survive a crash."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NewType

Term = NewType("Term", int)
"""A Raft term: 0 before the first election, then one more for each candidacy."""

Index = NewType("Index", int)
"""A position in the log; the first entry ever has index 1."""

NodeId = NewType("NodeId", str)
"""A member's identity, made once at its first start and never used by another."""


class EntryKind(IntEnum):
    """What an entry's data is; the numbers are stored and sent."""

    NOOP = 0
    """Empty: a leader's first entry, which lets it commit what earlier terms left (thesis 3.6.2)."""
    MEMBERSHIP = 1
    """A whole `Membership`, in force from the moment it is appended (thesis 4.1)."""
    EVENTS = 2
    """Opaque data of the owner."""


class Suffrage(IntEnum):
    """What a member may do; the numbers are stored and sent."""

    VOTER = 0
    """Votes, counts for commits, may lead."""
    LEARNER = 1
    """Receives the log only (thesis 4.2.1)."""
    WITNESS = 2
    """Votes and keeps the log; if it must lead it hands leadership to a voter at once."""


class Role(Enum):
    """What a member is doing in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the log."""

    index: Index
    term: Term
    kind: EntryKind
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of the cluster, as the log knows it."""

    id: NodeId
    name: str
    """The operator's name for the node; a replaced node keeps the name, not the id."""
    address: str
    """`host:port` of its peer port."""
    number: int
    """At least 1; given by the cluster, never used again."""
    suffrage: Suffrage

    @property
    def votes(self) -> bool:
        """Whether the member counts in elections and commits: voters and witnesses."""
        return self.suffrage is not Suffrage.LEARNER


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who belongs to the cluster; a value, changed by making another."""

    members: tuple[Member, ...] = ()
    next_number: int = 1
    """The number that the next new member gets."""

    def get(self, id: NodeId) -> Member | None:
        """The member of that identity."""
        return next((member for member in self.members if member.id == id), None)

    def by_name(self, name: str) -> Member | None:
        """The member of that name."""
        return next((member for member in self.members if member.name == name), None)

    def voters(self) -> tuple[Member, ...]:
        """The members whose votes and acknowledgements count: voters and witnesses."""
        return tuple(member for member in self.members if member.votes)

    def with_member(self, member: Member) -> "Membership":
        """This membership with the member added, or put in the place of the one of the same identity."""
        if self.get(member.id) is None:
            members = (*self.members, member)
        else:
            members = tuple(member if other.id == member.id else other for other in self.members)
        return Membership(members=members, next_number=max(self.next_number, member.number + 1))

    def without(self, id: NodeId) -> "Membership":
        """This membership without the member of that identity; its number stays used."""
        return Membership(
            members=tuple(member for member in self.members if member.id != id), next_number=self.next_number
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What a member must have on disk before it answers (thesis 3.8): its term and its vote in it."""

    term: Term = Term(0)
    vote: NodeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBase:
    """What stands before a log's first entry: the last entry dropped, and the membership in force there."""

    index: Index = Index(0)
    term: Term = Term(0)
    membership: Membership = Membership()


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """What a member is told at its start."""

    id: NodeId
    election_ticks: int
    """Ticks without a leader before a member stands; the real wait is one to two times that, at random."""
    heartbeat_ticks: int
    """Ticks between a leader's heartbeats."""
    max_append_bytes: int = 1 << 20
    """Data of the entries in one Append; a larger entry goes alone."""
    max_inflight_bytes: int = 8 << 20
    """Data sent to one follower and not yet acknowledged; beyond it the leader waits."""
    max_inflight_messages: int = 64
    """Appends sent to one follower and not yet acknowledged."""

    def __post_init__(self) -> None:
        if not 1 <= self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks {self.heartbeat_ticks} must be at least 1 and less than election_ticks "
                f"{self.election_ticks}"
            )
        if min(self.max_append_bytes, self.max_inflight_bytes, self.max_inflight_messages) < 1:
            raise ValueError(
                "max_append_bytes, max_inflight_bytes and max_inflight_messages must be positive"
            )
