"""A planned change of the leader: checked and begun on the leader's node, asked for on any."""

import msgspec
import trio

from wolfscale import logs
from wolfscale.api.switching import SwitchedOver, SwitchOverFailed
from wolfscale.app.cluster import NodeCluster
from wolfscale.node.errors import RpcFailed, RpcUnavailable, RpcUncertain
from wolfscale.node.node import Node
from wolfscale.proxy.view import View, Views
from wolfscale.raft.types import Member, NodeId, Suffrage
from wolfscale.replication.choice import successor
from wolfscale.replication.cluster import Peer
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.roles import DatabaseState

log = logs.logger(__name__)

SWITCH_OVER = "leader.switch"
CATCH_UP_SECONDS = 5.0
"""How long the chosen member may take to apply what is committed, before anything is stopped for it."""
LEADER_SECONDS = 30.0
"""Longer than a drain and a hand-over may take."""
WRITABLE_SECONDS = 15.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Asks the leader's node for a change."""

    to: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: another term, or a refusal with its HTTP status.

    Attributes:
        term: the new leader leads in this term, or a later one.
        changed: false when the wanted member was the leader already.
    """

    term: int = 0
    changed: bool = True
    word: str = ""
    status: int = 0
    message: str = ""


class SwitchOvers:
    """Both ends; made before the node runs, since it registers the handler.

    Args:
        node: calls the leader's.
        lifecycle: of the MariaDB beside it; None on a witness.
        views: say when the new leader takes writes.
    """

    def __init__(self, node: Node, lifecycle: Lifecycle | None, views: Views) -> None:
        self._node = node
        self._lifecycle = lifecycle
        self._views = views
        self._cluster = NodeCluster(node)
        self._under_way = False
        node.handle_rpc(SWITCH_OVER, self._on_call)

    # On any node

    async def switch_over(self, to: str | None) -> SwitchedOver:
        """Hand leadership to a member; returns when it takes writes, see `LeaderSwitch`."""
        started = trio.current_time()
        try:
            answer = await self._node.call(
                None, SWITCH_OVER, msgspec.msgpack.encode(Call(to=to)), timeout=LEADER_SECONDS
            )
        except RpcUnavailable as error:
            raise SwitchOverFailed("no_leader", 503, f"there is no leader to ask: {error}") from error
        except RpcFailed as error:
            raise SwitchOverFailed("leader_failed", 503, f"the leader could not do it: {error}") from error
        except RpcUncertain as error:
            raise SwitchOverFailed(
                "unknown_outcome", 504, f"whether the leader changes is unknown, look at its state: {error}"
            ) from error
        outcome = msgspec.msgpack.decode(answer, type=Outcome)
        if outcome.word:
            raise SwitchOverFailed(outcome.word, outcome.status, outcome.message)
        with trio.move_on_after(WRITABLE_SECONDS) as scope:
            await self._views.changes.wait_until(lambda: self._takes_writes(self._views.current, outcome))
        if scope.cancelled_caught:
            raise SwitchOverFailed(
                "not_writable_yet",
                504,
                f"the leadership was handed over, but no leader has taken writes for {WRITABLE_SECONDS:g} s; "
                "look at its state: if its MariaDB cannot, another member will follow",
            )
        view = self._views.current
        leader = self._node.membership.get(NodeId(view.leader or ""))
        if leader is None or not (to is None or _is_meant(leader, to)):
            name = leader.name if leader else view.leader
            raise SwitchOverFailed("another_leader", 409, f"{name} leads now, and not {to}: try again")
        return SwitchedOver(
            leader=leader.name,
            term=view.term,
            changed=outcome.changed,
            seconds=round(trio.current_time() - started, 3),
        )

    def _takes_writes(self, view: View, outcome: Outcome) -> bool:
        return view.writable and view.term >= outcome.term

    # On the leader's

    async def _on_call(self, payload: bytes) -> bytes:
        to = msgspec.msgpack.decode(payload, type=Call).to
        if self._under_way:
            outcome = Outcome(
                word="under_way", status=409, message="another switch-over is under way, wait for its end"
            )
        else:
            self._under_way = True
            try:
                outcome = await self._hand_over(to)
            except SwitchOverFailed as error:
                outcome = Outcome(word=error.word, status=error.status, message=str(error))
            finally:
                self._under_way = False
        return msgspec.msgpack.encode(outcome)

    async def _hand_over(self, to: str | None) -> Outcome:
        node, lifecycle = self._node, self._lifecycle
        heir = self._named(to) if to is not None else None
        if heir is not None and heir.id == node.id:
            return Outcome(term=node.term, changed=False)
        with trio.move_on_after(CATCH_UP_SECONDS) as patience:
            if lifecycle is None:
                raise SwitchOverFailed("no_primary", 503, f"{node.name} leads and is a witness: try again")
            await lifecycle.changes.wait_until(lambda: lifecycle.writable)
            goal = lifecycle.committed_sequence
            await node.changes.wait_until(lambda: self._obstacle(heir, goal) is None)
        if patience.cancelled_caught:
            assert lifecycle is not None
            if not lifecycle.writable:
                raise SwitchOverFailed(
                    "no_primary", 503, f"{node.name} leads, but its MariaDB takes no writes yet: try again"
                )
            obstacle = self._obstacle(heir, goal)
            if obstacle is not None:
                raise obstacle
        assert lifecycle is not None
        term = node.term
        log.info("switching over", to=heir.name if heir is not None else None, term=term)
        lifecycle.step_down(heir.id if heir is not None else None)
        await lifecycle.changes.wait_until(lambda: not lifecycle.stepping_down)
        if node.is_leader and node.term == term:
            who = f"{heir.name} did not take" if heir is not None else "nobody took"
            raise SwitchOverFailed(
                "nobody_took_over", 503, f"{who} the leadership over: {node.name} goes on leading"
            )
        return Outcome(term=max(node.term, term + 1))

    def _named(self, to: str) -> Member:
        found = [member for member in self._node.membership.members if _is_meant(member, to)]
        if len(found) != 1:
            names = ", ".join(sorted(member.name for member in self._node.membership.members))
            raise SwitchOverFailed("unknown_member", 404, f"no member is called {to}; there are {names}")
        [member] = found
        if member.suffrage is not Suffrage.VOTER:
            what = member.suffrage.name.lower()
            raise SwitchOverFailed("not_a_voter", 409, f"{to} is a {what} and cannot lead")
        return member

    def _obstacle(self, heir: Member | None, goal: int) -> SwitchOverFailed | None:
        """Why leadership cannot be handed over yet; None when it can."""
        peers = self._cluster.peers()
        if heir is None:
            peer = successor(peers)
            if peer is None:
                return SwitchOverFailed(
                    "no_successor", 409, "no other voter with a MariaDB that serves is up: start one"
                )
            return _lag(peer, goal)
        peer = next((peer for peer in peers if peer.id == heir.id), None)
        if peer is None:
            return SwitchOverFailed(
                "unreachable", 409, f"{heir.name} has not been heard from: start it, or mend the network"
            )
        if peer.notice.state is not DatabaseState.REPLICA:
            state = peer.notice.state.value
            return SwitchOverFailed(
                "not_ready", 409, f"{heir.name} cannot lead, its MariaDB is {state}: wait until it serves"
            )
        return _lag(peer, goal)


def _lag(peer: Peer, goal: int) -> SwitchOverFailed | None:
    missing = goal - peer.notice.applied_sequence
    if missing <= 0:
        return None
    return SwitchOverFailed(
        "not_caught_up", 409, f"{peer.name} is {missing} transactions behind: wait until it has caught up"
    )


def _is_meant(member: Member, to: str) -> bool:
    return to in (member.name, member.id)
