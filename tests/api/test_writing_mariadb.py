"""Writes when a commit's answer is lost at every point, on a real MariaDB behind a gateway that loses it."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from wolfscale.api import idempotency
from wolfscale.api.defining import define
from wolfscale.api.gateway import LeaderSession, NoLeaderError, SqlGateway
from wolfscale.api.idempotency import RetryKey, retry_key
from wolfscale.api.problems import Problem
from wolfscale.api.write_models import DdlRequest, Delete, Insert, Update
from wolfscale.api.writing import Placed, Writer, Written
from wolfscale.mysql.client import Connection, Result
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.proxy.outline import Outline, outline
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

SESSION = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES', innodb_lock_wait_timeout=1, "
    "session_track_system_variables='last_gtid'"
)


class LossyConnection(Connection):
    """Loses the answer to a statement, or the statement itself."""

    lose: tuple[str, bool] | None = None

    async def query(self, sql: str | bytes) -> Result:
        if self.lose is None or sql != self.lose[0]:
            return await super().query(sql)
        if self.lose[1]:
            await super().query(sql)
        await self.aclose_forcefully()
        raise ConnectionLost("lost by the test")


class Session:
    """A leader's session; `committed` says whether the log vouches for what it writes."""

    def __init__(self, connection: Connection, committed: bool) -> None:
        self.connection = connection
        self._committed = committed

    async def wait_committed(self, gtid: str) -> bool:
        assert gtid.startswith("0-")
        return self._committed

    @asynccontextmanager
    async def definition(self) -> AsyncIterator[None]:
        yield


class OneServer:
    """One real server as the leader; `faults` are met by one session after the other, then none.

    A fault is a statement and whether it reaches the server, or a word: `unvouched` and `no leader`.
    """

    default_database = "app"
    write_wait_seconds = 10.0
    read_wait_seconds = 1.0

    def __init__(self, server: ScratchMariaDB, *faults: tuple[str, bool] | str) -> None:
        self._server = server
        self._faults = list(faults)
        self.sessions = 0

    def outline(self, sql: str) -> Outline:
        return outline(sql)

    @asynccontextmanager
    async def leader(
        self, *, until: float, database: str | None = None, read_only_seconds: float | None = None
    ) -> AsyncIterator[LeaderSession]:
        assert until > trio.current_time()
        self.sessions += 1
        fault = self._faults.pop(0) if self._faults else None
        if fault == "no leader":
            raise NoLeaderError("there is none")
        async with await LossyConnection.connect(
            user="root", socket_path=self._server.socket_path, database=database
        ) as connection:
            await connection.query(SESSION)
            assert isinstance(connection, LossyConnection)
            connection.lose = fault if isinstance(fault, tuple) else None
            yield Session(connection, fault != "unvouched")

    @asynccontextmanager
    async def replica(
        self, *, until: float, database: str | None = None, read_only_seconds: float
    ) -> AsyncIterator[Connection]:
        raise NotImplementedError
        yield

    async def wait_applied(self, sequence: int, seconds: float) -> bool:
        raise NotImplementedError

    async def confirmed_sequence(self) -> int:
        raise NotImplementedError


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(arguments=["--log-bin=bin", "--server-id=7"]) as server:
        server.execute(
            "CREATE DATABASE app",
            "CREATE DATABASE wolfscale",
            idempotency.table_statement(),
            "CREATE TABLE app.t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
            "CREATE TABLE app.words (word VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_bin PRIMARY KEY)",
        )
        yield server


@pytest.fixture(autouse=True)
def emptied(server: ScratchMariaDB) -> None:
    server.execute("DELETE FROM app.t", "DELETE FROM wolfscale.api_idempotency")


def key(text: str = "k", body: bytes = b"") -> RetryKey:
    found = retry_key(text, "/write/insert", body)
    assert found is not None
    return found


async def insert(gateway: SqlGateway, retry: RetryKey | None = None, **values: Any) -> Written:
    return await Writer(gateway, None).write(
        [Placed(write=Insert(table="t", values=values or {"id": 1}))], retry
    )


