"""Calls to the leader, whoever it is by then."""

import trio

from wolfscale.changes import Changes
from wolfscale.node.driver import Driver
from wolfscale.node.errors import RpcFailed, RpcUnavailable, RpcUncertain
from wolfscale.node.rpc import RpcClient, RpcServer
from wolfscale.raft.errors import NotLeader

RETRY = 0.05
"""Seconds before whoever is the leader by then is tried, when the last one turned out not to lead."""


class LeaderCalls:
    """Finds the leader and calls it; tries again only what certainly has not run.

    Args:
        driver: knows the leader.
        server: runs the call here when this node leads.
        client: calls another node.
        role_changes: notified when another leader is known.
    """

    def __init__(
        self, *, driver: Driver, server: RpcServer, client: RpcClient, role_changes: Changes
    ) -> None:
        self._driver = driver
        self._server = server
        self._client = client
        self._role_changes = role_changes

    async def call(self, name: str, payload: bytes, *, timeout: float) -> bytes:
        """Call the leader; see `Node.call`."""
        deadline = trio.current_time() + timeout
        reason = "no leader is known"
        while True:
            with trio.move_on_at(deadline):
                await self._role_changes.wait_until(
                    lambda: self._leader_address() is not None or not self._driver.running
                )
            self._driver.check_running()
            address, remaining = self._leader_address(), deadline - trio.current_time()
            if address is None or remaining <= 0:
                raise RpcUnavailable(f"{name}: {reason} (waited {timeout:g} s)")
            try:
                if self._driver.raft.is_leader:
                    with trio.fail_after(remaining):
                        return await self._server.run_here(name, payload)
                return await self._client.call(address, name, payload, timeout=remaining)
            except trio.TooSlowError:
                raise RpcUncertain(
                    f"{name}: not done after {timeout:g} s; it may have been carried out"
                ) from None
            except RpcFailed as error:
                if error.kind != NotLeader.__name__:
                    raise
                reason = str(error)
            except RpcUnavailable as error:
                reason = str(error)
            with trio.move_on_after(RETRY):
                await self._role_changes.wait()

    def _leader_address(self) -> str | None:
        raft = self._driver.raft
        leader = raft.membership.get(raft.leader) if raft.leader is not None else None
        return leader.address if leader is not None else None
