"""`wolfscale proxy`, which has no MariaDB beside it, spreads its sessions' reads over the followers."""

import functools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_proxy import StandaloneProxy, reads_at, rows, standalone_proxy, status
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import Part
from wolfscale.demo.plan import LOOPBACK
from wolfscale.mysql.client import Connection
from wolfscale.mysql.prepared_client import execute

pytestmark = pytest.mark.cluster

SETUP = (
    "CREATE OR REPLACE TABLE demo.spread (id INT PRIMARY KEY, number INT NOT NULL)",
    "INSERT INTO demo.spread VALUES (1, 1)",
)
LONG_READ = (
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 80) "
    "SELECT 1, COUNT(*) FROM n AS a, n AS b, n AS c"
)
"""Takes some hundredths of a second."""
_T = TypeVar("_T")


async def _run(work: Callable[..., _T], *arguments: object) -> _T:
    return await trio.to_thread.run_sync(functools.partial(work, *arguments))


async def _prepared(cluster: ClusterUnderTest) -> tuple[int, list[int]]:
    """The leader and the followers, all level, with the table there."""
    await cluster.on_writable(SETUP)
    await cluster.wait_level()
    leader = await cluster.wait_writable()
    return leader, cluster.followers(leader)


async def _selects(cluster: ClusterUnderTest) -> dict[int, int]:
    """How many SELECTs each node's own server has carried out."""
    return {
        number: int((await cluster.query(number, "SHOW GLOBAL STATUS LIKE 'Com_select'"))[0][1])
        for number in cluster.numbers
    }


async def _places(clients: list[Client]) -> Counter[str]:
    return Counter([await _run(reads_at, client) for client in clients])


async def _until_used(proxy: StandaloneProxy, name: str) -> None:
    """Until a new session chooses a node."""
    with trio.fail_after(PATIENCE):
        while True:
            client = await _run(proxy.connect)
            place = await _run(reads_at, client)
            client.close()
            if place == name:
                return
            await trio.sleep(POLL_SECONDS)


async def _until_spread(clients: list[Client], places: dict[str, int]) -> None:
    """Until these sessions, which go on, read where they shall."""
    with trio.fail_after(PATIENCE):
        while await _places(clients) != places:
            await trio.sleep(POLL_SECONDS)


class Readers:
    """Threads that read without a pause, each in one session that it never opens again."""

    def __init__(self, clients: list[Client], sql: str) -> None:
        self._sql = sql
        self._stop = threading.Event()
        self.counts = [0] * len(clients)
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(number, client), daemon=True)
            for number, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, number: int, client: Client) -> None:
        try:
            while not self._stop.is_set():
                [(id, *_)] = rows(client, self._sql)
                assert id == 1
                self.counts[number] += 1
        except Exception as error:
            self.errors.append(f"session {number} after {self.counts[number]} reads: {error!r}")

    async def go_on(self, reads: int = 50) -> None:
        """Until each session has made so many reads more."""
        wanted = [count + reads for count in self.counts]
        with trio.fail_after(PATIENCE):
            while any(count < least for count, least in zip(self.counts, wanted, strict=True)):
                assert self.errors == []
                await trio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            await trio.to_thread.run_sync(thread.join)
        assert self.errors == []


@asynccontextmanager
async def _reading(
    clients: list[Client], sql: str = "SELECT id FROM spread WHERE id = 1"
) -> AsyncIterator[Readers]:
    readers = Readers(clients, sql)
    try:
        yield readers
    finally:
        with trio.CancelScope(shield=True):
            await readers.stop()


