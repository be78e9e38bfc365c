"""What a member does with what its leader sends."""

from wolfscale.errors import InvariantError
from wolfscale.raft.codec import decode_membership
from wolfscale.raft.errors import BadMessage
from wolfscale.raft.messages import Append, AppendResponse, Heartbeat, HeartbeatResponse, InstallBase
from wolfscale.raft.state import State
from wolfscale.raft.types import Entry, EntryKind, Index, Membership, NodeId, Term


class Following:
    """The receiving half of replication; everything it needs is in the state."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def on_append(self, leader: NodeId, append: Append) -> None:
        """Take the leader's entries, if the log is the leader's up to where they begin (thesis 3.5)."""
        state, log = self._state, self._state.log
        memberships = _memberships(append)
        if memberships is None:
            state.ignored_messages += 1
            return
        prev_index, prev_term, entries = append.prev_index, append.prev_term, append.entries
        end = Index(prev_index + len(entries))
        if prev_index < state.commit_index:
            if end < state.commit_index:
                self._accept(leader, state.commit_index)
                return
            # What is committed is the leader's already; only what follows is news.
            known = state.commit_index - prev_index
            prev_index, prev_term, entries = state.commit_index, entries[known - 1].term, entries[known:]
        if prev_index > log.last_index or log.term(prev_index) != prev_term:
            if prev_index <= state.commit_index:
                raise InvariantError(
                    f"{leader}, leader of term {append.term}, has another entry {prev_index} than the "
                    f"committed one of {state.id}"
                )
            self._refuse(leader, prev_index, prev_term)
            return
        news = self._news(entries)
        if news:
            if news[0].index <= log.last_index:
                state.memberships.truncate(news[0].index)
            log.append(news)
            for index, membership in memberships:
                if index >= news[0].index:
                    state.memberships.append(index, membership)
        state.commit(Index(min(append.commit_index, end)))
        self._accept(leader, end)

    def _news(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """The entries from the first one on that the log does not hold.

        What the log holds is left alone: an Append that comes late must not cut off what a later one
        brought (thesis 3.5).
        """
        log = self._state.log
        for place, entry in enumerate(entries):
            if entry.index > log.last_index or log.term(entry.index) != entry.term:
                return entries[place:]
        return ()

    def on_heartbeat(self, leader: NodeId, heartbeat: Heartbeat) -> None:
        """The leader lives, and says how far what it knows to be here is committed.

        Raises:
            InvariantError: it was told, in its term, of entries that are not here any more.
        """
        state = self._state
        if heartbeat.commit_index > state.log.last_index:
            # The leader counts on them, and may have committed by them: this log's vote could lose them.
            raise InvariantError(
                f"{state.id} had acknowledged {heartbeat.commit_index} to its leader {leader}, "
                f"and the log ends at {state.log.last_index}: "
                "the disk has lost what it had confirmed, or an old copy was put back. "
                "Check the disk, then delete the directory wal in this node's data directory "
                "and start it again: it joins as a new member and copies the data"
            )
        state.commit(heartbeat.commit_index)
        state.send(leader, HeartbeatResponse(term=state.term, round=heartbeat.round))

    def on_install_base(self, leader: NodeId, install: InstallBase) -> None:
        """Drop the log for the leader's base, unless the log already reaches it."""
        state, log, base = self._state, self._state.log, install.base
        if base.term > install.term:
            state.ignored_messages += 1
            return
        if base.index <= state.commit_index:
            self._accept(leader, state.commit_index)
            return
        if base.index <= log.last_index and log.term(base.index) == base.term:
            state.commit(base.index)
        else:
            log.install(base)
            state.memberships.install(base)
            state.commit(base.index)
        self._accept(leader, base.index)

    def _accept(self, leader: NodeId, index: Index) -> None:
        self._state.send_after_persist(
            leader,
            AppendResponse(
                term=self._state.term, accepted=True, index=index, hint_index=Index(0), hint_term=Term(0)
            ),
        )

    def _refuse(self, leader: NodeId, prev_index: Index, prev_term: Term) -> None:
        hint_index, hint_term = self._state.log.find_agreement(prev_index, prev_term)
        self._state.send(
            leader,
            AppendResponse(
                term=self._state.term,
                accepted=False,
                index=prev_index,
                hint_index=hint_index,
                hint_term=hint_term,
            ),
        )


def _memberships(append: Append) -> list[tuple[Index, Membership]] | None:
    """The memberships among the entries; None when the entries are not ones that a leader could send."""
    index, term = append.prev_index, append.prev_term
    found = []
    for entry in append.entries:
        index = Index(index + 1)
        if entry.index != index or not term <= entry.term <= append.term:
            return None
        term = entry.term
        if entry.kind is EntryKind.MEMBERSHIP:
            try:
                found.append((index, decode_membership(entry.data)))
            except BadMessage:
                return None
    return found
