"""One thing after another is done to a cluster under four writers: nothing acknowledged is ever lost."""

import contextlib

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_comparing import assert_identical
from cluster_logs import CANARY, logged
from cluster_under_test import POLL_SECONDS, ClusterUnderTest
from cluster_writing import assert_nothing_lost, writers_running

from wolfscale.api.models import RaftRole
from wolfscale.demo.cluster import Part
from wolfscale.demo.conditions import Statuses

pytestmark = pytest.mark.cluster

# Only the first of all waiting commits is said to wait for its acknowledgement; the rest queue behind it.
WAITING_COMMITS = (
    "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO demo.forbidden%' "
    "AND (state = 'Commit' OR state LIKE 'Waiting for semi-sync ACK%')"
)
FORBIDDEN_TABLE = "CREATE TABLE IF NOT EXISTS demo.forbidden (number INT PRIMARY KEY)"


@pytest.mark.parametrize("part", list(Part))
async def test_leader_killed_under_writers_loses_nothing(cluster: ClusterUnderTest, part: Part) -> None:
    async with writers_running(cluster) as writers:
        old = await cluster.wait_writable()
        cluster.plant(old)
        cluster.kill(old, part)
        await cluster.wait_successor(old)
        await writers.wait_acknowledged()
        if part is not Part.MARIADB:
            cluster.launch(old)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert cluster.keeps_its_data(old), "rows only were under way: nothing justified a clone"


@pytest.mark.parametrize("part", list(Part))
async def test_follower_killed_under_writers_comes_back(cluster: ClusterUnderTest, part: Part) -> None:
    async with writers_running(cluster) as writers:
        leader = await cluster.wait_writable()
        follower = cluster.followers(leader)[-1]
        cluster.plant(follower)
        term = (await cluster.status_of(leader)).term
        if part is Part.MARIADB:
            await cluster.kill_server(follower)
        else:
            cluster.kill(follower, part)
        await writers.wait_acknowledged()
        if part is not Part.MARIADB:
            cluster.launch(follower)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
        assert (await cluster.status_of(leader)).term == term, "a follower's death is no reason to elect"
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert cluster.keeps_its_data(follower)


async def test_paused_leader_resumed_shows_none_of_its_waiting_commits(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable([FORBIDDEN_TABLE, "DELETE FROM demo.forbidden"])
    async with writers_running(cluster) as writers:
        old = await cluster.wait_writable()
        cluster.plant(old)
        # Only the node stands still: its MariaDB goes on to commit and waits for acknowledgements.
        cluster.pause(old, Part.NODE)
        answers: list[str] = []
        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(_insert_forbidden, cluster, old, number, answers)
            await cluster.wait_row_count(old, WAITING_COMMITS, 2)
            cluster.pause(old, Part.MARIADB)
            await cluster.wait_successor(old)
            await writers.wait_acknowledged()
            cluster.resume(old)
            await _watch_forbidden_until_level(cluster, old)
        assert answers == ["error", "error"]
        await writers.wait_acknowledged()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert await cluster.query(old, "SELECT * FROM demo.forbidden") == ()
    assert cluster.keeps_its_data(old)


async def _insert_forbidden(cluster: ClusterUnderTest, node: int, number: int, answers: list[str]) -> None:
    """Write on the node's own MariaDB, past its proxy, and note whether that was acknowledged."""
    await _insert_on(await cluster.admin(node), number, answers)


async def _insert_on(connection: Client, number: int, answers: list[str]) -> None:
    def insert() -> str:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO demo.forbidden VALUES ({number})")
        except pymysql.err.MySQLError:
            return "error"
        else:
            return "acknowledged"
        finally:
            connection._force_close()  # type: ignore[attr-defined]

    answers.append(await trio.to_thread.run_sync(insert, abandon_on_cancel=True))


async def _watch_forbidden_until_level(cluster: ClusterUnderTest, old: int) -> None:
    """Look for the forbidden rows on every server, as often as possible, until the old leader serves."""
    async with trio.open_nursery() as nursery:
        for number in cluster.numbers:
            nursery.start_soon(_watch_forbidden, cluster, number)
        await cluster.wait_serving()
        nursery.cancel_scope.cancel()


async def _watch_forbidden(cluster: ClusterUnderTest, number: int) -> None:
    while True:
        try:
            rows = await cluster.query(number, "SELECT * FROM demo.forbidden")
        except (pymysql.err.MySQLError, OSError):
            rows = ()  # the old leader's server is killed and recovered meanwhile
        assert rows == (), f"node-{number} shows commits that no majority has"
        await trio.sleep(POLL_SECONDS)


async def test_leader_whose_mariadb_hangs_steps_down(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        old = await cluster.wait_writable()
        [server] = cluster.mariadb_process_ids(old)
        cluster.pause(old, Part.MARIADB)
        await cluster.wait_successor(old)
        await writers.wait_acknowledged()
        # The node itself kills the server that makes no progress, and starts it anew.
        await cluster.wait_dead([server])
        await cluster.wait_serving()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)


async def test_leader_without_majority_acknowledges_nothing(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        leader = await cluster.wait_writable()
        followers = cluster.followers(leader)
        cluster.kill_together(followers)
        await cluster.wait_for(lambda statuses: not _leads(statuses, leader), "the leader to step down")
        acknowledged = len(writers.record.acknowledged)
        # Nothing can be awaited that must not come: the writers get a while to be told something wrong.
        await trio.sleep(1)
        assert len(writers.record.acknowledged) == acknowledged
        cluster.launch(followers[0])
        await cluster.wait_serving(leader, followers[0])
        await writers.wait_acknowledged()
        cluster.launch(followers[1])
        await cluster.wait_serving()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)


def _leads(statuses: Statuses, leader: int) -> bool:
    status = statuses[leader]
    return status is not None and (status.role is RaftRole.LEADER or status.writable)


@pytest.mark.parametrize(
    "tampering",
    ["KILL HARD CONNECTION {id}", "KILL QUERY {id}", "SET GLOBAL rpl_semi_sync_master_enabled = 0"],
)
async def test_waiting_commit_let_loose_by_hand_gets_no_ok_without_majority(
    cluster: ClusterUnderTest, tampering: str
) -> None:
    while not await _let_loose(cluster, tampering):
        # On a machine that stalls the leader has stepped down before anybody could tamper with it.
        pass


async def _let_loose(cluster: ClusterUnderTest, tampering: str) -> bool:
    """Say whether the commit was let loose while it waited; then everything held."""
    leader = await cluster.wait_writable()
    connection = await _session_of_the_relay_engine(cluster, leader)
    followers = cluster.followers(leader)
    for follower in followers:
        cluster.pause(follower)
    answers: list[str] = []
    tampered = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_insert_on, connection, 1, answers)
        with contextlib.suppress(pymysql.err.OperationalError, ValueError):
            await cluster.wait_row_count(leader, WAITING_COMMITS, 1)
            [(session,)] = await cluster.query(leader, WAITING_COMMITS)
            await cluster.query(leader, tampering.format(id=session))
            tampered = True
        await cluster.wait_for(lambda statuses: not _leads(statuses, leader), "the leader to step down")
        assert "acknowledged" not in answers
        for follower in followers:
            cluster.resume(follower)
            assert await cluster.query(follower, "SELECT * FROM demo.forbidden") == ()
        await cluster.wait_serving()
    # Raft may have kept the entry after all; then it is everywhere, and the client was right to wait.
    await assert_identical(cluster)
    rows = await cluster.query(leader, "SELECT * FROM demo.forbidden")
    assert answers == ["error"] or rows == ((1,),)
    return tampered


