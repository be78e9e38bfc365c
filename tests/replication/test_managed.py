"""The node's own server as a process: created, started, watched, never left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from wolfscale.certificates import ServerCertificate
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.database import Database
from wolfscale.replication.managed import ManagedServer, find_program
from wolfscale.replication.processes import servers_on
from wolfscale.replication.scheduled_events import EventName
from wolfscale.replication.server import LONGEST_SOCKET_PATH, Account, LogTail, excerpt, fits_socket_path
from wolfscale.replication.server_errors import DataDirectoryUnusable, ServerStartFailed, ServerUnsupported
from wolfscale.replication.settings import Boot, Durability, statements_for
from wolfscale.testing.single_server import (
    ACCOUNT,
    OPTIONS,
    PATIENCE_SECONDS,
    fresh_node,
    scratch,
    until_true,
)


@pytest.mark.parametrize(
    ("program", "package"), [("mariadbd", "mariadb-server"), ("mbstream", "mariadb-backup")]
)
def test_program_that_is_missing_is_refused_with_its_package(
    program: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ServerUnsupported, match=f"Install {package}"):
        find_program(program)


def test_socket_path_that_is_too_long_moves_to_a_short_directory(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)
    server = ManagedServer(directory, account=ACCOUNT, program=Path("/bin/true"))
    assert len(os.fsencode(server.socket_path)) <= LONGEST_SOCKET_PATH
    other = ManagedServer(tmp_path / ("y" * 120), account=ACCOUNT, program=Path("/bin/true"))
    assert server.socket_path != other.socket_path


def test_socket_path_fits_up_to_its_limit() -> None:
    assert fits_socket_path("/" + "a" * 106)
    assert not fits_socket_path("/" + "a" * 107)


def test_account_never_shows_its_password() -> None:
    assert "hunter2" not in repr(Account(password="hunter2"))


def test_log_tail_reads_only_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert tail.read() == ""
    path.write_text("new\n")
    assert tail.read() == "new\n"
    assert LogTail(path).read() == ""
    assert LogTail(path, whole=True).read() == "new\n"


def test_excerpt_of_a_log_prefers_its_errors() -> None:
    text = "2026-01-02  3:04:05 0 [Note] hello\n2026-01-02  3:04:05 0 [ERROR] broken\n2026-01-02 [Note] bye\n"
    assert excerpt(text) == "2026-01-02  3:04:05 [ERROR] broken"
    assert excerpt("one\ntwo\n") == "one\ntwo"


async def test_older_server_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    program = tmp_path / "mariadbd"
    program.write_text("#!/bin/sh\necho 'mariadbd  Ver 10.5.28-MariaDB for Linux on x86_64'\n")
    program.chmod(0o755)
    server = ManagedServer(tmp_path / "node", account=ACCOUNT, program=program)
    with pytest.raises(ServerUnsupported, match=r"10\.6 or later"):
        await server.start(Boot(number=1))
    assert not os.path.exists(tmp_path / "node")  # noqa: ASYNC240


@pytest.mark.mariadb
async def test_created_data_has_only_the_nodes_account_and_no_history() -> None:
    async with fresh_node() as node:
        await node.server.start(Boot(number=1))
        database = node.database
        accounts = (await database.query("SELECT User, Host FROM mysql.global_priv ORDER BY User")).rows
        assert accounts == [("mariadb.sys", "localhost"), ("wolfscale", "localhost")]
        assert await database.value("SELECT COUNT(*) FROM mysql.db") == "0"
        assert await database.value("SELECT COUNT(*) FROM mysql.proxies_priv") == "0"
        assert await database.value("SHOW DATABASES LIKE 'test'") is None
        assert (await database.query("SELECT id, term, node FROM wolfscale.term")).rows == [("1", "0", "")]
        assert await database.binlog_position() is None
        assert await database.position() is None
        assert await database.events.recorded() == []


@pytest.mark.mariadb
async def test_started_server_has_every_setting_and_is_a_silent_replica() -> None:
    async with fresh_node() as node:
        await node.database.start(Boot(number=3))
        rows = (await node.database.query("SHOW GLOBAL VARIABLES")).rows
        variables = {(name or "").lower(): value or "" for name, value in rows}
        assert statements_for(variables, Durability.WAL) == []
        assert variables["read_only"] == "ON"
        assert variables["event_scheduler"] == "OFF"
        assert variables["skip_networking"] == "ON"
        assert variables["log_bin_basename"].endswith("/binlog-000003")
        assert not (await node.database.replica_status()).configured
        # Two servers that share it delete each other's temporary tables when they start.
        assert variables["tmpdir"] == str(node.server.temporary_directory)


@pytest.mark.mariadb
async def test_started_server_takes_the_log_ins_that_every_node_must_take() -> None:
    certificate = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("localhost",))
    async with fresh_node() as node:
        server = ManagedServer(
            node.directory, account=ACCOUNT, options=OPTIONS, tls_pem=certificate.chain_pem
        )
        database = Database(server)
        await database.start(Boot(number=1))
        try:
            assert await database.value("SELECT @@have_ssl") == "YES"
            plugin = "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'ed25519'"
            assert await database.value(plugin) == "ACTIVE"
            # The key can be read again for as long as the server runs, though it stands on no disk.
            await database.query("FLUSH SSL")
            assert not any(
                path.is_file() and b"PRIVATE KEY" in path.read_bytes() for path in node.directory.rglob("*")
            )
        finally:
            await database.stop()


@pytest.mark.mariadb
async def test_server_whose_data_is_damaged_says_so_from_its_log() -> None:
    async with fresh_node() as node:
        await trio.Path(node.server.data_directory / "ibdata1").write_bytes(b"no tablespace")
        with pytest.raises(ServerStartFailed, match="InnoDB") as failed:
            await node.server.start(Boot(number=1))
        assert "[ERROR]" in failed.value.log
        assert node.server.process_id == 0


@pytest.mark.mariadb
async def test_server_with_another_password_is_refused_and_not_left_running() -> None:
    async with fresh_node() as node:
        server = ManagedServer(node.directory, account=Account(password="other"), options=OPTIONS)
        with pytest.raises(ServerStartFailed, match="same password on every node"):
            await server.start(Boot(number=1))
        assert servers_on(server.data_directory) == []


@pytest.mark.mariadb
async def test_start_that_is_cancelled_leaves_no_server() -> None:
    async with fresh_node() as node:
        with trio.move_on_after(0.05):
            await node.server.start(Boot(number=1))
        assert node.server.process_id == 0 or await _ended(node.server)


async def _ended(server: ManagedServer) -> bool:
    await server.kill()
    return servers_on(server.data_directory) == []


@pytest.mark.mariadb
async def test_exit_of_the_server_is_noticed() -> None:
    async with fresh_node() as node:
        await node.server.start(Boot(number=1))
        os.kill(node.server.process_id, signal.SIGKILL)
        with trio.fail_after(PATIENCE_SECONDS):
            await node.server.wait_exit()
        assert node.server.process_id == 0
        assert not await node.server.stop()
        with pytest.raises(ConnectionLost):
            await node.database.value("SELECT 1")


@pytest.mark.mariadb
async def test_server_stops_in_order_and_starts_again_under_a_new_binlog() -> None:
    async with fresh_node() as node:
        await node.database.start(Boot(number=1))
        assert await node.database.stop()
        await node.database.start(Boot(number=2))
        assert (await node.database.binlog_end()).file == "binlog-000002.000001"


NODE = """
    import sys, time, trio
    from pathlib import Path
    from wolfscale.replication.managed import ManagedServer
    from wolfscale.replication.settings import Boot
    from wolfscale.testing.single_server import ACCOUNT, OPTIONS

    async def main():
        server = ManagedServer(Path(sys.argv[1]), account=ACCOUNT, options=OPTIONS)
        await server.start(Boot(number=1))
        print(server.process_id, flush=True)
        await trio.sleep_forever()

    trio.run(main)
