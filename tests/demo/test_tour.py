"""The tour's own SQL, clients and judgement, played on one real server that stands in for three nodes."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from wolfscale.api.models import NodeStatus
from wolfscale.demo import DemoCluster, Part
from wolfscale.demo.accounts import account_statements, database_statement
from wolfscale.demo.comparison import table_checksums
from wolfscale.demo.conditions import Statuses
from wolfscale.demo.servers import Row, query_server
from wolfscale.demo.tour import Tour
from wolfscale.demo.writers import CREATE_TABLE, Writers
from wolfscale.testing.mariadb import ScratchMariaDB
from wolfscale.testing.statuses import follower, node

pytestmark = pytest.mark.mariadb


@pytest.fixture
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(tcp=True) as server:
        server.execute(*account_statements(), database_statement())
        yield server


class OneServer:
    """What the tour needs of a cluster; killing the leader restarts the one server."""

    numbers = (1, 2, 3)

    def __init__(self, server: ScratchMariaDB) -> None:
        self._server = server
        self._leader = 1
        self.lose_before_comparing: Callable[[], object] = lambda: None

    def node(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(name=f"node-{number}", mysql_port=self._server.port)

    async def wait_writable(self, *, other_than: int | None = None) -> int:
        await trio.lowlevel.checkpoint()
        return self._leader

    def kill(self, number: int, part: Part) -> None:
        assert (number, part) == (1, Part.BOTH)
        self._server.restart(kill=True)
        self._leader = 2

    def launch(self, number: int) -> None:
        assert number == 1

    async def wait_for(self, condition: object, *_: object) -> Statuses:
        await trio.lowlevel.checkpoint()
        statuses: dict[int, NodeStatus | None] = {1: follower(1), 2: node(2), 3: follower(3)}
        return statuses

    async def query(self, number: int, sql: str, database: str | None = None) -> tuple[Row, ...]:
        self.lose_before_comparing()
        [rows] = await self.run_on(number, [sql], database)
        return rows

    async def run_on(
        self, number: int, statements: Sequence[str], database: str | None = None
    ) -> list[tuple[Row, ...]]:
        return await query_server((self._server.socket_path, "root", ""), statements, database)


async def _played(cluster: OneServer) -> tuple[bool, str]:
    lines: list[str] = []
    with trio.fail_after(120):
        held = await Tour(cast(DemoCluster, cluster), lines.append).play()
    return held, "\n".join(lines)


async def test_tour_holds_over_the_death_of_a_server_that_loses_nothing(server: ScratchMariaDB) -> None:
    held, told = await _played(OneServer(server))
    assert held, told
    assert "without an acknowledged write" in told
    assert "4 tables have equal checksums on 3 servers" in told


async def test_tour_can_be_played_twice(server: ScratchMariaDB) -> None:
    for _ in range(2):
        held, told = await _played(OneServer(server))
        assert held, told


async def test_tour_fails_when_an_acknowledged_write_is_missing(server: ScratchMariaDB) -> None:
    cluster = OneServer(server)
    cluster.lose_before_comparing = lambda: server.execute("DELETE FROM demo.acknowledged WHERE number = 1")
    held, told = await _played(cluster)
    assert not held
    assert "6 acknowledged writes are missing: writer 1 number 1" in told


async def test_writers_record_every_outcome_over_a_kill(server: ScratchMariaDB) -> None:
    server.execute("USE demo", CREATE_TABLE)
    assert server.port is not None
    writers = Writers([server.port], count=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writers.run)
        assert await writers.wait_acknowledged(50)
        server.restart(kill=True)
        assert await writers.wait_acknowledged(50)
        writers.stop()
    rows = server.execute("SELECT writer, number FROM demo.acknowledged")
    present = {(writer, number) for writer, number in rows}
    assert writers.record.keys() <= present
    assert present <= writers.record.keys() | writers.record.unknown
    assert writers.record.unknown
    assert writers.record.errors


async def test_checksums_cover_every_kind_of_table_outside_the_system_schemas(server: ScratchMariaDB) -> None:
    server.execute(
        "CREATE DATABASE `odd``name`",
        "CREATE TABLE `odd``name`.`a``b` (a INT)",
        "CREATE TABLE demo.aria (a INT) ENGINE=Aria",
        "CREATE SEQUENCE demo.counter",
        "CREATE VIEW demo.view AS SELECT 1",
        "INSERT INTO demo.aria VALUES (1)",
    )
    checksums = await table_checksums(cast(DemoCluster, OneServer(server)), 1)
    assert set(checksums) == {"`demo`.`aria`", "`demo`.`counter`", "`odd``name`.`a``b`"}
    assert None not in checksums.values()
    server.execute("DO NEXTVAL(demo.counter)", "INSERT INTO demo.aria VALUES (2)")
    changed = await table_checksums(cast(DemoCluster, OneServer(server)), 1)
    assert {table for table in checksums if checksums[table] != changed[table]} >= {"`demo`.`aria`"}
