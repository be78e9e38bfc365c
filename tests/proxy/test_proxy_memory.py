"""What sessions cost in memory: a proxy in a process of its own, measured from outside."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from proxy_pair import PASSWORD
from raw_client import MODERN_CLIENT, RawClient, execution

from wolfscale.demo.processes import resident_bytes
from wolfscale.mysql.buffer import lenenc_int
from wolfscale.mysql.client import Connection
from wolfscale.mysql.commands import BULK_SEND_TYPES
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, ColumnType, Command
from wolfscale.mysql.framing import header
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

FILE_CLIENT = int(
    (MODERN_CLIENT | Capability.LOCAL_FILES | Capability.MARIADB_STMT_BULK_OPERATIONS) & ~Capability.MYSQL
)
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
    arguments = (
        f"--max-connections={SESSIONS + 200}",
        "--back-log=1000",
        "--thread-stack=192K",
        "--max-allowed-packet=1G",
        "--local-infile=1",
    )
    with ScratchMariaDB(arguments=arguments) as started:
        started.execute(f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON *.* TO app@'%'")
        started.execute("CREATE DATABASE demo")
        yield started


@contextmanager
def proxy_process(server: ScratchMariaDB, *options: str) -> Iterator[tuple[int, int]]:
    """Its process id and port."""
    script = Path(__file__).with_name("proxy_process.py")
    command = [sys.executable, str(script), server.socket_path, *options]
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
            capabilities=FILE_CLIENT,
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


class Uploader:
    """Sends commands without having them in memory, and looks at the proxy's memory all the time."""

    def __init__(self, client: RawClient, grown: Callable[[], int]) -> None:
        self.client = client
        self.most = 0
        self._grown = grown

    async def send(self, head: bytes, count: int, tail: bytes = b"", row: bytes = b"") -> None:
        """A command of this beginning, so many mebibytes of x that begin like a row, and this end."""
        left, number, chunk = len(head) + count * MEBIBYTE + len(tail), 0, row.ljust(MEBIBYTE, b"x")
        room = 0
        for part in (head, *[chunk] * count, tail):
            piece = part
            while piece:
                if not room:
                    room = min(left, MAX_PACKET_PAYLOAD)
                    await self.client.packets.send_raw(header(room, number))
                    number += 1
                await self.client.packets.send_raw(piece[:room])
                sent = min(len(piece), room)
                piece, room, left = piece[sent:], room - sent, left - sent
                self.look()

    def look(self) -> None:
        """Note how much memory has grown."""
        self.most = max(self.most, self._grown())


