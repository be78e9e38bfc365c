"""Who stands when, and who votes for whom.

Before it stands, a member asks whether it would win (pre-vote, thesis 9.6): a term is only spent on an
election that can succeed, and a member that comes back from a partition disturbs nobody. Members defend a
leader that they hear: they answer no vote request then, unless that leader asked for it (thesis 4.2.3).

Two waits exist. The long one, one to two election timeouts, is for a leader that has fallen silent. The
short one, a few ticks that double with every failure, is for a leader that is *known* to be gone and for
candidates that were in each other's way.
"""

from collections.abc import Callable

from wolfscale.raft.messages import (
    PreVoteResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)
from wolfscale.raft.quorum import Tally, tally
from wolfscale.raft.state import State
from wolfscale.raft.types import NodeId, Role, Suffrage, Term

SHORT_WAIT_TICKS = 3
"""The longest first wait of a candidate that failed; each further failure doubles it."""

WITNESS_DELAY_TICKS = 2
"""What a witness adds to its short waits, so that a voter that can win is faster."""


class Election:
    """One member's election timer, candidacy and votes."""

    __slots__ = ("_elapsed", "_failures", "_state", "_timeout", "_votes", "_won")

    def __init__(self, state: State, won: Callable[[], None]) -> None:
        self._state = state
        self._won = won
        self._votes: dict[NodeId, bool] = {}
        self._failures = 0
        self._elapsed = 0
        self._timeout = 0
        self.wait_long()
        if self._is_alone():
            self._timeout = 1

    def _is_alone(self) -> bool:
        voters = self._state.membership.voters()
        return len(voters) == 1 and voters[0].id == self._state.id

    @property
    def defends_leader(self) -> bool:
        """Whether this member leads, or has heard its leader within the election timeout."""
        state = self._state
        if state.role is Role.LEADER:
            return True
        return state.leader is not None and self._elapsed < state.config.election_ticks

    def tick(self) -> None:
        """Count one tick of a member that does not lead."""
        self._elapsed += 1
        if self._elapsed >= self._timeout:
            if self._state.may_stand:
                self.ask()
            else:
                self._state.leader = None

    def wait_long(self) -> None:
        """Begin the wait for a leader that may fall silent."""
        state = self._state
        election = state.config.election_ticks
        self._elapsed = 0
        self._timeout = election + state.random.randrange(election)
        if state.is_witness:
            self._timeout += election

    def _wait_briefly(self) -> None:
        """Begin the wait of a candidate that failed, or expects a better one."""
        state = self._state
        longest = min(SHORT_WAIT_TICKS << min(self._failures, 16), state.config.election_ticks)
        self._failures += 1
        self._elapsed = 0
        self._timeout = 1 + state.random.randrange(longest)
        if state.is_witness:
            self._timeout += WITNESS_DELAY_TICKS

    def leader_heard(self) -> None:
        """The leader of this term has spoken."""
        self._failures = 0
        self.wait_long()

    def stepped_down(self, *, stood: bool) -> None:
        """This member follows again; one that stood is without a leader and tries again soon."""
        if stood:
            self._wait_briefly()
        else:
            self.wait_long()

    def leader_lost(self) -> None:
        """The leader's link is gone: stop defending it, and ask now or at the next tick."""
        state = self._state
        state.leader = None
        self._failures = 0
        delay = state.random.randrange(2) + (WITNESS_DELAY_TICKS if state.is_witness else 0)
        if not state.may_stand:
            return
        if delay:
            self._elapsed = 0
            self._timeout = delay
        else:
            self.ask()

    def link_up(self, peer: NodeId) -> None:
        """A peer can be reached: it may not have got what this candidate asked."""
        member = self._state.membership.get(peer)
        if member is None or not member.votes or peer in self._votes:
            return
        if self._state.role is Role.PRE_CANDIDATE:
            self._state.send(peer, self._pre_vote_request())
        elif self._state.role is Role.CANDIDATE:
            self._state.send_after_persist(peer, self._vote_request(transfer=False))

    def ask(self) -> None:
        """Ask the other voters whether this member would win."""
        state = self._state
        state.role = Role.PRE_CANDIDATE
        state.leader = None
        self.wait_long()
        self._votes = {state.id: True}
        if self._count() is Tally.WON:
            self.stand(transfer=False)
            return
        for peer in self._other_voters():
            state.send(peer, self._pre_vote_request())

    def stand(self, *, transfer: bool) -> None:
        """Begin a candidacy in a new term. Even the own vote counts only when it is on disk."""
        state = self._state
        state.enter_term(Term(state.term + 1))
        state.cast_vote(state.id)
        state.role = Role.CANDIDATE
        state.leader = None
        self.wait_long()
        self._votes = {}
        state.send_after_persist(state.id, VoteResponse(term=state.term, granted=True))
        for peer in self._other_voters():
            state.send_after_persist(peer, self._vote_request(transfer=transfer))

    def _other_voters(self) -> list[NodeId]:
        return [member.id for member in self._state.membership.voters() if member.id != self._state.id]

    def _pre_vote_request(self) -> RequestPreVote:
        log = self._state.log
        return RequestPreVote(
            term=Term(self._state.term + 1), last_index=log.last_index, last_term=log.last_term
        )

    def _vote_request(self, *, transfer: bool) -> RequestVote:
        log = self._state.log
        return RequestVote(
            term=self._state.term, last_index=log.last_index, last_term=log.last_term, transfer=transfer
        )

    def _count(self) -> Tally:
        return tally((member.id for member in self._state.membership.voters()), self._votes)

    def on_request_pre_vote(self, sender: NodeId, request: RequestPreVote) -> None:
        """Say whether this member would vote for the sender."""
        state = self._state
        covered = state.is_covered_by(request.last_term, request.last_index)
        if request.term <= state.term or self.defends_leader or not covered:
            state.send(sender, PreVoteResponse(term=state.term, granted=False))
            if not covered and state.leader is None and state.role is Role.FOLLOWER:
                self._expect_to_be_better()
            return
        state.send(sender, PreVoteResponse(term=request.term, granted=True))
        if state.role is Role.FOLLOWER or (
            state.role is Role.PRE_CANDIDATE and self._rank(sender, request) > self._own_rank()
        ):
            state.role = Role.FOLLOWER
            self._wait_briefly()

    def _expect_to_be_better(self) -> None:
        """A member with an older log stands: it cannot win, this one might."""
        if self._state.may_stand and self._timeout - self._elapsed > SHORT_WAIT_TICKS:
            self._wait_briefly()

    def _rank(self, sender: NodeId, request: RequestPreVote) -> tuple[int, int, bool, NodeId]:
        """Who of two members that ask at once goes on; the other one lets it pass."""
        member = self._state.membership.get(sender)
        is_voter = member is not None and member.suffrage is Suffrage.VOTER
        return request.last_term, request.last_index, is_voter, sender

    def _own_rank(self) -> tuple[int, int, bool, NodeId]:
        return self._rank(self._state.id, self._pre_vote_request())

    def on_pre_vote_response(self, sender: NodeId, response: PreVoteResponse) -> None:
        """Count what the sender would vote."""
        state = self._state
        if state.role is not Role.PRE_CANDIDATE:
            return
        if response.granted and response.term != state.term + 1:
            return
        self._record(sender, response.granted)
        if self._count() is Tally.WON:
            self.stand(transfer=False)

    def on_request_vote(self, sender: NodeId, request: RequestVote) -> None:
        """Vote for the sender, or not; the request is of this member's term."""
        state = self._state
        free = state.vote == sender or (state.vote is None and state.leader is None)
        covered = state.is_covered_by(request.last_term, request.last_index)
        granted = free and covered
        if granted:
            state.cast_vote(sender)
            self.wait_long()
        elif state.role is Role.CANDIDATE:
            self._wait_briefly()
        elif not covered and state.leader is None and state.role is not Role.LEADER:
            self._expect_to_be_better()
        state.send_after_persist(sender, VoteResponse(term=state.term, granted=granted))

    def on_vote_response(self, sender: NodeId, response: VoteResponse) -> None:
        """Count the sender's vote; the response is of this member's term."""
        if self._state.role is not Role.CANDIDATE:
            return
        self._record(sender, response.granted)
        if self._count() is Tally.WON:
            self._won()

    def _record(self, sender: NodeId, granted: bool) -> None:
        """Note a vote. The first refusal of a candidacy shortens the wait for the next attempt."""
        refused_before = False in self._votes.values()
        self._votes.setdefault(sender, granted)
        if not granted and not refused_before:
            self._wait_briefly()

    def on_timeout_now(self, sender: NodeId, message: TimeoutNow) -> None:
        """The leader hands its leadership to this member."""
        state = self._state
        if state.may_stand and state.role is not Role.LEADER and state.leader in {None, sender}:
            self.stand(transfer=True)
