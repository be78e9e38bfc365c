"""What sessions cost in memory: a proxy in a process of its own, measured from outside."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from proxy_pair import PASSWORD
from raw_client import MODERN_CLIENT, RawClient

from wolfscale.demo.processes import resident_bytes
from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

SESSIONS = 1000
AT_ONCE = 50
MOST_BYTES_EACH = 60 * 1024
MEBIBYTE = 1 << 20
LARGE_MEBIBYTES = 2048
MOST_GROWTH = 8 * MEBIBYTE
ROWS = "SELECT REPEAT('x', 1048576) FROM seq_1_to_4096 LIMIT {}"
"""A result of so many mebibytes, made as it is sent."""
SMALL = "SELECT {}"


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    arguments = (f"--max-connections={SESSIONS + 200}", "--back-log=1000", "--thread-stack=192K")
    with ScratchMariaDB(arguments=arguments) as started:
        started.execute(f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON *.* TO app@'%'")
        started.execute("CREATE DATABASE demo")
        yield started


@contextmanager
def proxy_process(server: ScratchMariaDB) -> Iterator[tuple[int, int]]:
    """Its process id and port."""
    script = Path(__file__).with_name("proxy_process.py")
    command = [sys.executable, str(script), server.socket_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


async def client_of(port: int) -> RawClient:
    return RawClient(
        await Connection.connect(
            user="app",
            password=PASSWORD,
            host="127.0.0.1",
            port=port,
            database="demo",
            capabilities=MODERN_CLIENT,
        )
    )


@asynccontextmanager
async def clients_of(port: int, count: int) -> AsyncIterator[list[RawClient]]:
    """Logged-in clients, each of which has read something."""
    clients: list[RawClient] = []
    limit = trio.CapacityLimiter(AT_ONCE)

    async def open_one() -> None:
        async with limit:
            client = await client_of(port)
            await client.query(SMALL.format(1))
            clients.append(client)

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(open_one)
        yield clients
    finally:
        for client in clients:
            await client.packets.aclose_forcefully()


async def test_idle_connections_cost_less_than_60_kib_each(server: ScratchMariaDB) -> None:
    with proxy_process(server) as (process, port):
        async with clients_of(port, AT_ONCE):
            before = resident_bytes(process)
            with trio.fail_after(120):
                async with clients_of(port, SESSIONS) as clients:
                    each = (resident_bytes(process) - before) / SESSIONS
                    # They are alive all the same.
                    for client in clients[::100]:
                        assert (await client.query(SMALL.format(2)))[-2][1:] == b"2"
            assert each < MOST_BYTES_EACH, f"{each / 1024:.1f} KiB each"


async def test_two_gibibytes_go_through_in_bounded_memory_beside_small_reads(server: ScratchMariaDB) -> None:
    with proxy_process(server) as (process, port):
        async with clients_of(port, 3) as (greedy, modest, stuck):
            for client in (greedy, stuck):
                await client.query(ROWS.format(1))
            before = resident_bytes(process)
            # Nobody reads this one: it stands still, and what it holds is bounded.
            await stuck.send(bytes((Command.QUERY,)) + ROWS.format(2000).encode())
            await greedy.send(bytes((Command.QUERY,)) + ROWS.format(LARGE_MEBIBYTES).encode())
            received, reads, most = 0, 0, 0
            buffer_bytes = 4 * MEBIBYTE

            async def drain(scope: trio.CancelScope) -> None:
                nonlocal received
                while received < LARGE_MEBIBYTES * MEBIBYTE:
                    received += len(await greedy.packets.stream.receive_some(buffer_bytes))
                scope.cancel()

            with trio.fail_after(300):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(drain, nursery.cancel_scope)
                    while True:
                        assert (await modest.query(SMALL.format(reads)))[-2][1:] == str(reads).encode()
                        reads += 1
                        most = max(most, resident_bytes(process) - before)
            assert reads > 100
            assert most < MOST_GROWTH, f"{most / MEBIBYTE:.1f} MiB more than before"
