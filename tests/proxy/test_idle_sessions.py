"""wait_timeout: which sessions are due, and what a client sees of one that ends."""

import time
from dataclasses import dataclass, field

import pymysql
import pytest
from proxy_pair import PASSWORD, Pair, cluster, rows, shared_servers

from wolfscale.proxy.idle_sessions import STEP_SECONDS, IdleSessions

servers = shared_servers
LIMIT_SECONDS = 60


@dataclass(eq=False)
class _Session:
    idle_due: float
    ended: list[bool] = field(default_factory=list)

    def end_idle(self) -> None:
        self.ended.append(True)


def test_session_ends_when_it_is_due_and_not_before() -> None:
    idle = IdleSessions()
    now = time.monotonic()
    early, late = _Session(now + 10), _Session(now + 20)
    idle.watch(early)
    idle.watch(late)
    idle.check(now + 10 - STEP_SECONDS)
    assert not early.ended
    idle.check(now + 10 + STEP_SECONDS)
    assert (early.ended, late.ended, idle.count) == ([True], [], 1)
    idle.check(now + 1000)
    assert (early.ended, late.ended, idle.count) == ([True], [True], 0)


def test_session_that_was_used_meanwhile_is_looked_at_again_when_it_is_due_then() -> None:
    idle = IdleSessions()
    now = time.monotonic()
    session = _Session(now + 10)
    idle.watch(session)
    session.idle_due = now + 15
    idle.check(now + 11)
    assert not session.ended
    idle.check(now + 15 + STEP_SECONDS)
    assert session.ended


def test_session_with_a_shorter_limit_is_watched_anew() -> None:
    idle = IdleSessions()
    now = time.monotonic()
    session = _Session(now + 28800)
    idle.watch(session)
    session.idle_due = now + 1
    idle.watch(session)
    assert idle.count == 1
    idle.check(now + 1 + STEP_SECONDS)
    assert session.ended


def test_session_that_is_forgotten_is_not_ended() -> None:
    idle = IdleSessions()
    session = _Session(time.monotonic() - 5)
    idle.watch(session)
    idle.forget(session)
    idle.forget(session)
    idle.check(time.monotonic() + 100)
    assert not session.ended
    assert idle.count == 0


def _wait_for_the_end(connection: pymysql.Connection) -> None:
    """Wait until the other side has closed, without asking it anything; MariaDB resets such a connection."""
    sock = connection._sock  # type: ignore[attr-defined]
    sock.settimeout(LIMIT_SECONDS)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "before",
    [
        (),
        ("SELECT v FROM t WHERE id = 1",),
        ("INSERT INTO t (v) VALUES ('idle')", "DELETE FROM t WHERE id > 3"),
        ("BEGIN", "INSERT INTO t (v) VALUES ('idle')"),
        ("CREATE TEMPORARY TABLE idle (i INT)",),
        ("START TRANSACTION READ ONLY", "SELECT COUNT(*) FROM t"),
    ],
    ids=["new", "read", "written", "transaction", "temporary", "read-only"],
)
async def test_session_that_was_idle_for_wait_timeout_ends(servers: Pair, before: tuple[str, ...]) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET wait_timeout = 1")
                assert rows(connection, "SELECT @@wait_timeout") == [(1,)]
                for statement in before:
                    rows(connection, statement)
                _wait_for_the_end(connection)
            with proxy.connect() as connection:
                assert rows(connection, "SELECT COUNT(*) FROM t WHERE v = 'idle'") == [(0,)]

        await proxy.run(client)


@pytest.mark.mariadb
async def test_server_itself_resets_an_idle_connection(servers: Pair) -> None:
    with servers.primary.pymysql(user="app", password=PASSWORD, tcp=True) as connection:
        rows(connection, "SET wait_timeout = 1")
        _wait_for_the_end(connection)


@pytest.mark.mariadb
async def test_session_that_is_used_does_not_end(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET wait_timeout = 2")
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    connection.ping(reconnect=False)
                    time.sleep(0.2)
                rows(connection, "SELECT SLEEP(3)")
                assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

        await proxy.run(client)


@pytest.mark.mariadb
@pytest.mark.parametrize("before", [(), ("SELECT v FROM t WHERE id = 1",)], ids=["engine", "task"])
async def test_write_after_the_leader_closed_its_idle_connection_is_carried_out(
    servers: Pair, before: tuple[str, ...]
) -> None:
    """The client has read meanwhile, which the leader's MariaDB does not know of."""
    async with cluster(servers) as proxy:

        def leader_connections() -> int:
            who = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'"
            return int(servers.primary.execute(who)[0][0])

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET wait_timeout = 3")
                rows(connection, "INSERT INTO t (v) VALUES ('first')")
                rows(connection, "SET sql_warnings = 0")
                until = time.monotonic() + LIMIT_SECONDS
                while leader_connections() and time.monotonic() < until:
                    rows(connection, "SELECT v FROM t WHERE id = 2")
                    time.sleep(0.1)
                assert not leader_connections()
                for statement in before:
                    rows(connection, statement)
                rows(connection, "INSERT INTO t (v) VALUES ('first')")
                rows(connection, "DELETE FROM t WHERE id > 3")
                assert rows(connection, "SELECT @@wait_timeout") == [(3,)]

        await proxy.run(client)


LIVES_ON_LEADER = {
    "SELECT GET_LOCK('k{}', 0)": "SELECT IS_USED_LOCK('k{}') IS NOT NULL FROM t WHERE id = 1 FOR UPDATE",
    "PREPARE kept FROM 'SELECT 1'": "EXECUTE kept",
    "HANDLER t OPEN": "HANDLER t READ FIRST",
}
"""What makes something that only the leader's connection has, and what finds it there."""


KEPT_SECONDS = 8
"""Long enough that a machine that stalls for a moment ends no session that is in use."""
PAUSE_SECONDS = 0.1


@pytest.mark.mariadb
async def test_what_lives_on_the_leader_outlives_reads_beside_the_node(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as plain, proxy.connect() as reading:
                for number, connection in enumerate((plain, reading)):
                    rows(connection, f"SET wait_timeout = {KEPT_SECONDS}")
                    for keeps in LIVES_ON_LEADER:
                        rows(connection, keeps.format(number))
                rows(reading, "START TRANSACTION READ ONLY")
                local, begun = proxy.listener.statistics.local_statements, time.monotonic()
                while time.monotonic() - begun < KEPT_SECONDS + 2:
                    for connection in (plain, reading):
                        rows(connection, "SELECT COUNT(*) FROM t")
                    time.sleep(PAUSE_SECONDS)
                assert proxy.listener.statistics.local_statements > local
                rows(reading, "COMMIT")
                for number, connection in enumerate((plain, reading)):
                    found = [
                        rows(connection, finds.format(number))[0][0] for finds in LIVES_ON_LEADER.values()
                    ]
                    assert found == [1, 1, 1]

        await proxy.run(client)
