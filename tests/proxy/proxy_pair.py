"""A primary and a replica fed by MariaDB's own replication, behind a listener: stands in for a cluster."""

import atexit
import functools
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pymysql
import pytest
import trio

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.literals import literal
from wolfscale.mysql.results import parse_ok
from wolfscale.proxy.accounts import Account, parse_accounts
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.view import View, Views
from wolfscale.sockets import NonblockingStream, open_unix_stream
from wolfscale.testing.mariadb import ScratchMariaDB

PASSWORD = "secret"
FIRST_ID = 117_000_000_000_000_000
"""Ids of these servers come after it, in order."""
_PRIMARY = (
    "--log-bin=bin",
    "--server-id=1",
    "--gtid-strict-mode=1",
    "--binlog-format=row",
    "--innodb-flush-log-at-trx-commit=2",
    "--log-bin-trust-function-creators=1",
    "--local-infile=1",
)
_REPLICA = ("--server-id=2", "--read-only=1", "--gtid-strict-mode=1", "--innodb-flush-log-at-trx-commit=2")


class Pair:
    """Two servers; `replica` follows `primary`."""

    def __init__(self) -> None:
        self.primary = ScratchMariaDB(arguments=_PRIMARY, tcp=True)
        self.replica = ScratchMariaDB(arguments=_REPLICA)

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self.primary.execute(
            f"CREATE USER repl@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT REPLICATION SLAVE ON *.* TO repl@'%'",
            f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT ALL ON *.* TO app@'%' WITH GRANT OPTION",
            "CREATE USER nopassword@'%'",
            "CREATE USER socketeer@'%' IDENTIFIED VIA unix_socket AS 'root'",
            "INSTALL SONAME 'auth_ed25519'",
            f"CREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')",
            "CREATE DATABASE demo",
            "CREATE TABLE demo.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100))",
            "INSERT INTO demo.t (v) VALUES ('one'), ('two'), ('three')",
        )
        self.replica.execute("INSTALL SONAME 'auth_ed25519'")
        self.replica.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={self.primary.port}, MASTER_USER='repl', "
            f"MASTER_PASSWORD='{PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1",
            "START SLAVE",
        )
        self.catch_up()

    def catch_up(self) -> None:
        position = self.primary.execute("SELECT @@gtid_binlog_pos")[0][0]
        assert self.replica.execute(f"SELECT MASTER_GTID_WAIT('{position}', 60)") == ((0,),)

    def stop(self) -> None:
        self.primary.remove()
        self.replica.remove()


@functools.cache
def _started() -> Pair:
    pair = Pair()
    atexit.register(pair.stop)
    pair.start()
    return pair


@pytest.fixture(scope="session")
def shared_servers() -> Pair:
    """One pair for all modules; each names it `servers`."""
    return _started()


BOUNDS = Bounds(leader_seconds=20, replica_seconds=20, fence_seconds=0.2)


