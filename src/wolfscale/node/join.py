"""A node's way into its cluster: bootstrap one, join one, and be known there under the right address."""

from collections.abc import Callable, Iterable

import msgspec
import trio

from wolfscale.node.admission import JOIN, JoinAnswer, JoinRequest, Standing
from wolfscale.node.errors import BootstrapRefused, JoinRefused, RpcError, SecretMismatch
from wolfscale.node.rpc import RpcClient

QUESTION_TIMEOUT = 2.0
ASK_TIMEOUT = 35.0
"""Seconds for an answer of a peer: the leader makes two changes of the membership meanwhile."""

FIRST_RETRY, LAST_RETRY = 0.1, 2.0


async def question(rpc: RpcClient, address: str, request: JoinRequest) -> JoinAnswer | RpcError:
    """Ask one node who is there; an error is returned, not raised."""
    try:
        payload = msgspec.msgpack.encode(msgspec.structs.replace(request, question=True))
        return _decode(await rpc.call(address, JOIN, payload, timeout=QUESTION_TIMEOUT))
    except RpcError as error:
        return error


async def question_all(
    rpc: RpcClient, addresses: Iterable[str], request: JoinRequest
) -> dict[str, JoinAnswer | RpcError]:
    """Ask several nodes at the same time who is there."""
    answers: dict[str, JoinAnswer | RpcError] = {}

    async def ask(address: str) -> None:
        answers[address] = await question(rpc, address, request)

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(ask, address)
    return answers


async def check_bootstrap(rpc: RpcClient, peers: Iterable[str], request: JoinRequest) -> None:
    """Make sure that no peer belongs to a cluster; peers that do not answer are not there yet.

    Raises:
        BootstrapRefused: one does, or is bootstrapping as well, or holds another secret.
    """
    for address, answer in (await question_all(rpc, peers, request)).items():
        if isinstance(answer, RpcError):
            if isinstance(answer.__cause__, SecretMismatch):
                raise BootstrapRefused(
                    f"the node at {address} runs with another cluster secret: a cluster lives there already. "
                    "To join it, copy its file cluster-secret here and start without --bootstrap; to begin "
                    "anew, take that address out of the peers"
                )
            continue
        if answer.id == request.id:
            continue
        if answer.standing is not Standing.EMPTY:
            raise BootstrapRefused(
                f"{answer.name} at {address} belongs to a living cluster that does not know this node: start "
                "without --bootstrap to join it"
            )
        if answer.bootstrapping:
            raise BootstrapRefused(
                f"{answer.name} at {address} is being bootstrapped as well: start one node only with "
                "--bootstrap"
            )


async def check_founding(rpc: RpcClient, peers: Iterable[str], request: JoinRequest) -> None:
    """Make sure that no peer belongs to a cluster that does not know this node, a lone founder.

    Raises:
        BootstrapRefused: one does: this node must not go on.
    """
    for address, answer in (await question_all(rpc, peers, request)).items():
        if isinstance(answer, RpcError) or answer.id == request.id:
            continue
        if answer.standing not in {Standing.EMPTY, Standing.MEMBER}:
            raise BootstrapRefused(
                f"{answer.name} at {address} belongs to a living cluster that does not know this node, which "
                "was started with --bootstrap while its peers were down and founded a cluster of its own. To "
                "let it join, start it without --bootstrap and with an empty data directory; whatever was "
                "written to it alone is in that directory only"
            )


class Joiner:
    """Asks the cluster to take this node in, until it has.

    Args:
        rpc: calls other nodes.
        peers: the addresses of the configuration.
        patience: seconds for which a namesake that may be dying is waited for.
        on_progress: gets a line about what is being waited for.
    """

    def __init__(
        self,
        *,
        rpc: RpcClient,
        peers: Iterable[str],
        patience: float,
        on_progress: Callable[[str], None],
    ) -> None:
        self._rpc = rpc
        self._peers = tuple(peers)
        self._patience = patience
        self._on_progress = on_progress

    async def join(self, request: JoinRequest, also: Iterable[str] = ()) -> JoinAnswer:
        """Ask until the answer is final: a member, or removed.

        A checkpoint; may be cancelled and called again.

        Args:
            request: who asks.
            also: further addresses to ask.

        Raises:
            JoinRefused: a live member has the name, every peer holds another secret, or no peer is
                configured.
        """
        addresses = tuple(dict.fromkeys((*self._peers, *also)))
        if not addresses:
            raise JoinRefused(
                "this node belongs to no cluster and knows no peer: start it with --bootstrap to make a new "
                "cluster, or list the cluster's nodes under [cluster] peers"
            )
        delay = FIRST_RETRY
        give_up_at: float | None = None
        while True:
            failures: list[str] = []
            mismatches = 0
            for address in addresses:
                answer = await self._ask(address, request)
                if isinstance(answer, RpcError):
                    mismatches += isinstance(answer.__cause__, SecretMismatch)
                    failures.append(str(answer))
                elif answer.standing in {Standing.MEMBER, Standing.REMOVED}:
                    return answer
                elif answer.standing is Standing.NAME_TAKEN:
                    now = trio.current_time()
                    give_up_at = give_up_at or now + self._patience
                    if now >= give_up_at:
                        raise JoinRefused(answer.reason)
                    failures.append(answer.reason)
                else:
                    failures.append(_state_of(answer))
            if mismatches == len(addresses):
                raise JoinRefused(
                    f"this node's cluster secret is not that of {', '.join(addresses)}: copy cluster.secret "
                    "from the data directory of one of them"
                )
            self._on_progress("; ".join(failures))
            await trio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY)

    async def _ask(self, address: str, request: JoinRequest) -> JoinAnswer | RpcError:
        payload = msgspec.msgpack.encode(request)
        try:
            answer = _decode(await self._rpc.call(address, JOIN, payload, timeout=ASK_TIMEOUT))
            if answer.standing is Standing.REDIRECT and answer.leader_address:
                address = answer.leader_address
                answer = _decode(await self._rpc.call(address, JOIN, payload, timeout=ASK_TIMEOUT))
            return answer
        except RpcError as error:
            return error


def _state_of(answer: JoinAnswer) -> str:
    where = f"{answer.name} at {answer.address}"
    if answer.standing is Standing.EMPTY:
        return f"{where} belongs to no cluster either: start one node with --bootstrap"
    return f"{where} knows no leader at the moment"


def _decode(payload: bytes) -> JoinAnswer:
    try:
        return msgspec.msgpack.decode(payload, type=JoinAnswer)
    except msgspec.MsgspecError as error:
        raise RpcError(f"the answer to a request to join makes no sense: {error}") from error