async def test_reads_are_spread_over_the_followers_and_carried_by_the_engine(
    cluster: ClusterUnderTest,
) -> None:
    leader, followers = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(6)
        names = {cluster.node(number).name for number in followers}
        assert await _places(clients) == dict.fromkeys(names, 3)
        assert {await _run(status, client, "node") for client in clients} == names
        before = await _selects(cluster)
        relayed = int(await _run(status, clients[0], "relayed_statements"))
        for client in clients:
            for _ in range(100):
                assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(1,)]
        after = await _selects(cluster)
        assert all(after[number] - before[number] >= 300 for number in followers)
        assert after[leader] - before[leader] < 300
        assert int(await _run(status, clients[0], "relayed_statements")) - relayed >= 590
        for client in clients:
            client.close()


async def test_sessions_own_writes_are_seen_every_time(cluster: ClusterUnderTest) -> None:
    await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        client = await _run(proxy.connect)

        def write_and_read() -> None:
            for number in range(300):
                rows(client, f"UPDATE spread SET number = {number + 2} WHERE id = 1")
                assert rows(client, "SELECT number FROM spread WHERE id = 1") == [(number + 2,)]

        local = int(await _run(status, client, "local_statements"))
        await _run(write_and_read)
        assert int(await _run(status, client, "local_statements")) - local >= 270
        client.close()


async def test_each_level_reads_where_it_says(cluster: ClusterUnderTest) -> None:
    _, followers = await _prepared(cluster)
    names = {cluster.node(number).name for number in followers}
    async with standalone_proxy(cluster, peers=followers) as proxy:
        client = await _run(proxy.connect)
        for level in ("session", "eventual", "strong", "leader"):
            await _run(rows, client, f"SET SESSION wolfscale_consistency = '{level}'")
            place = await _run(reads_at, client)
            assert place == "leader" if level == "leader" else place in names
            await _run(rows, client, "UPDATE spread SET number = number + 1 WHERE id = 1")
            assert len(await _run(rows, client, "SELECT number FROM spread WHERE id = 1")) == 1
        client.close()


async def test_misjudged_read_runs_on_the_leader(cluster: ClusterUnderTest) -> None:
    await _prepared(cluster)
    await cluster.on_writable(
        [
            "CREATE OR REPLACE FUNCTION demo.writes() RETURNS INT MODIFIES SQL DATA "
            "BEGIN UPDATE demo.spread SET number = 7; RETURN 7; END",
            "CREATE OR REPLACE VIEW demo.seems_read AS SELECT demo.writes() AS a",
        ]
    )
    await cluster.wait_level()
    async with standalone_proxy(cluster) as proxy:
        client = await _run(proxy.connect)
        misjudged = int(await _run(status, client, "misjudged_reads"))
        assert await _run(rows, client, "SELECT a FROM seems_read") == [(7,)]
        assert int(await _run(status, client, "misjudged_reads")) == misjudged + 1
        assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(7,)]
        client.close()


@pytest.mark.parametrize("part", [Part.BOTH, Part.NODE, Part.MARIADB])
async def test_follower_that_is_killed_under_reads_is_no_error_and_is_used_again(
    cluster: ClusterUnderTest, part: Part
) -> None:
    _, (victim, other) = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(6)
        assert (await _places(clients))[cluster.node(victim).name] == 3
        async with _reading(clients) as readers:
            await readers.go_on()
            cluster.kill(victim, part)
            await readers.go_on()
        if part is not Part.MARIADB:
            assert await _places(clients) == {cluster.node(other).name: 6}
            cluster.kill(victim, Part.BOTH)
            cluster.launch(victim)
        await cluster.wait_serving()
        await _until_spread(clients, {cluster.node(number).name: 3 for number in (victim, other)})
        for client in clients:
            client.close()


async def test_follower_that_is_stopped_in_good_order_under_reads_is_no_error(
    cluster: ClusterUnderTest,
) -> None:
    victim = (await _prepared(cluster))[1][0]
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(6)
        async with _reading(clients, LONG_READ) as readers:
            await readers.go_on(10)
            assert await cluster.terminate(victim) == 0
            await readers.go_on(10)
        cluster.launch(victim)
        await cluster.wait_serving()
        for client in clients:
            client.close()


