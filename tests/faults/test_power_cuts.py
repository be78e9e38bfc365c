"""Nodes lose power while clients write: nothing acknowledged is lost, and all servers end identical."""

import os
import random
from pathlib import Path

import pytest
import trio
from fault_cluster import DiskCluster, disk_cluster
from fault_workload import SCHEMA, Workload

from wolfscale.testing.loop_disk import why_unavailable

pytestmark = pytest.mark.faults

CUTS = 5
SEED = None if os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos" else 8


@pytest.fixture(autouse=True)
def needs_disks(tmp_path: Path) -> None:
    reason = why_unavailable(tmp_path)
    if reason is not None:
        pytest.skip(reason)


async def test_power_cuts_of_leader_and_follower_under_load_lose_nothing() -> None:
    chance = random.Random(SEED)
    async with disk_cluster() as disks:
        await disks.cluster.on_writable(SCHEMA)
        with Workload([disks.client_of(n) for n in disks.cluster.numbers], seed=chance.random()) as workload:
            for _ in range(CUTS):
                await _cut_leader(disks, workload, chance)
                await _cut_follower(disks, workload, chance)
            await _cut_everybody(disks, workload, chance)
        # Nothing but plain transactions was under way, so that recovery was exact each time.
        assert disks.clones() == []
        assert len(workload.acknowledged) > 20 * CUTS


async def _cut_leader(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await trio.sleep(chance.uniform(0.1, 1.5))
    leader = await disks.cluster.wait_writable()
    await disks.cut_power(leader)
    await disks.cluster.wait_writable(other_than=leader)
    await trio.sleep(chance.uniform(0, 0.5))
    await disks.restore_power(leader)
    await disks.all_serve()
    await disks.check(workload)


async def _cut_follower(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await trio.sleep(chance.uniform(0.1, 1.5))
    leader = await disks.cluster.wait_writable()
    follower = chance.choice([number for number in disks.cluster.numbers if number != leader])
    await disks.cut_power(follower)
    await trio.sleep(chance.uniform(0, 0.5))
    await disks.restore_power(follower)
    await disks.all_serve()
    await disks.check(workload)


async def _cut_everybody(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await trio.sleep(chance.uniform(0.1, 1.5))
    await disks.cut_power(*disks.cluster.numbers)
    await disks.restore_power(*disks.cluster.numbers)
    await disks.all_serve()
    await disks.check(workload)
