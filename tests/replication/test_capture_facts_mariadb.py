"""What a capture relies on in a real primary, and that it stays small."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
from capture_clients import clients_of, waiting_sessions
from memory_log import MemoryLog
from replication_servers import LIMIT_SECONDS, PRIMARY, TERM, capturing, run

from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB(arguments=PRIMARY) as primary:
        primary.execute("SET GLOBAL rpl_semi_sync_master_enabled=0")
        primary.execute(
            "CREATE DATABASE t",
            "CREATE TABLE t.a (i INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)",
            "SET GLOBAL rpl_semi_sync_master_enabled=1",
        )
        yield primary


def position(server: ScratchMariaDB) -> Gtid:
    ((text,),) = server.execute("SELECT @@GLOBAL.gtid_binlog_pos")
    return parse_gtid(text)


@pytest.fixture
def start(server: ScratchMariaDB) -> Gtid:
    return position(server)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class ForgetfulLog(MemoryLog):
    """Keeps no bodies, and notes how much memory the process has when it is given one."""

    def __init__(self) -> None:
        super().__init__(term=TERM)
        self.bytes = 0
        self.longest = 0
        self.peak = 0

    def propose(self, datas: Sequence[bytes], *, term: int) -> int:
        self.bytes += sum(map(len, datas))
        self.longest = max(self.longest, *map(len, datas))
        self.peak = max(self.peak, resident_bytes())
        return super().propose([data[:100] for data in datas], term=term)


@pytest.mark.parametrize("kind", ["many rows", "one row"])
async def test_transaction_of_200_mib_passes_in_bounded_memory(kind: str) -> None:
    mib = 1 << 20
    statements = (
        ["BEGIN", *["INSERT INTO t.a (b) VALUES (REPEAT('x', 1048576))"] * 200, "COMMIT"]
        if kind == "many rows"
        else [f"INSERT INTO t.a (b) VALUES (REPEAT('x', {200 * mib}))"]
    )
    log = ForgetfulLog()
    async with ScratchMariaDB(arguments=PRIMARY) as primary, capturing(primary, log) as capture:
        await run(
            primary, "CREATE DATABASE t", "CREATE TABLE t.a (i INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)"
        )
        before = resident_bytes()
        await run(primary, *statements)
        assert capture.acknowledged == Gtid(domain=0, server_id=TERM, sequence=3)
    assert log.bytes > 200 * mib
    assert log.longest <= mib + 300
    assert log.peak - before < 48 * mib


async def test_fact_05_capture_is_told_from_an_earlier_one_by_its_connection_id(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    async with await server.connect() as admin:
        ids = []
        for _ in range(2):
            async with capturing(server, log, start=start) as capture:
                ids.append(capture.connection_id)
                threads = await admin.query(
                    "SELECT id FROM information_schema.processlist WHERE command='Binlog Dump'"
                )
                # The new dump ends the old one's thread, since both have the same server id.
                with trio.fail_after(LIMIT_SECONDS):
                    while [int(row[0] or 0) for row in threads.rows] != [ids[-1]]:
                        await trio.sleep(0.01)
                        threads = await admin.query(
                            "SELECT id FROM information_schema.processlist WHERE command='Binlog Dump'"
                        )
        assert ids[0] != ids[1]


async def test_fact_06_commits_wait_while_no_capture_is_connected_and_are_answered_after(
    server: ScratchMariaDB, start: Gtid
) -> None:
    log = MemoryLog(term=TERM)
    async with clients_of(server) as clients:
        async with capturing(server, log, start=start):
            pass
        clients.start("INSERT INTO a (b) VALUES ('nobody listens')", count=3)
        clients.start("CREATE DATABASE IF NOT EXISTS waits")
        await waiting_sessions(server, 3)
        assert clients.done == 0
        async with capturing(server, log, start=start):
            await clients.wait_done(4)
        await run(server, "SET GLOBAL rpl_semi_sync_master_enabled=0", "DROP DATABASE waits")
        await run(server, "SET GLOBAL rpl_semi_sync_master_enabled=1")


async def test_fact_16_capture_starts_at_a_position_that_the_binlog_does_not_hold() -> None:
    log = MemoryLog(term=TERM)
    applied = Gtid(domain=0, server_id=5, sequence=100)
    async with ScratchMariaDB(arguments=PRIMARY) as primary:
        await run(primary, f"SET GLOBAL gtid_slave_pos='{applied}'")
        async with capturing(primary, log, start=applied) as capture:
            await run(primary, "CREATE DATABASE t")
            assert capture.acknowledged == Gtid(domain=0, server_id=TERM, sequence=101)
