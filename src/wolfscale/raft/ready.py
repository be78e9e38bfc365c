"""What the core asks of its owner after some input, with the order of the duties made explicit as data."""

from dataclasses import dataclass

from wolfscale.raft.messages import Message
from wolfscale.raft.types import Entry, HardState, Index, LogBase, Membership, NodeId, Role, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The owner's duties, in this order.

    1. Make `base` and `entries` visible to the core's `LogReader`, before any other call of the core.
    2. Send `messages`; tell whoever waits about `role_changed`, `commit_index` and `reads`.
    3. Make `hard_state`, `base` and `entries` durable, in that order and after those of earlier Readys.
       Several Readys may be made durable by one write.
    4. Call `Raft.persisted(number)`, then send `messages_after_persist`.
    """

    number: int
    """One more for each Ready."""
    hard_state: HardState | None
    """The new term and vote, when they changed."""
    base: LogBase | None
    """Drop the whole log and begin after this base."""
    entries: tuple[Entry, ...]
    """Consecutive; the first one's index may lie within the log, which then ends before it."""
    messages: tuple[tuple[NodeId, Message], ...]
    """To be sent at once; a leader's Appends are among them (thesis 10.2.1)."""
    messages_after_persist: tuple[tuple[NodeId, Message], ...]
    """Promises: sent only when this Ready and all before it are durable."""
    commit_index: Index | None
    """The commit index, when it moved. It may be ahead of what is durable here."""
    reads: tuple[tuple[bytes, Index], ...]
    """Confirmed reads: the state at that index, or later, may be shown."""
    role_changed: bool
    """Role, term, leader or membership differ from the previous Ready's."""

    @property
    def needs_persist(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.entries) or self.hard_state is not None or self.base is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """What a leader knows of another member."""

    id: NodeId
    match_index: Index
    """Known to be durable there."""
    next_index: Index
    """The next entry to be sent."""
    state: str
    """`probe`, `replicate` or `install`."""
    active: bool
    """Heard from within the election timeout."""
    inflight_bytes: int
    """Sent and not yet acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftStatus:
    """A member's state at one moment, for people and metrics."""

    id: NodeId
    role: Role
    term: Term
    leader: NodeId | None
    commit_index: Index
    last_index: Index
    persisted_index: Index
    base_index: Index
    membership: Membership
    transfer_to: NodeId | None
    """Leader: the member that is being handed leadership."""
    ignored_messages: int
    """Messages that made no sense and were dropped, since the start."""
    peers: tuple[PeerStatus, ...]
    """Leader: every other member."""