async def test_commit_without_semi_sync_gets_no_ok_without_majority(cluster: ClusterUnderTest) -> None:
    """The second lock alone: MariaDB waits for nobody, and answers at once."""
    leader = await cluster.wait_writable()
    connection = await _session_of_the_relay_engine(cluster, leader)
    followers = cluster.followers(leader)
    for follower in followers:
        cluster.pause(follower)
    answers: list[str] = []
    async with trio.open_nursery() as nursery:
        await cluster.query(leader, "SET GLOBAL rpl_semi_sync_master_enabled = 0")
        nursery.start_soon(_insert_on, connection, 1, answers)
        await cluster.wait_for(lambda statuses: not _leads(statuses, leader), "the leader to step down")
        assert "acknowledged" not in answers
        for follower in followers:
            cluster.resume(follower)
        await cluster.wait_serving()
    await assert_identical(cluster)
    rows = await cluster.query(leader, "SELECT * FROM demo.forbidden")
    assert answers == ["error"] or rows == ((1,),)


async def _session_of_the_relay_engine(cluster: ClusterUnderTest, node: int) -> Client:
    """A session whose next insert into an empty table its proxy carries without a task of its own."""
    await cluster.on_writable([FORBIDDEN_TABLE, "DELETE FROM demo.forbidden"])
    before = await _relayed(cluster, node)
    connection = await trio.to_thread.run_sync(cluster.clients.connect, node)

    def use() -> None:
        with connection.cursor() as cursor:
            for number in (2, 3, 4):
                cursor.execute(f"INSERT INTO demo.forbidden VALUES ({number})")
            cursor.execute("DELETE FROM demo.forbidden")

    await trio.to_thread.run_sync(use)
    with trio.fail_after(60):
        while await _relayed(cluster, node) < before + 2:
            await trio.sleep(POLL_SECONDS)
    await cluster.wait_level()
    return connection


async def _relayed(cluster: ClusterUnderTest, node: int) -> int:
    status = await cluster.status_of(node)
    return status.proxy.counters.get("relayed_statements", 0) if status.proxy is not None else 0


async def test_leader_stopped_in_order_loses_no_write(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        old = await cluster.wait_writable()
        cluster.plant(old)
        await trio.to_thread.run_sync(_say_a_password, cluster, old)
        assert await cluster.terminate(old) == 0
        assert cluster.mariadb_process_ids(old) == []
        successor = await cluster.wait_successor(old)
        await writers.wait_acknowledged()
        cluster.launch(old)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
    await assert_nothing_lost(cluster, writers)
    await assert_identical(cluster)
    assert cluster.keeps_its_data(old)
    assert {"term", "seconds"} <= logged(cluster, old, "MariaDB is primary no longer, as planned")[-1].keys()
    assert {"node", "seconds"} <= logged(cluster, old, "stopped")[-1].keys()
    assert "seconds" in logged(cluster, old, "MariaDB recovered")[-1]
    elected = logged(cluster, successor, "leader elected")[-1]
    assert elected["this_node"] == "true"
    promoted = logged(cluster, successor, "MariaDB is primary")[-1]
    assert promoted["term"] == elected["term"]
    assert float(promoted["seconds"]) >= 0


def _say_a_password(cluster: ClusterUnderTest, number: int) -> None:
    """Use a password where it could get into a log: in a statement, and to be refused at a log-in."""
    with cluster.clients.connect(number) as client, client.cursor() as cursor:
        cursor.execute(f"CREATE USER IF NOT EXISTS 'canary'@'%' IDENTIFIED BY '{CANARY}'")
        cursor.execute("DROP USER 'canary'@'%'")
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute(f"SET PASSWORD FOR 'nobody'@'%' = PASSWORD('{CANARY}')")
    with pytest.raises(pymysql.err.OperationalError):
        cluster.clients.connect(number, user="nobody", password=CANARY)
