"""A leader's work: replicate, commit, confirm reads, change the membership, hand leadership over.

Inputs only note what has changed; `flush`, called for each Ready, decides what to send. So however many
proposals and answers came in between, each follower gets few and full messages.
"""

from collections.abc import Iterator, Sequence

from wolfscale.raft.codec import encode_membership
from wolfscale.raft.errors import MembershipRefused, ProposalDropped, TransferRefused
from wolfscale.raft.membership import check_single_step
from wolfscale.raft.messages import (
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallBase,
    TimeoutNow,
)
from wolfscale.raft.progress import Progress, Stream
from wolfscale.raft.quorum import majority, reached_by_majority
from wolfscale.raft.readindex import ReadQueue
from wolfscale.raft.ready import PeerStatus
from wolfscale.raft.state import State
from wolfscale.raft.types import Entry, EntryKind, Index, Membership, NodeId, Suffrage


class Leadership:
    """What a member knows only while it leads one term."""

    __slots__ = (
        "_heartbeat_elapsed",
        "_progress",
        "_reads",
        "_shared",
        "_state",
        "_transfer_elapsed",
        "term_start",
        "transfer_to",
    )

    def __init__(self, state: State) -> None:
        self._state = state
        self._heartbeat_elapsed = 0
        self._transfer_elapsed = 0
        self._reads = ReadQueue()
        self._shared: dict[tuple[Index, bool], tuple[Append, int]] = {}
        self._progress: dict[NodeId, Progress] = {}
        self.transfer_to: NodeId | None = None
        self.term_start = Index(state.log.last_index + 1)
        self._follow_membership()
        self._append([(EntryKind.NOOP, b"")])

    # What the owner asks for

    @property
    def term_start_committed(self) -> bool:
        """Whether an entry of this term is committed, and with it everything before (thesis 3.6.2)."""
        return self._state.commit_index >= self.term_start

    def propose(self, datas: Sequence[bytes]) -> Index:
        """Append events; returns the last one's index.

        Raises:
            ProposalDropped: leadership is being handed over.
        """
        self._refuse_while_handing_over()
        return self._append([(EntryKind.EVENTS, data) for data in datas])

    def change_membership(self, membership: Membership) -> Index:
        """Put another membership in force, one step from the present one; returns its entry's index.

        Raises:
            MembershipRefused: it is no single step, an earlier one is not committed, or nothing of this term
                is (without that rule two leaders' changes could lose each other's majority).
            ProposalDropped: leadership is being handed over.
        """
        state = self._state
        self._refuse_while_handing_over()
        if not self.term_start_committed:
            raise MembershipRefused(
                "this leader has committed nothing of its term yet, try again in a moment"
            )
        if state.memberships.current_index > state.commit_index:
            raise MembershipRefused(
                f"the change at entry {state.memberships.current_index} is not committed yet, "
                "try again when it is"
            )
        check_single_step(state.membership, membership, state.id)
        index = self._append([(EntryKind.MEMBERSHIP, encode_membership(membership))])
        state.memberships.append(index, membership)
        self._follow_membership()
        return index

    def read(self, context: bytes) -> None:
        """Take a read that must see everything committed until now, by this leader or any other."""
        self._reads.add(context, self._state.commit_index if self.term_start_committed else None)

    def transfer(self, to: NodeId | None) -> None:
        """Hand leadership to a voter as soon as its log is level; None: to the one that is nearest to it.

        Raises:
            TransferRefused: there is no such voter.
        """
        state = self._state
        if to == state.id:
            return
        if to is None:
            to = self._most_caught_up_voter()
            if to is None:
                raise TransferRefused("no other voter has been heard from, start one or add one")
        member = state.membership.get(to)
        if member is None or member.suffrage is not Suffrage.VOTER:
            raise TransferRefused(f"{to} is not a voter")
        if not self._is_active(self._progress[to]):
            raise TransferRefused(f"{to} has not been heard from, name another voter")
        self.transfer_to = to
        self._transfer_elapsed = 0
        self._maybe_hand_over(to)

    def _refuse_while_handing_over(self) -> None:
        if self.transfer_to is not None:
            raise ProposalDropped(f"leadership is being handed to {self.transfer_to}")
        if self._state.is_witness:
            raise ProposalDropped("this leader is a witness, which hands leadership to a voter")

    def _append(self, items: Sequence[tuple[EntryKind, bytes]]) -> Index:
        state = self._state
        first, term = state.log.last_index + 1, state.term
        if items:
            state.log.append(
                [
                    Entry(index=Index(index), term=term, kind=kind, data=data)
                    for index, (kind, data) in enumerate(items, first)
                ]
            )
        return state.log.last_index

    def _follow_membership(self) -> None:
        """Keep a `Progress` for exactly the other members."""
        state = self._state
        others = {member.id for member in state.membership.members} - {state.id}
        for id in self._progress.keys() - others:
            del self._progress[id]
        for id in sorted(others - self._progress.keys()):
            self._progress[id] = Progress(
                state.config, next_index=Index(state.log.last_index + 1), now=state.now
            )
        if self.transfer_to is not None and self.transfer_to not in others:
            self.transfer_to = None

    # Time

    def tick(self) -> bool:
        """Count one tick; False when no majority has been heard from for an election timeout."""
        state = self._state
        if not self._hears_majority():
            return False
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= state.config.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._send_heartbeats()
            for peer in self._progress:
                self._maybe_hand_over(peer)
        if self.transfer_to is not None:
            self._transfer_elapsed += 1
            if self._transfer_elapsed >= state.config.election_ticks:
                self.transfer_to = None
        return True

    def _is_active(self, progress: Progress) -> bool:
        return self._state.now - progress.last_heard < self._state.config.election_ticks

    def _hears_majority(self) -> bool:
        voters = self._state.membership.voters()
        heard = 0
        for voter in voters:
            progress = self._progress.get(voter.id)
            heard += progress is None or self._is_active(progress)
        return heard >= majority(len(voters))

    def _send_heartbeats(self) -> None:
        state = self._state
        for id, progress in self._progress.items():
            commit = Index(min(progress.match_index, state.commit_index))
            state.send(id, Heartbeat(term=state.term, commit_index=commit, round=self._reads.round))

    # What the followers answer

    def on_append_response(self, sender: NodeId, response: AppendResponse) -> None:
        """The sender's log is the leader's up to an index, or does not fit."""
        state = self._state
        progress = self._progress.get(sender)
        if progress is None:
            return
        if response.index > state.log.last_index:
            state.ignored_messages += 1
            return
        progress.last_heard = state.now
        if not response.accepted:
            agreement, _ = state.log.find_agreement(response.hint_index, response.hint_term)
            progress.rejected(response.index, agreement)
            return
        if progress.accepted(response.index):
            self.maybe_commit()
        self._maybe_hand_over(sender)

    def on_heartbeat_response(self, sender: NodeId, response: HeartbeatResponse) -> None:
        """The sender still follows; whatever it has not acknowledged may have been lost."""
        state = self._state
        progress = self._progress.get(sender)
        if progress is None:
            return
        if response.round > self._reads.round:
            state.ignored_messages += 1
            return
        progress.last_heard = state.now
        progress.paused = False
        progress.nudged = progress.match_index < state.log.last_index
        if response.round > progress.acked_round:
            progress.acked_round = response.round
            self._release_reads()

    def link_up(self, peer: NodeId) -> None:
        """A new link to a member: what was on the old one is lost."""
        progress = self._progress.get(peer)
        if progress is not None:
            progress.probe()

    def maybe_commit(self) -> None:
        """Commit what a majority has on disk, this member included, if it is of this term (thesis 3.6.2)."""
        index = self._majority_index()
        if index >= self.term_start:
            had_term_start = self.term_start_committed
            self._state.commit(index)
            if not had_term_start:
                self._reads.term_committed(self._state.commit_index)

    def _majority_index(self) -> Index:
        persisted = self._state.log.persisted_index
        return Index(
            reached_by_majority(
                [
                    persisted if (progress := self._progress.get(voter.id)) is None else progress.match_index
                    for voter in self._state.membership.voters()
                ]
            )
        )

    def _release_reads(self) -> None:
        own = self._reads.round
        round = reached_by_majority(
            [
                own if (progress := self._progress.get(voter.id)) is None else progress.acked_round
                for voter in self._state.membership.voters()
            ]
        )
        self._state.reads += self._reads.confirmed(round)

    # Handing over

    def _most_caught_up_voter(self) -> NodeId | None:
        candidates = [
            (self._progress[member.id].match_index, member.id)
            for member in self._state.membership.members
            if member.suffrage is Suffrage.VOTER
            and member.id in self._progress
            and self._is_active(self._progress[member.id])
        ]
        return max(candidates)[1] if candidates else None

    def _maybe_hand_over(self, peer: NodeId) -> None:
        """Tell a member to stand if it is the one to follow and has the whole log.

        A leader that is a witness takes the first voter that is level, which is the most caught-up one.
        """
        state = self._state
        if self.transfer_to is None and state.is_witness:
            member = state.membership.get(peer)
            if member is None or member.suffrage is not Suffrage.VOTER:
                return
        elif self.transfer_to != peer:
            return
        if self._progress[peer].match_index == state.log.last_index:
            if self.transfer_to is None:
                self.transfer_to = peer
                self._transfer_elapsed = 0
            state.send(peer, TimeoutNow(term=state.term))

    # Sending

    def flush(self) -> None:
        """Send each member what it lacks and its window lets through, and the commit index when it moved."""
        if self._reads.begin_round():
            self._send_heartbeats()
            self._release_reads()
        for id, progress in self._progress.items():
            if progress.next_index <= self._state.log.base.index and progress.stream is not Stream.INSTALL:
                progress.need_base()
            if progress.stream is Stream.REPLICATE:
                self._stream_to(id, progress)
            elif progress.paused:
                continue
            elif progress.stream is Stream.INSTALL:
                self._send_base(id, progress)
            else:
                self._send_append(id, progress, empty=progress.next_index > self._state.log.last_index)
        self._shared.clear()

    def _stream_to(self, id: NodeId, progress: Progress) -> None:
        state = self._state
        sent = False
        while progress.next_index <= state.log.last_index and not progress.full:
            self._send_append(id, progress, empty=False)
            sent = True
        if not sent and (progress.nudged or progress.sent_commit < state.commit_index):
            self._send_append(id, progress, empty=True)
        progress.nudged = False

    def _send_base(self, id: NodeId, progress: Progress) -> None:
        base = self._state.log.base
        self._state.send(id, InstallBase(term=self._state.term, base=base))
        progress.sent_base(base.index)

    def _send_append(self, id: NodeId, progress: Progress, *, empty: bool) -> None:
        """Send an Append; members that are level get the same object, so that it is encoded once."""
        state, log = self._state, self._state.log
        key = (progress.next_index, empty)
        if key not in self._shared:
            entries = (
                ()
                if empty
                else log.entries(progress.next_index, log.last_index, state.config.max_append_bytes)
            )
            prev_index = Index(progress.next_index - 1)
            append = Append(
                term=state.term,
                prev_index=prev_index,
                prev_term=log.term(prev_index),
                commit_index=state.commit_index,
                entries=entries,
            )
            self._shared[key] = append, sum(len(entry.data) for entry in entries)
        append, size = self._shared[key]
        state.send(id, append)
        progress.sent_commit = state.commit_index
        if append.entries or progress.stream is not Stream.REPLICATE:
            progress.sent(Index(append.prev_index + len(append.entries)), size)

    def peers(self) -> Iterator[PeerStatus]:
        """Every other member, as this leader knows it."""
        for id, progress in self._progress.items():
            yield PeerStatus(
                id=id,
                match_index=progress.match_index,
                next_index=progress.next_index,
                state=progress.stream.value,
                active=self._is_active(progress),
                inflight_bytes=progress.inflight_bytes,
            )
