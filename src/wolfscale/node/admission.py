"""The cluster's side of joining: who is taken in, under which number, and when it may vote.

Changes of the membership are made one at a time (thesis 4.1): whoever asks meanwhile waits.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import TypeVar

import msgspec
import trio

from wolfscale import logs
from wolfscale.ids import NODE_NUMBERS
from wolfscale.node.driver import Driver
from wolfscale.node.errors import JoinRefused
from wolfscale.raft.errors import NotLeader
from wolfscale.raft.types import Index, Member, Membership, NodeId, Suffrage

log = logs.logger(__name__)

JOIN, PROMOTE, REMOVE = "node.join", "node.promote", "node.remove"
CHANGE_TIMEOUT = 30.0
"""Seconds that one change may take before its requester is told to ask again."""

CAUGHT_UP_POLL = 0.01
"""Seconds between looks at a learner's progress, while one asks for the vote."""


class Standing(Enum):
    """What a node answers to one that asks to join, or just asks who is there."""

    EMPTY = "empty"
    """It belongs to no cluster itself."""
    REDIRECT = "redirect"
    """Ask the leader."""
    LEADERLESS = "leaderless"
    """It belongs to a cluster that has no leader now."""
    MEMBER = "member"
    """You are a member."""
    NAME_TAKEN = "name taken"
    """A live member has your name."""
    REMOVED = "removed"
    """You were a member once and are none any more."""
    ALIVE = "alive"
    """It belongs to a living cluster (the answer to a mere question)."""


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A node that asks to be a member, or (`question`) only who is there."""

    id: str
    name: str
    address: str
    number: int
    question: bool = False


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and who gives it."""

    standing: Standing
    id: str
    name: str
    address: str
    leader_address: str | None = None
    bootstrapping: bool = False
    reason: str = ""


class PromoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A learner that has its data and asks to vote."""

    id: str
    suffrage: int


class RemoveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A member that shall go."""

    id: str


