"""A MariaDB server under its own service on the same machine: started, stopped and killed by commands.

The node must be the only one that starts it, since a server that boots by itself after a crash commits
what nobody acknowledged. What changes at each start (the binlog's name above all) goes into a small file
that the server's configuration includes.
"""

import itertools
import os
import pwd
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.errors import InvariantError
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.managed import find_program
from wolfscale.replication.processes import Owner, kill_servers_on, servers_on, spawn
from wolfscale.replication.schema import schema_statements
from wolfscale.replication.server import (
    ACCESS_DENIED,
    POLL_SECONDS,
    PROXY_HEADER,
    Account,
    access_denied,
    excerpt,
    open_connection,
    run_once,
)
from wolfscale.replication.server_errors import (
    DataDirectoryUnusable,
    ServerCommandFailed,
    ServerStartFailed,
    SettingsRefused,
)
from wolfscale.replication.settings import (
    Boot,
    Durability,
    boot_arguments,
    boot_file,
    check_version,
    missing_include,
    statements_for,
)

log = logs.logger(__name__)

START_SECONDS = 600.0
ANSWER_SECONDS = 2.0
"""How long a server may take to greet; one that waits for a PROXY header never does."""
ABSENT_SECONDS = 10.0
"""How long after the start command no server may be seen before it counts as failed."""
BOOT_FILE = "wolfscale-boot.cnf"
"""In the data directory, where the server's user can read it whatever its service may see."""
RECOVERY_LOG = "wolfscale-recovery.err"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCommands:
    """How the service is started, stopped and killed.

    Attributes:
        start: returns when the server was started; it need not be ready.
        stop: stops it in good order and returns when it has ended.
        kill: kills it by SIGKILL, and nothing starts it again.
        unit: the systemd unit behind the commands, whose settings are checked; None: none is.
    """

    start: tuple[str, ...]
    stop: tuple[str, ...]
    kill: tuple[str, ...]
    unit: str | None = None


def systemd_commands(unit: str) -> ServiceCommands:
    """Return the commands for a systemd unit."""
    return ServiceCommands(
        start=("systemctl", "start", unit),
        stop=("systemctl", "stop", unit),
        kill=("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", unit),
        unit=unit,
    )


def shell_commands(start: str, stop: str, kill: str) -> ServiceCommands:
    """Return the commands for three lines of shell."""
    return ServiceCommands(
        start=("sh", "-c", start), stop=("sh", "-c", stop), kill=("sh", "-c", kill), unit=None
    )


def unit_lines(shown: str) -> list[tuple[str, str]]:
    """Return the lines, each with its reason, that a systemd unit lacks.

    Args:
        shown: what `systemctl show` says of Restart, UnitFileState, ExecStartPre and ExecStartPost.
    """
    properties: dict[str, str] = {}
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        properties[name] = properties.get(name, "") + value
    missing = []
    if properties.get("Restart", "no") != "no":
        missing.append(("Restart=no", "a server that is started again by itself commits what must be undone"))
    if properties.get("UnitFileState", "").startswith("enabled"):
        missing.append(("# and `systemctl disable` the unit", "only the node may start the server"))
    if "debian-start" in properties.get("ExecStartPost", ""):
        missing.append(
            ("ExecStartPost=", "Debian's start script repairs and upgrades tables, which diverges")
        )
    return missing


