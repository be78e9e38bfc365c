"""The MariaDB beside the node as the rest of replication uses it: small typed operations.

Each operation runs on a connection of the node's account over the unix socket; a few idle ones are kept.
How the process is started and killed is the `Server`'s business.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection, Result
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.mysql.literals import identifier, literal
from wolfscale.replication.client_sessions import ClientSessions
from wolfscale.replication.gtid_position import parse_position
from wolfscale.replication.record import BinlogPosition
from wolfscale.replication.scheduled_events import ScheduledEvents
from wolfscale.replication.schema import SCHEMA, schema_statements
from wolfscale.replication.server import Account, Server, open_connection
from wolfscale.replication.settings import BINLOG_PREFIX, Boot
from wolfscale.replication.time_zones import QUESTION as TIME_ZONE
from wolfscale.replication.time_zones import time_zone

KEPT_CONNECTIONS = 3
UNBOUNDED_TIMEOUT_MS = 18446744073709551615
"""rpl_semi_sync_master_timeout's largest value: a commit waits as long as there is no quorum."""

LOCK_WAIT_SECONDS = 1
"""A pending read_only can deadlock with a statement that it holds back, until this is over."""

_LOCK_WAIT_TIMEOUT = 1205
_LOCK_RETRY_SECONDS = 0.02
_WAITING_FOR_GTID = "Waiting in MASTER_GTID_WAIT"
"""How the process list says it (MariaDB sql/mysqld.cc, `stage_master_gtid_wait` and its kind)."""

_SESSION = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', wait_timeout=31536000, "
    "max_statement_time=0, character_set_client=utf8mb4, character_set_results=utf8mb4, "
    "collation_connection=utf8mb4_general_ci, time_zone='+00:00', autocommit=1, completion_type=0, "
    "sql_safe_updates=0, sql_select_limit=18446744073709551615"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """What the server's replica threads say of themselves.

    Attributes:
        configured: there is a primary to replicate from.
        io_running: the thread that receives is connected ("Yes"; "Connecting" and "Preparing" are not).
        sql_running: the thread that applies is running.
        io_errno: last error of the receiving thread; 0: none.
        io_error: its text.
        sql_errno: last error of the applying thread; 0: none.
        sql_error: its text.
        received: GTID position received so far, as text.
    """

    configured: bool = False
    io_running: bool = False
    sql_running: bool = False
    io_errno: int = 0
    io_error: str = ""
    sql_errno: int = 0
    sql_error: str = ""
    received: str = ""


