"""One member of a cluster: the core, its disk, its links and its place in the membership, as one object."""

import contextlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.node.admission import PROMOTE, REMOVE, Admission, PromoteRequest, RemoveRequest
from wolfscale.node.dialer import Dialer
from wolfscale.node.driver import Driver
from wolfscale.node.errors import only_error
from wolfscale.node.identity import Identity, load_or_create_identity, new_identity
from wolfscale.node.leader_calls import LeaderCalls
from wolfscale.node.links import Links
from wolfscale.node.listener import Admission as StreamAdmission
from wolfscale.node.listener import Listener, StreamHandler
from wolfscale.node.log import CommittedLog
from wolfscale.node.options import TICKS_PER_HEARTBEAT, NodeOptions, advertised_address
from wolfscale.node.read_index import READ_INDEX, ReadIndex
from wolfscale.node.residence import Residence
from wolfscale.node.rpc import RpcClient, RpcHandler, RpcServer
from wolfscale.node.statistics import RaftStatistics
from wolfscale.node.status import NodeStatus, Notice, build_status
from wolfscale.node.storage import RaftStorage
from wolfscale.node.tls import Credentials
from wolfscale.raft.errors import NotLeader, TransferRefused
from wolfscale.raft.messages import Message
from wolfscale.raft.types import Index, Member, Membership, NodeId, RaftConfig, Role, Term

log = logs.logger(__name__)


