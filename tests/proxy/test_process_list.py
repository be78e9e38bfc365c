"""What SHOW WOLFSCALE SESSIONS shows of a session's command."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from raw_client import raw_client

from wolfscale.mysql.constants import Command
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.process_list import INFO_CHARACTERS, command_name, node_name, shown_text

servers = shared_servers


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT '" + "\u00e9" * 200 + "'", "SELECT '" + "\u00e9" * (INFO_CHARACTERS - 8)),
        ("CREATE USER a IDENTIFIED BY 'secret'", "CREATE USER a IDENTIFIED <hidden>"),
        ("alter user a identified via ed25519 using 'secret'", "alter user a identified <hidden>"),
        ("SET PASSWORD = PASSWORD('secret')", "SET PASSWORD <hidden>"),
        ("CHANGE MASTER TO MASTER_PASSWORD='secret'", "CHANGE MASTER TO MASTER_PASSWORD <hidden>"),
        ("SELECT OLD_PASSWORD('secret')", "SELECT OLD_PASSWORD <hidden>"),
        ("", ""),
    ],
)
def test_statement_is_cut_and_holds_no_password(sql: str, shown: str) -> None:
    assert shown_text(sql.encode()) == shown


@pytest.mark.parametrize("before", range(INFO_CHARACTERS - 30, INFO_CHARACTERS + 1))
def test_password_is_not_shown_wherever_the_cut_falls(before: int) -> None:
    assert "secret" not in shown_text(("\U0001f600" * before + "PASSWORD 'secret'").encode())


def test_names() -> None:
    assert command_name(Command.QUERY) == "Query"
    assert command_name(Command.STMT_EXECUTE) == "Execute"
    assert command_name(Command.INIT_DB) == "Init DB"
    assert node_name("node-2.c0ffee") == "node-2"
    assert node_name("m") == "m"


def _row(connection: Any, id: int) -> dict[str, str]:
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute("SHOW WOLFSCALE SESSIONS")
        names = [field[0] for field in cursor.description]
        assert names[:8] == ["Id", "User", "Host", "Db", "Command", "Time", "State", "Info"]
        found: list[dict[str, str]] = [row for row in cursor.fetchall() if row["Id"] == str(id)]
        return found[0]


async def _row_when(proxy: Cluster, watcher: Any, id: int, state: str) -> dict[str, str]:
    with trio.fail_after(60):
        while True:
            row: dict[str, str] = await proxy.run(_row, watcher, id)
            if row["State"] == state:
                return row
            await trio.sleep(0.01)


@asynccontextmanager
async def _watched(proxy: Cluster, victim: Any, run: Callable[[], Any]) -> AsyncIterator[Any]:
    """A statement under way, and a function that gives its row once it is in a state."""
    watcher = await proxy.run(proxy.connect)

    async def row_when(state: str) -> dict[str, str]:
        return await _row_when(proxy, watcher, victim.thread_id(), state)

    def finish() -> None:
        # Killed at the end.
        with contextlib.suppress(pymysql.err.OperationalError):
            run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.run, finish)
        yield row_when
        await proxy.run(rows, watcher, f"KILL QUERY {victim.thread_id()}")
    watcher.close()


@pytest.mark.mariadb
@pytest.mark.parametrize("again", [False, True], ids=["first", "engine"])
async def test_running_statement_is_shown_with_its_text_and_its_node(servers: Pair, again: bool) -> None:
    async with cluster(servers) as proxy:
        victim = await proxy.run(proxy.connect)
        read, write = "SELECT SLEEP({}), 'read'", "UPDATE t SET v = 'one' WHERE id = 1 AND SLEEP({}) = 7"
        if again:
            # The relay engine knows both texts now.
            await proxy.run(rows, victim, read.format(0))
            await proxy.run(rows, victim, write.format(0))
        for sql, node, place in ((read.format(60), "n", "this node"), (write.format(60), "m", "leader")):
            run = functools.partial(rows, victim, sql)
            async with _watched(proxy, victim, run) as row_when:
                row = await row_when(f"Running on {node}")
            assert (row["Command"], row["Info"], row["Runs_on"]) == ("Query", sql, place)
            assert 0 <= int(row["Time"]) < 60
        victim.close()


@pytest.mark.mariadb
async def test_waiting_and_idle_sessions_are_shown(servers: Pair) -> None:
    async with cluster(servers, bounds=Bounds(leader_seconds=600)) as proxy:
        victim = await proxy.run(proxy.connect)
        # What a watcher may see is asked of the leader, before there is none.
        proxy.change(writable=False, leader=None)
        sql = "UPDATE t SET v = 'one' WHERE id = 1"
        async with _watched(proxy, victim, functools.partial(rows, victim, sql)) as row_when:
            row = await row_when("Waiting for a leader")
            assert (row["Command"], row["Info"], row["Runs_on"]) == ("Query", sql, "")
        async with _watched(proxy, victim, lambda: None) as row_when:
            row = await row_when("Idle")
        assert (row["Command"], row["Info"], row["Runs_on"]) == ("Sleep", "", "")
        proxy.change(writable=True, leader="m", term=2)
        victim.close()


@pytest.mark.mariadb
async def test_commit_that_waits_for_a_majority_is_shown(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        victim, watcher = await proxy.run(proxy.connect), await proxy.run(proxy.connect)
        # The second time the relay engine holds it.
        for _ in range(2):
            proxy.hold_commits = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(proxy.run, rows, victim, "INSERT INTO t (v) VALUES ('shown')")
                state = "Waiting for a majority to hold the commit"
                row = await _row_when(proxy, watcher, victim.thread_id(), state)
                assert row["Info"] == "INSERT INTO t (v) VALUES ('shown')"
                proxy.hold_commits = False
        await proxy.run(rows, victim, "DELETE FROM t WHERE v = 'shown'")
        victim.close()
        watcher.close()


@pytest.mark.mariadb
async def test_prepared_statement_is_shown_by_its_text_and_without_its_values(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        watcher = await proxy.run(proxy.connect)
        [number] = [id for id in proxy.listener._sessions if id != watcher.thread_id()]
        sql = "SELECT SLEEP(60), ? AS v"
        statement = await client.prepare(sql)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.execute, statement, [b"secret"])
            row = await _row_when(proxy, watcher, number, "Running on n")
            assert (row["Command"], row["Info"]) == ("Execute", sql)
            await proxy.run(rows, watcher, f"KILL QUERY {number}")
        watcher.close()


@pytest.mark.mariadb
async def test_texts_of_others_are_shown_to_who_may_see_them(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        victim = await proxy.run(proxy.connect)
        nobody = await proxy.run(
            functools.partial(proxy.connect, user="nopassword", password="", database=None)
        )
        async with _watched(
            proxy, victim, functools.partial(rows, victim, "SELECT SLEEP(60), 'mine'")
        ) as row_when:
            await row_when("Running on n")
            seen = await proxy.run(rows, nobody, "SHOW WOLFSCALE SESSIONS")
            assert [row[1] for row in seen] == ["nopassword"]
            assert seen[0][7] == "SHOW WOLFSCALE SESSIONS"
        victim.close()
        nobody.close()