class Database:
    """One MariaDB server and what the node does with it. Any task may use it, several at a time.

    Operations raise `ServerError` when the server refuses and `ConnectionLost` when it is not there. A
    cancelled operation may or may not have happened.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.version = ""
        self.time_zone = ""
        """The global one, in words that are the same for the same zone; empty when unknown."""
        self.sessions = ClientSessions(self.query, own_user=server.account.user)
        """What clients have open on it."""
        self.events = ScheduledEvents(self.query, self.connect)
        """What its event scheduler runs."""
        self._idle: list[Connection] = []
        self._generation = 0

    @property
    def data_directory(self) -> Path:
        """The server's data directory."""
        return self.server.data_directory

    @property
    def socket_path(self) -> str:
        """The server's unix socket."""
        return self.server.socket_path

    @property
    def account(self) -> Account:
        """The node's account."""
        return self.server.account

    @property
    def process_id(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self.server.process_id

    async def start(self, boot: Boot) -> None:
        """Start the server as a replica whose threads do not run; see `Server.start`."""
        await self._drop_idle()
        await self.server.start(boot)
        self.version = await self.value("SELECT VERSION()") or ""

    async def read_time_zone(self) -> None:
        """Learn the server's global time zone, which a client may have set."""
        self.time_zone = time_zone(*(await self.query(TIME_ZONE)).rows[0])

    async def stop(self) -> bool:
        """Stop the server in good order; see `Server.stop`. Never with commits that wait for an ACK."""
        await self._drop_idle()
        return await self.server.stop()

    async def kill(self) -> None:
        """Make sure that no server runs; see `Server.kill`."""
        await self.server.kill()
        await self._drop_idle()

    async def wait_exit(self) -> None:
        """Wait until the server's process has ended."""
        await self.server.wait_exit()

    async def connect(self) -> Connection:
        """Open a connection of the caller's own, as the node's account.

        Raises:
            ConnectionLost: the server is not there.
            ServerError: it refuses.
        """
        connection = await open_connection(self.socket_path, self.account)
        try:
            await connection.query(_SESSION)
        except BaseException:
            await connection.aclose()
            raise
        return connection

    async def query(self, sql: str) -> Result:
        """Run one statement."""
        async with self._connection() as connection:
            return await connection.query(sql)

    async def value(self, sql: str) -> str | None:
        """Return the first value of a statement's result."""
        return (await self.query(sql)).value

    # ------------------------------------------------------------------ positions

    async def position(self) -> Gtid | None:
        """Return what the replica threads have applied (`gtid_slave_pos`); None: nothing yet.

        Raises:
            ForeignDomain: there are GTIDs of another domain.
        """
        return parse_position(await self.value("SELECT @@GLOBAL.gtid_slave_pos"))

    async def binlog_position(self) -> Gtid | None:
        """Return the newest group that the server wrote itself since its binlog was made; None: none.

        It may count groups that wait and are not yet committed in the engine.

        Raises:
            ForeignDomain: there are GTIDs of another domain.
        """
        return parse_position(await self.value("SELECT @@GLOBAL.gtid_binlog_pos"))

    async def set_position(self, position: Gtid | None) -> None:
        """Set `gtid_slave_pos`; the replica threads must be stopped.

        Also needed where it stays the same: a server whose binlog is empty would otherwise count its own
        groups from 1 again. A session inside `MASTER_GTID_WAIT` would hold it up for as long as it waits, for
        ever where it set no limit, so such waits are ended first.

        A backup that holds back commits is another matter: waiting for it with the server's variables locked
        would stop it at its own next look at them, and both for ever: it is not waited for but tried again.
        """
        for row in (await self.query("SHOW PROCESSLIST")).mappings():
            if (row["State"] or "").startswith(_WAITING_FOR_GTID):
                await self.sessions.kill_query(int(row["Id"] or 0))
        async with await self.connect() as connection:
            await connection.query("SET SESSION lock_wait_timeout=0")
            while True:
                try:
                    await connection.query(
                        f"SET GLOBAL gtid_slave_pos={literal(str(position) if position else '')}"
                    )
                    return
                except ServerError as error:
                    if error.errno != _LOCK_WAIT_TIMEOUT:
                        raise
                await trio.sleep(_LOCK_RETRY_SECONDS)

    async def binlog_end(self) -> BinlogPosition:
        """Return where the server's own binlog ends."""
        rows = (await self.query("SHOW MASTER STATUS")).mappings()
        if not rows:
            raise ConnectionLost("the server has no binlog: it was not started by this node")
        return BinlogPosition(file=rows[0]["File"] or "", offset=int(rows[0]["Position"] or 0))

    async def engine_position(self) -> BinlogPosition:
        """Return the end of the last group in the own binlog that is committed in the engine too.

        `binlog_snapshot_*` is moved under the lock in which the engine commits (MariaDB sql/log.cc,
        `trx_group_commit_leader`), after the wait for the ACK, so it never counts a waiting group.
        """
        rows = (await self.query("SHOW GLOBAL STATUS LIKE 'binlog_snapshot_%'")).rows
        values = {(name or "").lower(): value or "" for name, value in rows}
        return BinlogPosition(
            file=values.get("binlog_snapshot_file", ""),
            offset=int(values.get("binlog_snapshot_position") or 0),
        )

    async def reset_binlog(self) -> None:
        """Delete the own binlog and begin a file never used before; no capture may be attached.

        A replica calls it after an administrator's harmless statement, a primary that was demoted before
        it is promoted again, and not earlier: InnoDB tells recovery the end of its newest group in these
        files. `gtid_slave_pos` is set to itself afterwards.
        """
        end = await self.binlog_end()
        following = int(end.file.rpartition(".")[2]) + 1
        position = await self.position()
        await self.query(f"RESET MASTER TO {following}")
        await self.set_position(position)

    async def purge_binlogs(self, before: BinlogPosition) -> None:
        """Delete the own binlog files before the one that holds a position."""
        if before.file.startswith(BINLOG_PREFIX):
            await self.query(f"PURGE BINARY LOGS TO {literal(before.file)}")

    async def flush_engine_logs(self) -> None:
        """Have every engine write its log to the file system; writes no GTID."""
        await self.query("FLUSH LOCAL ENGINE LOGS")

    # ------------------------------------------------------------------ replica

    async def start_replica(self, *, host: str, port: int, user: str, password: str) -> None:
        """Replicate from the feed, beginning at `gtid_slave_pos`; replaces an earlier primary.

        Args:
            host: the feed's address on this machine.
            port: its port.
            user: what the feed asks for.
            password: its password.
        """
        await self.stop_replica()
        await self.query(
            f"CHANGE MASTER TO MASTER_HOST={literal(host)}, MASTER_PORT={port}, MASTER_USER={literal(user)}, "
            f"MASTER_PASSWORD={literal(password)}, MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, "
            "MASTER_HEARTBEAT_PERIOD=5"
        )
        await self.query("START SLAVE")

    async def restart_replica(self) -> None:
        """Start the replica threads that have stopped."""
        await self.query("START SLAVE")

    async def stop_replica(self) -> None:
        """Stop the replica threads; harmless when there are none."""
        await self.query("STOP SLAVE")

    async def reset_replica(self) -> None:
        """Forget the primary and delete the relay logs; the threads must be stopped."""
        await self.query("RESET SLAVE ALL")

    async def replica_status(self) -> ReplicaStatus:
        """Return how the replica threads are."""
        rows = (await self.query("SHOW SLAVE STATUS")).mappings()
        if not rows:
            return ReplicaStatus()
        row = {name: value or "" for name, value in rows[0].items()}
        return ReplicaStatus(
            configured=True,
            io_running=row["Slave_IO_Running"] == "Yes",
            sql_running=row["Slave_SQL_Running"] == "Yes",
            io_errno=int(row["Last_IO_Errno"]),
            io_error=row["Last_IO_Error"],
            sql_errno=int(row["Last_SQL_Errno"]),
            sql_error=row["Last_SQL_Error"],
            received=row["Gtid_IO_Pos"],
        )

    # ------------------------------------------------------------------ primary

    async def set_server_id(self, server_id: int) -> None:
        """Set the server id that the groups of *new* sessions carry; the node's own sessions are renewed."""
        await self.query(f"SET GLOBAL server_id={server_id}")
        # A session keeps the id that it began with, and the marker row must carry the new one.
        await self._drop_idle()

    async def enable_semi_sync(self) -> None:
        """Have every commit wait for an ACK, without bound, also while no capture is connected."""
        await self.query("SET GLOBAL rpl_semi_sync_master_wait_point='AFTER_SYNC'")
        await self.query(f"SET GLOBAL rpl_semi_sync_master_timeout={UNBOUNDED_TIMEOUT_MS}")
        await self.query("SET GLOBAL rpl_semi_sync_master_wait_no_slave=1")
        await self.query("SET GLOBAL rpl_semi_sync_master_enabled=1")

    async def disable_semi_sync(self) -> None:
        """Let commits pass; nothing may wait, since whatever does is committed by this."""
        await self.query("SET GLOBAL rpl_semi_sync_master_enabled=0")

    async def is_semi_sync_client(self, connection_id: int) -> bool:
        """Whether a capture's connection is the one semi-synchronous client; others are ended.

        An earlier capture's thread counts as a client until it notices that its socket is gone.
        """
        rows = (await self.query("SHOW PROCESSLIST")).mappings()
        dumping = {int(row["Id"] or 0) for row in rows if (row["Command"] or "").startswith("Binlog Dump")}
        for stale in dumping - {connection_id}:
            await self.sessions.kill(stale)
        if dumping != {connection_id}:
            return False
        clients = await self._status("Rpl_semi_sync_master_clients")
        return clients == "1"

    async def write_marker(self, term: int, node: str) -> None:
        """Commit the node's own row: waits for capture, quorum and ACK like any client's commit."""
        await self.query(
            f"INSERT INTO {SCHEMA}.term VALUES (1, {term}, {literal(node)}, NOW(6)) ON DUPLICATE KEY UPDATE "
            "term=VALUES(term), node=VALUES(node), at=VALUES(at)"
        )

    async def set_read_only(self, on: bool) -> None:
        """Turn read_only on or off.

        Raises:
            ServerError: 1205 when it waited a second behind running statements: try again.
        """
        connection = await self.connect()
        try:
            await connection.query(f"SET SESSION lock_wait_timeout={LOCK_WAIT_SECONDS}")
            await connection.query(f"SET GLOBAL read_only={int(on)}")
        finally:
            await connection.aclose()

    async def is_applying_blocked(self) -> bool:
        """Whether the thread that applies waits for a session to give up a table (its metadata lock)."""
        rows = (
            await self.query(
                "SELECT 1 FROM information_schema.processlist WHERE user='system user' "
                "AND state LIKE 'Waiting for table metadata lock%'"
            )
        ).rows
        return bool(rows)

    async def waiting_commits(self) -> int:
        """Return how many sessions wait for an ACK."""
        return int(await self._status("Rpl_semi_sync_master_wait_sessions") or 0)

    async def _status(self, name: str) -> str:
        rows = (await self.query(f"SHOW GLOBAL STATUS LIKE {literal(name)}")).rows
        return (rows[0][1] or "") if rows else ""

    # ------------------------------------------------------------------ housekeeping

    async def native_password_hashes(self, user: str) -> list[str]:
        """Return the stored mysql_native_password hashes of all accounts of a user name.

        An account without a password gives an empty text.
        """
        rows = (
            await self.query(
                "SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv "
                f"WHERE User={literal(user)} AND JSON_VALUE(Priv, '$.plugin')='mysql_native_password'"
            )
        ).rows
        return [row[0] or "" for row in rows]

    async def accounts(self, user: str) -> list[dict[str, str]]:
        """Return the accounts that a client of this name may be logged in to: the name's, and anonymous ones.

        Each with `user`, `host`, and `priv`, MariaDB's own JSON text of it.
        """
        rows = (
            await self.query(
                f"SELECT User, Host, Priv FROM mysql.global_priv WHERE User IN ({literal(user)}, '') "
                "AND JSON_VALUE(Priv, '$.is_role') IS NULL"
            )
        ).rows
        return [{"user": row[0] or "", "host": row[1] or "", "priv": row[2] or ""} for row in rows]

    async def drop_leftover(self, schema: str, name: str) -> None:
        """Drop a table or sequence that a crash may have left half made, without a trace in the binlog."""
        async with await self.connect() as connection:
            await connection.query("SET SESSION sql_log_bin=0, foreign_key_checks=0")
            await connection.query(f"DROP TABLE IF EXISTS {identifier(schema)}.{identifier(name)}")

    async def create_schema(self) -> None:
        """Create the schema `wolfscale` without a trace in the binlog: for an adopted external server."""
        connection = await self.connect()
        try:
            await connection.query("SET SESSION sql_log_bin=0")
            for statement in schema_statements():
                await connection.query(statement)
        finally:
            await connection.aclose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        generation = self._generation
        connection = self._idle.pop() if self._idle else await self.connect()
        try:
            yield connection
        except ServerError:
            await self._give_back(connection, generation)
            raise
        except BaseException:
            await connection.aclose()
            raise
        await self._give_back(connection, generation)

    async def _give_back(self, connection: Connection, generation: int) -> None:
        usable = generation == self._generation and not connection.closed
        if usable and len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            await connection.aclose()

    async def _drop_idle(self) -> None:
        """Close the idle connections, and see that those in use are not kept."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            with trio.CancelScope() as scope:
                scope.cancel()  # so that nobody says good-bye to a server that is gone
                await connection.aclose()
