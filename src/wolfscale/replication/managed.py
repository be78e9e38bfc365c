"""The MariaDB server that the node runs itself: found, created, started, watched and killed here."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.durability import sync_directory
from wolfscale.mysql.auth import double_sha1, sha1_of_password, stored_hash
from wolfscale.replication.processes import (
    Child,
    Owner,
    kill_servers_on,
    run_to_end,
    server_owner,
    spawn,
)
from wolfscale.replication.schema import account_statements, schema_statements
from wolfscale.replication.server import (
    LONGEST_SOCKET_PATH,
    Account,
    LogTail,
    excerpt,
    fits_socket_path,
    run_once,
    wait_until_open,
)
from wolfscale.replication.server_errors import (
    DataDirectoryUnusable,
    ServerStartFailed,
    ServerUnsupported,
)
from wolfscale.replication.settings import (
    Boot,
    ServerOptions,
    boot_arguments,
    check_version,
    managed_arguments,
)

log = logs.logger(__name__)

START_SECONDS = 600.0
"""Crash recovery of a large data directory takes minutes; a start that ends early is noticed at once."""
STOP_SECONDS = 300.0
"""InnoDB writes its buffer pool out; then the server is killed, which loses nothing, only time."""

_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/usr/libexec")
_ACCOUNT_NAME = "mysql"


def find_program(name: str, beside: Path | None = None) -> Path:
    """Return the path of a MariaDB program: beside another one, in `PATH`, or where systems put them.

    Raises:
        ServerUnsupported: it is not installed.
    """
    directories = [str(beside.parent), str(beside.parent.parent / "bin")] if beside else []
    path = os.pathsep.join([*directories, os.environ.get("PATH", os.defpath), *_PLACES])
    found = shutil.which(name, path=path)
    if found is None:
        package = "mariadb-backup" if name in {"mariadb-backup", "mbstream"} else "mariadb-server"
        raise ServerUnsupported(
            f"{name} is not installed (looked in PATH and {', '.join(_PLACES)}). Install {package}, or set "
            "`[database] mariadbd` to its path."
        )
    return Path(found)


class ManagedServer:
    """A server of the node's own: `Server` over a child process.

    The node's directory holds `mysql/` (the data), `server/` (error log, pid file and, where the path is
    short enough, the socket). As root, the server runs as the user `mysql`, which owns both.
    """

    def __init__(
        self,
        directory: Path,
        *,
        account: Account,
        options: ServerOptions | None = None,
        program: Path | None = None,
        tls_pem: bytes | None = None,
    ) -> None:
        """Prepare the server; nothing is touched.

        Args:
            directory: the node's data directory; must exist when the server is first used.
            account: the node's account on the server.
            options: what the configuration says.
            program: mariadbd; looked for unless given.
            tls_pem: a private key and its certificate, with which the server offers TLS: accounts with
                REQUIRE SSL need that. It is memory, and stands on no disk.

        Raises:
            ServerUnsupported: there is no mariadbd, or the node is root and the user `mysql` is missing.
        """
        self.directory = directory
        self.account = account
        self.options = options or ServerOptions()
        self.program = program or find_program("mariadbd")
        try:
            self.owner: Owner | None = server_owner(_ACCOUNT_NAME)
        except KeyError as error:
            raise ServerUnsupported(
                f"the node runs as root, MariaDB must not, and the user {_ACCOUNT_NAME!r} that would run it "
                "does not exist. Install mariadb-server, or run the node as another user."
            ) from error
        self.data_directory = directory / "mysql"
        self.run_directory = directory / "server"
        self.error_log = self.run_directory / "mysql.err"
        self.recovery_log = self.run_directory / "recovery.err"
        self.temporary_directory = self.run_directory / "tmp"
        self.socket_path = _socket_path(self.run_directory)
        self.version = ""
        self._child: Child | None = None
        self._tls_pem = tls_pem

    @property
    def process_id(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else 0

    def data_exists(self) -> bool:
        """Whether the data directory holds a server's data."""
        return (self.data_directory / "ibdata1").exists()

    async def start(self, boot: Boot) -> None:
        """Start the server and wait until it lets the node's account in; see `Server.start`.

        Raises:
            ServerStartFailed: it ended early, refused the account or took too long.
            ServerUnsupported: the program is no MariaDB of a known series.
            DataDirectoryUnusable: the directories cannot be made or reached.
        """
        await self._prepare()
        tail = LogTail(self.error_log)
        child = self._spawn(boot_arguments(boot))
        try:
            version = await self._wait_until_open(child, tail)
            if version is None or child.exit_code is not None:
                raise await self._start_failed(child, tail)
            self.version = version
        except BaseException:
            await child.end()
            raise
        self._child = child
        log.info("MariaDB started", pid=child.pid, version=self.version, boot=boot.number)

    async def start_once(self, boot: Boot, argument: str, *, keep_log: bool) -> str:
        """Start with an argument that makes the server end by itself; see `Server.start_once`.

        Raises:
            ServerStartFailed: it did not end in time.
        """
        await self._prepare()
        return await run_once(
            [str(self.program), *self._arguments(self.recovery_log), *boot_arguments(boot), argument],
            owner=self.owner,
            log=self.recovery_log,
            keep_log=keep_log,
        )

    async def stop(self) -> bool:
        """Stop in good order; never a primary with waiting commits, since SIGTERM lets them through."""
        child = self._child
        if child is None or child.exit_code is not None:
            await self.kill()
            return False
        child.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_SECONDS):
            await child.wait()
        orderly = child.exit_code == 0
        await child.end()
        self._child = None
        log.info("MariaDB stopped", orderly=orderly)
        return orderly

    async def kill(self) -> None:
        """Kill the server and any that an earlier run of the node left on the same data. Not cancelled.

        Raises:
            DataDirectoryUnusable: a server of another user runs there, or one that does not die.
        """
        with trio.CancelScope(shield=True):
            if self._child is not None:
                await self._child.end()
                self._child = None
            try:
                killed = await trio.to_thread.run_sync(kill_servers_on, self.data_directory)
            except (PermissionError, TimeoutError) as error:
                raise DataDirectoryUnusable(
                    f"a server left running on {self.data_directory} cannot be ended ({error}): end it by "
                    "hand"
                ) from error
        if killed:
            log.warning("killed a MariaDB server that an earlier run left behind", pids=killed)

    async def wait_exit(self) -> None:
        """Wait until the server's process has ended."""
        if self._child is None:
            await trio.lowlevel.checkpoint()
            return
        await self._child.wait()

    async def create_data(self) -> None:
        """Make a fresh data directory with the node's account and schema, as a whole or not at all.

        The accounts that an installation comes with are dropped but `mariadb.sys`, which owns views; the
        statements run in the same bootstrap and leave no trace in a binlog. Cancelling leaves leftovers
        that the next call removes.

        Raises:
            DataDirectoryUnusable: it cannot be made.
            ServerUnsupported: mariadb-install-db is missing.
        """
        await self._prepare()
        await self.kill()
        installer = find_program("mariadb-install-db", self.program)
        unfinished = self.directory / "mysql.new"
        statements = self.run_directory / "create.sql"
        verifier = _native_hash(self.account.password)
        text = "\n".join([*account_statements(self.account.user, verifier), *schema_statements()]) + "\n"
        try:
            await trio.to_thread.run_sync(self._clear, unfinished)
            await trio.to_thread.run_sync(_write_private, statements, text)
            code, output = await run_to_end(
                [
                    str(installer),
                    "--no-defaults",
                    f"--datadir={unfinished}",
                    f"--tmpdir={self.temporary_directory}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--skip-name-resolve",
                    f"--extra-file={statements}",
                    *([f"--user={self.owner.name}"] if self.owner else []),
                    *(option for option in self.options.extra if option.startswith("--innodb")),
                ]
            )
            if code != 0:
                raise DataDirectoryUnusable(
                    f"{installer} could not create {self.data_directory} (exit code {code}):\n"
                    + excerpt(output)
                )
            await trio.to_thread.run_sync(self._finish_creation, unfinished)
        except OSError as error:
            raise DataDirectoryUnusable(f"cannot create {self.data_directory}: {error}") from error
        finally:
            statements.unlink(missing_ok=True)
        log.info("created MariaDB's data directory", path=self.data_directory)

    def _spawn(self, arguments: list[str]) -> Child:
        descriptors = []
        try:
            tls = []
            if self._tls_pem is not None:
                # The server has it open for as long as it runs, so that FLUSH SSL can read it again.
                descriptors.append(os.memfd_create("mariadb-tls"))
                os.write(descriptors[0], self._tls_pem)
                path = f"/proc/self/fd/{descriptors[0]}"
                tls = [f"--ssl-cert={path}", f"--ssl-key={path}"]
            return spawn(
                [str(self.program), *self._arguments(self.error_log, tls), *arguments],
                owner=self.owner,
                working_directory="/",
                pass_descriptors=descriptors,
            )
        except OSError as error:
            raise ServerStartFailed(f"cannot start {self.program}: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _wait_until_open(self, child: Child, tail: LogTail) -> str | None:
        version: str | None = None
        refused: ServerStartFailed | None = None
        with trio.move_on_after(START_SECONDS):
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    await child.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                try:
                    version = await wait_until_open(self.socket_path, self.account, tail)
                except ServerStartFailed as error:
                    refused = error  # not raised here, where the nursery would wrap it
                nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused
        return version

    def _arguments(self, error_log: Path, more: Sequence[str] = ()) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={self.data_directory}",
            f"--socket={self.socket_path}",
            f"--pid-file={self.run_directory / 'mysql.pid'}",
            f"--log-error={error_log}",
            # A server that starts removes every temporary table in its tmpdir, other servers' too.
            f"--tmpdir={self.temporary_directory}",
            *more,
            *managed_arguments(self.options),
        ]

    async def _start_failed(self, child: Child, tail: LogTail) -> ServerStartFailed:
        text = await trio.to_thread.run_sync(tail.read)
        how = (
            f"did not answer within {START_SECONDS:.0f} s"
            if child.exit_code is None
            else f"ended at once (exit code {child.exit_code})"
        )
        return ServerStartFailed(
            f"MariaDB in {self.data_directory} {how}; its error log {self.error_log} says:\n{excerpt(text)}",
            text,
        )

    async def _prepare(self) -> None:
        if not self.version:
            try:
                _, output = await run_to_end([str(self.program), "--no-defaults", "--version"])
            except OSError as error:
                raise ServerUnsupported(f"cannot run {self.program}: {error}") from error
            check_version(output, str(self.program))
        try:
            await trio.to_thread.run_sync(self._prepare_directories)
        except OSError as error:
            raise DataDirectoryUnusable(f"cannot prepare {self.directory} for MariaDB: {error}") from error

    def _prepare_directories(self) -> None:
        for directory in (self.run_directory, self.temporary_directory):
            directory.mkdir(mode=0o700, exist_ok=True)
            if self.owner:
                os.chown(directory, self.owner.uid, self.owner.gid)
        if self.owner:
            # The user mysql must be able to walk through the node's directory, not to list it.
            self.directory.chmod(self.directory.stat().st_mode | 0o011)
            for parent in self.directory.resolve().parents:
                if not parent.stat().st_mode & 0o001:
                    raise DataDirectoryUnusable(
                        f"the user {self.owner.name!r}, which runs MariaDB, cannot reach {self.directory}: "
                        f"{parent} lets nobody else through. Move `[node] data_dir`, or `chmod o+x {parent}`."
                    )
        socket = Path(self.socket_path)
        if socket.parent != self.run_directory:
            _make_socket_directory(socket.parent, self.owner)
        if not fits_socket_path(self.socket_path):
            raise DataDirectoryUnusable(
                f"the socket path {self.socket_path} is longer than {LONGEST_SOCKET_PATH} bytes: use a "
                "shorter `[node] data_dir` or TMPDIR"
            )

    def _clear(self, unfinished: Path) -> None:
        for path in (unfinished, self.data_directory):
            if path.exists():
                shutil.rmtree(path)

    def _finish_creation(self, unfinished: Path) -> None:
        subprocess.run(["sync", "--file-system", str(unfinished)], check=True)
        unfinished.rename(self.data_directory)
        sync_directory(self.directory)


def _socket_path(run_directory: Path) -> str:
    near = run_directory / "mysql.sock"
    if fits_socket_path(str(near)):
        return str(near)
    digest = hashlib.sha256(os.fsencode(run_directory)).hexdigest()[:12]
    base = Path("/run") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    return str(base / f"wolfscale-{os.geteuid()}-{digest}" / "mysql.sock")


def _make_socket_directory(path: Path, owner: Owner | None) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    expected = {os.geteuid()} | ({owner.uid} if owner else set())
    if not path.is_dir() or path.is_symlink() or status.st_uid not in expected:
        raise DataDirectoryUnusable(f"{path} was made by somebody else: remove it")
    if owner:
        os.chown(path, owner.uid, owner.gid)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _native_hash(password: str) -> str:
    return stored_hash(double_sha1(sha1_of_password(password)))