def rows(server: ScratchMariaDB) -> list[int]:
    return [row[0] for row in server.execute("SELECT id FROM app.t ORDER BY id")]


@pytest.mark.parametrize("statement", ["START TRANSACTION"])
@pytest.mark.parametrize("with_key", [False, True])
async def test_connection_lost_before_the_commit_is_no_matter(
    server: ScratchMariaDB, statement: str, with_key: bool
) -> None:
    gateway = OneServer(server, (statement, False), (statement, True))
    written = await insert(gateway, key() if with_key else None)
    assert (written.replayed, gateway.sessions) == (False, 3)
    assert rows(server) == [1]


@pytest.mark.parametrize("fault", [("COMMIT", False), ("COMMIT", True), "unvouched"])
async def test_commit_without_an_answer_is_unknown_without_a_key(
    server: ScratchMariaDB, fault: tuple[str, bool] | str
) -> None:
    with pytest.raises(Problem, match="send an Idempotency-Key") as unknown:
        await insert(OneServer(server, fault))
    assert (unknown.value.status, unknown.value.body.error) == (504, "outcome_unknown")
    assert rows(server) == ([] if fault == ("COMMIT", False) else [1])


@pytest.mark.parametrize(
    ("fault", "kept"), [(("COMMIT", False), False), (("COMMIT", True), True), ("unvouched", True)]
)
async def test_commit_without_an_answer_is_found_or_done_again_by_its_key(
    server: ScratchMariaDB, fault: tuple[str, bool] | str, kept: bool
) -> None:
    gateway = OneServer(server, fault)
    written = await insert(gateway, key())
    assert (written.replayed, gateway.sessions) == (kept, 2)
    assert (written.results[0].affected_rows, written.results[0].id) == (1, 1)
    assert written.gtid is not None
    assert rows(server) == [1]


async def test_unknown_stays_unknown_when_no_leader_comes(server: ScratchMariaDB) -> None:
    with pytest.raises(Problem, match="same Idempotency-Key") as unknown:
        await insert(OneServer(server, ("COMMIT", True), "no leader"), key())
    assert unknown.value.status == 504


async def test_no_leader_says_that_nothing_was_done(server: ScratchMariaDB) -> None:
    with pytest.raises(Problem, match="nothing was done") as none:
        await insert(OneServer(server, "no leader"))
    assert (none.value.status, none.value.headers) == (503, {"Retry-After": "1"})
    assert rows(server) == []


async def test_key_under_way_elsewhere_is_waited_for_and_then_refused(server: ScratchMariaDB) -> None:
    async with await server.connect() as other:
        await other.query("BEGIN")
        await other.query("INSERT INTO wolfscale.api_idempotency VALUES ('k', REPEAT('x', 32), '[]', NOW())")
        with pytest.raises(Problem) as refused:
            await insert(OneServer(server), key())
        assert (refused.value.status, refused.value.body.error) == (409, "in_progress")
        await other.query("ROLLBACK")
    await insert(OneServer(server), key())
    assert rows(server) == [1]


async def test_row_locked_elsewhere_is_waited_for_and_then_refused(server: ScratchMariaDB) -> None:
    await insert(OneServer(server))
    async with await server.connect() as other:
        await other.query("BEGIN")
        await other.query("SELECT * FROM app.t FOR UPDATE")
        update = Update(table="t", set={"v": 2}, where_key={"id": 1})
        with pytest.raises(Problem) as refused:
            await Writer(OneServer(server), None).write([Placed(write=update)], None)
    assert (refused.value.status, refused.value.body.error, refused.value.body.errno) == (409, "locked", 1205)


