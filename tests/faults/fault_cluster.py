"""A cluster whose nodes have disks of their own, which can lose power; and what must hold of its data."""

import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from fault_workload import TABLES, Workload, connect_to

from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.comparison import compare_servers
from wolfscale.demo.conditions import level, serving
from wolfscale.demo.plan import ClusterPlan, Settings
from wolfscale.demo.processes import send_signal
from wolfscale.testing.loop_disk import LoopDisk
from wolfscale.testing.single_server import scratch

SETTINGS: Settings = {
    "database": {
        "options": [
            "--innodb-log-file-size=16M",
            "--innodb-use-native-aio=OFF",  # a machine has few such contexts, and tests start many servers
        ]
    },
}
DISK_MB = 512
LOG_LINES = 60
"""So much of each node's log is shown where a test fails."""


class DiskCluster:
    """Three nodes, the data of each on its own disk; configuration and log files are elsewhere.

    Attributes:
        cluster: the nodes' processes.
        disks: by node number.
    """

    def __init__(self, directory: Path) -> None:
        plan = ClusterPlan.with_free_ports(directory, settings=SETTINGS)
        self.cluster = DemoCluster(plan, access=admin_connection_info)
        self.disks: dict[int, LoopDisk] = {}
        for node in plan.nodes:
            self.disks[node.number] = LoopDisk(directory / f"{node.name}.img", node.data_dir, size_mb=DISK_MB)

    async def start(self) -> None:
        """Bring all nodes up."""
        await self.cluster.start()

    async def stop(self) -> None:
        """End everything, whatever state it is in; shielded."""
        with trio.CancelScope(shield=True):
            for number in self.cluster.numbers:
                self.cluster.kill(number)
            for disk in self.disks.values():
                await trio.to_thread.run_sync(disk.remove)

    async def cut_power(self, *numbers: int) -> None:
        """Take the power from nodes, all at the same moment: nothing of them runs on."""
        cluster = self.cluster
        pids = [pid for number in numbers for pid in cluster.process_ids(number)]
        # Frozen first, so that nobody reacts to the disk's errors.
        send_signal(pids, signal.SIGSTOP)
        for number in numbers:
            self.disks[number].fail()
        for number in numbers:
            cluster.kill(number)
        await cluster.wait_dead(pids)

    async def restore_power(self, *numbers: int) -> None:
        """Give nodes their power back, and start them."""
        for number in numbers:
            await trio.to_thread.run_sync(self.disks[number].remount)
        for number in numbers:
            self.cluster.launch(number)

    def client_of(self, number: int) -> Callable[[], Any]:
        """Return how a client of the demo's account connects to one node's own MariaDB."""
        data_dir = self.cluster.node(number).data_dir

        def connect() -> Any:
            socket_path, _, _ = admin_connection_info(data_dir)
            return connect_to(socket_path, ACCOUNT, PASSWORD, DATABASE)

        return connect

    def clones(self) -> list[str]:
        """The lines of all nodes' logs that say that data had to be cloned, but for the members' first."""
        return [
            f"{node.name}: {line}"
            for node in self.cluster.plan.nodes
            for line in node.log_path.read_text(errors="replace").splitlines()
            if "must be cloned" in line and "no data" not in line
        ]

    async def all_serve(self) -> None:
        """Wait until all nodes are full members whose MariaDB serves."""
        await self.cluster.wait_for(serving(*self.cluster.numbers), "all nodes to serve")

    async def check(self, workload: Workload) -> None:
        """Pause the writers, wait until all nodes are level, compare everything, go on."""
        cluster = self.cluster
        await trio.to_thread.run_sync(workload.pause)
        await cluster.wait_for(level(*cluster.numbers), "all nodes to be level")
        problems = []
        for number in cluster.numbers:
            rows = await cluster.query(number, "SELECT writer, number FROM demo.written")
            keyless = await cluster.query(number, "SELECT writer, number FROM demo.keyless")
            problems += [f"node-{number}: {text}" for text in workload.judge(rows, keyless)]
        compared = await compare_servers(cluster, cluster.numbers)
        assert compared.tables >= len(TABLES)
        problems += compared.differences
        assert not problems, "\n".join(problems)
        workload.resume()


@asynccontextmanager
async def disk_cluster() -> AsyncIterator[DiskCluster]:
    """A started cluster on disks of its own; nothing of it is left afterwards."""
    directory = scratch("wsf-")
    disks: DiskCluster | None = None
    try:
        disks = DiskCluster(directory)
        await disks.start()
        yield disks
    except BaseException:
        if disks is not None:
            for number in disks.cluster.numbers:
                print(f"node-{number}:\n{disks.cluster.log_tail(number, LOG_LINES)}")
        raise
    finally:
        if disks is not None:
            await disks.stop()
        shutil.rmtree(directory, ignore_errors=True)