class Cluster:
    """`Backends` over a `Pair`: the node beside the replica, or beside the primary."""

    def __init__(
        self, pair: Pair, *, leads: bool, bounds: Bounds | None = None, tls: ClientTls | None = None
    ) -> None:
        self.pair = pair
        self.leads = leads
        self.local = pair.primary if leads else pair.replica
        self.views = Views(
            View(
                node="n",
                number=3,
                term=1,
                leader="n" if leads else "m",
                writable=True,
                is_leader=leads,
                database_ready=True,
                node_account="wolfscale",
            )
        )
        self.listener = Listener(self, bounds=bounds or BOUNDS, tls=tls)
        self.intents: list[tuple[str, int]] = []
        self.address = ("127.0.0.1", 0)
        self.ids_given = 0
        self.no_ids = ""
        """Why there are no ids, if there are none."""
        self.spread: list[tuple[int, list[str], list[str], str]] = []
        """Global variables as the node was told to spread them."""
        self.no_settings = ""
        """Why none can be spread, if so."""
        self.interrupted: list[tuple[int, bool, bool]] = []
        """Connections as the node was told to interrupt them: whether the leader's, whether for good."""
        self.committing = False
        """What runs commits and must not be interrupted."""
        self.confirmed: int | None = None
        """What a majority confirms as committed; None: nobody does."""
        self.positions_asked = 0
        self.hold_commits = False
        self.hold_applied = False
        self.leader_streams: list[NonblockingStream] = []

    def change(self, **fields: Any) -> None:
        self.views.update(msgspec.structs.replace(self.views.current, **fields))

    def choose(self) -> bool:
        return False

    def avoid(self) -> bool:
        return False

    async def open_local(self, proxy_header: bytes) -> trio.abc.Stream:
        return await self._open(self.local.socket_path, proxy_header)

    async def open_leader(self, proxy_header: bytes) -> trio.abc.Stream:
        stream = await self._open(self.pair.primary.socket_path, proxy_header)
        self.leader_streams.append(stream)
        return stream

    async def _open(self, path: str, proxy_header: bytes) -> NonblockingStream:
        stream = await open_unix_stream(path)
        await stream.send_all(proxy_header)
        return stream

    async def accounts(self, user: str) -> Sequence[Account]:
        return parse_accounts(await self.account_rows(user))

    async def account_rows(self, user: str) -> list[dict[str, str | None]]:
        async with await self.local.connect() as connection:
            result = await connection.query(
                "SELECT User AS user, Host AS host, Priv AS priv FROM mysql.global_priv "
                f"WHERE User IN ({literal(user)}, '')"
            )
        return result.mappings()

    async def intent_begin(self, connection_id: int) -> None:
        self.intents.append(("begin", connection_id))

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        self.intents.append(("end" if finished else "unknown", connection_id))

    async def read_position(self) -> int:
        self.positions_asked += 1
        if self.confirmed is None:
            raise ControlLost("no majority confirmed a leader")
        return self.confirmed

    async def members(self) -> list[dict[str, str]]:
        return [{"Name": "n", "Role": "follower"}, {"Name": "m", "Role": "leader"}]

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        if self.no_settings:
            raise ControlLost(self.no_settings)
        self.spread.append((term, list(names), list(defaults), user))

    async def settings(self) -> list[dict[str, str]]:
        return [{"Name": "long_query_time", "Value": "2.000000", "Set_by": "app", "Changed_at": "now"}]

    async def kill(self, call: KillCall) -> Killed:
        answer = await self.listener.answer("kill", {"call": msgspec.to_builtins(call)})
        return msgspec.convert(answer, Killed)

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """As a node does it, without the look whether it commits: `committing` says so."""
        self.interrupted.append((connection_id, leader, connection))
        if self.committing:
            return False
        server = self.pair.primary if leader else self.local
        async with await server.connect() as admin:
            await admin.query(f"KILL {'CONNECTION' if connection else 'QUERY'} {connection_id}")
        return True

    async def is_applying_blocked(self) -> bool:
        async with await self.pair.replica.connect() as connection:
            result = await connection.query(
                "SELECT 1 FROM information_schema.processlist WHERE user='system user' "
                "AND state LIKE 'Waiting for table metadata lock%'"
            )
        return bool(result.rows)

    async def sessions(self) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = await self.listener.answer("sessions", {})
        return rows

    async def take_ids(self, count: int) -> list[int]:
        if self.no_ids:
            raise ControlLost(self.no_ids)
        first = self.ids_given + 1
        self.ids_given += count
        return [FIRST_ID + number for number in range(first, first + count)]

    async def watch(self) -> None:
        """Push positions as a node would."""
        async with (
            _Position(self.pair.primary, "gtid_binlog_pos") as primary,
            _Position(self.pair.replica, "gtid_slave_pos") as replica,
        ):
            while True:
                committed, applied = await primary.read(), await replica.read()
                view = self.views.current
                if self.hold_commits:
                    committed = view.committed_sequence
                applied = view.applied_sequence if self.hold_applied else committed if self.leads else applied
                fresh = msgspec.structs.replace(view, committed_sequence=committed, applied_sequence=applied)
                if fresh != view:
                    self.views.update(fresh)
                await trio.sleep(0.001)

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a synchronous client in a thread, bounded."""
        with trio.fail_after(60):
            return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)

    def connect(self, **options: Any) -> Any:
        """A PyMySQL connection through the proxy; call it in a thread."""
        defaults: dict[str, Any] = {
            "user": "app",
            "password": PASSWORD,
            "database": "demo",
            "autocommit": None,
            "read_timeout": 60,
        }
        return pymysql.connect(host=self.address[0], port=self.address[1], **(defaults | options))


class _Position:
    """A server's GTID position, over restarts of it."""

    def __init__(self, server: ScratchMariaDB, variable: str) -> None:
        self._server = server
        self._sql = f"SELECT @@GLOBAL.{variable}"
        self._connection: Connection | None = None

    async def read(self) -> int:
        try:
            if self._connection is None:
                self._connection = await self._server.connect()
            text = await self._connection.value(self._sql) or ""
        except (ConnectionLost, ServerError):
            self._connection = None
            return 0
        return int(text.rpartition("-")[2] or 0)

    async def __aenter__(self) -> "_Position":
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._connection is not None:
            await self._connection.aclose()


@asynccontextmanager
async def cluster(
    pair: Pair, *, leads: bool = False, bounds: Bounds | None = None, tls: ClientTls | None = None
) -> AsyncIterator[Cluster]:
    """A proxy before the pair, serving."""
    stand_in = Cluster(pair, leads=leads, bounds=bounds, tls=tls)
    listening = socket.create_server(("127.0.0.1", 0))
    stand_in.address = listening.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_in.watch)
        await nursery.start(stand_in.listener.serve, [listening])
        yield stand_in
        nursery.cancel_scope.cancel()


@contextmanager
def told_settings(server: ScratchMariaDB) -> Iterator[tuple[Any, Callable[[str], dict[bytes, bytes]]]]:
    """A connection to a server itself, and what runs a text there and gives the variables told of."""
    connection: Any = pymysql.connect(
        host="127.0.0.1",
        port=server.port or 0,
        user="app",
        password=PASSWORD,
        client_flag=Capability.SESSION_TRACK,
    )

    def told(sql: str) -> dict[bytes, bytes]:
        connection._execute_command(Command.QUERY, sql)
        packet = connection._read_packet().get_all_data()
        return parse_ok(packet, Capability.SESSION_TRACK | Capability.PROTOCOL_41).session_changes.variables

    with connection:
        yield connection, told


def rows(connection: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall())