async def test_deadlock_is_tried_again(server: ScratchMariaDB) -> None:
    """Two writers take the same two rows crosswise, until the server has ended one of them."""
    for number in (1, 2):
        await insert(OneServer(server), id=number)
    gateway = OneServer(server)

    async def update(*order: int) -> None:
        writes = [
            Placed(write=Update(table="t", set={"v": gateway.sessions}, where_key={"id": number}))
            for number in order
        ]
        await Writer(gateway, None).write(writes, None)

    requests = 0
    with trio.fail_after(60):
        while gateway.sessions == requests:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(update, 1, 2)
                nursery.start_soon(update, 2, 1)
            requests += 2
    assert rows(server) == [1, 2]


async def test_definition_without_an_answer_is_never_repeated(server: ScratchMariaDB) -> None:
    ddl = "CREATE TABLE made (id INT)"
    request = DdlRequest(ddl=ddl)
    retry = key("d")
    with pytest.raises(Problem) as unknown:
        await define(OneServer(server, (ddl, True)), request, retry)
    assert (unknown.value.status, unknown.value.body.error) == (504, "outcome_unknown")
    with pytest.raises(Problem) as again:
        await define(OneServer(server), request, key("d"))
    assert (again.value.status, again.value.body.error) == (409, "outcome_unknown")
    server.execute("DROP TABLE app.made")


@pytest.mark.parametrize("reached", [False, True])
async def test_definition_whose_key_was_written_without_an_answer_still_runs(
    server: ScratchMariaDB, reached: bool
) -> None:
    request = DdlRequest(ddl="CREATE OR REPLACE TABLE made (id INT)")
    gateway = OneServer(server, ("COMMIT", reached))
    written = await define(gateway, request, key("e"))
    assert (written.replayed, gateway.sessions) == (False, 2)
    assert (await define(OneServer(server), request, key("e"))).replayed


@pytest.mark.parametrize("word", ["\u0101", "\u00e1", "a"])
async def test_delete_by_a_text_key_never_takes_a_second_row(server: ScratchMariaDB, word: str) -> None:
    """The first is no character of the key's set: compared in another one it is like all three."""
    server.execute("DELETE FROM app.words", "INSERT INTO app.words VALUES ('a'), ('A'), ('\u00e1')")
    delete = Delete(table="words", where_key={"word": word})
    with contextlib.suppress(Problem):
        await Writer(OneServer(server), None).write([Placed(write=delete)], None)
    [[left]] = server.execute("SELECT COUNT(*) FROM app.words")
    assert left >= 2


async def test_old_keys_are_purged_and_new_ones_kept(server: ScratchMariaDB) -> None:
    server.execute(
        "INSERT INTO wolfscale.api_idempotency VALUES "
        "('old', REPEAT('x', 32), '[]', UTC_TIMESTAMP() - INTERVAL 25 HOUR), "
        "('new', REPEAT('x', 32), '[]', UTC_TIMESTAMP() - INTERVAL 23 HOUR)"
    )
    async with await server.connect() as connection:
        assert await idempotency.purge(connection) == 1
        assert await idempotency.purge(connection) == 0
    assert server.execute("SELECT idempotency_key FROM wolfscale.api_idempotency") == ((b"new",),)


async def test_definition_that_goes_by_the_order_of_rows_needs_a_key(server: ScratchMariaDB) -> None:
    gateway = OneServer(server)
    await define(gateway, DdlRequest(ddl="CREATE OR REPLACE TABLE `it's` (v INT)"), None)
    for addition in ("id INT AUTO_INCREMENT PRIMARY KEY", "id SERIAL"):
        with pytest.raises(Problem) as refused:
            await define(gateway, DdlRequest(ddl=f"ALTER TABLE `it's` ADD {addition}"), None)
        assert (refused.value.status, refused.value.body.error) == (422, "unordered_rows")
    await define(gateway, DdlRequest(ddl="ALTER TABLE `it's` ADD PRIMARY KEY (v), AUTO_INCREMENT = 5"), None)
    await define(gateway, DdlRequest(ddl="ALTER TABLE `it's` ADD id INT AUTO_INCREMENT UNIQUE"), None)
    server.execute("DROP TABLE app.`it's`")
