"""A session whose reads move from one server to another, as those of a proxy without a MariaDB do."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import BOUNDS, Cluster, Pair, cluster, rows, shared_servers

from wolfscale.proxy.connections import Bounds
from wolfscale.sockets import NonblockingStream

servers = shared_servers
pytestmark = pytest.mark.mariadb

COUNT = "SELECT COUNT(*) FROM t"


class Servers:
    """Servers to read from, all of them the pair's replica; takes the place of the stand-in's own."""

    def __init__(self, proxy: Cluster) -> None:
        self._open = proxy.open_local
        self.streams: list[NonblockingStream] = []
        self.others = 0
        """How many there are besides the chosen one."""
        self.serves = True
        """Whether the chosen one does."""
        self.comes_back = False
        """Whether the next choice is one that does."""
        self._change = proxy.change
        self.failures: list[str] = []
        """What the next connections meet: "refused", or "closed" before the greeting."""

    def choose(self) -> bool:
        if self.comes_back:
            self._change(database_ready=True, crowded=False)
        elif self.serves:
            return False
        self.comes_back, self.serves = False, True
        return True

    def avoid(self) -> bool:
        self.others -= 1
        return self.others >= 0

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        match self.failures.pop(0) if self.failures else "":
            case "refused":
                raise OSError("nobody there")
            case "closed":
                ours, theirs = socket.socketpair()
                theirs.close()
                return NonblockingStream(ours)
        stream = await self._open(proxy_header)
        assert isinstance(stream, NonblockingStream)
        self.streams.append(stream)
        return stream


@asynccontextmanager
async def reading_elsewhere(
    pair: Pair, bounds: Bounds = BOUNDS
) -> AsyncIterator[tuple[Cluster, Servers, Any]]:
    """A proxy that reads at one of several servers, and a client that has read there."""
    async with cluster(pair, bounds=bounds) as proxy:
        several = Servers(proxy)
        proxy.choose = several.choose  # type: ignore[method-assign]
        proxy.avoid = several.avoid  # type: ignore[method-assign]
        proxy.open_local = several.open_local  # type: ignore[method-assign]
        proxy.change(elsewhere=True, node="east.0123", leader="west.4567")
        client = await proxy.run(proxy.connect)
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert proxy.listener.statistics.leader_statements == 0
        yield proxy, several, client
        client.close()


async def test_session_that_moves_must_find_what_a_majority_has_committed(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        servers.catch_up()
        proxy.confirmed = int(servers.primary.execute("SELECT @@gtid_binlog_pos")[0][0].rpartition("-")[2])
        several.serves = False
        local = proxy.listener.statistics.local_statements
        # The relay engine looks at views only; this has the session's task look.
        await proxy.run(rows, client, "WOLFSCALE EXPLAIN SELECT 1")
        for _ in range(3):
            assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert proxy.positions_asked == 1
        assert len(several.streams) == 2
        assert proxy.listener.statistics.local_statements == local + 3


async def test_session_that_moves_to_a_server_without_that_reads_on_the_leader(servers: Pair) -> None:
    async with reading_elsewhere(servers, Bounds(replica_seconds=0.2)) as (proxy, several, client):
        proxy.confirmed = 1 << 40
        several.serves = False
        await proxy.run(rows, client, "WOLFSCALE EXPLAIN SELECT 1")
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert proxy.listener.statistics.stale_reads == 1
        assert proxy.listener.statistics.leader_statements == 1


async def test_read_that_breaks_while_nobody_leads_runs_elsewhere(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        several.others = 1
        proxy.confirmed = 0
        proxy.change(writable=False)
        async with trio.open_nursery() as nursery:
            answers: list[object] = []

            async def read() -> None:
                answers.append(await proxy.run(rows, client, "SELECT SLEEP(0.5), COUNT(*) FROM t"))

            nursery.start_soon(read)
            while not servers.replica.execute(
                "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
            ):
                await trio.sleep(0.01)
            several.streams[0].close()
        assert answers == [[(0, 3)]]
        assert len(several.streams) == 2
        assert proxy.listener.statistics.leader_statements == 0


@asynccontextmanager
async def waiting_for_a_leader(proxy: Cluster, client: Any, sql: str = COUNT) -> AsyncIterator[list[object]]:
    """A read that has begun when neither a leader nor its server was there; its answer comes meanwhile."""
    answers: list[object] = []

    async def read() -> None:
        try:
            answers.append(await proxy.run(rows, client, sql))
        except pymysql.err.MySQLError as error:
            answers.append(error.args[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        while (await proxy.sessions())[0]["State"] != "Waiting for a leader":
            await trio.sleep(0.01)
        yield answers
    assert proxy.listener.statistics.leader_statements == 0


async def test_read_that_waits_for_a_leader_goes_to_a_server_that_comes(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        several.streams[0].close()
        proxy.confirmed = 0
        proxy.change(writable=False, database_ready=False)
        async with waiting_for_a_leader(proxy, client) as answers:
            several.comes_back = True
        assert answers == [[(3,)]]
        assert len(several.streams) == 2


async def test_transaction_that_only_reads_begins_at_a_server_that_comes(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        several.streams[0].close()
        proxy.confirmed = 0
        proxy.change(writable=False, database_ready=False)
        async with waiting_for_a_leader(proxy, client, "START TRANSACTION READ ONLY") as answers:
            several.comes_back = True
        assert answers == [[]]
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        await proxy.run(rows, client, "COMMIT")
        assert proxy.listener.statistics.leader_statements == 0


async def test_read_that_waits_for_a_leader_goes_back_to_the_server_beside_the_node(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        client = await proxy.run(proxy.connect)
        [(id,)] = servers.replica.execute("SELECT id FROM information_schema.processlist WHERE user = 'app'")
        servers.replica.execute(f"KILL {id}")
        proxy.change(writable=False, database_ready=False)
        async with waiting_for_a_leader(proxy, client) as answers:
            proxy.change(database_ready=True)
        assert answers == [[(3,)]]
        client.close()


async def test_read_is_tried_again_at_the_only_server_while_nobody_leads(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        several.streams[0].close()
        several.failures, several.others = ["refused", "closed"], 0
        proxy.change(writable=False)
        async with waiting_for_a_leader(proxy, client) as answers:
            pass
        assert answers == [[(3,)]]
        assert several.failures == []


async def test_read_that_servers_do_not_survive_is_the_leaders_in_the_end(servers: Pair) -> None:
    async with reading_elsewhere(servers, Bounds(leader_seconds=8)) as (proxy, several, client):
        several.others = 0
        proxy.change(writable=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break_what_sleeps, servers, several)
            with pytest.raises(pymysql.err.MySQLError) as refused:
                await proxy.run(rows, client, "SELECT SLEEP(50), COUNT(*) FROM t")
            nursery.cancel_scope.cancel()
        assert refused.value.args[0] == 1290
        assert len(several.streams) == 3


async def _break_what_sleeps(servers: Pair, several: Servers) -> None:
    broken = 0
    while True:
        await trio.sleep(0.01)
        found = servers.replica.execute(
            "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        )
        if found and len(several.streams) > broken:
            several.streams[-1].close()
            broken = len(several.streams)
            servers.replica.execute(f"KILL {found[0][0]}")


async def test_session_of_a_crowded_server_moves_with_all_that_it_has_set(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        proxy.confirmed = 0
        await proxy.run(rows, client, "SET SESSION group_concat_max_len = 4711")
        question = "SELECT @@group_concat_max_len, COUNT(*) FROM t"
        assert await proxy.run(rows, client, question) == [(4711, 3)]
        several.comes_back = True
        proxy.change(crowded=True)
        relayed = proxy.listener.statistics.relayed_statements
        for _ in range(10):
            assert await proxy.run(rows, client, question) == [(4711, 3)]
        assert len(several.streams) == 2
        # One read was the task's, which moved; the relay engine carries the others again.
        assert proxy.listener.statistics.relayed_statements >= relayed + 8
        assert proxy.listener.statistics.leader_statements == 0


async def test_transaction_that_only_reads_keeps_its_crowded_server(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        proxy.confirmed = 0
        await proxy.run(rows, client, "START TRANSACTION READ ONLY")
        several.comes_back = True
        proxy.change(crowded=True)
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert len(several.streams) == 1
        await proxy.run(rows, client, "COMMIT")
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert len(several.streams) == 2


async def test_server_that_cannot_be_reached_is_passed_over(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, client):
        several.streams[0].close()
        several.failures, several.others = ["refused", "closed"], 2
        proxy.confirmed = 0
        proxy.change(writable=False)
        assert await proxy.run(rows, client, COUNT) == [(3,)]
        assert proxy.listener.statistics.leader_statements == 0


async def test_log_in_passes_over_servers_that_are_gone(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, _):
        several.failures, several.others = ["closed", "refused"], 2
        with await proxy.run(proxy.connect) as connection:
            assert await proxy.run(rows, connection, COUNT) == [(3,)]
        assert proxy.listener.statistics.leader_statements == 0


async def test_log_in_at_the_last_server_that_closes_is_the_leaders_affair(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, several, _):
        several.failures, several.others = ["refused"], 0
        with await proxy.run(proxy.connect) as connection:
            assert await proxy.run(rows, connection, "SELECT COUNT(*) FROM t FOR UPDATE") == [(3,)]
        several.failures = ["closed"]
        with pytest.raises(pymysql.err.OperationalError):
            await proxy.run(proxy.connect)


async def test_client_is_told_the_server_that_it_reads_at(servers: Pair) -> None:
    async with reading_elsewhere(servers) as (proxy, _, client):
        assert (await proxy.run(rows, client, "WOLFSCALE EXPLAIN " + COUNT))[0][0] == "east"
        assert await proxy.run(rows, client, "SHOW WOLFSCALE STATUS LIKE 'Wolfscale_node'") == [
            ("Wolfscale_node", "east")
        ]
        proxy.change(database_ready=False)
        [(target, why, *_)] = await proxy.run(rows, client, "WOLFSCALE EXPLAIN " + COUNT)
        assert target == "leader"
        assert "no follower serves" in why
