"""A server under its own service: checked, adopted, started, stopped and killed by commands."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from wolfscale.replication import external as external_module
from wolfscale.replication.database import Database
from wolfscale.replication.decision import Position, decide
from wolfscale.replication.evidence import CommittedLog
from wolfscale.replication.external import (
    BOOT_FILE,
    ExternalServer,
    ServiceCommands,
    shell_commands,
    systemd_commands,
    unit_lines,
)
from wolfscale.replication.processes import servers_on
from wolfscale.replication.record import RecordStore
from wolfscale.replication.recovery import create_data, recover, settle_recovery
from wolfscale.replication.server_errors import ServerCommandFailed, ServerStartFailed, SettingsRefused
from wolfscale.replication.settings import SETTINGS, Applies, Boot
from wolfscale.testing.single_server import ACCOUNT, PATIENCE_SECONDS, MemoryLog


def test_unit_that_starts_its_server_again_is_refused() -> None:
    lines = unit_lines("Restart=on-abort\nUnitFileState=disabled\nExecStartPost=\n")
    assert [line for line, _ in lines] == ["Restart=no"]


def test_fact_24_unit_with_debians_start_script_is_refused() -> None:
    shown = "Restart=no\nUnitFileState=disabled\nExecStartPost={ path=/etc/mysql/debian-start ; argv[]=x }\n"
    assert [line for line, _ in unit_lines(shown)] == ["ExecStartPost="]


def test_unit_that_starts_with_the_machine_is_refused() -> None:
    assert "disable" in unit_lines("Restart=no\nUnitFileState=enabled\n")[0][0]


def test_unit_as_it_should_be_lacks_nothing() -> None:
    assert unit_lines("Restart=no\nUnitFileState=disabled\nExecStartPre=\nExecStartPost=\n") == []


def test_systemd_unit_gives_all_three_commands() -> None:
    commands = systemd_commands("mariadb")
    assert commands.kill == ("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", "mariadb")
    assert commands.unit == "mariadb"


@dataclass(slots=True, kw_only=True)
class Service:
    """Somebody's server with a configuration file, and a record beside it."""

    directory: Path
    server: ExternalServer
    database: Database
    configuration: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def configure(self, *lines: str) -> None:
        owner = ["user = mysql"] if os.geteuid() == 0 else []
        self.configuration.write_text(
            "\n".join(
                [
                    "[mariadbd]",
                    *owner,
                    f"datadir = {self.data}",
                    f"socket = {self.directory / 'sock'}",
                    f"pid_file = {self.directory / 'pid'}",
                    f"log_error = {self.directory / 'err'}",
                    f"tmpdir = {self.directory}",
                    "skip_networking",
                    "innodb_buffer_pool_size = 32M",
                    "innodb_log_file_size = 16M",
                    "innodb_use_native_aio = OFF",
                    *lines,
                ]
            )
            + "\n"
        )

    def configure_rightly(self) -> None:
        lines = [s.line for s in SETTINGS if not s.dynamic and s.applies is Applies.ALWAYS]
        self.configure(*lines, f"!include {self.data / BOOT_FILE}")


