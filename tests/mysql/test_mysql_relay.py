"""Other people's clients on a real MariaDB, through a relay that tracks every response.

Whenever a client begins a command, the tracker must have found the end of the response before; and what it
says the session's state is must be what the server says.
"""

import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import pytest
import trio

from wolfscale.mysql.commands import opens_cursor
from wolfscale.mysql.constants import Capability, Command, Status
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import packet
from wolfscale.mysql.handshake import is_tls_request, parse_greeting, parse_handshake_response
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.mysql.transport import PacketStream
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb

# PyMySQL does not ask for it by itself, and takes what comes with it for the text of an OK.
TRACK = int(Capability.SESSION_TRACK)


class Relay:
    """Relays one connection, command by command."""

    def __init__(self, server: ScratchMariaDB) -> None:
        self.server = server
        self.commands: list[int] = []
        self.gtids: list[str] = []
        self.errors: list[int] = []
        self.statuses: list[int] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        back = PacketStream(await trio.open_unix_socket(self.server.socket_path))
        front = PacketStream(stream)
        async with stream, back.stream:
            with contextlib.suppress(ConnectionLost):
                capabilities = await self._log_in(front, back)
                await self._run(front, back, capabilities)

    async def _log_in(self, front: PacketStream, back: PacketStream) -> int:
        payload = await back.read()
        capabilities = parse_greeting(payload).capabilities
        await front.write(payload, sequence=0)
        payload = await front.read()
        assert not is_tls_request(payload)
        capabilities &= parse_handshake_response(payload).capabilities
        await back.write(payload, sequence=1)
        while (payload := await back.read())[0] not in (0x00, 0xFF):
            await front.write(payload, sequence=back.next_sequence - 1)
            await back.write(await front.read(), sequence=back.next_sequence)
        await front.write(payload, sequence=back.next_sequence - 1)
        if payload[0] == 0xFF:
            raise ConnectionLost("refused")
        return capabilities

    async def _run(self, front: PacketStream, back: PacketStream, capabilities: int) -> None:
        tracker = ResponseTracker(capabilities)
        while True:
            payload = await front.read()
            assert tracker.done
            self.commands.append(payload[0])
            await back.command(payload)
            tracker.begin(payload[0], opens_cursor=opens_cursor(payload))
            while not tracker.done:
                received = await back.receive_raw()
                assert tracker.feed(received) == len(received), "bytes behind the end of a response"
                await front.send_raw(received)
                while tracker.awaiting_client:
                    data = await front.read()
                    await back.send_raw(packet(data, front.next_sequence - 1))
                    if not data:
                        break
            if tracker.error is not None:
                self.errors.append(tracker.error.errno)
            if tracker.gtid is not None:
                self.gtids.append(tracker.gtid)
            self.statuses.append(tracker.status)
            if payload[0] == Command.QUIT:
                return


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    arguments = [
        "--log-bin=bin",
        "--server-id=7",
        "--session-track-system-variables=last_gtid",
        "--max-allowed-packet=128M",
        "--local-infile=ON",
    ]
    with ScratchMariaDB(arguments=arguments) as server:
        server.execute(
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT)",
            "CREATE TABLE app.loaded (id INT PRIMARY KEY, v INT)",
            "CREATE USER app IDENTIFIED BY 'secret'",
            "GRANT ALL ON *.* TO app",
            "CREATE PROCEDURE app.p(IN a INT, OUT b INT) BEGIN SELECT a; SELECT a + 1; SET b = a + 2; END",
        )
        yield server


@contextlib.asynccontextmanager
async def relaying(server: ScratchMariaDB) -> AsyncIterator[tuple[Relay, int]]:
    relay = Relay(server)
    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(lambda task_status: _serve(relay, task_status))
        yield relay, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _serve(relay: Relay, task_status: Any) -> None:
    await trio.serve_tcp(relay.serve, 0, host="127.0.0.1", task_status=task_status)


async def through(port: int, use: Callable[[Any], Any], **options: Any) -> Any:
    def run() -> Any:
        connection = pymysql.connect(
            host="127.0.0.1", port=port, user="app", password="secret", database="app", **options
        )
        try:
            return use(connection)
        finally:
            connection.close()

    return await trio.to_thread.run_sync(run)


