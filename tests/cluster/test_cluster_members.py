"""Nodes that come, that come back with nothing or with something else, and that must stay outside."""

import random
from pathlib import Path

import pytest
import trio
from cluster_comparing import assert_identical
from cluster_under_test import ClusterUnderTest
from cluster_writing import assert_nothing_lost, writers_running

from wolfscale.api.models import RaftRole
from wolfscale.app.founding import note_path

pytestmark = pytest.mark.cluster

SETTINGS = {"wal": {"segment_size_mb": 1, "retention_hours": 0}}
"""As little log as possible: what has gone from it must be made up for by clones."""

MEBIBYTE = 1 << 20
BULK_MEBIBYTES = 100
MEBIBYTES_A_TRANSACTION = 4
HORIZON_MEBIBYTES = 8
HORIZON_SECONDS = 120.0
"""Nodes look once a minute for what their log no longer needs."""


async def test_bootstrapping_beside_a_living_cluster_is_refused(cluster: ClusterUnderTest) -> None:
    code, said = await cluster.exit_of(cluster.stranger(), bootstrap=True)
    assert code not in {0, None}
    assert "living cluster" in said
    assert "Traceback" not in said
    await assert_identical(cluster)


def write_secret(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_text("ab" * 32 + "\n")


async def test_node_with_another_secret_is_refused(cluster: ClusterUnderTest) -> None:
    secret = cluster.plan.directory / "other-secret"
    write_secret(secret)
    code, said = await cluster.exit_of(cluster.stranger({"cluster": {"secret_file": str(secret)}}))
    assert code not in {0, None}
    assert "secret" in said
    assert "Traceback" not in said
    assert len((await cluster.status_of(1)).members) == len(cluster.numbers)


async def test_node_that_lost_its_disk_comes_back_as_a_new_member(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        leader = await cluster.wait_writable()
        lost = cluster.followers(leader)[0]
        before = await cluster.status_of(lost)
        cluster.kill(lost)
        cluster.wipe(lost)
        cluster.launch(lost)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
    after = await cluster.status_of(lost)
    assert after.name == before.name
    assert after.id != before.id
    assert after.number > before.number
    assert {member.id for member in after.members} >= {after.id}
    assert before.id not in {member.id for member in after.members}
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)


async def test_leader_that_lost_its_disk_with_bootstrap_left_makes_no_second_cluster(
    cluster: ClusterUnderTest,
) -> None:
    async with writers_running(cluster) as writers:
        leader = await cluster.wait_writable()
        cluster.kill(leader)
        cluster.wipe(leader)
        await cluster.wait_successor(leader)
        await writers.wait_acknowledged()
    node = cluster.node(leader)
    code, said = await cluster.exit_of(node, bootstrap=True)
    assert code not in {0, None}
    assert "Start without --bootstrap" in said
    note_path(node.config_path).unlink()
    code, said = await cluster.exit_of(node, bootstrap=True)
    assert code not in {0, None}
    assert "start without --bootstrap" in said
    cluster.launch(leader)
    await cluster.wait_serving()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)


