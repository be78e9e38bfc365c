"""A node's disk is full, or dies: the node says so, nothing is lost, and the cluster goes on without it."""

from pathlib import Path

import pytest
import trio
from fault_cluster import DiskCluster, disk_cluster
from fault_workload import SCHEMA, Workload

from wolfscale.testing.loop_disk import why_unavailable

pytestmark = pytest.mark.faults

LIMIT_SECONDS = 60.0
PROGRESS = 100
"""So many acknowledged transactions show that the cluster goes on."""


@pytest.fixture(autouse=True)
def needs_disks(tmp_path: Path) -> None:
    reason = why_unavailable(tmp_path)
    if reason is not None:
        pytest.skip(reason)


async def test_full_and_dying_disks_cost_the_cluster_nothing_but_the_node() -> None:
    async with disk_cluster() as disks:
        await disks.cluster.on_writable(SCHEMA)
        with Workload([disks.client_of(n) for n in disks.cluster.numbers]) as workload:
            await _fill(disks, workload, await _follower(disks))
            await _fill(disks, workload, await disks.cluster.wait_writable())
            await _let_die(disks, workload, await _follower(disks))
            await _let_die(disks, workload, await disks.cluster.wait_writable())


async def _follower(disks: DiskCluster) -> int:
    leader = await disks.cluster.wait_writable()
    return next(number for number in disks.cluster.numbers if number != leader)


async def _fill(disks: DiskCluster, workload: Workload, number: int) -> None:
    await trio.to_thread.run_sync(disks.disks[number].fill)
    await _goes_on(disks, workload, without=number)
    await _says(disks, number, "No space left on device", "free some space")
    await trio.to_thread.run_sync(disks.disks[number].make_room)
    # Nobody does anything to the node: it goes on as soon as there is room.
    await disks.all_serve()
    await disks.check(workload)


async def _let_die(disks: DiskCluster, workload: Workload, number: int) -> None:
    disks.disks[number].fail()
    await _goes_on(disks, workload, without=number)
    await _says(disks, number, "Input/output error", "check the disk")
    # Whether the node ended or goes on trying, it comes back with a disk that works.
    await disks.cut_power(number)
    await disks.restore_power(number)
    await disks.all_serve()
    await disks.check(workload)


async def _says(disks: DiskCluster, number: int, what: str, advice: str) -> None:
    """Wait until a node's log names the fault and what to do."""
    log = disks.cluster.node(number).log_path
    with trio.move_on_after(LIMIT_SECONDS):
        while not any(what in line and advice in line for line in log.read_text().splitlines()):
            await trio.sleep(0.05)
        return
    raise AssertionError(f"node-{number} does not say {what!r}, {advice!r}: {disks.cluster.log_tail(number)}")


async def _goes_on(disks: DiskCluster, workload: Workload, *, without: int) -> None:
    """Wait until the cluster has acknowledged more, and somebody else takes writes."""
    await disks.cluster.wait_writable(other_than=without)
    before = len(workload.acknowledged)
    with trio.fail_after(LIMIT_SECONDS):
        while len(workload.acknowledged) < before + PROGRESS:
            await trio.sleep(0.05)
