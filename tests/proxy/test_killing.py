"""KILL through the proxy, over real servers: whom it means, who may, what the victim hears, and its id."""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT

from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall
from wolfscale.proxy.session_ids import first_id

servers = shared_servers
pytestmark = pytest.mark.mariadb

LOST = 2013
"""The client's own error: its connection ended, without a word."""

Outcome = list[tuple[int, str] | str]


@asynccontextmanager
async def _clients(proxy: Cluster, *users: str) -> AsyncIterator[list[Any]]:
    """One client a user; closed without ceremony, since some are dead."""
    connections = []
    for user in users:
        options = {"user": user} | ({"password": "", "database": None} if user == "nopassword" else {})
        connections.append(await proxy.run(functools.partial(proxy.connect, **options)))
    try:
        yield connections
    finally:
        for connection in connections:
            connection._force_close()


def _error(connection: Any, sql: str) -> int:
    with pytest.raises(pymysql.err.MySQLError) as refused:
        rows(connection, sql)
    return int(refused.value.args[0])


async def _run_until(
    proxy: Cluster, victim: Any, sql: str, where: Callable[[], bool], kill: Callable[[], Any]
) -> Any:
    """What a victim's statement comes to that is killed once it runs."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(rows(victim, sql))
        except pymysql.err.MySQLError as error:
            outcome.append(error.args[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.run, run)
        with trio.fail_after(60):
            while not where():
                await trio.sleep(0.02)
        await proxy.run(kill)
    return outcome[0]


def _is_running(server: Any, text: str) -> Callable[[], bool]:
    def look() -> bool:
        found = server.execute(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE '{text}%'")
        return bool(found)

    return look


@pytest.mark.parametrize("leads", [False, True])
async def test_session_has_one_id_wherever_its_statements_run(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy, _clients(proxy, "app", "app") as (one, two):

        def use() -> None:
            ids = [connection.thread_id() for connection in (one, two)]
            assert len(set(ids)) == 2
            assert all(first_id(3, 0) < id < first_id(3, 1) for id in ids)
            for connection, id in zip((one, two), ids, strict=True):
                assert rows(connection, "SELECT CONNECTION_ID()") == [(id,)]
                with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                    cursor.execute("SELECT CONNECTION_ID()")
                    assert cursor.fetchall() == [{"CONNECTION_ID()": id}]
                rows(connection, "BEGIN")
                assert rows(connection, "SELECT connection_id() AS own FROM t WHERE id = 1") == [(id,)]
                rows(connection, "COMMIT")
                assert rows(
                    connection, "SELECT GET_LOCK('ids', 1), IS_USED_LOCK('ids') = CONNECTION_ID()"
                ) == [(1, 1)]
                rows(connection, "SELECT RELEASE_LOCK('ids')")
                own = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()"
                assert rows(connection, own) == [(1,)]
                rows(connection, "WOLFSCALE EXPLAIN SELECT CONNECTION_ID()")
                assert rows(connection, "SELECT CONNECTION_ID()") == [(id,)]

        await proxy.run(use)


@pytest.mark.parametrize("leads", [False, True])
@pytest.mark.parametrize("in_transaction", [False, True], ids=["read", "in a transaction"])
async def test_kill_query_interrupts_a_statement_and_the_session_goes_on(
    servers: Pair, leads: bool, in_transaction: bool
) -> None:
    async with cluster(servers, leads=leads) as proxy, _clients(proxy, "app", "app") as (victim, killer):
        local = not in_transaction and not leads
        if in_transaction:
            await proxy.run(rows, victim, "BEGIN")
        outcome = await _run_until(
            proxy,
            victim,
            "SELECT SLEEP(50), 'victim'",
            _is_running(servers.replica if local else servers.primary, "SELECT SLEEP(50)"),
            lambda: rows(killer, f"KILL QUERY {victim.thread_id()}"),
        )
        # A SLEEP that is interrupted returns 1.
        assert outcome in ([(1, "victim")], 1317)
        assert [(leader, connection) for _, leader, connection in proxy.interrupted] == [(not local, False)]
        assert await proxy.run(rows, victim, "SELECT 5") == [(5,)]


@pytest.mark.parametrize("leads", [False, True])
async def test_kill_ends_a_session_that_runs_a_statement(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy, _clients(proxy, "app", "app") as (victim, killer):
        server = servers.primary if leads else servers.replica
        outcome = await _run_until(
            proxy,
            victim,
            "SELECT COUNT(*) FROM seq_1_to_1000000000, seq_1_to_1000000000 b",
            _is_running(server, "SELECT COUNT(*) FROM seq_1"),
            lambda: rows(killer, f"KILL {victim.thread_id()}"),
        )
        assert outcome == LOST
        # It was not begun again on the other server.
        with trio.fail_after(60):
            while _is_running(servers.primary, "SELECT COUNT(*) FROM seq_1")():
                await trio.sleep(0.02)
        assert len(proxy.interrupted) == 1
        assert await proxy.run(_error, victim, "SELECT 1") in (2006, 2013, 0)
        assert proxy.listener.statistics.sessions_failed == 0


async def test_kill_ends_an_idle_session_by_statement_and_by_command(servers: Pair) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "app", "app", "app") as (one, two, killer):

        def use() -> None:
            rows(killer, f"/* tool */ KILL CONNECTION {one.thread_id()}")
            assert _error(one, "SELECT 1") in (2006, 2013)
            killer.kill(two.thread_id())
            assert _error(two, "SELECT 1") in (2006, 2013)
            assert _error(killer, f"KILL {one.thread_id()}") == 1094

        await proxy.run(use)


async def test_ids_of_the_process_list_can_be_killed_too(servers: Pair) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "app", "app") as (victim, killer):

        def use() -> None:
            rows(victim, "BEGIN")
            rows(victim, "SET @marked = 1")
            (own,) = rows(victim, "SELECT ID FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()")
            assert own[0] in [row[0] for row in rows(killer, "SHOW PROCESSLIST")]
            rows(killer, f"SET @victim = {own[0]}")
            rows(killer, "KILL @victim")
            assert _error(victim, "SELECT 1") in (2006, 2013)

        await proxy.run(use)


async def test_sessions_of_others_take_the_privilege(servers: Pair) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "nopassword", "nopassword", "app") as found:
        nobody, twin, app = found

        def use() -> None:
            assert _error(nobody, f"KILL {app.thread_id()}") == 1095
            assert _error(nobody, f"KILL QUERY {app.thread_id()}") == 1095
            assert _error(nobody, "KILL USER app") == 1095
            assert rows(app, "SELECT 1") == [(1,)]
            shown = rows(nobody, "SHOW WOLFSCALE SESSIONS")
            assert {(row[0], row[1]) for row in shown} == {
                (str(connection.thread_id()), "nopassword") for connection in (nobody, twin)
            }
            assert len(rows(app, "SHOW WOLFSCALE SESSIONS")) == 3
            rows(nobody, f"KILL {twin.thread_id()}")
            assert _error(twin, "SELECT 1") in (2006, 2013)
            rows(app, "KILL USER nopassword")
            assert _error(nobody, "SELECT 1") in (2006, 2013)

        await proxy.run(use)


async def test_session_that_kills_itself_hears_what_mariadb_says(servers: Pair) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "app") as (client,):

        def use() -> None:
            assert _error(client, "KILL QUERY CONNECTION_ID()") == 1317
            assert rows(client, "SELECT 1") == [(1,)]
            assert _error(client, "KILL CONNECTION_ID()") == 1927
            assert _error(client, "SELECT 1") in (0, 2006, 2013)

        await proxy.run(use)


async def test_statement_that_commits_is_waited_for_and_not_interrupted(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wolfscale.proxy.interruption.COMMIT_SECONDS", 0.2)
    async with cluster(servers) as proxy, _clients(proxy, "app", "app") as (victim, killer):
        proxy.committing = True
        await proxy.run(rows, victim, "BEGIN")
        refused: list[int] = []

        def kill() -> None:
            refused.append(_error(killer, f"KILL {victim.thread_id()}"))
            server = servers.primary.execute(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP(49)%'"
            )
            servers.primary.execute(f"KILL QUERY {server[0][0]}")

        outcome = await _run_until(
            proxy, victim, "SELECT SLEEP(49)", _is_running(servers.primary, "SELECT SLEEP(49)"), kill
        )
        assert outcome in ([(1,)], 1317)
        assert refused == [1105]
        # It was not killed, and goes on.
        assert await proxy.run(rows, victim, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "errno"),
    [
        ("KILL", 1064),
        ("KILL 4", 1094),
        ("KILL QUERY ID 999999999", 1957),
        ("KILL NULL", 1094),
        ("KILL @never_set", 1094),
        ("KILL (SELECT 4)", 1970),
        ("KILL LASTVAL(s)", 1970),
        ("BEGIN NOT ATOMIC KILL 4; END", 1235),
        ("EXECUTE IMMEDIATE 'KILL 4'", 1235),
        ("EXECUTE IMMEDIATE CONCAT('KI', 'LL 4')", 1235),
        ("PREPARE s FROM 'KILL 4'", 1235),
    ],
)
async def test_kill_of_nobody_or_out_of_place_is_an_error(servers: Pair, sql: str, errno: int) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "app") as (client,):
        assert await proxy.run(_error, client, sql) == errno
        assert await proxy.run(rows, client, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; KILL {}",
        "KILL {}; KILL {}",
        "KILL {}; SET sql_log_bin = 0",
        "/*! KILL {} */; SELECT 1",
        "KILL USER app; KILL {}",
    ],
)
async def test_kill_behind_other_statements_or_before_refused_ones_is_refused(
    servers: Pair, sql: str
) -> None:
    several = {"client_flag": CLIENT.MULTI_STATEMENTS}
    async with cluster(servers) as proxy, _clients(proxy, "app") as (victim,):

        def use() -> None:
            with proxy.connect(**several) as connection:
                assert _error(connection, sql.replace("{}", str(victim.thread_id()))) in (1227, 1235)
            assert rows(victim, "SELECT 1") == [(1,)]

        await proxy.run(use)


async def test_kill_before_other_statements_is_carried_out_and_answered_as_by_mariadb(
    servers: Pair,
) -> None:
    async with cluster(servers) as proxy, _clients(proxy, "app") as (victim,):

        def use() -> None:
            with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
                cursor = connection.cursor()
                cursor.execute(f" kill {victim.thread_id()} ; SELECT 7; SELECT ROW_COUNT()")
                assert (cursor.rowcount, cursor.description) == (0, None)
                assert cursor.nextset()
                assert cursor.fetchall() == ((7,),)
                assert cursor.nextset()
                assert cursor.fetchall() == ((-1,),)
                assert not cursor.nextset()
                assert _error(connection, "KILL 4; SELECT 7") == 1094
                assert _error(connection, "KILL QUERY CONNECTION_ID(); SELECT 7") == 1317
            assert _error(victim, "SELECT 1") in (2006, LOST)

        await proxy.run(use)


async def _kill_while_waiting(proxy: Cluster, victim: Any, sql: str, kill: str) -> int:
    """The error of a statement that is killed while it waits in the proxy."""
    number = victim.thread_id()
    waits = proxy.listener._sessions[number].connections.waits
    outcome: list[int] = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            outcome.append(await proxy.run(_error, victim, sql))

        nursery.start_soon(run)
        with trio.fail_after(60):
            while not waits.state.startswith("Waiting"):
                await trio.sleep(0.005)
        killed = await proxy.kill(KillCall(connection=kill == "KILL", by="app", id=number))
        assert killed.done == 1
    return outcome[0]


@pytest.mark.parametrize(("kill", "errno"), [("KILL QUERY", 1317), ("KILL", LOST)])
async def test_statement_that_waits_for_a_leader_is_killed_at_once(
    servers: Pair, kill: str, errno: int
) -> None:
    bounds = Bounds(leader_seconds=600)
    async with cluster(servers, bounds=bounds) as proxy, _clients(proxy, "app", "app") as (victim, other):
        await proxy.run(rows, victim, "SET @kept = 1 + 1")
        proxy.change(writable=False, leader=None)
        assert await _kill_while_waiting(proxy, victim, "UPDATE t SET v = 'lost' WHERE id = 1", kill) == errno
        assert proxy.interrupted == []
        proxy.change(writable=True, leader="m", term=2)
        if errno == 1317:
            assert await proxy.run(rows, victim, "SELECT @kept, v FROM t WHERE id = 2") == [(2, "two")]
        else:
            assert await proxy.run(_error, victim, "SELECT 1") in (0, 2006, 2013)
        assert await proxy.run(rows, other, "SELECT COUNT(*) FROM t WHERE v = 'lost'") == [(0,)]


@pytest.mark.parametrize(("kill", "errno"), [("KILL QUERY", 1317), ("KILL", LOST)])
async def test_read_that_waits_for_its_node_to_catch_up_is_killed_at_once(
    servers: Pair, kill: str, errno: int
) -> None:
    bounds = Bounds(replica_seconds=600)
    async with cluster(servers, bounds=bounds) as proxy, _clients(proxy, "app") as (victim,):
        proxy.hold_applied = True
        await proxy.run(rows, victim, "INSERT INTO t (v) VALUES ('killed')")
        read = "SELECT COUNT(*) FROM t WHERE v = 'killed'"
        assert await _kill_while_waiting(proxy, victim, read, kill) == errno
        proxy.hold_applied = False
        if errno == 1317:
            assert await proxy.run(rows, victim, read) == [(1,)]
        servers.primary.execute("DELETE FROM demo.t WHERE v = 'killed'")


async def test_kill_statement_of_another_session_reaches_one_that_waits(servers: Pair) -> None:
    """The killer needs a leader only for what it may not do to its own sessions."""
    bounds = Bounds(leader_seconds=600)
    async with cluster(servers, bounds=bounds) as proxy, _clients(proxy, "app", "app") as (victim, killer):
        proxy.change(writable=False, leader=None)
        waits = proxy.listener._sessions[victim.thread_id()].connections.waits
        outcome = await _run_until(
            proxy,
            victim,
            "DELETE FROM t WHERE id = 1",
            lambda: waits.state == "Waiting for a leader",
            lambda: rows(killer, f"KILL QUERY {victim.thread_id()}"),
        )
        assert outcome == 1317


@pytest.mark.parametrize(("kill", "errno"), [("QUERY", 1317), ("CONNECTION", LOST)])
async def test_statement_killed_while_its_intent_mark_is_written_is_not_sent_and_takes_it_back(
    servers: Pair, monkeypatch: pytest.MonkeyPatch, kill: str, errno: int
) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow(self: Cluster, connection_id: int) -> None:
        begun.set()
        await go_on.wait()
        self.intents.append(("begin", connection_id))

    monkeypatch.setattr(Cluster, "intent_begin", slow)
    async with cluster(servers) as proxy, _clients(proxy, "app", "app") as (victim, killer):
        async with trio.open_nursery() as nursery:

            async def create() -> None:
                assert await proxy.run(_error, victim, "CREATE TABLE never_made (a INT)") == errno

            nursery.start_soon(create)
            await begun.wait()
            await proxy.run(rows, killer, f"KILL {kill} {victim.thread_id()}")
            assert proxy.intents == []
            go_on.set()
        assert [what for what, _ in proxy.intents] == ["begin", "end"]
        assert await proxy.run(rows, killer, "SHOW TABLES LIKE 'never_made'") == []


async def test_mark_that_is_not_known_to_be_written_goes_with_its_connection(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(self: Cluster, connection_id: int) -> None:
        raise ControlLost("the node did not answer")

    monkeypatch.setattr(Cluster, "intent_begin", lost)
    async with cluster(servers) as proxy, _clients(proxy, "app") as (client,):
        own_id = "SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE 0 UNION SELECT CONNECTION_ID()"
        before = await proxy.run(rows, client, own_id)
        assert await proxy.run(_error, client, "CREATE TABLE never_made (a INT)") == 1290
        assert await proxy.run(rows, client, own_id) != before
        # What lives on it is worth more.
        await proxy.run(rows, client, "SELECT GET_LOCK('kept', 1)")
        assert await proxy.run(_error, client, "CREATE TABLE never_made (a INT)") == 1290
        assert await proxy.run(rows, client, "SELECT RELEASE_LOCK('kept')") == [(1,)]
        assert await proxy.run(rows, client, "SHOW TABLES LIKE 'never_made'") == []
