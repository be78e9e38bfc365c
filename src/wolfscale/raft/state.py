"""What one member knows, and what it has to say: shared by the core's parts, ruled by none of them."""

from random import Random

from wolfscale.errors import InvariantError
from wolfscale.raft.log import RaftLog
from wolfscale.raft.membership import MembershipHistory
from wolfscale.raft.messages import Message
from wolfscale.raft.types import (
    HardState,
    Index,
    Membership,
    NodeId,
    RaftConfig,
    Role,
    Suffrage,
    Term,
)


class State:
    """A member's state; the parts of the core change it, `Raft.ready` reads off what has changed."""

    __slots__ = (
        "after_persist",
        "commit_index",
        "config",
        "hard_state",
        "id",
        "ignored_messages",
        "leader",
        "log",
        "memberships",
        "messages",
        "now",
        "random",
        "reads",
        "role",
    )

    def __init__(
        self,
        *,
        config: RaftConfig,
        log: RaftLog,
        hard_state: HardState,
        memberships: MembershipHistory,
        random: Random,
    ) -> None:
        self.config = config
        self.id = config.id
        self.log = log
        self.hard_state = hard_state
        self.memberships = memberships
        self.random = random
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.commit_index = log.base.index
        self.now = 0
        self.messages: list[tuple[NodeId, Message]] = []
        self.after_persist: list[tuple[NodeId, Message]] = []
        self.reads: list[tuple[bytes, Index]] = []
        self.ignored_messages = 0

    @property
    def term(self) -> Term:
        """The current term."""
        return self.hard_state.term

    @property
    def vote(self) -> NodeId | None:
        """Whom this member has voted for in its term."""
        return self.hard_state.vote

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self.memberships.current

    @property
    def may_stand(self) -> bool:
        """Whether this member may be elected: it is a voter or a witness of the membership in force."""
        member = self.membership.get(self.id)
        return member is not None and member.votes

    @property
    def is_witness(self) -> bool:
        """Whether this member is a witness."""
        member = self.membership.get(self.id)
        return member is not None and member.suffrage is Suffrage.WITNESS

    def send(self, to: NodeId, message: Message) -> None:
        """Say something that promises nothing."""
        self.messages.append((to, message))

    def send_after_persist(self, to: NodeId, message: Message) -> None:
        """Say something that must be true after a crash too."""
        self.after_persist.append((to, message))

    def enter_term(self, term: Term) -> None:
        """Move to a later term, in which nobody has this member's vote yet."""
        if term < self.term:
            raise InvariantError(f"{self.id} would go back from term {self.term} to {term}")
        if term > self.term:
            self.hard_state = HardState(term=term, vote=None)

    def cast_vote(self, vote: NodeId) -> None:
        """Vote, once a term."""
        if self.vote not in {None, vote}:
            raise InvariantError(f"{self.id} would vote for {vote} after {self.vote} in term {self.term}")
        if self.vote is None:
            self.hard_state = HardState(term=self.term, vote=vote)

    def commit(self, index: Index) -> None:
        """Everything up to `index` is committed; never goes back."""
        if index > self.commit_index:
            if index > self.log.last_index:
                raise InvariantError(f"{self.id} would commit {index}, its log ends at {self.log.last_index}")
            self.commit_index = index

    def is_covered_by(self, last_term: Term, last_index: Index) -> bool:
        """Whether a log that ends so is at least as up to date as this one (thesis 3.6.1)."""
        return (last_term, last_index) >= (self.log.last_term, self.log.last_index)