async def test_pymysql_runs_statements_of_every_shape(server: ScratchMariaDB) -> None:
    def use(connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 UNION SELECT NULL")
            assert cursor.fetchall() == ((1,), (None,))
            cursor.execute("INSERT INTO t (v) VALUES ('a'), ('b')")
            cursor.execute("SELECT * FROM t WHERE FALSE")
            with pytest.raises(pymysql.err.ProgrammingError):
                cursor.execute("SELCT")
            connection.commit()
            cursor.execute("INSERT INTO t (v) VALUES ('c') RETURNING id")
            connection.rollback()
            cursor.callproc("p", (5, 0))
            assert cursor.fetchall() == ((5,),)
            assert cursor.nextset()
            assert cursor.fetchall() == ((6,),)
            while cursor.nextset():
                pass
            cursor.execute("SELECT @_p_1")
            assert cursor.fetchall() == ((7,),)
        connection.select_db("mysql")
        connection.ping()

    async with relaying(server) as (relay, port):
        await through(port, use, client_flag=TRACK)
    assert relay.errors == [1064]
    assert len(relay.gtids) == 1
    assert Command.PING in relay.commands
    assert Command.INIT_DB in relay.commands
    assert any(status & Status.IN_TRANS for status in relay.statuses)
    assert not relay.statuses[-1] & Status.IN_TRANS


async def test_pymysql_runs_several_statements_in_one_text(server: ScratchMariaDB) -> None:
    def use(connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1; INSERT INTO t (v) VALUES ('m'); SELECT 2; DO 0")
            while cursor.nextset():
                pass

    flags = TRACK | int(Capability.MULTI_STATEMENTS)
    async with relaying(server) as (relay, port):
        await through(port, use, client_flag=flags, autocommit=True)
    assert len(relay.gtids) == 1


async def test_pymysql_loads_a_local_file(server: ScratchMariaDB, tmp_path: Path) -> None:
    lines = 200_000
    (tmp_path / "rows").write_text("".join(f"{number}\t{number * 7}\n" for number in range(lines)))
    (tmp_path / "none").write_text("")

    def use(connection: Any) -> None:
        with connection.cursor() as cursor:
            assert cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path}/rows' INTO TABLE loaded") == lines
            assert cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path}/none' INTO TABLE loaded") == 0
            with pytest.raises(pymysql.err.OperationalError):
                cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path}/missing' INTO TABLE loaded")
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM loaded")
            assert cursor.fetchone() == (lines,)

    async with relaying(server) as (_, port):
        await through(port, use, local_infile=True, autocommit=True)


async def test_pymysql_reads_large_results_and_values(server: ScratchMariaDB) -> None:
    def use(connection: Any) -> None:
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT seq, REPEAT('r', 300) FROM mysql.seq_1_to_100000")
            assert sum(1 for _ in cursor) == 100_000
        with connection.cursor() as cursor:
            for size in (16_777_206, 16_777_210, 16_777_211, 16_777_215, 40_000_000):
                cursor.execute("SELECT %s, 1", ("v" * size,))
                assert len(cursor.fetchone()[0]) == size

    async with relaying(server) as (_, port):
        await through(port, use)


async def test_mariadb_program_runs_a_script(server: ScratchMariaDB) -> None:
    script = """
        SELECT 1; INSERT INTO t (v) VALUES ('x'); SHOW WARNINGS; DESCRIBE t; SELECT nope;
        CALL p(1, @b); SELECT @b; ALTER TABLE t FORCE; DELIMITER // SELECT 1; SELECT 2 // DELIMITER ;
        USE mysql; EXPLAIN SELECT * FROM user; PREPARE s FROM 'SELECT ?'; EXECUTE s USING @b;
    """
    async with relaying(server) as (relay, port):
        done = await trio.to_thread.run_sync(
            lambda: subprocess.run(
                [
                    "mariadb",
                    "--no-defaults",
                    "--force",
                    "--skip-ssl",
                    "--host=127.0.0.1",
                    f"--port={port}",
                    "--user=app",
                    "--password=secret",
                    "app",
                ],
                input=script.replace(" DELIMITER", "\nDELIMITER").replace("// SELECT", "//\nSELECT"),
                capture_output=True,
                text=True,
                check=False,
            )
        )
    assert "1054" in done.stderr
    assert relay.errors == [1054]
    assert relay.commands.count(Command.QUERY) > 12
    assert len(relay.gtids) == 2


@pytest.mark.skipif(shutil.which("sysbench") is None, reason="sysbench is not installed")
@pytest.mark.parametrize("prepared", ["auto", "disable"])
async def test_sysbench_runs_prepared_and_text_statements(server: ScratchMariaDB, prepared: str) -> None:
    async with relaying(server) as (relay, port):
        for action, *options in (
            ("prepare",),
            ("run", "--events=100", "--time=0", f"--db-ps-mode={prepared}"),
            ("cleanup",),
        ):
            command = [
                "sysbench",
                "oltp_read_write",
                "--db-driver=mysql",
                "--mysql-host=127.0.0.1",
                f"--mysql-port={port}",
                "--mysql-user=app",
                "--mysql-password=secret",
                "--mysql-db=app",
                "--table-size=1000",
                *options,
                action,
            ]
            await trio.to_thread.run_sync(
                lambda command=command: subprocess.run(command, check=True, capture_output=True)  # type: ignore[misc]
            )
    assert relay.errors == []
    assert relay.commands.count(Command.STMT_EXECUTE if prepared == "auto" else Command.QUERY) > 1000