async def test_sessions_move_to_a_follower_that_comes_back_without_a_pause_and_with_what_they_have_set(
    cluster: ClusterUnderTest,
) -> None:
    _, (victim, other) = await _prepared(cluster)
    names = [cluster.node(number).name for number in (victim, other)]
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(8)
        for client in clients:
            await _run(rows, client, "SET SESSION group_concat_max_len = 4711")
            await _run(rows, client, "SET @kept = 'this'")
        cluster.kill(victim, Part.BOTH)
        await _until_spread(clients, {names[1]: 8})
        # What is idle has no reason to move, and no place to be counted at but where it is.
        idle, busy = clients[:2], clients[2:]
        async with _reading(busy) as readers:
            await readers.go_on()
            cluster.launch(victim)
            await cluster.wait_serving()
            before = await _selects(cluster)
            with trio.fail_after(PATIENCE):
                while (await _selects(cluster))[victim] - before[victim] < 500:
                    await trio.sleep(POLL_SECONDS)
            await readers.go_on()
        await _until_spread(clients, dict.fromkeys(names, 4))
        for client in (*idle, *busy):
            question = "SELECT @@group_concat_max_len, COUNT(*) FROM spread"
            assert await _run(rows, client, question) == [(4711, 1)]
            assert await _run(rows, client, "SELECT @kept") == [("this",)]
        # An even spread stays as it is.
        places = [await _run(reads_at, client) for client in clients]
        async with _reading(clients) as readers:
            await readers.go_on(200)
        assert [await _run(reads_at, client) for client in clients] == places
        for client in clients:
            client.close()


async def test_prepared_reads_go_on_at_another_follower(cluster: ClusterUnderTest) -> None:
    _, followers = await _prepared(cluster)
    by_name = {cluster.node(number).name: number for number in followers}
    async with standalone_proxy(cluster) as proxy:
        client = await Connection.connect(
            user=ACCOUNT, password=PASSWORD, host=LOOPBACK, port=proxy.port, database=DATABASE
        )
        async with client:
            sql, expected = "SELECT number FROM spread WHERE id = ?", ((1,),)
            for _ in range(3):
                assert tuple((await execute(client, sql, (1,))).rows) == expected
            place = await client.value("WOLFSCALE EXPLAIN SELECT 1")
            assert place is not None
            victim = by_name.pop(place)
            cluster.kill(victim, Part.BOTH)
            for _ in range(3):
                assert tuple((await execute(client, sql, (1,))).rows) == expected
            [other] = by_name
            assert await client.value("WOLFSCALE EXPLAIN SELECT 1") == other
        cluster.launch(victim)
        await cluster.wait_serving()


async def test_account_that_must_use_tls_reads_at_a_follower_too(cluster: ClusterUnderTest) -> None:
    _, followers = await _prepared(cluster)
    await cluster.on_writable(
        [
            "CREATE OR REPLACE USER encrypted@'%' IDENTIFIED BY 'secret word' REQUIRE SSL",
            "GRANT SELECT, UPDATE ON demo.* TO encrypted@'%'",
        ]
    )
    await cluster.wait_level()
    async with standalone_proxy(cluster) as proxy:
        connect = functools.partial(proxy.connect, user="encrypted", password="secret word")
        client = await _run(functools.partial(connect, ssl={"check_hostname": False, "verify_mode": "none"}))
        assert await _run(reads_at, client) in {cluster.node(number).name for number in followers}
        local = int(await _run(status, client, "local_statements"))
        await _run(rows, client, "UPDATE spread SET number = 2 WHERE id = 1")
        for _ in range(20):
            assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(2,)]
        assert int(await _run(status, client, "local_statements")) - local >= 15
        client.close()
        with pytest.raises(pymysql.err.OperationalError) as refused:
            await _run(functools.partial(connect, ssl_disabled=True))
        assert refused.value.args[0] == 1045