async def test_founder_beside_sleeping_peers_ends_when_one_of_them_is_back(
    cluster: ClusterUnderTest,
) -> None:
    leader = await cluster.wait_writable()
    lost = cluster.followers(leader)[0]
    others = [number for number in cluster.numbers if number != lost]
    for number in cluster.numbers:
        cluster.kill(number)
    cluster.wipe(lost)
    note = note_path(cluster.node(lost).config_path)
    code, said = await cluster.exit_of(cluster.node(lost), bootstrap=True)
    assert code not in {0, None}
    assert f"remove {note}" in said
    # Without its note it cannot know better until somebody tells it.
    note.unlink()
    ended: list[tuple[int, str]] = []

    async def found() -> None:
        ended.append(await cluster.exit_of(cluster.node(lost), bootstrap=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(found)
        for number in others:
            cluster.launch(number)
    [(code, said)] = ended
    assert code not in {0, None}
    assert "living cluster that does not know this node" in said
    assert "Traceback" not in said
    cluster.wipe(lost)
    cluster.launch(lost)
    await cluster.wait_serving()
    assert len((await cluster.status_of(leader)).members) == len(cluster.numbers)
    await assert_identical(cluster)


async def test_follower_with_a_row_of_its_own_is_cloned_when_it_shows(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.diverging (number INT PRIMARY KEY, note TEXT)"])
    await cluster.wait_level()
    cluster.plant(follower)
    await cluster.run_on(
        follower, ["SET sql_log_bin = 0", "INSERT INTO demo.diverging VALUES (1, 'behind the cluster')"]
    )
    await cluster.query(leader, "INSERT INTO demo.diverging VALUES (1, 'for all')")
    await assert_identical(cluster)
    assert not cluster.keeps_its_data(follower)


async def test_follower_that_wrote_by_itself_is_cloned_at_its_next_start(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.own (number INT PRIMARY KEY)"])
    await cluster.wait_level()
    cluster.plant(follower)
    await cluster.query(follower, "INSERT INTO demo.own VALUES (1)")
    await cluster.kill_server(follower)
    await assert_identical(cluster)
    assert await cluster.query(follower, "SELECT * FROM demo.own") == ()
    assert not cluster.keeps_its_data(follower)


async def test_table_with_nothing_but_a_spatial_index_heals_by_clones(cluster: ClusterUnderTest) -> None:
    """MariaDB's replica looks for a changed row in the spatial index, where it never finds it (error 1032).

    Any other key cures it. If this fails because nobody had to be cloned, MariaDB has mended it.
    """
    await cluster.on_writable(
        ["CREATE OR REPLACE TABLE demo.placed (number INT, place POINT NOT NULL, SPATIAL INDEX (place))"]
    )
    await cluster.wait_level()
    leader = await cluster.wait_writable()
    for number in cluster.numbers:
        cluster.plant(number)
    await cluster.run_on(
        leader, ["INSERT INTO demo.placed VALUES (1, POINT(1, 2))", "UPDATE demo.placed SET number = 2"]
    )
    await assert_identical(cluster)
    assert [number for number in cluster.numbers if cluster.keeps_its_data(number)] == [leader]
    await cluster.on_writable(["DROP TABLE IF EXISTS demo.placed"])


def insert_bulk(cluster: ClusterUnderTest, number: int, mebibytes: int) -> None:
    """Insert rows of one MiB each that cannot be compressed, through a node's proxy."""
    source = random.Random(1)
    with cluster.clients.connect(number) as connection, connection.cursor() as cursor:
        for first in range(0, mebibytes, MEBIBYTES_A_TRANSACTION):
            rows = [(first + row, source.randbytes(MEBIBYTE)) for row in range(MEBIBYTES_A_TRANSACTION)]
            cursor.executemany("INSERT INTO bulk VALUES (%s, _binary %s)", rows)


async def test_follower_behind_the_log_horizon_is_cloned(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    cluster.plant(follower)
    away_since = (await cluster.status_of(follower)).log.last_index
    assert await cluster.terminate(follower) == 0
    others = [number for number in cluster.numbers if number != follower]
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.bulk (number INT PRIMARY KEY, data LONGBLOB)"])
    await trio.to_thread.run_sync(insert_bulk, cluster, leader, HORIZON_MEBIBYTES)
    await cluster.wait_for(
        lambda statuses: all(
            (status := statuses[number]) is not None and status.log.first_index > away_since + 1
            for number in others
        ),
        "the others to drop their old log",
        HORIZON_SECONDS,
    )
    cluster.launch(follower)
    await cluster.wait_serving()
    await assert_identical(cluster)
    assert not cluster.keeps_its_data(follower)


async def test_new_node_joins_a_cluster_with_data_while_writers_run(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable(["CREATE OR REPLACE TABLE demo.bulk (number INT PRIMARY KEY, data LONGBLOB)"])
    await trio.to_thread.run_sync(insert_bulk, cluster, 1, BULK_MEBIBYTES)
    async with writers_running(cluster) as writers:
        number = cluster.add_node()
        cluster.launch(number)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
        status = await cluster.status_of(number)
        assert status.role is RaftRole.FOLLOWER
        assert [member.suffrage for member in status.members] == ["voter"] * len(cluster.numbers)
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