class Admission:
    """Answers the nodes that ask to join, to vote or to remove a member.

    Args:
        driver: the core's.
        id: this node.
        name: its name.
        connected: whether a member's process is connected with this node.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        id: NodeId,
        name: str,
        connected: Callable[[NodeId], bool],
    ) -> None:
        self._driver = driver
        self._id = id
        self._name = name
        self._connected = connected
        self._changing = trio.Lock()
        self.bootstrapping = False
        """This node is being bootstrapped: told to others that would be too."""
        self.address = ""
        """Where this node is reached; set before anybody asks."""

    def handlers(self) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """The calls that belong to joining."""
        return {JOIN: self._on_join, PROMOTE: self._on_promote, REMOVE: self._on_remove}

    async def change(self, build: Callable[[Membership], Membership]) -> Index:
        """Make a change of the membership and wait until it is committed.

        Args:
            build: the new membership from the present one; the same one means that nothing is to do.

        Raises:
            NotLeader: this node does not lead, or no longer.
            MembershipRefused: that change must not be made.
            ProposalDropped: leadership was lost meanwhile, nothing has changed.
            ProposalUncertain: leadership was lost meanwhile, it may have changed.
            JoinRefused: it could not be committed in time.
        """
        try:
            with trio.fail_after(CHANGE_TIMEOUT):
                async with self._changing:
                    return await self._change(build)
        except trio.TooSlowError:
            raise JoinRefused(
                f"the change of the membership was not committed within {CHANGE_TIMEOUT:g} s: is a majority "
                "of the members running?"
            ) from None

    async def _change(self, build: Callable[[Membership], Membership]) -> Index:
        driver = self._driver
        raft = driver.raft
        await driver.changes.wait_until(
            lambda: (
                not raft.is_leader
                or not driver.running
                or (raft.term_start_committed and raft.membership_index <= driver.commit_index)
            )
        )
        driver.check_running()
        if not raft.is_leader:
            raise NotLeader(raft.leader)
        membership = build(raft.membership)
        if membership == raft.membership:
            return raft.membership_index
        term = raft.term
        index = driver.change_membership(membership)
        await driver.wait_committed(index, term)
        return index

    def _answer(self, standing: Standing, reason: str = "") -> bytes:
        driver = self._driver
        leader = driver.raft.membership.get(driver.raft.leader) if driver.raft.leader else None
        return msgspec.msgpack.encode(
            JoinAnswer(
                standing=standing,
                id=self._id,
                name=self._name,
                address=self.address,
                leader_address=leader.address if leader else None,
                bootstrapping=self.bootstrapping,
                reason=reason,
            )
        )

    def _removed(self, id: str) -> bytes:
        return self._answer(Standing.REMOVED, f"{id} was removed from the cluster")

    async def _on_join(self, payload: bytes) -> bytes:
        request = _decode(payload, JoinRequest)
        raft = self._driver.raft
        if not raft.membership.members:
            return self._answer(Standing.EMPTY)
        if request.question:
            # Only the leader knows for sure: others may lag behind the change that took the asker in.
            gone = raft.is_leader and request.number and raft.membership.get(NodeId(request.id)) is None
            return self._removed(request.id) if gone else self._answer(Standing.ALIVE)
        if not raft.is_leader:
            return self._answer(Standing.LEADERLESS if raft.leader is None else Standing.REDIRECT)
        try:
            return await self.admit(request)
        except NotLeader:
            return self._answer(Standing.LEADERLESS if raft.leader is None else Standing.REDIRECT)

    async def admit(self, request: JoinRequest) -> bytes:
        """Take a node in, or note its new address; returns the encoded answer. On the leader only."""
        id = NodeId(request.id)
        raft = self._driver.raft
        known = raft.membership.get(id)
        if known is None and request.number:
            return self._removed(id)
        if known is None:
            namesake = raft.membership.by_name(request.name)
            if namesake is not None:
                if namesake.id == raft.id or self._connected(namesake.id):
                    return self._answer(
                        Standing.NAME_TAKEN,
                        f"a live member has that name: {namesake.name} at {namesake.address}; give this node "
                        "another id in its configuration, or stop that one",
                    )
                log.info("a new member takes the place of one that is gone", member=id, gone=namesake.id)
                await self.change(lambda membership: membership.without(namesake.id))
        await self.change(lambda membership: _with_joiner(membership, request))
        return self._answer(Standing.MEMBER)

    async def _on_promote(self, payload: bytes) -> bytes:
        request = _decode(payload, PromoteRequest)
        id = NodeId(request.id)
        suffrage = Suffrage(request.suffrage)
        await self._caught_up(id)
        await self.change(lambda membership: _with_suffrage(membership, id, suffrage))
        return b""

    async def _caught_up(self, id: NodeId) -> None:
        """Wait until a learner holds what was committed when it asked: its vote must not stall commits."""
        driver = self._driver
        raft = driver.raft
        goal = raft.commit_index

        def holds() -> bool:
            return any(peer.id == id and peer.match_index >= goal for peer in raft.status().peers)

        with trio.move_on_after(CHANGE_TIMEOUT):
            while raft.is_leader and raft.membership.get(id) is not None and id != raft.id:
                if holds():
                    return
                await trio.sleep(CAUGHT_UP_POLL)
            return
        raise JoinRefused(f"{id} does not keep up with the log; it may ask again")

    async def _on_remove(self, payload: bytes) -> bytes:
        request = _decode(payload, RemoveRequest)
        await self.change(lambda membership: membership.without(NodeId(request.id)))
        return b""


RequestT = TypeVar("RequestT", JoinRequest, PromoteRequest, RemoveRequest)


def _decode(payload: bytes, type: type[RequestT]) -> RequestT:
    try:
        return msgspec.msgpack.decode(payload, type=type)
    except msgspec.MsgspecError as error:
        raise JoinRefused(f"the request makes no sense: {error}") from error


def _with_joiner(membership: Membership, request: JoinRequest) -> Membership:
    known = membership.get(NodeId(request.id))
    if known is not None:
        return membership.with_member(replace(known, address=request.address))
    return membership.with_member(
        Member(
            id=NodeId(request.id),
            name=request.name,
            address=request.address,
            number=next_number(membership),
            suffrage=Suffrage.LEARNER,
        )
    )


def next_number(membership: Membership) -> int:
    """The number of the next new member: never used before, and unlike all present ones in an id's ten bits.

    Raises:
        JoinRefused: the members have all the ten bits' values.
    """
    taken = {member.number % NODE_NUMBERS for member in membership.members}
    if len(taken) == NODE_NUMBERS:
        raise JoinRefused(f"the cluster has {NODE_NUMBERS} members, which is the most that it can tell apart")
    number = membership.next_number
    while number % NODE_NUMBERS in taken:
        number += 1
    return number


def _with_suffrage(membership: Membership, id: NodeId, suffrage: Suffrage) -> Membership:
    member = membership.get(id)
    if member is None:
        raise JoinRefused(f"{id} is no member of the cluster")
    return membership.with_member(replace(member, suffrage=suffrage))