@asynccontextmanager
async def _service(commands: ServiceCommands | None = None) -> AsyncIterator[Service]:
    directory = Path(tempfile.mkdtemp(prefix="ws-ext-", dir="/tmp"))
    service: Service | None = None
    try:
        await trio.to_thread.run_sync(_install, directory)
        configuration = directory / "my.cnf"
        start = f"mariadbd --defaults-file={shlex.quote(str(configuration))} >/dev/null 2>&1 &"
        pid = f"cat {directory / 'pid'}"
        stop = f"p=$({pid}) && kill -TERM $p && while kill -0 $p 2>/dev/null; do sleep 0.02; done"
        server = ExternalServer(
            data_directory=directory / "data",
            socket_path=str(directory / "sock"),
            account=ACCOUNT,
            commands=commands or shell_commands(start, stop, f"kill -KILL $({pid})"),
            configuration=configuration,
        )
        service = Service(
            directory=directory, server=server, database=Database(server), configuration=configuration
        )
        service.configure_rightly()
        yield service
    finally:
        if service is not None:
            await service.database.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _install(directory: Path) -> None:
    directory.chmod(0o755)
    user = []
    if os.geteuid() == 0:
        entry = pwd.getpwnam("mysql")
        os.chown(directory, entry.pw_uid, entry.pw_gid)
        user = ["--user=mysql"]
    password = ACCOUNT.password.replace("'", "''")
    accounts = directory / "accounts.sql"
    accounts.write_text(
        "FLUSH PRIVILEGES;\n"
        f"CREATE USER wolfscale@localhost IDENTIFIED BY '{password}';\n"
        "GRANT ALL PRIVILEGES ON *.* TO wolfscale@localhost WITH GRANT OPTION;\n"
        "CREATE DATABASE shop;\nCREATE TABLE shop.item (id INT PRIMARY KEY) ENGINE=InnoDB;\n"
        "INSERT INTO shop.item VALUES (1);\n"
    )
    subprocess.run(
        [
            "mariadb-install-db", "--no-defaults", f"--datadir={directory / 'data'}", f"--tmpdir={directory}",
            "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=16M",
            "--innodb-use-native-aio=OFF", f"--extra-file={accounts}", *user,
        ],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.mariadb
async def test_external_server_is_adopted_with_its_data_and_recovered_like_any_other() -> None:
    async with _service() as service:
        database = service.database
        store = RecordStore.open(service.directory / "record")
        log = MemoryLog()
        await create_data(database, store)
        for _ in range(2):
            recovery = await recover(database, store, number=3)
            outcome = decide(recovery, store.current, CommittedLog(log, complete=True))
            assert outcome == Position()
            await settle_recovery(database, store, outcome)
            assert await database.value("SELECT id FROM shop.item") == "1"
            assert await database.value("SELECT term FROM wolfscale.term") == "0"
            assert await database.value("SELECT @@server_id") == str(0x80000003)
            assert await database.value("SELECT @@read_only") == "1"
            assert await database.value("SELECT @@sync_binlog") == "0"
            assert database.process_id in servers_on(service.data)


@pytest.mark.mariadb
async def test_external_server_whose_configuration_lacks_lines_is_refused_with_them_and_stopped() -> None:
    async with _service() as service:
        service.configure()
        with pytest.raises(SettingsRefused) as refused:
            await service.server.start(Boot(number=4))
        lines = [line for line, _ in refused.value.missing]
        assert lines == [f"!include {service.data / BOOT_FILE}", "relay_log = relay-wolfscale"]
        assert servers_on(service.data) == []
        service.configure(*lines[1:], "log_slave_updates = ON", lines[0])
        with pytest.raises(SettingsRefused) as again:
            await service.server.start(Boot(number=5))
        assert [line for line, _ in again.value.missing] == ["log_slave_updates = OFF"]


@pytest.mark.mariadb
async def test_external_server_is_stopped_in_order_and_its_end_is_noticed() -> None:
    async with _service() as service:
        server = service.server
        await server.start(Boot(number=1))
        assert await server.stop()
        assert not await server.stop()
        await server.start(Boot(number=2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.wait_exit)
            os.kill(server.process_id, signal.SIGKILL)
            with trio.fail_after(PATIENCE_SECONDS):
                await server.wait_exit()


@pytest.mark.mariadb
async def test_external_server_that_does_not_hear_its_kill_command_is_killed_all_the_same() -> None:
    async with _service() as service:
        await service.server.start(Boot(number=1))
        service.server.commands = shell_commands("true", "true", "false")
        await service.server.kill()
        assert servers_on(service.data) == []


@pytest.mark.mariadb
async def test_external_server_whose_start_command_fails_says_what_it_printed() -> None:
    commands = shell_commands("echo no such unit >&2; exit 5", "true", "true")
    async with _service(commands) as service:
        with pytest.raises(ServerCommandFailed, match="no such unit"):
            await service.server.start(Boot(number=1))


@pytest.mark.mariadb
async def test_external_data_directory_of_another_server_is_noticed(tmp_path: Path) -> None:
    async with _service() as service:
        await service.server.start(Boot(number=1))
        other = ExternalServer(
            data_directory=tmp_path,
            socket_path=service.server.socket_path,
            account=ACCOUNT,
            commands=shell_commands("true", "true", "true"),
        )
        with pytest.raises(ServerStartFailed, match="same server"):
            await other.start(Boot(number=2))


@pytest.mark.mariadb
async def test_external_server_that_ends_at_once_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_module, "ABSENT_SECONDS", 0.1)
    async with _service() as service:
        service.configure("no_such_option = 1")
        with pytest.raises(ServerStartFailed, match="look at its error log"):
            await service.server.start(Boot(number=1))
