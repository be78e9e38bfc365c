"""Real MariaDB servers with a capture or behind a feed, for the tests of both."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from memory_log import MemoryLog

from wolfscale.mysql.client import Connection
from wolfscale.replication.capture import Capture
from wolfscale.replication.feed import Feed
from wolfscale.testing.mariadb import ScratchMariaDB

TERM = 7
LIMIT_SECONDS = 60.0
PASSING_ERRNOS = ("0", "2003", "2013")
"""No error, or one of a connection that the replica opens again."""
USER, PASSWORD = "feeder", "s3cret"

PRIMARY = (
    "--log-bin=bin",
    f"--server-id={TERM}",
    "--binlog-format=ROW",
    "--binlog-checksum=CRC32",
    "--gtid-strict-mode=1",
    "--rpl-semi-sync-master-enabled=1",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-timeout=18446744073709551615",
    "--rpl-semi-sync-master-wait-no-slave=1",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--max-allowed-packet=1G",
    "--local-infile=1",
    "--event-scheduler=OFF",
)


def replica_arguments(number: int = 1) -> list[str]:
    return [
        "--log-bin=bin",
        f"--server-id={0x80000000 + number}",
        "--gtid-strict-mode=1",
        "--relay-log=relay",
        "--skip-slave-start",
        "--read-only=1",
        "--innodb-flush-log-at-trx-commit=2",
        "--max-allowed-packet=1G",
        "--slave-max-allowed-packet=1G",
        "--slave-net-timeout=60",
    ]


def connector(server: ScratchMariaDB) -> Callable[[], Any]:
    async def connect() -> Connection:
        return await server.connect()

    return connect


@asynccontextmanager
async def capturing(server: ScratchMariaDB, log: MemoryLog, **options: Any) -> AsyncIterator[Capture]:
    """A capture that runs and is registered."""
    options.setdefault("term", TERM)
    options.setdefault("start", None)
    options.setdefault("connect", connector(server))
    capture = Capture(log=log, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.run)
        with trio.fail_after(LIMIT_SECONDS):
            await capture.wait_registered()
        yield capture
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def feeding(log: MemoryLog, **options: Any) -> AsyncIterator[Feed]:
    feed = Feed(log, user=USER, password=PASSWORD, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run)
        yield feed
        nursery.cancel_scope.cancel()


async def follow(server: ScratchMariaDB, feed: Feed, *, position: str = "") -> None:
    """Have a replica follow a feed from a position."""
    assert feed.address is not None
    host, port = feed.address
    async with await server.connect() as admin:
        await admin.query("STOP SLAVE")
        await admin.query("RESET SLAVE ALL")
        await admin.query(f"SET GLOBAL gtid_slave_pos='{position}'")
        await admin.query(
            f"CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, MASTER_USER='{USER}', "
            f"MASTER_PASSWORD='{PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1"
        )
        await admin.query("START SLAVE")


async def applied(server: ScratchMariaDB, sequence: int) -> None:
    """Wait until a replica has applied a group."""
    async with await server.connect() as admin:
        for _ in range(int(LIMIT_SECONDS)):
            if await admin.value(f"SELECT MASTER_GTID_WAIT('0-1-{sequence}', 1)") == "0":
                return
            status = (await admin.query("SHOW SLAVE STATUS")).mappings()[0]
            errors = {
                name: value
                for name, value in status.items()
                if "Errno" in name and value not in PASSING_ERRNOS
            }
            assert not errors, f"{errors} {status['Last_IO_Error']} {status['Last_SQL_Error']}"
    raise AssertionError(f"sequence {sequence} was not applied in time")


async def run(server: ScratchMariaDB, *statements: str, database: str | None = None) -> str | None:
    """Run statements on a connection of their own; the first value of the last one."""
    async with await server.connect(database=database) as connection:
        value = None
        for statement in statements:
            value = await connection.value(statement)
        return value


async def checksums(server: ScratchMariaDB, schema: str) -> dict[str, str | None]:
    """The checksum of each table of a schema."""
    async with await server.connect() as admin:
        tables = await admin.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema='{schema}' "
            "AND table_type='BASE TABLE' ORDER BY 1"
        )
        return {
            str(name): (await admin.query(f"CHECKSUM TABLE `{schema}`.`{name}` EXTENDED")).rows[0][1]
            for (name,) in tables.rows
        }
