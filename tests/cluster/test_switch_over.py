"""A planned change of the leader: no client sees an error, whatever it is doing, and nothing is lost."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_comparing import assert_identical
from cluster_http import Http, Reply
from cluster_logs import logged
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.prepared_client import execute

pytestmark = pytest.mark.cluster

SWITCH_OVERS = 5
TABLE = (
    "CREATE OR REPLACE TABLE demo.switched (client INT, number INT, part INT, "
    "PRIMARY KEY (client, number, part))"
)
INSERT = "INSERT INTO switched VALUES ({}, {}, {})"


@dataclass
class Load:
    """What one client was told.

    Attributes:
        node: whose proxy it uses.
        rows: acknowledged.
        errors: all that it has seen.
        operations: how many went well.
        longest: seconds that one took at most.
    """

    number: int
    node: int
    rows: set[tuple[int, int, int]] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    operations: int = 0
    longest: float = 0.0

    def done(self, started: float, *rows: tuple[int, int, int]) -> None:
        self.operations += 1
        self.longest = max(self.longest, time.monotonic() - started)
        self.rows.update(rows)


def _autocommit(connection: Client, client: Load, number: int) -> None:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(INSERT.format(client.number, number, 0))
    client.done(started, (client.number, number, 0))


def _transaction(connection: Client, client: Load, number: int) -> None:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for part in range(3):
            cursor.execute(INSERT.format(client.number, number, part))
        cursor.execute(
            "SELECT COUNT(*) FROM switched WHERE client = %s AND number = %s", (client.number, number)
        )
        assert cursor.fetchall() == ((3,),)
        cursor.execute("COMMIT")
    client.done(started, *((client.number, number, part) for part in range(3)))


def _read(connection: Client, client: Load, number: int) -> None:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), @@time_zone FROM switched WHERE client = %s", (number % 8,))
        assert cursor.fetchall()[0][1] == "+03:00"
    client.done(started)


def _run(cluster: ClusterUnderTest, client: Load, stop: threading.Event, act: Callable[..., None]) -> None:
    connection = cluster.clients.connect(client.node, init_command="SET time_zone = '+03:00'")
    number = 0
    try:
        while not stop.is_set():
            number += 1
            act(connection, client, number)
    except (pymysql.err.MySQLError, AssertionError) as error:
        client.errors.append(f"{act.__name__}, {number}: {error!r}")
    finally:
        connection._force_close()  # type: ignore[attr-defined]


async def _in_thread(
    cluster: ClusterUnderTest,
    client: Load,
    stop: threading.Event,
    act: Callable[..., None],
    limiter: trio.CapacityLimiter,
) -> None:
    await trio.to_thread.run_sync(_run, cluster, client, stop, act, limiter=limiter)


async def _prepared(cluster: ClusterUnderTest, client: Load, stop: threading.Event) -> None:
    connection = await Connection.connect(
        user=ACCOUNT,
        password=PASSWORD,
        host=LOOPBACK,
        port=cluster.node(client.node).mysql_port,
        database=DATABASE,
    )
    number = 0
    try:
        while not stop.is_set():
            number += 1
            started = time.monotonic()
            await execute(connection, "INSERT INTO switched VALUES (?, ?, 0)", (client.number, number))
            client.done(started, (client.number, number, 0))
    except (ServerError, ConnectionLost) as error:
        client.errors.append(f"prepared, {number}: {error!r}")
    finally:
        await connection.aclose()


async def test_switch_overs_under_load_are_no_error_for_any_client(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable([TABLE])
    stop, http = threading.Event(), Http(cluster)
    acts = [_autocommit, _transaction, _read, None, _autocommit, _transaction, _transaction, None]
    clients = [Load(number=n, node=cluster.numbers[n % 3]) for n in range(len(acts))]
    limiter = trio.CapacityLimiter(len(clients))
    async with trio.open_nursery() as nursery:
        for client, act in zip(clients, acts, strict=True):
            if act is None:
                nursery.start_soon(_prepared, cluster, client, stop)
            else:
                nursery.start_soon(_in_thread, cluster, client, stop, act, limiter)
        try:
            for turn in range(SWITCH_OVERS):
                before = [client.operations for client in clients]
                old = await cluster.wait_writable()
                # Asked of the leader, of the member to come and of the one that is neither.
                heir = cluster.followers(old)[turn % 2]
                answer = await http.done(
                    cluster.numbers[turn % 3], "/cluster/leader", {"to": cluster.node(heir).name}
                )
                assert answer["leader"] == cluster.node(heir).name
                assert answer["changed"]
                drained = logged(cluster, old, "MariaDB is primary no longer, as planned")[-1]["seconds"]
                promoted = logged(cluster, heir, "MariaDB is primary")[-1]["seconds"]
                print(f"switch-over {turn + 1}: {answer}, drained {drained} s, promoted {promoted} s")
                with trio.fail_after(PATIENCE):
                    while any(
                        c.operations < b + 5 and not c.errors for c, b in zip(clients, before, strict=True)
                    ):
                        await trio.sleep(POLL_SECONDS)
                await cluster.wait_serving()
        finally:
            stop.set()
    for client in clients:
        print(f"client {client.number}: {client.operations} operations, longest {client.longest:.3f} s")
    assert [error for client in clients for error in client.errors] == []
    acknowledged = {row for client in clients for row in client.rows}
    await cluster.wait_level()
    for node in cluster.numbers:
        assert set(await cluster.query(node, "SELECT * FROM demo.switched")) == acknowledged
    await assert_identical(cluster)


async def test_switch_over_to_who_cannot_lead_is_refused_and_changes_nothing(
    cluster: ClusterUnderTest,
) -> None:
    leader, http = await cluster.wait_writable(), Http(cluster)
    term = (await cluster.status_of(leader)).term
    follower = cluster.followers(leader)[0]
    asked = {"to": "nobody"}
    assert (await http.post(follower, "/cluster/leader", asked)).problem == (404, "unknown_member", "to")
    same = await http.done(follower, "/cluster/leader", {"to": cluster.node(leader).name})
    assert (same["leader"], same["changed"]) == (cluster.node(leader).name, False)
    cluster.kill_together([follower])
    heir = {"to": cluster.node(follower).name}
    await cluster.wait_for(
        lambda statuses: any(
            status is not None and not member.alive
            for status in statuses.values()
            for member in (status.members if status is not None else ())
        ),
        "the leader to miss its follower",
    )
    assert (await http.post(leader, "/cluster/leader", heir)).problem[:2] == (409, "unreachable")
    assert (await cluster.status_of(leader)).term == term
    cluster.launch(follower)
    await cluster.wait_serving()


async def _hand_over_to_paused(cluster: ClusterUnderTest, http: Http, leader: int, heir: int) -> Reply:
    """Pause a follower as soon as the leader has heard from all that they are level, and make it the heir."""
    # By the sequence: what a follower says of its own lag leaves out what it has not received yet.
    await cluster.wait_for(
        lambda statuses: (
            (status := statuses[leader]) is not None
            and all(member.alive for member in status.members)
            and len({member.applied.sequence for member in status.members}) == 1
        ),
        "the leader to hear that all are level",
    )
    cluster.pause(heir)
    return await http.post(leader, "/cluster/leader", {"to": cluster.node(heir).name})


async def test_switch_over_that_the_heir_does_not_take_leaves_the_old_leader_primary(
    cluster: ClusterUnderTest,
) -> None:
    leader, http = await cluster.wait_writable(), Http(cluster)
    await cluster.on_writable([TABLE])
    await cluster.wait_level()
    heir, other = cluster.followers(leader)
    before = len(logged(cluster, leader, "MariaDB is primary"))
    connection = await trio.to_thread.run_sync(cluster.clients.connect, other)
    try:
        # What it said last is still fresh, so that only its silence shows that it is no heir.
        reply = await _hand_over_to_paused(cluster, http, leader, heir)
        while reply.problem[:2] == (409, "unreachable"):
            # A node's own commit came in between, which the heir could not tell of any more.
            cluster.resume(heir)
            reply = await _hand_over_to_paused(cluster, http, leader, heir)
        assert reply.problem[:2] == (503, "nobody_took_over"), reply

        def write() -> None:
            with connection.cursor() as cursor:
                cursor.execute(INSERT.format(1, 1, 1))

        await trio.to_thread.run_sync(write)
        assert await cluster.wait_writable() == leader
        assert len(logged(cluster, leader, "MariaDB is primary")) == before + 1
    finally:
        cluster.resume(heir)
    await cluster.wait_serving()
    connection.close()
    await assert_identical(cluster)