async def test_session_that_only_writes_outlives_its_follower_and_then_the_leader(
    cluster: ClusterUnderTest,
) -> None:
    old, (victim, _) = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(2)
        assert cluster.node(victim).name in await _places(clients)
        for client in clients:
            await _run(rows, client, "UPDATE spread SET number = number + 1 WHERE id = 1")
        cluster.kill(victim, Part.BOTH)
        cluster.launch(victim)
        await cluster.wait_serving()
        cluster.kill(old, Part.BOTH)
        await cluster.wait_successor(old)
        for client in clients:
            await _run(rows, client, "UPDATE spread SET number = number + 1 WHERE id = 1")
        assert await _run(rows, clients[0], "SELECT number FROM spread WHERE id = 1") == [(5,)]
        cluster.launch(old)
        await cluster.wait_serving()
        for client in clients:
            client.close()


async def test_follower_that_hangs_under_reads_is_no_error(cluster: ClusterUnderTest) -> None:
    victim = (await _prepared(cluster))[1][0]
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(6)
        async with _reading(clients) as readers:
            await readers.go_on()
            cluster.pause(victim, Part.BOTH)
            try:
                await readers.go_on()
                assert readers.errors == []
            finally:
                cluster.resume(victim, Part.BOTH)
        await cluster.wait_serving()
        await _until_used(proxy, cluster.node(victim).name)
        for client in clients:
            client.close()


async def test_leader_that_is_killed_is_no_error_for_reads_nor_for_the_next_write(
    cluster: ClusterUnderTest,
) -> None:
    old, _ = await _prepared(cluster)
    async with standalone_proxy(cluster, peers=(old,)) as proxy:
        clients = await proxy.clients(6)
        writer = await _run(proxy.connect)
        await _run(rows, writer, "UPDATE spread SET number = 1 WHERE id = 1")
        async with _reading(clients) as readers:
            await readers.go_on()
            cluster.kill(old, Part.BOTH)
            new = await cluster.wait_successor(old)
            await _run(rows, writer, "UPDATE spread SET number = 2 WHERE id = 1")
            assert await _run(rows, writer, "SELECT number FROM spread WHERE id = 1") == [(2,)]
            await readers.go_on()
        [left] = [number for number in cluster.numbers if number not in (old, new)]
        assert await _places(clients) == {cluster.node(left).name: 6}
        cluster.launch(old)
        await cluster.wait_serving()
        await _until_used(proxy, cluster.node(old).name)
        for client in (*clients, writer):
            client.close()


async def test_reads_go_on_at_the_last_follower_while_no_majority_is_there(cluster: ClusterUnderTest) -> None:
    leader, (follower, last) = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(4)
        await _run(rows, clients[0], "UPDATE spread SET number = 7 WHERE id = 1")
        await cluster.wait_level()
        cluster.kill_together([leader, follower])
        with trio.fail_after(PATIENCE):
            while await _places(clients) != {cluster.node(last).name: 4}:
                await trio.sleep(POLL_SECONDS)
        for client in clients:
            assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(7,)]
        for number in (leader, follower):
            cluster.launch(number)
        await cluster.wait_serving()
        await _run(rows, clients[0], "UPDATE spread SET number = 8 WHERE id = 1")
        for client in clients:
            client.close()


async def test_read_that_waits_for_a_leader_goes_to_the_follower_that_comes_back(
    cluster: ClusterUnderTest,
) -> None:
    leader, (follower, last) = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        [client] = await proxy.clients(1)
        await _run(rows, client, "SET SESSION wolfscale_consistency = 'eventual'")
        cluster.kill_together([leader, follower])
        cluster.kill(last, Part.MARIADB)
        with trio.fail_after(PATIENCE):
            while await _run(status, client, "database_ready") == "ON":
                await trio.sleep(POLL_SECONDS)
        assert await _run(status, client, "writable") == "OFF"
        # There is no majority, so there will be no leader before the others are launched.
        assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(1,)]
        assert await _run(reads_at, client) == cluster.node(last).name
        for number in (leader, follower):
            cluster.launch(number)
        await cluster.wait_serving()
        client.close()


