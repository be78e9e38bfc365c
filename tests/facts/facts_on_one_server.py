"""What the tests of facts do with one node's server: an application's account, its sessions, its replay."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.database import Database
from wolfscale.replication.feed import Feed
from wolfscale.replication.feed_dump import NotPlainHook
from wolfscale.testing.single_server import Node, Primary, fresh_node, until_true

PATIENCE_SECONDS = 60
PASSWORD = "secret"
ACCOUNTS = (
    "CREATE DATABASE app",
    "CREATE TABLE app.t (id INT PRIMARY KEY, note VARCHAR(30))",
    f"CREATE USER plain@localhost IDENTIFIED BY '{PASSWORD}'",
    "GRANT ALL ON app.* TO plain@localhost",
    "GRANT RELOAD ON *.* TO plain@localhost",
    f"CREATE USER mighty@localhost IDENTIFIED BY '{PASSWORD}'",
    "GRANT ALL ON *.* TO mighty@localhost",
)
"""An ordinary account, and one that no read_only stops."""


async def session(database: Database, user: str = "plain") -> Connection:
    """A session of an application on the node's server, past the proxy."""
    return await Connection.connect(
        user=user,
        password=PASSWORD,
        socket_path=database.socket_path,
        proxy_header=b"PROXY UNKNOWN\r\n",
    )


@asynccontextmanager
async def capturing_primary(*statements: str, term: int = 5) -> AsyncIterator[tuple[Node, Primary]]:
    """A primary that has run `ACCOUNTS` and these statements, all of it settled."""
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(term) as primary:
            await primary.execute(*ACCOUNTS, *statements)
            await primary.settler.settle_now(node.log.newest().sequence)
            yield node, primary


@asynccontextmanager
async def following(
    node: Node, before: NotPlainHook | None = None, after: NotPlainHook | None = None
) -> AsyncIterator[None]:
    """Have the node's booted server replicate from a feed of the node's log."""
    feed = Feed(node.log, user="feeder", password=PASSWORD, before_not_plain=before, after_not_plain=after)
    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run)
        host, port = await feed.wait_listening()
        await node.database.start_replica(host=host, port=port, user="feeder", password=PASSWORD)
        yield
        nursery.cancel_scope.cancel()


async def applied(database: Database, gtid: Gtid) -> None:
    """Wait until the replica threads have applied a group; fails on an error of theirs."""
    with trio.fail_after(PATIENCE_SECONDS):
        while await database.position() != gtid:
            status = await database.replica_status()
            assert not status.io_errno, status
            assert not status.sql_errno, status
            await trio.sleep(0.01)


class Attempt:
    """One statement of a session, running in the background.

    Attributes:
        outcome: None while it runs; then "" when it was carried out, else the error.
    """

    def __init__(self, nursery: trio.Nursery, connection: Connection, sql: str) -> None:
        self.connection = connection
        self.outcome: str | None = None
        self.errno = 0
        nursery.start_soon(self._run, sql)

    async def _run(self, sql: str) -> None:
        try:
            await self.connection.query(sql)
        except ServerError as error:
            self.errno = error.errno
            self.outcome = str(error)
        except WolfScaleError as error:
            self.outcome = str(error) or "lost"
        else:
            self.outcome = ""

    async def wait(self) -> str:
        """Its outcome, within a minute."""
        await until_true(self._ended)
        assert self.outcome is not None
        return self.outcome

    async def _ended(self) -> bool:
        return self.outcome is not None


async def state_of(database: Database, connection: Connection) -> str:
    """What the server says that a session is doing; "" when it has no such session."""
    rows = (await database.query("SHOW PROCESSLIST")).mappings()
    return next((str(row["State"]) for row in rows if row["Id"] == str(connection.connection_id)), "")


async def column(database: Database, sql: str) -> list[str | None]:
    """The first column of a query."""
    return [row[0] for row in (await database.query(sql)).rows]


async def table_contents(database: Database, tables: Sequence[str]) -> dict[str, str | None]:
    """A checksum of each table."""
    return {name: (await database.query(f"CHECKSUM TABLE {name} EXTENDED")).rows[0][1] for name in tables}
