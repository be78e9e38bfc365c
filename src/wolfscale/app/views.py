"""What the node tells its proxies: the `View` built from Raft, the log and the database."""

import msgspec
import trio

from wolfscale.changes import Changes
from wolfscale.node.node import Node
from wolfscale.proxy.view import View, Views
from wolfscale.raft.types import Suffrage
from wolfscale.replication.database import Database
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.notice import decode_notice
from wolfscale.replication.positions import CommittedSequence


class ViewPublisher:
    """Keeps one `Views` up to date; every proxy of this node is pushed the same one."""

    def __init__(self, node: Node, database: Database | None, lifecycle: Lifecycle | None) -> None:
        """Prepare.

        Args:
            node: knows the leader and the log.
            database: the MariaDB beside it; None on a witness.
            lifecycle: likewise.
        """
        self.views = Views()
        """For the proxies of this node."""
        self.remote_views = Views()
        """For proxies elsewhere, which have no MariaDB beside them and reach the nodes' as peers."""
        self._node = node
        self._database = database
        self._lifecycle = lifecycle
        self._committed = CommittedSequence(node.log)

    async def run(self) -> None:
        """Update until cancelled: after each change of what a view is made of, and never without one."""
        sources = [self._node.changes]
        if self._lifecycle is not None:
            sources += [self._lifecycle.changes, self._lifecycle.applied_changes]
        async with trio.open_nursery() as nursery:
            for changes in sources:
                nursery.start_soon(self._follow, changes)

    async def _follow(self, changes: Changes) -> None:
        while True:
            view = self._view()
            if view != self.views.current:
                self.views.update(view)
                self.remote_views.update(
                    msgspec.structs.replace(view, is_leader=False, database_ready=False, database_socket=None)
                )
            await changes.wait()

    def _view(self) -> View:
        node, database, lifecycle = self._node, self._database, self._lifecycle
        leader, member = node.leader, node.member
        view = View(
            node=node.id,
            number=node.number,
            term=node.term,
            leader=leader.id if leader else None,
            leader_address=leader.address if leader else None,
            writable=self._is_writable(),
            committed_sequence=self._committed.value,
            peers=tuple(member.address for member in node.membership.members),
        )
        if database is None or lifecycle is None:
            return view
        return msgspec.structs.replace(
            view,
            is_leader=lifecycle.writable,
            committed_sequence=lifecycle.committed_sequence,
            applied_sequence=lifecycle.applied_sequence,
            database_ready=lifecycle.serving,
            database_socket=database.socket_path,
            node_account=database.account.user,
            readable=lifecycle.serving and member is not None and member.suffrage is Suffrage.VOTER,
        )

    def _is_writable(self) -> bool:
        """Whether the leader has announced itself writable in the present term."""
        if self._lifecycle is not None and self._lifecycle.writable:
            return True
        leader = self._node.leader
        said = self._node.notices.get(leader.id) if leader and leader.id != self._node.id else None
        if said is None:
            return False
        notice = decode_notice(said.data)
        return notice.writable and notice.term == self._node.term
