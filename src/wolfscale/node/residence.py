"""A node's place in its cluster: bootstrapped or joined, kept under the right address, lost when removed."""

from collections.abc import Callable
from dataclasses import replace

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.node.admission import Admission, JoinAnswer, JoinRequest, Standing
from wolfscale.node.driver import Driver
from wolfscale.node.identity import Identity, save_identity
from wolfscale.node.join import Joiner, check_bootstrap, check_founding, question_all
from wolfscale.node.options import NodeOptions
from wolfscale.node.rpc import RpcClient
from wolfscale.raft.types import LogBase, Member, Membership, NodeId, Suffrage

log = logs.logger(__name__)

GUARD_SECONDS = 2.0
"""How often a lone founder asks its peers whether they belong to another cluster."""


class Residence:
    """Makes this node a member and keeps it one.

    Args:
        options: what the node was told.
        identity: who it is.
        driver: its core's.
        admission: answers others that ask; told while this node bootstraps.
        rpc: calls other nodes.
        changes: notified when role, term, leader, membership or this object's state have changed.
        learn_address: called when a member turns out to be reached at another address.
    """

    def __init__(
        self,
        *,
        options: NodeOptions,
        identity: Identity,
        driver: Driver,
        admission: Admission,
        rpc: RpcClient,
        changes: Changes,
        learn_address: Callable[[NodeId, str], None],
    ) -> None:
        self._options = options
        self.identity = identity
        """Who this node is, with the number that the cluster has given it."""
        self._driver = driver
        self._admission = admission
        self._rpc = rpc
        self._changes = changes
        self._learn_address = learn_address
        self.joining: str | None = None
        """What is being waited for to become a member; None for a member."""
        self.removed = False
        """The cluster has removed this identity for good."""
        self.address = options.advertise_address or ""
        """Where peers reach this node; set before `run`."""

    @property
    def member(self) -> Member | None:
        """This node in the membership in force."""
        return self._driver.raft.membership.get(self.identity.id)

    async def maybe_bootstrap(self) -> bool:
        """Make a new cluster of one if that was asked for and there is no state yet; says whether it did.

        Raises:
            BootstrapRefused: a peer belongs to a cluster, or is being bootstrapped too.
        """
        if self._driver.raft.membership.members or not self._options.bootstrap:
            return False
        self._admission.bootstrapping = True
        try:
            await check_bootstrap(self._rpc, self._options.peers, self._request())
            await self._save_number(1)
            member = Member(
                id=self.identity.id,
                name=self.identity.name,
                address=self.address,
                number=1,
                suffrage=Suffrage.VOTER,
            )
            await self._driver.install(LogBase(membership=Membership().with_member(member)))
        except WolfScaleError:
            secret = self._options.secret
            if secret.created and secret.path is not None:
                # It would keep this node out of the cluster that it must join instead.
                secret.path.unlink(missing_ok=True)
            raise
        finally:
            self._admission.bootstrapping = False
        log.info("made a new cluster", node=self.identity.id)
        return True

    async def run(self) -> None:
        """Join if necessary, and go on until this identity is removed.

        Raises:
            JoinRefused: the cluster does not take this node; says why.
            BootstrapRefused: this node founded a cluster of its own beside a living one.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guard_founding)
            await self._be_member()
            nursery.cancel_scope.cancel()

    async def _guard_founding(self) -> None:
        """While this node is its cluster's only member, make sure that no peer belongs to another one.

        A flag left in a unit file makes a node whose disk is new found a cluster while its peers are down;
        the first peer that is back ends it.
        """
        while self._is_alone():
            await check_founding(self._rpc, self._options.peers, self._request())
            with trio.move_on_after(GUARD_SECONDS):
                await self._changes.wait_until(lambda: not self._is_alone())

    def _is_alone(self) -> bool:
        members = self._driver.raft.membership.members
        return bool(self._options.peers) and [member.id for member in members] == [self.identity.id]

    async def _be_member(self) -> None:
        joiner = Joiner(
            rpc=self._rpc,
            peers=self._options.peers,
            patience=self._options.join_patience,
            on_progress=self._set_joining,
        )
        while not self.removed:
            member = self.member
            if self._is_known():
                self._set_joining(None)
                if self.identity.number:
                    await self._watch_leader()
                else:
                    await self._driver.changes.wait_until(
                        lambda: self._is_committed() or not self._is_known()
                    )
                    if member is not None and self._is_committed():
                        await self._save_number(member.number)
            elif member is None and self.identity.number and not self._is_committed():
                await self._driver.changes.wait()  # a removal that may yet come to nothing
            else:
                await self._join(joiner)

    def _request(self) -> JoinRequest:
        identity = self.identity
        return JoinRequest(id=identity.id, name=identity.name, address=self.address, number=identity.number)

    def _is_known(self) -> bool:
        member = self.member
        return member is not None and member.address == self.address

    def _is_committed(self) -> bool:
        return self._driver.raft.membership_index <= self._driver.commit_index

    async def _save_number(self, number: int) -> None:
        self.identity = replace(self.identity, number=number)
        await trio.to_thread.run_sync(save_identity, self._options.data_dir, self.identity)
        self._changes.notify()

    async def _join(self, joiner: Joiner) -> None:
        self._set_joining("asking the cluster's nodes")
        if self.member is not None and self._driver.raft.is_leader:
            # This node leads under an address that has changed: there is nobody else to ask.
            await self._admission.admit(self._request())
            return
        others = [member.address for member in self._driver.raft.membership.members]
        answer = await joiner.join(self._request(), (other for other in others if other != self.address))
        if answer.standing is Standing.REMOVED:
            self._set_removed(answer.reason)
            return
        self._set_joining("taken in; waiting for the log")
        with trio.move_on_after(2 * self._options.election_timeout):
            await self._changes.wait_until(self._is_known)

    async def _watch_leader(self) -> None:
        """Wait while all is well; without a leader for long, ask around why."""
        raft = self._driver.raft
        await self._changes.wait_until(lambda: raft.leader is None or not self._is_known())
        with trio.move_on_after(3 * self._options.election_timeout):
            await self._changes.wait_until(lambda: raft.leader is not None or not self._is_known())
            return
        addresses = {member.address for member in raft.membership.members} | set(self._options.peers)
        answers = await question_all(self._rpc, addresses - {self.address}, self._request())
        leaders = {
            answer.leader_address
            for answer in answers.values()
            if isinstance(answer, JoinAnswer) and answer.leader_address is not None
        }
        answers |= await question_all(self._rpc, leaders - answers.keys() - {self.address}, self._request())
        for address, answer in answers.items():
            if not isinstance(answer, JoinAnswer):
                continue
            if answer.standing is Standing.REMOVED:
                self._set_removed(answer.reason)
            known = raft.membership.get(NodeId(answer.id))
            if known is not None and known.address != address:
                self._learn_address(known.id, address)

    def _set_removed(self, reason: str) -> None:
        self.removed = True
        self.joining = None
        log.error(
            "this node is no member any more: to let it join as a new one, empty its data directory",
            reason=reason,
        )
        self._changes.notify()

    def _set_joining(self, line: str | None) -> None:
        if line != self.joining:
            if line is not None:
                log.info("joining the cluster", progress=line)
            self.joining = line
            self._changes.notify()