async def load_data(uploader: Uploader, mebibytes: int = LARGE_MEBIBYTES) -> None:
    """So much of a client's file, in packets of several lengths."""
    client = uploader.client
    await client.query("CREATE OR REPLACE TABLE lengths (n INT)")
    await client.send(b"\x03LOAD DATA LOCAL INFILE 'x' INTO TABLE lengths (@line) SET n = LENGTH(@line)")
    assert (await client.packets.read())[:1] == b"\xfb"
    line = b"x" * (MEBIBYTE - 1) + b"\n"
    for _ in range(mebibytes // 64):
        for lines, count in ((1, 32), (32, 1)):
            for _ in range(count):
                await client.packets.write(line * lines)
                uploader.look()
    await client.packets.write(b"")
    assert (await client.packets.read())[:1] == b"\x00"
    [*_, row, _] = await client.query("SELECT SUM(n + 1) FROM lengths")
    assert row[1:] == str(mebibytes * MEBIBYTE).encode()


async def _query(uploader: Uploader) -> None:
    """1 GiB in two statements, as long as MariaDB takes them without much memory of its own."""
    for _ in range(2):
        await uploader.send(b"\x03SELECT LENGTH('", 512, b"')")
        assert (await uploader.client.answer(Command.QUERY))[-2][1:] == b"536870912"


async def _execute(uploader: Uploader) -> None:
    """Likewise in four executions of a prepared statement."""
    statement = await uploader.client.prepare("SELECT LENGTH(?)")
    head = execution(statement, [b""])[:-1].replace(
        bytes((ColumnType.VAR_STRING,)), bytes((ColumnType.BLOB,))
    )
    for _ in range(4):
        await uploader.send(head + lenenc_int(512 * MEBIBYTE), 512)
        packets = await uploader.client.answer(Command.STMT_EXECUTE)
        assert int.from_bytes(packets[-2][2:], "little") == 512 * MEBIBYTE


async def long_data(uploader: Uploader, mebibytes: int = LARGE_MEBIBYTES) -> None:
    """So much as parts of parameters, in commands of one packet and of two."""
    client = uploader.client
    statement = await client.prepare("SELECT LENGTH(?)")
    head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
    each = min(mebibytes, 512)
    for _ in range(mebibytes // each):
        for count in (8, 24) * (each // 32):
            await uploader.send(head, count)
        packets = await client.execute(statement, [b""])
        assert int.from_bytes(packets[-2][2:], "little") == each * MEBIBYTE


async def bulk(uploader: Uploader, mebibytes: int = LARGE_MEBIBYTES) -> None:
    """So much in executions of many rows each."""
    client, each = uploader.client, 64
    await client.query("CREATE OR REPLACE TABLE lengths (n INT)")
    statement = await client.prepare("INSERT INTO lengths VALUES (LENGTH(?))")
    head = bytes((Command.STMT_BULK_EXECUTE,)) + statement.to_bytes(4, "little")
    head += BULK_SEND_TYPES.to_bytes(2, "little") + bytes((ColumnType.BLOB, 0))
    # An indicator and a length before each value.
    row = b"\0" + lenenc_int(MEBIBYTE - 5)
    for _ in range(mebibytes // each):
        await uploader.send(head, each, row=row)
        await client.answer(Command.STMT_BULK_EXECUTE)
        assert client.tracker.error is None
    [*_, found, _] = await client.query("SELECT CONCAT_WS(',', COUNT(*), MIN(n), MAX(n)) FROM lengths")
    assert found[1:] == b"%d,%d,%d" % (mebibytes, MEBIBYTE - 5, MEBIBYTE - 5)


@pytest.mark.parametrize("upload", [load_data, _query, _execute, long_data, bulk])
async def test_gibibytes_are_taken_in_bounded_memory(
    server: ScratchMariaDB, upload: Callable[[Uploader], Awaitable[None]]
) -> None:
    with proxy_process(server) as (process, port):
        async with clients_of(port, 1) as (client,):
            before = resident_bytes(process)
            uploader = Uploader(client, lambda: resident_bytes(process) - before)
            with trio.fail_after(300):
                await upload(uploader)
            assert uploader.most < MOST_GROWTH, f"{uploader.most / MEBIBYTE:.1f} MiB more than before"


def _peak_since(process: int) -> int:
    """The most memory that a process has had since `_forget_peak`, bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _forget_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")


JUDGED_MEBIBYTES = 20


@pytest.mark.parametrize(
    ("head", "inside", "tail"),
    [
        (b"SET @a = '", b"it\\'s data;", b"'"),
        (b"EXECUTE IMMEDIATE 'SELECT LENGTH(\"", b"it''s data; ", b"\")'"),
        (b"SELECT 1; SELECT LENGTH('", b"x", b"')"),
        (b"SET @a = 5; INSERT INTO lengths VALUES (1)", b",(12345678)", b""),
        (b"CREATE OR REPLACE TABLE other (a INT) /* ", b"it's; -- ", b" */"),
    ],
    ids=["set", "immediate", "several", "rows", "comment"],
)
async def test_text_that_is_judged_whole_costs_little_more_than_twice_its_length(
    server: ScratchMariaDB, head: bytes, inside: bytes, tail: bytes
) -> None:
    server.execute("CREATE OR REPLACE TABLE demo.lengths (n INT)")
    text = head + inside * (JUDGED_MEBIBYTES * MEBIBYTE // len(inside)) + tail
    with proxy_process(server) as (process, port):
        async with clients_of(port, 1) as (client,):
            await client.query("SET @b = 5")
            before = resident_bytes(process)
            _forget_peak(process)
            with trio.fail_after(120):
                await client.command(bytes((Command.QUERY,)) + text)
            assert client.tracker.error is None
            grown = _peak_since(process) - before
            # The beginning of a long row change is read word by word.
            assert grown < 2 * len(text) + 16 * MEBIBYTE, f"{grown / len(text):.2f} times its length"
