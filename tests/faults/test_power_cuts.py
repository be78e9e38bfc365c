"""Nodes lose power while clients write: nothing acknowledged is lost, and all servers end identical."""

import itertools
import random
from pathlib import Path

import pymysql
import pytest
import trio
from fault_cluster import DiskCluster, disk_cluster
from fault_rig import until
from fault_seeds import chance_from
from fault_workload import SCHEMA, Workload

from wolfscale.demo.writers import connect
from wolfscale.testing.loop_disk import why_unavailable

pytestmark = pytest.mark.faults

CUTS = 5
WRITES = 10
"""Acknowledged before each cut."""
SEED = 8


@pytest.fixture(autouse=True)
def needs_disks(tmp_path: Path) -> None:
    reason = why_unavailable(tmp_path)
    if reason is not None:
        pytest.skip(reason)


async def test_power_cuts_of_leader_and_follower_under_load_lose_nothing() -> None:
    chance = chance_from(SEED)
    async with disk_cluster() as disks:
        await disks.cluster.on_writable(SCHEMA)
        with Workload([disks.client_of(n) for n in disks.cluster.numbers], seed=chance.random()) as workload:
            for _ in range(CUTS):
                await _cut_leader(disks, workload, chance)
                await _cut_follower(disks, workload, chance)
            await _cut_everybody(disks, workload, chance)
        # Nothing but plain transactions was under way, so that recovery was exact each time.
        assert disks.clones() == []


async def test_power_cuts_of_everybody_during_ddl_need_no_hand() -> None:
    chance = chance_from(SEED)
    async with disk_cluster() as disks:
        await disks.cluster.on_writable(SCHEMA)
        with Workload([disks.client_of(n) for n in disks.cluster.numbers], seed=chance.random()) as workload:
            for turn in range(2):
                leader = await disks.cluster.wait_writable()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, _run_ddl, disks, leader, turn)
                    await trio.sleep(chance.uniform(0.5, 1.0))
                    await disks.cut_power(*disks.cluster.numbers)
                await disks.restore_power(*disks.cluster.numbers)
                await disks.all_serve()
                await disks.check(workload)


def _run_ddl(disks: DiskCluster, number: int, turn: int) -> None:
    """Run through a node's proxy what is no plain transaction, until the power is gone; blocks."""
    try:
        connection = connect(disks.cluster.node(number).mysql_port)
    except pymysql.MySQLError as error:
        raise AssertionError(f"the proxy of node-{number} lets nobody in: {error}") from error
    ran = 0
    try:
        with connection.cursor() as cursor:
            for name in itertools.count():
                for statement in (
                    f"CREATE TABLE made_{turn}_{name} (id INT PRIMARY KEY)",
                    f"ALTER TABLE made_{turn}_{name} ADD COLUMN more INT DEFAULT 7",
                    f"CREATE TABLE copied_{turn}_{name} ENGINE=Aria SELECT * FROM moved",
                    f"INSERT INTO copied_{turn}_{name} SELECT * FROM moved",
                    f"CREATE SEQUENCE counted_{turn}_{name}",
                    f"CREATE USER made_{turn}_{name}@localhost",
                    f"DROP TABLE made_{turn}_{name}",
                ):
                    cursor.execute(statement)
                    ran += 1
    except pymysql.MySQLError as error:
        if not ran:
            raise AssertionError(f"no DDL went through: {error}") from error
    finally:
        connection._force_close()  # type: ignore[attr-defined]


async def _cut_leader(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await _while_written(workload, chance)
    leader = await disks.cluster.wait_writable()
    await disks.cut_power(leader)
    await disks.cluster.wait_writable(other_than=leader)
    await trio.sleep(chance.uniform(0, 0.5))
    await disks.restore_power(leader)
    await disks.all_serve()
    await disks.check(workload)


async def _cut_follower(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await _while_written(workload, chance)
    leader = await disks.cluster.wait_writable()
    follower = chance.choice([number for number in disks.cluster.numbers if number != leader])
    await disks.cut_power(follower)
    await trio.sleep(chance.uniform(0, 0.5))
    await disks.restore_power(follower)
    await disks.all_serve()
    await disks.check(workload)


async def _cut_everybody(disks: DiskCluster, workload: Workload, chance: random.Random) -> None:
    await _while_written(workload, chance)
    await disks.cut_power(*disks.cluster.numbers)
    await disks.restore_power(*disks.cluster.numbers)
    await disks.all_serve()
    await disks.check(workload)


async def _while_written(workload: Workload, chance: random.Random) -> None:
    """Come to a moment in the middle of the writers' work."""
    before = len(workload.acknowledged)
    await until(lambda: len(workload.acknowledged) >= before + WRITES)
    await trio.sleep(chance.uniform(0, 1.5))