class ExternalServer:
    """A server that has a service of its own: `Server` over commands."""

    def __init__(
        self,
        *,
        data_directory: Path,
        socket_path: str,
        account: Account,
        commands: ServiceCommands,
        durability: Durability = Durability.WAL,
        program: Path | None = None,
        configuration: Path | None = None,
    ) -> None:
        """Prepare; nothing is touched.

        Args:
            data_directory: the server's data directory.
            socket_path: its unix socket.
            account: the node's account on it; the owner of the server creates it.
            commands: how it is started, stopped and killed.
            durability: what MariaDB shall write through at each commit.
            program: its mariadbd; looked for unless given.
            configuration: its configuration file, where it is not at the usual places.

        Raises:
            ServerUnsupported: mariadbd is not found.
        """
        self.data_directory = data_directory
        self.socket_path = socket_path
        self.account = account
        self.commands = commands
        self.durability = durability
        self.program = program or find_program("mariadbd")
        self.configuration = configuration
        self._process_id = 0

    @property
    def owner(self) -> Owner | None:
        """The account that owns the data; None when it is the node's own or the node is not root."""
        status = self.data_directory.stat()
        if os.geteuid() != 0 or status.st_uid == 0:
            return None
        name = pwd.getpwuid(status.st_uid).pw_name
        return Owner(name=name, uid=status.st_uid, gid=status.st_gid)

    @property
    def process_id(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process_id

    def data_exists(self) -> bool:
        """Whether the data directory holds a server's data."""
        return (self.data_directory / "ibdata1").exists()

    async def start(self, boot: Boot) -> None:
        """Start the service and check the server; see `Server.start`.

        Raises:
            ServerStartFailed: the command failed, the server does not answer or refuses the account.
            SettingsRefused: its configuration, or its unit's, lacks lines; it was stopped again.
            ServerUnsupported: it is no MariaDB, or too old.
        """
        await self._check_unit()
        await trio.to_thread.run_sync(self._write_boot_file, boot)
        try:
            await self._run(self.commands.start)
            connection: Connection | None = None
            with trio.move_on_after(START_SECONDS):
                connection = await self._wait_until_open()
            if connection is None:
                raise ServerStartFailed(
                    f"the MariaDB server did not answer at {self.socket_path} within {START_SECONDS:.0f} s "
                    f"of {shlex.join(self.commands.start)}: look at its error log"
                )
            async with connection:
                self._process_id = await self._find_process()
                await self._adjust(connection, boot)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.stop()
            raise
        log.info("external MariaDB started", pid=self._process_id, boot=boot.number)

    async def start_once(self, boot: Boot, argument: str, *, keep_log: bool) -> str:
        """Start the server's program, with its own configuration, by itself; see `Server.start_once`."""
        recovery_log = self.data_directory / RECOVERY_LOG
        owner = self.owner
        arguments = [
            str(self.program),
            *([f"--defaults-file={self.configuration}"] if self.configuration else []),
            f"--datadir={self.data_directory}",
            f"--socket={self.socket_path}",
            f"--log-error={recovery_log}",
            *([f"--user={owner.name}"] if owner else []),
            *boot_arguments(boot),
            argument,
        ]
        return await run_once(arguments, owner=owner, log=recovery_log, keep_log=keep_log)

    async def stop(self) -> bool:
        """Stop the service; a server that stays is killed."""
        running = await trio.to_thread.run_sync(servers_on, self.data_directory)
        try:
            await self._run(self.commands.stop)
        except ServerCommandFailed as error:
            log.warning("cannot stop MariaDB by its service", reason=str(error))
            await self.kill()
            return False
        left = await trio.to_thread.run_sync(kill_servers_on, self.data_directory)
        self._process_id = 0
        return bool(running) and not left

    async def kill(self) -> None:
        """Kill the service, and any other server on the data directory. Not cancelled.

        Raises:
            DataDirectoryUnusable: a server runs there that cannot be killed.
        """
        with trio.CancelScope(shield=True):
            try:
                await self._run(self.commands.kill)
            except ServerCommandFailed as error:
                log.debug("the kill command failed, probably since nothing ran", reason=str(error))
            try:
                await trio.to_thread.run_sync(kill_servers_on, self.data_directory)
            except (PermissionError, TimeoutError) as error:
                raise DataDirectoryUnusable(
                    f"a server that runs on {self.data_directory} cannot be ended ({error}): end it by hand"
                ) from error
            self._process_id = 0

    async def wait_exit(self) -> None:
        """Wait until the server's process has ended."""
        await trio.lowlevel.checkpoint()
        if not self._process_id:
            return
        try:
            descriptor = os.pidfd_open(self._process_id)
        except ProcessLookupError:
            return
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    async def create_data(self) -> None:
        """Adopt the server's present data as the cluster's first: forget its replication, add the schema.

        Raises:
            DataDirectoryUnusable: it has no data.
            ServerStartFailed, SettingsRefused, ServerUnsupported: as `start`.
        """
        if not self.data_exists():
            raise DataDirectoryUnusable(
                f"{self.data_directory} holds no MariaDB data: run mariadb-install-db, and create the node's "
                f"account '{self.account.user}'@'localhost' with all privileges"
            )
        await self.kill()
        await self.start(Boot(number=0))
        async with await open_connection(self.socket_path, self.account) as connection:
            for statement in (
                "STOP SLAVE",
                "RESET SLAVE ALL",
                "RESET MASTER",
                "SET GLOBAL gtid_slave_pos=''",
            ):
                await connection.query(statement)
            await connection.query("SET SESSION sql_log_bin=0")
            for statement in schema_statements():
                await connection.query(statement)
        if not await self.stop():
            raise DataDirectoryUnusable(f"the server on {self.data_directory} did not stop in good order")

    async def _wait_until_open(self) -> Connection:
        seen = trio.current_time()
        for header in itertools.cycle((PROXY_HEADER, b"")):
            try:
                # Whether the server knows the PROXY protocol is only told by how it answers.
                with trio.move_on_after(ANSWER_SECONDS):
                    return await open_connection(self.socket_path, self.account, proxy_header=header)
            except ConnectionLost:
                pass
            except ServerError as error:
                if error.errno in ACCESS_DENIED:
                    raise access_denied(self.socket_path, self.account, error) from error
            if await trio.to_thread.run_sync(servers_on, self.data_directory):
                seen = trio.current_time()
            elif trio.current_time() > seen + ABSENT_SECONDS:
                raise ServerStartFailed(
                    f"no MariaDB server runs on {self.data_directory} after "
                    f"{shlex.join(self.commands.start)}: look at its error log"
                )
            await trio.sleep(POLL_SECONDS)
        raise InvariantError("an endless loop ended")

    async def _find_process(self) -> int:
        found = await trio.to_thread.run_sync(servers_on, self.data_directory)
        if not found:
            raise ServerStartFailed(
                f"a server answers at {self.socket_path}, but none runs on {self.data_directory}: "
                "`[database] data_dir` and `socket` must be of the same server"
            )
        return found[0]

    async def _adjust(self, connection: Connection, boot: Boot) -> None:
        check_version(connection.server_version, f"the server at {self.socket_path}")
        rows = (await connection.query("SHOW GLOBAL VARIABLES")).rows
        variables = {(name or "").lower(): value or "" for name, value in rows}
        base = Path(variables.get("log_bin_basename", ""))
        missing: list[tuple[str, str]] = []
        if base.name != boot.binlog_base or not await trio.to_thread.run_sync(self._is_data, base.parent):
            missing += missing_include(str(self.data_directory / BOOT_FILE))
        statements: list[str] = []
        try:
            statements = statements_for(variables, self.durability)
        except SettingsRefused as error:
            missing += error.missing
        if missing:
            raise SettingsRefused(missing)
        for statement in statements:
            await connection.query(statement)
        status = (await connection.query("SHOW MASTER STATUS")).mappings()
        filters = [name for name in ("Binlog_Do_DB", "Binlog_Ignore_DB") if status and status[0].get(name)]
        if filters:
            raise SettingsRefused(
                [
                    (f"# without {name.lower()}", "what is not in the binlog is not replicated")
                    for name in filters
                ]
            )

    async def _check_unit(self) -> None:
        unit = self.commands.unit
        if unit is None:
            return
        code, output = await self._output(
            ("systemctl", "show", "-p", "Restart,UnitFileState,ExecStartPre,ExecStartPost", unit)
        )
        if code != 0:
            raise ServerCommandFailed(f"systemctl cannot show the unit {unit}: {output.strip()}")
        missing = unit_lines(output)
        if missing:
            raise SettingsRefused(
                missing,
                where=f"[Service] in /etc/systemd/system/{unit.removesuffix('.service')}.service.d/"
                "wolfscale.conf (then `systemctl daemon-reload`)",
            )

    async def _run(self, command: Sequence[str]) -> None:
        code, output = await self._output(command)
        if code != 0:
            raise ServerCommandFailed(
                f"{shlex.join(command)} failed (exit code {code}): {excerpt(output) or 'no output'}"
            )

    async def _output(self, command: Sequence[str]) -> tuple[int, str]:
        # To a file, not a pipe: a server that the command leaves behind keeps its output open.
        with tempfile.TemporaryFile() as output:
            try:
                child = spawn(command, stdout=output, stderr=output, own_group=True, working_directory="/")
            except OSError as error:
                raise ServerCommandFailed(f"cannot run {shlex.join(command)}: {error}") from error
            try:
                code = await child.wait()
            finally:
                child.kill_group()
                await child.end()
            output.seek(0)
            return code, output.read().decode(errors="replace")

    def _is_data(self, directory: Path) -> bool:
        return directory.exists() and directory.samefile(self.data_directory)

    def _write_boot_file(self, boot: Boot) -> None:
        path = self.data_directory / BOOT_FILE
        path.write_text(boot_file(boot))
        path.chmod(0o644)
