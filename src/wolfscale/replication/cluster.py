"""The cluster as replication sees it: a narrow view that the composition root fills."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from wolfscale.changes import Changes
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.notice import MemberNotice


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another member whose notice is fresh.

    Attributes:
        id: its member id.
        name: its configured name.
        address: "host:port" of its peer port.
        votes: it is a voter (and no witness).
        notice: what it says of its database.
    """

    id: str
    name: str
    address: str
    votes: bool
    notice: MemberNotice


class Cluster(Protocol):
    """What the lifecycle needs of the node it lives in."""

    @property
    def changes(self) -> Changes:
        """Notified when role, term, commit index, membership or a notice moves."""

    @property
    def log(self) -> ReplicatedLog:
        """The replicated log."""

    @property
    def name(self) -> str:
        """This member's name."""

    @property
    def number(self) -> int:
        """This member's number; 0 while it is not in the membership yet."""

    @property
    def is_leader(self) -> bool:
        """Whether this node leads in `term`."""

    @property
    def is_voter(self) -> bool:
        """Whether this node has a vote."""

    @property
    def term(self) -> int:
        """The node's Raft term."""

    @property
    def term_start_committed(self) -> bool:
        """Whether this leader's first entry of `term` is committed."""

    @property
    def votes_elsewhere(self) -> int:
        """How many other voters the membership has, connected or not."""

    def peers(self) -> Sequence[Peer]:
        """The other members heard from recently."""

    def transfer_leadership(self, to: str | None = None) -> None:
        """Ask Raft to hand leadership to a member (None: the most caught-up voter)."""

    def publish(self, notice: MemberNotice) -> None:
        """Tell the peers about this member's database."""

    async def open_clone(self, donor: Peer) -> trio.abc.Stream:
        """Ask a peer for a copy of its data; the stream carries it."""

    async def has_whole_log(self) -> bool:
        """Ask the leader what is committed, wait until it is committed here; False when nobody answered."""

    async def report_ready(self) -> None:
        """Tell the leader that this member's data is complete, so that a learner becomes a voter."""
