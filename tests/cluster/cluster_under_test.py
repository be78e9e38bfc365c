"""A cluster of real nodes for tests: what `DemoCluster` can do, and what only tests do to a cluster."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pymysql
import trio
from cluster_clients import Clients

from wolfscale.api.models import NodeStatus
from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.cluster import DemoCluster, Part
from wolfscale.demo.conditions import level, serving, writable_node
from wolfscale.demo.plan import ClusterPlan, NodePlan, Settings, free_ports
from wolfscale.demo.processes import send_signal, start_node_process

PATIENCE = 60.0
"""Seconds that any event may take; a machine that stalls is no failure, one that never comes is."""

POLL_SECONDS = 0.02
_PLANTED = "planted-by-a-test"


MEMORY = "/dev/shm"
ROOMY_BYTES = 12 << 30


def _roomy_place() -> str:
    """In memory, where the machine has much of it: no test here takes its disk away."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOMY_BYTES:
        return "/tmp"
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return MEMORY if available is not None and int(available[1]) << 10 >= ROOMY_BYTES else "/tmp"


class ClusterUnderTest(DemoCluster):
    """Three nodes and more on loopback, in a directory of their own under /tmp.

    Not under pytest's own: unix sockets' paths may have 107 bytes at most.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        settings: Settings | None = None,
        node_settings: Mapping[int, Settings] | None = None,
    ) -> None:
        directory = Path(tempfile.mkdtemp(prefix="wolfscale-test-", dir=_roomy_place()))
        # MariaDB runs as a user of its own and must reach its data below.
        directory.chmod(0o755)
        plan = ClusterPlan.with_free_ports(directory, nodes, settings=settings, node_settings=node_settings)
        super().__init__(plan, access=admin_connection_info)
        self.clients = Clients(self)

    def remove_files(self) -> None:
        """Remove everything on the disk; the cluster must be stopped."""
        shutil.rmtree(self.plan.directory, ignore_errors=True)

    # Hurting

    def kill_together(self, numbers: Sequence[int]) -> None:
        """`kill -9` all processes of several nodes in one go, as one power switch would."""
        pids = [pid for number in numbers for pid in self.process_ids(number)]
        send_signal(pids, signal.SIGKILL)
        for number in numbers:
            self.kill(number, Part.BOTH)

    async def terminate_together(self, numbers: Sequence[int]) -> None:
        """SIGTERM to several nodes at the same time; each must end with exit code 0."""
        codes: dict[int, int] = {}

        async def terminate(number: int) -> None:
            codes[number] = await self.terminate(number)

        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(terminate, number)
        assert set(codes.values()) == {0}, codes

    async def kill_server(self, number: int) -> None:
        """`kill -9` a node's MariaDB and wait until the node has noticed."""
        pids = self.mariadb_process_ids(number)
        self.kill(number, Part.MARIADB)
        await self.wait_for(
            lambda statuses: (
                (status := statuses[number]) is not None and status.database.process_id not in pids
            ),
            f"node-{number} to notice that its MariaDB was killed",
        )

    # Waiting

    async def wait_level(self, *numbers: int) -> None:
        """Wait until these nodes (all, when none is given) serve and have applied the same."""
        wanted = numbers or self.numbers
        await self.wait_for(level(*wanted), f"nodes {wanted} to be level")

    async def wait_serving(self, *numbers: int) -> None:
        """Wait until these nodes (all, when none is given) serve, while writers may go on."""
        wanted = numbers or self.numbers
        await self.wait_for(serving(*wanted), f"nodes {wanted} to serve")

    async def wait_successor(self, old: int) -> int:
        """Wait until another node than `old` takes writes, whatever `old` says of itself."""
        found = await self.wait_for(
            lambda statuses: writable_node({n: s for n, s in statuses.items() if n != old}) is not None,
            f"another node than node-{old} to take writes",
        )
        number = writable_node({n: s for n, s in found.items() if n != old})
        assert number is not None
        return number

    async def status_of(self, number: int) -> NodeStatus:
        """A node's status, as soon as it answers."""
        with trio.fail_after(PATIENCE):
            while True:
                if (status := await self.status(number)) is not None:
                    return status
                await trio.sleep(POLL_SECONDS)

    def followers(self, leader: int) -> list[int]:
        """All nodes but one."""
        return [number for number in self.numbers if number != leader]

    # The data directories

    def plant(self, number: int) -> None:
        """Leave a file in MariaDB's data directory, where it stays until a clone replaces everything."""
        (self.node(number).data_dir / "mysql" / _PLANTED).touch()

    def keeps_its_data(self, number: int) -> bool:
        """Whether the data directory is still the one where the file was planted."""
        return (self.node(number).data_dir / "mysql" / _PLANTED).exists()

    # Asking

    async def admin(self, number: int) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection to a node's own MariaDB with the node's account, for statements that wait."""
        socket, user, password = admin_connection_info(self.node(number).data_dir)
        return await trio.to_thread.run_sync(
            lambda: pymysql.connect(
                unix_socket=socket, user=user, password=password, autocommit=True, read_timeout=int(PATIENCE)
            )
        )

    async def wait_row_count(self, number: int, sql: str, count: int) -> None:
        """Ask a node's own MariaDB until a query returns so many rows."""
        with trio.fail_after(PATIENCE):
            while len(await self.query(number, sql)) != count:
                await trio.sleep(POLL_SECONDS)

    # Nodes that shall not come up

    def stranger(self, settings: Settings | None = None) -> NodePlan:
        """A node that knows all others but is no part of the plan: its files are there, nothing runs."""
        mysql_port, http_port, peer_port = free_ports(3)
        node = NodePlan(
            number=max(self.numbers) + 1,
            directory=Path(tempfile.mkdtemp(prefix="stranger-", dir=self.plan.directory)),
            mysql_port=mysql_port,
            http_port=http_port,
            peer_port=peer_port,
            settings=settings or {},
        )
        node.directory.chmod(0o755)
        self.plan.write_node(node)
        return node

    async def exit_of(self, node: NodePlan, *, bootstrap: bool = False) -> tuple[int, str]:
        """Start a stranger that is expected to end by itself; returns its exit code and what it said."""
        process = start_node_process(node.config_path, node.log_path, bootstrap=bootstrap)
        try:
            with trio.fail_after(PATIENCE):
                while process.poll() is None:
                    await trio.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode, node.log_path.read_text(encoding="utf-8")
