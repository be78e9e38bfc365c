"""One member of a Raft group, without clock, socket, disk or randomness of its own."""

from collections.abc import Sequence
from random import Random

from wolfscale.errors import InvariantError
from wolfscale.raft.election import Election
from wolfscale.raft.errors import NotLeader, ProposalDropped
from wolfscale.raft.following import Following
from wolfscale.raft.leadership import Leadership
from wolfscale.raft.log import LogReader, RaftLog
from wolfscale.raft.membership import MembershipHistory, find_memberships
from wolfscale.raft.messages import (
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallBase,
    Message,
    PreVoteResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)
from wolfscale.raft.ready import RaftStatus, Ready
from wolfscale.raft.state import State
from wolfscale.raft.types import (
    HardState,
    Index,
    Membership,
    NodeId,
    RaftConfig,
    Role,
    Term,
)

MAX_TERM = (1 << 62) - 1
"""Terms beyond it are no member's: counting there takes longer than anybody waits."""


class Raft:
    """One member: inputs are method calls, everything that must be done about them comes out of `ready`.

    Not thread-safe, and never blocks but for the owner's `LogReader`. An `InvariantError` from any method
    means that a promise of Raft is broken: the owner stops.
    """

    def __init__(
        self,
        *,
        config: RaftConfig,
        log: LogReader,
        hard_state: HardState,
        random: Random,
        memberships: Sequence[tuple[Index, Membership]] | None = None,
    ) -> None:
        """Continue from what is durable.

        Args:
            config: what this member is told at its start.
            log: its log; a cluster's first member begins with a base of index 0 whose membership is itself.
            hard_state: its term and vote.
            random: the only source of randomness; equal seeds and inputs give equal outputs.
            memberships: all `MEMBERSHIP` entries of the log, oldest first, where the owner knows them;
                otherwise the whole log is read for them.
        """
        last_term = log.term(log.last_index)
        if last_term > hard_state.term:
            # The entries were made durable, the term was not: then no vote of that term has left either.
            hard_state = HardState(term=last_term, vote=None)
        if memberships is None:
            memberships = find_memberships(log)
        self._state = State(
            config=config,
            log=RaftLog(log),
            hard_state=hard_state,
            memberships=MembershipHistory(log.base, memberships),
            random=random,
        )
        self._election = Election(self._state, self._become_leader)
        self._following = Following(self._state)
        self._leadership: Leadership | None = None
        self._number = 0
        self._own_answers: list[tuple[int, Message]] = []
        self._told_hard_state = hard_state
        self._told_commit = self._state.commit_index
        self._told_role = self._role_summary()

    # Inputs

    def tick(self) -> None:
        """Let one tick of time pass."""
        self._state.now += 1
        if self._leadership is None:
            self._election.tick()
        elif not self._leadership.tick():
            self._become_follower(self._state.term, None)

    def step(self, sender: NodeId, message: Message) -> None:
        """Take a message; what makes no sense is dropped and counted, never an error.

        Raises:
            InvariantError: it proves that two members lead one term, or that a committed entry was lost.
        """
        state = self._state
        if sender == state.id or message.term > MAX_TERM:
            state.ignored_messages += 1
            return
        match message:
            case RequestPreVote():
                self._election.on_request_pre_vote(sender, message)
            case PreVoteResponse() if message.granted:
                self._election.on_pre_vote_response(sender, message)
            case _:
                if message.term > state.term and not self._follow_later_term(sender, message):
                    return
                if message.term < state.term:
                    self._answer_earlier_term(sender, message)
                else:
                    self._dispatch(sender, message)

    def propose(self, datas: Sequence[bytes], *, term: Term | None = None) -> Index:
        """Append events in this order; returns the last one's index.

        Args:
            datas: the entries' data.
            term: append only while leading this very term.

        Raises:
            NotLeader: this member does not lead.
            ProposalDropped: it leads another term, or leadership is being handed over.
        """
        leadership = self._leading()
        if term is not None and term != self._state.term:
            raise ProposalDropped(f"it was meant for term {term}, this is term {self._state.term}")
        return leadership.propose(datas)

    def change_membership(self, membership: Membership) -> Index:
        """Put another membership in force, one step from the present one; returns its entry's index.

        Raises:
            NotLeader: this member does not lead.
            MembershipRefused: that step must not be made, or not now.
            ProposalDropped: leadership is being handed over.
        """
        return self._leading().change_membership(membership)

    def transfer_leadership(self, to: NodeId | None = None) -> None:
        """Hand leadership to a voter, the most caught-up one unless named.

        Proposals are refused until it is done, or given up after an election timeout.

        Raises:
            NotLeader: this member does not lead.
            TransferRefused: there is no such voter.
        """
        self._leading().transfer(to)

    def read_index(self, context: bytes) -> None:
        """Ask for an index that covers everything committed until now; it comes in `Ready.reads`.

        A member that stops leading forgets its waiting reads: its owner sees the role change.

        Raises:
            NotLeader: this member does not lead.
        """
        self._leading().read(context)

    def link_lost(self, peer: NodeId) -> None:
        """A peer's link was reset. If it leads, do not wait for its silence to prove what that says."""
        if peer == self._state.leader and peer != self._state.id:
            self._election.leader_lost()

    def link_up(self, peer: NodeId) -> None:
        """There is a new link to a peer: say again at once what may have been lost with the old one."""
        if self._leadership is not None:
            self._leadership.link_up(peer)
        else:
            self._election.link_up(peer)

    def persisted(self, number: int) -> None:
        """The Readys up to this number are durable."""
        self._state.log.persisted(number)
        while self._own_answers and self._own_answers[0][0] <= number:
            _, message = self._own_answers.pop(0)
            if message.term == self._state.term:
                self._dispatch(self._state.id, message)
        if self._leadership is not None:
            self._leadership.maybe_commit()

    def compact(self, base_index: Index) -> None:
        """The owner has dropped the entries up to the base's; `LogReader.base` says so already."""
        self._state.memberships.compact(base_index)

    # Outputs

    def ready(self) -> Ready | None:
        """What there is to do now, or None.

        May be called while earlier Readys are still being made durable.
        """
        state, log = self._state, self._state.log
        if self._leadership is not None:
            self._leadership.flush()
        hard_state = state.hard_state if state.hard_state is not self._told_hard_state else None
        role = self._role_summary()
        if not (
            hard_state is not None
            or log.has_news
            or state.messages
            or state.after_persist
            or state.reads
            or state.commit_index != self._told_commit
            or role != self._told_role
        ):
            return None
        self._number += 1
        base, entries = log.hand_out()
        messages, after_persist = self._take_messages()
        if hard_state is not None or base is not None or entries:
            log.awaiting(self._number)
        elif not log.has_unpersisted:
            # Everything that these promise is durable already.
            messages += after_persist
            after_persist = []
        ready = Ready(
            number=self._number,
            hard_state=hard_state,
            base=base,
            entries=entries,
            messages=tuple(messages),
            messages_after_persist=tuple(after_persist),
            commit_index=state.commit_index if state.commit_index != self._told_commit else None,
            reads=tuple(state.reads),
            role_changed=role != self._told_role,
        )
        state.reads = []
        self._told_hard_state = state.hard_state
        self._told_commit = state.commit_index
        self._told_role = role
        return ready

    def _take_messages(self) -> tuple[list[tuple[NodeId, Message]], list[tuple[NodeId, Message]]]:
        """What there is to say; a member's answers to itself stay here until they are true."""
        state = self._state
        messages, state.messages = state.messages, []
        after_persist = []
        for to, message in state.after_persist:
            if to == state.id:
                self._own_answers.append((self._number, message))
            else:
                after_persist.append((to, message))
        state.after_persist = []
        return messages, after_persist

    def _role_summary(self) -> tuple[Role, Term, NodeId | None, Membership]:
        state = self._state
        return state.role, state.term, state.leader, state.membership

    @property
    def id(self) -> NodeId:
        """This member."""
        return self._state.id

    @property
    def role(self) -> Role:
        """What this member does in its term."""
        return self._state.role

    @property
    def term(self) -> Term:
        """The current term."""
        return self._state.term

    @property
    def leader(self) -> NodeId | None:
        """Who leads the current term, as far as this member knows."""
        return self._state.leader

    @property
    def is_leader(self) -> bool:
        """Whether this member leads the current term."""
        return self._leadership is not None

    @property
    def commit_index(self) -> Index:
        """Everything up to it is committed, here durable or not."""
        return self._state.commit_index

    @property
    def last_index(self) -> Index:
        """The last entry's index, handed out or not."""
        return self._state.log.last_index

    @property
    def persisted_index(self) -> Index:
        """The last entry that is durable here."""
        return self._state.log.persisted_index

    @property
    def membership(self) -> Membership:
        """The membership in force, committed or not."""
        return self._state.membership

    @property
    def membership_index(self) -> Index:
        """The entry of the membership in force; it is committed when the commit index has reached it."""
        return self._state.memberships.current_index

    def membership_at(self, index: Index) -> Membership:
        """The membership in force at an entry, for a base there."""
        return self._state.memberships.at(index)

    @property
    def term_start_committed(self) -> bool:
        """Whether this member leads and has committed an entry of its term."""
        return self._leadership is not None and self._leadership.term_start_committed

    def status(self) -> RaftStatus:
        """The member's state at this moment."""
        state = self._state
        leadership = self._leadership
        return RaftStatus(
            id=state.id,
            role=state.role,
            term=state.term,
            leader=state.leader,
            commit_index=state.commit_index,
            last_index=state.log.last_index,
            persisted_index=state.log.persisted_index,
            base_index=state.log.base.index,
            membership=state.membership,
            transfer_to=leadership.transfer_to if leadership else None,
            ignored_messages=state.ignored_messages,
            peers=tuple(leadership.peers()) if leadership else (),
        )

    # Roles and terms

    def _leading(self) -> Leadership:
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        return self._leadership

    def _become_leader(self) -> None:
        state = self._state
        state.role = Role.LEADER
        state.leader = state.id
        self._leadership = Leadership(state)

    def _become_follower(self, term: Term, leader: NodeId | None) -> None:
        state = self._state
        stood = state.role in {Role.PRE_CANDIDATE, Role.CANDIDATE}
        state.enter_term(term)
        state.role = Role.FOLLOWER
        state.leader = leader
        self._leadership = None
        self._election.stepped_down(stood=stood)

    def _follow_later_term(self, sender: NodeId, message: Message) -> bool:
        """Move to a message's later term; False when the message is from someone who must not disturb."""
        if isinstance(message, RequestVote) and not message.transfer and self._election.defends_leader:
            return False
        leads = isinstance(message, (Append, Heartbeat, InstallBase, TimeoutNow))
        self._become_follower(message.term, sender if leads else None)
        return True

    def _answer_earlier_term(self, sender: NodeId, message: Message) -> None:
        """Tell a leader or candidate of an earlier term that it is over, by the term of the answer."""
        state = self._state
        match message:
            case RequestVote():
                state.send_after_persist(sender, VoteResponse(term=state.term, granted=False))
            case Append() | Heartbeat() | InstallBase():
                state.send(
                    sender,
                    AppendResponse(
                        term=state.term,
                        accepted=False,
                        index=Index(0),
                        hint_index=Index(0),
                        hint_term=Term(0),
                    ),
                )

    def _dispatch(self, sender: NodeId, message: Message) -> None:
        """Take a message of the current term."""
        match message:
            case Append():
                self._hear_leader(sender)
                self._following.on_append(sender, message)
            case AppendResponse():
                if self._leadership is not None:
                    self._leadership.on_append_response(sender, message)
            case Heartbeat():
                self._hear_leader(sender)
                self._following.on_heartbeat(sender, message)
            case HeartbeatResponse():
                if self._leadership is not None:
                    self._leadership.on_heartbeat_response(sender, message)
            case InstallBase():
                self._hear_leader(sender)
                self._following.on_install_base(sender, message)
            case RequestVote():
                self._election.on_request_vote(sender, message)
            case VoteResponse():
                self._election.on_vote_response(sender, message)
            case PreVoteResponse():
                self._election.on_pre_vote_response(sender, message)
            case TimeoutNow():
                self._election.on_timeout_now(sender, message)

    def _hear_leader(self, sender: NodeId) -> None:
        """The sender leads the current term; candidates give way."""
        state = self._state
        if state.role is Role.LEADER or state.leader not in {None, sender}:
            raise InvariantError(f"{state.leader} and {sender} both lead term {state.term}")
        if state.role is not Role.FOLLOWER:
            self._become_follower(state.term, sender)
        state.leader = sender
        self._election.leader_heard()