async def test_reads_are_the_leaders_and_the_engines_where_it_is_alone() -> None:
    alone = ClusterUnderTest(1)
    try:
        await alone.start()
        await alone.on_writable(SETUP)
        async with standalone_proxy(alone) as proxy:
            client = await _run(proxy.connect)
            assert await _run(reads_at, client) == "leader"
            assert await _run(status, client, "leads") == "ON"
            relayed = int(await _run(status, client, "relayed_statements"))
            for _ in range(100):
                assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(1,)]
            assert int(await _run(status, client, "relayed_statements")) - relayed >= 90
            assert await _run(status, client, "local_statements") == "0"
            client.close()
    finally:
        await alone.stop()
        alone.remove_files()


async def test_follower_that_falls_behind_loses_its_sessions(cluster: ClusterUnderTest) -> None:
    _, (victim, other) = await _prepared(cluster)
    async with standalone_proxy(cluster, read_wait_ms=1000) as proxy:
        clients = await proxy.clients(4)
        place = cluster.node(victim).name
        assert (await _places(clients))[place] == 2
        lock = await cluster.admin(victim)
        await _run(rows, lock, "FLUSH TABLES WITH READ LOCK")
        try:
            for client in clients:
                await _run(rows, client, "UPDATE spread SET number = number + 1 WHERE id = 1")
                [(number,)] = await _run(rows, client, "SELECT number FROM spread WHERE id = 1")
                assert number >= 2
            with trio.fail_after(PATIENCE):
                while await _places(clients) != {cluster.node(other).name: 4}:
                    await trio.sleep(POLL_SECONDS)
        finally:
            lock.close()
        for client in clients:
            client.close()
        await _until_used(proxy, place)


async def test_running_read_on_the_chosen_follower_is_killed_from_anywhere(
    cluster: ClusterUnderTest,
) -> None:
    _, followers = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        victim, killer = await proxy.clients(2)
        place = await _run(reads_at, victim)
        [number] = [number for number in followers if cluster.node(number).name == place]
        [(id,)] = await _run(rows, victim, "SELECT CONNECTION_ID()")
        beside = await _run(cluster.clients.connect, number)
        for kill in (killer, beside):
            answers: list[object] = []

            def sleep(answers: list[object] = answers) -> None:
                try:
                    answers.append(rows(victim, "SELECT SLEEP(55), 1"))
                except pymysql.err.MySQLError as error:
                    answers.append(error.args[0])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(_run, sleep)
                await cluster.wait_row_count(
                    number, "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'", 1
                )
                await _run(rows, kill, f"KILL QUERY {id}")
            assert answers in ([1317], [[(1, 1)]])
        for client in (victim, killer, beside):
            client.close()


async def test_transaction_that_only_reads_is_one_snapshot_of_the_chosen_follower(
    cluster: ClusterUnderTest,
) -> None:
    _, (victim, other) = await _prepared(cluster)
    async with standalone_proxy(cluster) as proxy:
        clients = await proxy.clients(2)
        [client] = [one for one in clients if await _run(reads_at, one) == cluster.node(victim).name]
        [writer] = [one for one in clients if one is not client]
        await _run(rows, client, "START TRANSACTION READ ONLY")
        assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(1,)]
        await _run(rows, writer, "UPDATE spread SET number = 2 WHERE id = 1")
        await cluster.wait_level()
        assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(1,)]
        cluster.kill(victim, Part.BOTH)
        with pytest.raises(pymysql.err.MySQLError) as lost:
            await _run(rows, client, "SELECT number FROM spread WHERE id = 1")
        assert lost.value.args[0] == 1213
        assert await _run(rows, client, "SELECT number FROM spread WHERE id = 1") == [(2,)]
        assert await _run(reads_at, client) == cluster.node(other).name
        cluster.launch(victim)
        await cluster.wait_serving()
        for one in clients:
            one.close()
