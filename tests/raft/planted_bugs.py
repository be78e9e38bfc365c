"""Five classic Raft bugs, each a patch of a few lines of the core, for the checker to find."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from wolfscale.raft import Entry, HardState, Index, Ready, Term
from wolfscale.raft.core import Raft
from wolfscale.raft.following import Following
from wolfscale.raft.leadership import Leadership
from wolfscale.raft.state import State
from wolfscale.testing.raft_schedule import Weather


class ForgetfulRaft(Raft):
    """Writes its term to disk, and not its vote."""

    def ready(self) -> Ready | None:
        ready = super().ready()
        if ready is None or ready.hard_state is None:
            return ready
        forgotten = HardState(term=ready.hard_state.term, vote=None)
        return Ready(
            number=ready.number,
            hard_state=forgotten,
            base=ready.base,
            entries=ready.entries,
            messages=ready.messages,
            messages_after_persist=ready.messages_after_persist,
            commit_index=ready.commit_index,
            reads=ready.reads,
            role_changed=ready.role_changed,
        )


@contextmanager
def old_terms_committed_by_counting() -> Iterator[None]:
    def maybe_commit(self: Leadership) -> None:
        self._state.commit(self._majority_index())
        if self.term_start_committed:
            self._reads.term_committed(self._state.commit_index)

    with patch.object(Leadership, "maybe_commit", maybe_commit):
        yield


@contextmanager
def votes_given_to_any_log() -> Iterator[None]:
    def is_covered_by(self: State, last_term: Term, last_index: Index) -> bool:
        return True

    with patch.object(State, "is_covered_by", is_covered_by):
        yield


@contextmanager
def log_cut_at_every_append() -> Iterator[None]:
    def news(self: Following, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return entries

    with patch.object(Following, "_news", news):
        yield


@contextmanager
def reads_answered_on_a_lease() -> Iterator[None]:
    def read(self: Leadership, context: bytes) -> None:
        self._state.reads.append((context, self._state.commit_index))

    with patch.object(Leadership, "read", read):
        yield


@contextmanager
def nothing_patched() -> Iterator[None]:
    yield


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedBug:
    name: str
    promises: tuple[str, ...]
    """Any of these may be the first that the checker sees broken."""
    plant: Callable[[], AbstractContextManager[None]] = nothing_patched
    raft: type[Raft] = Raft
    weather: Weather | None = None


PLANTED_BUGS = [
    PlantedBug(
        name="vote not persisted",
        promises=("election safety",),
        raft=ForgetfulRaft,
        weather=Weather(
            clock=1.0,
            deliver=0.2,
            lose=0.0,
            repeat=0.0,
            sync=1.0,
            propose=0.05,
            read=0.0,
            crash=0.0,
            bounce=0.3,
            start=0.5,
            block=0.1,
            isolate=0.0,
            heal=0.2,
            depose=0.05,
            lose_link=0.3,
            transfer=0.0,
            change=0.0,
            compact=0.0,
        ),
    ),
    PlantedBug(
        name="older term committed by counting",
        promises=("leader completeness", "state machine safety"),
        plant=old_terms_committed_by_counting,
        weather=Weather(
            clock=1.0,
            deliver=0.2,
            lose=0.0,
            repeat=0.0,
            sync=0.3,
            propose=1.0,
            crash=0.0,
            bounce=0.0,
            heal=0.0,
            block=0.0,
            isolate=0.0,
            depose=0.1,
            lose_link=0.0,
            transfer=0.0,
            change=0.0,
            compact=0.0,
            read=0.0,
        ),
    ),
    PlantedBug(
        name="no log check on a vote",
        promises=("leader completeness",),
        plant=votes_given_to_any_log,
    ),
    PlantedBug(
        name="committed entry truncated",
        promises=("state machine safety",),
        plant=log_cut_at_every_append,
    ),
    PlantedBug(
        name="lease read by a deposed leader",
        promises=("linearizable reads",),
        plant=reads_answered_on_a_lease,
    ),
]
