"""What members say to each other; who said it comes with the link, not in the message.

Every message carries a term. In `RequestPreVote`, and in a `PreVoteResponse` that grants one, it is the
term that the asker *would* stand in; everywhere else it is the sender's own.
"""

from dataclasses import dataclass

from wolfscale.raft.types import Entry, Index, LogBase, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPreVote:
    """Would you vote for me in `term`? Binds nobody, changes no term (thesis 9.6)."""

    term: Term
    last_index: Index
    last_term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVoteResponse:
    """Granted: `term` is the one asked for. Refused: it is the answerer's own."""

    term: Term
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote:
    """Vote for me in `term` (thesis 3.4)."""

    term: Term
    last_index: Index
    last_term: Term
    transfer: bool
    """The leader itself asked me to stand, so do not defend it (thesis 4.2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteResponse:
    """The answer to `RequestVote`; a granted one leaves only when the vote is on disk."""

    term: Term
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Entries after `prev_index`, or none: then only the commit index (thesis 3.5)."""

    term: Term
    prev_index: Index
    prev_term: Term
    commit_index: Index
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendResponse:
    """The answer to `Append` and `InstallBase`."""

    term: Term
    accepted: bool
    index: Index
    """Accepted: the log is the leader's up to here, and on disk. Refused: the `prev_index` refused."""
    hint_index: Index
    """Refused: the logs may agree here, and cannot beyond."""
    hint_term: Term
    """Refused: the follower's term at `hint_index`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallBase:
    """The entries that you miss are gone: drop your log and begin after `base`."""

    term: Term
    base: LogBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """I lead `term`; an answer of the same `round` proves that I did when the round began."""

    term: Term
    commit_index: Index
    """Never beyond what the receiver has acknowledged."""
    round: int
    """Counts the leader's rounds of read confirmation (thesis 6.4); 0 before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatResponse:
    """The answer to `Heartbeat`, with its round."""

    term: Term
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """Stand at once: I hand leadership to you (thesis 3.10)."""

    term: Term


Message = (
    RequestPreVote
    | PreVoteResponse
    | RequestVote
    | VoteResponse
    | Append
    | AppendResponse
    | InstallBase
    | Heartbeat
    | HeartbeatResponse
    | TimeoutNow
)