class Node:
    """One member of a cluster.

    Made by `create`, alive while `run` runs. Handlers are registered before that. Everything that can be
    asked works from any task of the same trio run; nothing is thread-safe.
    """

    def __init__(
        self, *, options: NodeOptions, identity: Identity, storage: RaftStorage, dialer: Dialer
    ) -> None:
        self._options = options
        self._storage = storage
        self.dialer = dialer
        """Opens streams to other nodes."""
        self.changes = Changes()
        """Notified when role, term, leader, commit index, membership or a notice have changed."""
        self.role_changes = Changes()
        """Notified when role, term, leader or membership have changed: far less often."""
        self._notices: dict[NodeId, Notice] = {}
        self._links = Links(
            dialer=dialer,
            id=identity.id,
            name=identity.name,
            on_messages=self._on_messages,
            on_up=self._on_link_up,
            on_lost=self._on_link_lost,
            on_notice=self._on_notice,
        )
        self._driver = Driver(
            config=RaftConfig(
                id=identity.id,
                election_ticks=options.election_ticks,
                heartbeat_ticks=TICKS_PER_HEARTBEAT,
            ),
            storage=storage,
            tick_interval=options.tick_interval,
            send=self._links.send,
            on_role=self._on_role,
            changes=self.changes,
        )
        self.log = CommittedLog(self._driver)
        """The replicated log, as the replication expects it."""
        self._listener = Listener(dialer.credentials, options.bind_address)
        self._rpc_server = RpcServer()
        self._rpc = RpcClient(dialer)
        self._leader_calls = LeaderCalls(
            driver=self._driver,
            server=self._rpc_server,
            client=self._rpc,
            role_changes=self.role_changes,
        )
        self._read_index = ReadIndex(self._leader_calls)
        self._admission = Admission(
            driver=self._driver, id=identity.id, name=identity.name, connected=self._links.connected
        )
        self._residence = Residence(
            options=options,
            identity=identity,
            driver=self._driver,
            admission=self._admission,
            rpc=self._rpc,
            changes=self.role_changes,
            learn_address=self._links.learn_address,
        )
        self._listener.handle("raft", self._links.serve, self._links.admit)
        self._listener.handle("rpc", self._rpc_server.serve)
        for name, handler in self._admission.handlers().items():
            self._rpc_server.handle(name, handler)
        self._rpc_server.handle(READ_INDEX, self._on_read_index)

    @classmethod
    async def create(cls, options: NodeOptions, *, storage: RaftStorage) -> "Node":
        """Make a node over its opened storage; reads or makes its identity, touches no network.

        Raises:
            IdentityError: the identity file cannot be used.
            NodeError: the given certificates cannot be used.
            OSError: the data directory cannot be used.
        """
        identity = await trio.to_thread.run_sync(load_or_create_identity, options.data_dir, options.name)
        if options.certificates is not None:
            credentials = Credentials.from_files(options.certificates)
        else:
            credentials = await trio.to_thread.run_sync(
                Credentials.from_secret, options.secret.value, options.name
            )
        node = cls(options=options, identity=identity, storage=storage, dialer=Dialer(credentials))
        if identity.number and not node.membership.members:
            # Its votes and what it acknowledged are gone: it must not come back as the same member.
            log.warning("this node's log is gone: it joins again as a new member", node=identity.id)
            identity = await trio.to_thread.run_sync(new_identity, options.data_dir, options.name)
            node = cls(options=options, identity=identity, storage=storage, dialer=node.dialer)
        return node

    # Who and what it is

    @property
    def id(self) -> NodeId:
        """This node's identity."""
        return self._residence.identity.id

    @property
    def name(self) -> str:
        """Its name."""
        return self._residence.identity.name

    @property
    def number(self) -> int:
        """The number that the cluster gave it; 0 before."""
        member = self.member
        return member.number if member else self._residence.identity.number

    @property
    def settled_number(self) -> int:
        """The number that is its own for good, by a committed entry; 0 before, and when it is no member."""
        known = self.member is not None and not self.removed
        return self._residence.identity.number if known else 0

    @property
    def address(self) -> str:
        """Where peers reach it; final once `run` has started."""
        return self._residence.address

    @property
    def joining(self) -> str | None:
        """What it is waiting for to become a member; None when it is one."""
        return self._residence.joining

    @property
    def removed(self) -> bool:
        """Whether the cluster has removed this identity for good: it takes no part any more."""
        return self._residence.removed

    @property
    def member(self) -> Member | None:
        """This node in the membership in force; None while it is not in it."""
        return self.membership.get(self.id)

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self._driver.raft.membership

    @property
    def role(self) -> Role:
        """What it does in its term."""
        return self._driver.raft.role

    @property
    def term(self) -> Term:
        """Its term."""
        return self._driver.raft.term

    @property
    def leader(self) -> Member | None:
        """Who leads the term, as far as it knows."""
        leader = self._driver.raft.leader
        return self.membership.get(leader) if leader is not None else None

    @property
    def is_leader(self) -> bool:
        """Whether it leads its term and has not stopped."""
        return self._driver.raft.is_leader and self._driver.running

    @property
    def term_start_committed(self) -> bool:
        """Whether it leads and has committed an entry of its term: it knows everything committed before."""
        return self._driver.raft.term_start_committed

    @property
    def statistics(self) -> RaftStatistics:
        """What it has counted since its start."""
        return self._driver.statistics

    # The log

    @property
    def commit_index(self) -> Index:
        """Everything up to it is committed, and durable here."""
        return self._driver.commit_index

    async def wait_committed(self, index: int, term: int) -> None:
        """Wait until an entry is committed; see `Driver.wait_committed`."""
        await self._driver.wait_committed(index, term)

    async def read_index(self, *, timeout: float = 10.0) -> Index:
        """An index that covers everything acknowledged before the call, confirmed by a majority.

        A follower asks the leader. The caller waits until that index is applied before it reads.

        Raises:
            RpcUnavailable, RpcUncertain: no leader confirmed it in time.
            NodeStopped: this node is stopping.
        """
        return await self._read_index.get(timeout=timeout)

    async def purge(self, index: int) -> Index:
        """Drop entries up to `index` at most, whole segments only; returns what precedes the first left.

        Whoever needs one of them afterwards is told to start from a clone.
        """
        index = min(Index(index), self.commit_index)
        if index > self._storage.base.index:
            await self._driver.truncate_prefix(index)
        return self._storage.base.index

    # The cluster

    async def change_membership(self, membership: Membership) -> Index:
        """Put another membership in force and wait until it is committed; see `Admission.change`."""
        return await self._admission.change(lambda _: membership)

    def transfer_leadership(self, to: NodeId | None = None) -> None:
        """Begin to hand leadership to a voter, the most caught-up one unless named.

        Raises:
            NotLeader: this node does not lead.
            TransferRefused: there is no such voter.
        """
        self._driver.transfer_leadership(to)

    async def hand_over(self, to: NodeId | None = None, *, timeout: float) -> bool:
        """Hand leadership to a voter and wait until it is gone; says whether it is.

        False when this node still leads after `timeout` seconds, or there is no voter to take over.
        """
        with trio.move_on_after(timeout), contextlib.suppress(NotLeader, TransferRefused):
            self.transfer_leadership(to)
            await self.role_changes.wait_until(lambda: not self.is_leader)
        return not self.is_leader

    async def wait_member(self) -> Member:
        """Wait until this node is in its own membership."""
        await self.role_changes.wait_until(lambda: self.member is not None)
        member = self.member
        assert member is not None
        return member

    async def become_voter(self, *, timeout: float = 60.0) -> None:
        """Ask for the vote (or a witness's): this node holds the data now. Returns when it has it.

        Raises:
            RpcUnavailable: no leader could be asked in time.
            RpcFailed: the leader refused; says why.
            RpcUncertain: it was asked and did not answer; ask again.
        """
        await self.wait_member()
        request = PromoteRequest(id=self.id, suffrage=self._options.suffrage)
        if not self._has_suffrage():
            await self.call(None, PROMOTE, msgspec.msgpack.encode(request), timeout=timeout)
            await self.role_changes.wait_until(self._has_suffrage)

    def _has_suffrage(self) -> bool:
        member = self.member
        return member is not None and member.suffrage is self._options.suffrage

    async def remove_member(self, id: NodeId, *, timeout: float = 60.0) -> None:
        """Remove a member for good; the leader must hand leadership on before it can be removed.

        Raises:
            RpcUnavailable: no leader could be asked in time.
            RpcFailed: the leader refused; says why.
            RpcUncertain: it was asked and did not answer.
        """
        await self.call(None, REMOVE, msgspec.msgpack.encode(RemoveRequest(id=id)), timeout=timeout)

    # Talking to other nodes

    def handle_stream(self, kind: str, handler: StreamHandler, admit: StreamAdmission | None = None) -> None:
        """Take streams of a kind from other nodes: `session`, `clone`, `watch`."""
        self._listener.handle(kind, handler, admit)

    def handle_rpc(self, name: str, handler: RpcHandler) -> None:
        """Answer calls of a name from other nodes, and from this one."""
        self._rpc_server.handle(name, handler)

    async def call(self, to: str | None, name: str, payload: bytes = b"", *, timeout: float = 5.0) -> bytes:
        """Call a node and wait for its answer.

        Args:
            to: a peer address, or None for the leader, whoever it is or becomes within the timeout; this
                node's own handler is run when it leads.
            name: the call, as registered there.
            payload: goes to the handler.
            timeout: seconds.

        Raises:
            RpcUnavailable: it did not run.
            RpcUncertain: it may have run.
            RpcFailed: its handler raised.
        """
        if to is None:
            return await self._leader_calls.call(name, payload, timeout=timeout)
        return await self._rpc.call(to, name, payload, timeout=timeout)

    async def _on_read_index(self, _payload: bytes) -> bytes:
        return (await self._driver.read_index()).to_bytes(8, "big")

    def publish(self, notice: bytes) -> None:
        """Tell every peer something about this node; sent again every second, a newer one replaces it.

        Raises:
            ValueError: it is longer than 64 KiB.
        """
        self._links.publish(notice)
        self._note(self.id, notice)

    @property
    def notices(self) -> Mapping[NodeId, Notice]:
        """What the members have published, this one included; the age tells who still lives."""
        members = {member.id for member in self.membership.members} | {self.id}
        return MappingProxyType({id: notice for id, notice in self._notices.items() if id in members})

    def connected(self, peer: NodeId) -> bool:
        """Whether a stream from or to the peer is open."""
        return peer == self.id or self._links.connected(peer)

    def status(self) -> NodeStatus:
        """This node at this moment."""
        return build_status(
            driver=self._driver,
            residence=self._residence,
            links=self._links,
            listener=self._listener,
            notices=self._notices,
        )

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a member until cancelled; started when the peer port listens and the core runs.

        Being taken into a cluster may take longer: see `joining` and `wait_member`. Does not close the
        storage.

        Raises:
            BootstrapRefused: a new cluster would stand beside a living one.
            JoinRefused: the cluster does not take this node; says why.
            NodeStopped: the disk failed or an invariant broke.
            OSError: the peer port cannot be listened on.
        """
        try:
            async with trio.open_nursery() as nursery:
                bound = await nursery.start(self._listener.run)
                address = self._options.advertise_address
                if address is None:
                    address = await trio.to_thread.run_sync(advertised_address, bound, self._options.peers)
                self._residence.address = self._admission.address = self._links.address = address
                await nursery.start(self._rpc.run)
                await self._residence.maybe_bootstrap()
                self._on_role()
                await nursery.start(self._links.run)
                await nursery.start(self._driver.run)
                nursery.start_soon(self._residence.run)
                log.info("listening for peers", node=self.id, address=address)
                task_status.started()
        except BaseExceptionGroup as group:
            error = only_error(group)
            if error is None:
                raise
            raise error from error.__cause__
        finally:
            self.role_changes.notify()
            self.changes.notify()

    # What the parts report

    def _on_role(self) -> None:
        membership = self.membership
        self._links.set_peers(membership.members)
        for id in self._notices.keys() - {member.id for member in membership.members}:
            if not self.connected(id):
                del self._notices[id]
        self.role_changes.notify()

    def _on_messages(self, peer: NodeId, messages: Sequence[Message]) -> None:
        self._driver.step(peer, messages)

    def _on_link_up(self, peer: NodeId) -> None:
        self._driver.link_up(peer)

    def _on_link_lost(self, peer: NodeId) -> None:
        log.info("lost a peer", peer=peer)
        self._driver.link_lost(peer)
        self.role_changes.notify()

    def _on_notice(self, peer: NodeId, data: bytes) -> None:
        # Kept from whoever is connected: a new member hears its peers before it knows that they are members.
        self._note(peer, data)

    def _note(self, id: NodeId, data: bytes) -> None:
        previous = self._notices.get(id)
        self._notices[id] = Notice(data=data, received_at=trio.current_time())
        if previous is None or previous.data != data:
            self.changes.notify()
