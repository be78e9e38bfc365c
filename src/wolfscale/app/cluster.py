"""The node as replication sees it: `replication.cluster.Cluster` over `node.Node`."""

from collections.abc import Callable, Sequence

import trio

from wolfscale.changes import Changes
from wolfscale.node.errors import NodeError
from wolfscale.node.node import Node
from wolfscale.raft.errors import RaftError
from wolfscale.raft.types import NodeId, Suffrage
from wolfscale.replication.cluster import Peer
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.notice import MemberNotice, decode_notice, encode_notice

FRESH_SECONDS = 5.0
"""A member whose notice is older counts as gone; notices come every second."""


class NodeCluster:
    """Adapts one `Node`; holds no state of its own but the last notice.

    Args:
        node: what is adapted.
        complete: adds to a notice what the database does not know.
    """

    def __init__(
        self, node: Node, *, complete: Callable[[MemberNotice], MemberNotice] = lambda notice: notice
    ) -> None:
        self._node = node
        self._complete = complete
        self._decoded: dict[bytes, MemberNotice] = {}

    @property
    def changes(self) -> Changes:
        """The node's own."""
        return self._node.changes

    @property
    def log(self) -> ReplicatedLog:
        """The node's log."""
        return self._node.log

    @property
    def name(self) -> str:
        """This member's name."""
        return self._node.name

    @property
    def number(self) -> int:
        """This member's number; 0 while it is not in the membership yet."""
        return self._node.number

    @property
    def is_leader(self) -> bool:
        """Whether this node leads in `term`."""
        return self._node.is_leader

    @property
    def is_voter(self) -> bool:
        """Whether this node has a vote."""
        member = self._node.member
        return member is not None and member.suffrage is not Suffrage.LEARNER

    @property
    def term(self) -> int:
        """The node's Raft term."""
        return self._node.term

    @property
    def term_start_committed(self) -> bool:
        """Whether this leader's first entry of `term` is committed."""
        return self._node.term_start_committed

    @property
    def votes_elsewhere(self) -> int:
        """How many other members could lead."""
        return sum(
            member.suffrage is Suffrage.VOTER and member.id != self._node.id
            for member in self._node.membership.members
        )

    def peers(self) -> Sequence[Peer]:
        """The other members heard from recently."""
        now = trio.current_time()
        peers = []
        for member in self._node.membership.members:
            notice = self._node.notices.get(member.id)
            if member.id == self._node.id or notice is None or now - notice.received_at > FRESH_SECONDS:
                continue
            if not self._node.connected(member.id):
                continue
            peers.append(
                Peer(
                    id=member.id,
                    name=member.name,
                    address=member.address,
                    votes=member.suffrage is Suffrage.VOTER,
                    notice=self._decode(notice.data),
                )
            )
        return peers

    def _decode(self, data: bytes) -> MemberNotice:
        # Notices change about once a second and are read at each step of the lifecycle.
        notice = self._decoded.get(data)
        if notice is None:
            if len(self._decoded) > 64:
                self._decoded.clear()
            notice = self._decoded[data] = decode_notice(data)
        return notice

    def transfer_leadership(self, to: str | None = None) -> None:
        """Ask Raft to hand leadership on; what cannot be done now is left to the next attempt."""
        try:
            self._node.transfer_leadership(NodeId(to) if to is not None else None)
        except (RaftError, NodeError):
            return

    def publish(self, notice: MemberNotice) -> None:
        """Tell the peers about this member's database, and where its HTTP side is."""
        self._node.publish(encode_notice(self._complete(notice)))

    async def open_clone(self, donor: Peer) -> trio.abc.Stream:
        """Open a clone stream to a peer."""
        return await self._node.dialer.open_stream(donor.address, "clone")

    async def has_whole_log(self) -> bool:
        """Ask the leader what is committed, wait until it is committed here; False when nobody answered."""
        try:
            index = await self._node.read_index()
        except (RaftError, NodeError):
            return False
        await self._node.changes.wait_until(lambda: self._node.commit_index >= index)
        return True

    async def report_ready(self) -> None:
        """Ask the leader for the vote."""
        await self._node.become_voter()
