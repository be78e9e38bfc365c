"""All nodes stop, in order or not, and start again in any order, with any flags: one cluster comes back."""

import random
import shutil
from pathlib import Path

import pytest
import trio
from cluster_comparing import assert_identical
from cluster_under_test import ClusterUnderTest
from cluster_writing import assert_nothing_lost, writers_running

from wolfscale.api.models import RaftRole

pytestmark = pytest.mark.cluster

ELECTION_TIMEOUTS = 3
SECONDS_OF_AN_ELECTION_TIMEOUT = 2


def shuffled(cluster: ClusterUnderTest, seed: int) -> list[int]:
    """The nodes in an order that the seed decides."""
    numbers = list(cluster.numbers)
    random.Random(seed).shuffle(numbers)
    return numbers


async def member_ids(cluster: ClusterUnderTest) -> set[str]:
    """The identities in the membership."""
    return {member.id for member in (await cluster.status_of(cluster.numbers[0])).members}


@pytest.mark.parametrize("seed", [1, 2])
async def test_all_nodes_stopped_in_order_come_back_in_any_order(
    cluster: ClusterUnderTest, seed: int
) -> None:
    async with writers_running(cluster) as writers:
        pass
    await cluster.wait_level()
    for number in cluster.numbers:
        cluster.plant(number)
    await cluster.terminate_together(cluster.numbers)
    for number in shuffled(cluster, seed):
        cluster.launch(number)
    await cluster.wait_serving()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert all(cluster.keeps_its_data(number) for number in cluster.numbers)


@pytest.mark.parametrize("seed", [3, 4])
async def test_all_nodes_killed_together_under_writers_lose_nothing(
    cluster: ClusterUnderTest, seed: int
) -> None:
    async with writers_running(cluster) as writers:
        for number in cluster.numbers:
            cluster.plant(number)
        cluster.kill_together(cluster.numbers)
        for number in shuffled(cluster, seed):
            cluster.launch(number)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert all(cluster.keeps_its_data(number) for number in cluster.numbers)


async def test_nodes_stopped_one_after_another_under_writers_lose_nothing(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        for number in shuffled(cluster, 5):
            assert await cluster.terminate(number) == 0
            await writers.wait_acknowledged()
            cluster.launch(number)
            await cluster.wait_serving()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)


async def test_bootstrap_left_in_every_start_command_makes_no_second_cluster(
    cluster: ClusterUnderTest,
) -> None:
    before = await member_ids(cluster)
    cluster.kill_together(cluster.numbers)
    for number in shuffled(cluster, 6):
        cluster.launch(number, bootstrap=True)
    await cluster.wait_serving()
    assert await member_ids(cluster) == before
    await assert_identical(cluster)


async def test_node_whose_log_lost_acknowledged_entries_says_so_and_joins_again(
    cluster: ClusterUnderTest, tmp_path: Path
) -> None:
    number = cluster.followers(await cluster.wait_writable())[0]
    node, old_id = cluster.node(number), (await cluster.status_of(number)).id
    async with writers_running(cluster) as writers:
        pass
    await cluster.wait_level()
    await cluster.terminate(number)
    shutil.copytree(node.data_dir / "wal", tmp_path / "wal")
    cluster.launch(number)
    await cluster.wait_serving()
    async with writers_running(cluster) as more:
        pass
    await cluster.wait_level()
    # What a disk does that confirms what it then forgets, and somebody who puts an old copy back.
    cluster.kill(number)
    shutil.rmtree(node.data_dir / "wal")
    shutil.copytree(tmp_path / "wal", node.data_dir / "wal")
    code, output = await cluster.exit_of(node)
    assert code != 0
    assert "the disk has lost what it had confirmed" in output
    assert "delete the directory wal" in output
    shutil.rmtree(node.data_dir / "wal")
    cluster.launch(number)
    await cluster.wait_serving()
    assert (await cluster.status_of(number)).id != old_id
    await assert_nothing_lost(cluster, writers)
    await assert_nothing_lost(cluster, more)
    await assert_identical(cluster)


async def test_node_with_empty_disk_never_leads(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        pass
    await cluster.wait_level()
    wiped, first, second = cluster.numbers
    old_id = (await cluster.status_of(wiped)).id
    await cluster.terminate_together(cluster.numbers)
    cluster.wipe(wiped)
    cluster.launch(wiped)
    cluster.launch(first)
    await cluster.status_of(wiped)
    await cluster.status_of(first)
    # One of the three that had the data is no majority, and the empty one must not make it one.
    for _ in range(ELECTION_TIMEOUTS * 10):
        await trio.sleep(SECONDS_OF_AN_ELECTION_TIMEOUT / 10)
        roles = [status.role for status in (await cluster.statuses()).values() if status is not None]
        assert RaftRole.LEADER not in roles
    cluster.launch(second)
    await cluster.wait_serving()
    assert (await cluster.status_of(wiped)).id != old_id
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