"""


@pytest.mark.mariadb
async def test_killed_node_leaves_no_server_behind() -> None:
    async with fresh_node() as node:
        process = await trio.to_thread.run_sync(_start_node, node.directory)
        try:
            assert process.stdout is not None
            pid = int(await trio.to_thread.run_sync(process.stdout.readline))
            assert servers_on(node.server.data_directory) == [pid]
            descriptor = os.pidfd_open(pid)
            process.kill()
            with trio.fail_after(PATIENCE_SECONDS):
                await trio.lowlevel.wait_readable(descriptor)
            os.close(descriptor)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _start_node(directory: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(NODE), str(directory)], stdout=subprocess.PIPE
    )


@pytest.mark.mariadb
async def test_server_of_an_earlier_run_is_killed_before_the_next_one_starts() -> None:
    async with fresh_node() as node, trio.open_nursery() as nursery:
        server = node.server
        await server.start(Boot(number=1))
        leftover = server.process_id
        later = ManagedServer(node.directory, account=ACCOUNT, options=OPTIONS)
        await later.kill()
        with trio.fail_after(PATIENCE_SECONDS):
            await server.wait_exit()
        await later.start(Boot(number=2))
        assert servers_on(server.data_directory) == [later.process_id] != [leftover]
        await later.kill()
        nursery.cancel_scope.cancel()


@pytest.mark.mariadb
async def test_stopped_process_is_killed_too() -> None:
    async with fresh_node() as node:
        await node.server.start(Boot(number=1))
        os.kill(node.server.process_id, signal.SIGSTOP)
        with trio.fail_after(PATIENCE_SECONDS):
            await node.database.kill()
        assert servers_on(node.server.data_directory) == []


@pytest.mark.mariadb
async def test_directory_that_the_servers_user_cannot_reach_is_named() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs the server as another user")
    outer = scratch()
    try:
        outer.chmod(0o700)
        inner = outer / "node"
        inner.mkdir()
        server = ManagedServer(inner, account=ACCOUNT, options=OPTIONS)
        with pytest.raises(DataDirectoryUnusable, match=re.escape(f"chmod o+x {outer}")):
            await server.create_data()
    finally:
        await trio.to_thread.run_sync(shutil.rmtree, outer)


@pytest.mark.mariadb
async def test_data_is_created_over_leftovers_of_an_earlier_attempt() -> None:
    async with fresh_node() as node:
        await trio.Path(node.server.data_directory / "ibdata1").write_bytes(b"half")
        await node.server.create_data()
        await node.database.start(Boot(number=1))
        assert await node.database.value("SELECT term FROM wolfscale.term") == "0"


@pytest.mark.mariadb
async def test_fact_26_read_only_gives_up_a_lock_wait_after_a_second_and_open_transactions_can_be_ended() -> (
    None
):
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await primary.execute(
                "CREATE DATABASE app",
                "CREATE TABLE app.t (id INT PRIMARY KEY)",
                "CREATE USER app@localhost IDENTIFIED BY 'secret'",
                "GRANT ALL ON app.* TO app@localhost",
            )
            client = await Connection.connect(
                user="app",
                password="secret",
                socket_path=node.server.socket_path,
                proxy_header=b"PROXY UNKNOWN\r\n",
            )
            await client.query("BEGIN")
            await client.query("INSERT INTO app.t VALUES (1)")
            await client.query("LOCK TABLES app.t WRITE")  # what read_only waits for
            with pytest.raises(ServerError) as refused:
                await node.database.set_read_only(True)
            assert refused.value.errno == 1205
            await client.query("UNLOCK TABLES")
            await client.query("BEGIN")
            await client.query("INSERT INTO app.t VALUES (2)")
            assert await node.database.sessions.open_transactions() == 1
            await node.database.sessions.kill_with_open_transactions()
            await until_true(lambda: _none_open(node.database))
            await node.database.set_read_only(True)
            await client.aclose()


async def _none_open(database: Database) -> bool:
    return await database.sessions.open_transactions() == 0


@pytest.mark.mariadb
async def test_events_are_enabled_exactly_as_recorded_and_keep_what_they_are() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await primary.execute(
                "CREATE DATABASE app",
                "CREATE USER owner@localhost",
                "GRANT ALL ON app.* TO owner@localhost",
                "SET SESSION sql_mode='ANSI_QUOTES'",
                "CREATE DEFINER=owner@localhost EVENT app.wanted ON SCHEDULE EVERY 1 YEAR "
                "STARTS NOW() + INTERVAL 1 YEAR DO SELECT 1",
                "CREATE EVENT app.unwanted ON SCHEDULE EVERY 1 YEAR "
                "STARTS NOW() + INTERVAL 1 YEAR DO SELECT 1",
            )
            database = node.database
            wanted = EventName(schema="app", name="wanted")
            await database.events.record([wanted])
            assert await database.events.recorded() == [wanted]
            await primary.execute("ALTER EVENT app.unwanted DISABLE ON SLAVE")
            await primary.execute("ALTER DEFINER=owner@localhost EVENT app.wanted DISABLE ON SLAVE")
            await database.events.enable()
            assert await database.events.enabled() == [wanted]
            [row] = (
                await database.query(
                    "SELECT definer, sql_mode FROM information_schema.events WHERE event_name='wanted'"
                )
            ).rows
            assert row[0] == "owner@localhost"
            assert await database.value("SELECT @@GLOBAL.event_scheduler") == "ON"
            await database.events.record([])
            assert await database.events.recorded() == []


@pytest.mark.mariadb
async def test_own_sessions_carry_a_new_server_id_at_once() -> None:
    async with fresh_node() as node:
        await node.boot()
        await node.database.value("SELECT 1")
        await node.database.set_server_id(77)
        await node.database.write_marker(77, "node-1")
        position = await node.database.binlog_position()
        assert position is not None
        assert position.server_id == 77
