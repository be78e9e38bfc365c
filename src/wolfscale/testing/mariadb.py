"""A real mariadbd in a scratch directory, for tests."""

import atexit
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pymysql
import trio

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Connection

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0

_ARGUMENTS = (
    "--no-defaults",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-use-native-aio=OFF",  # a machine has few such contexts, and tests start many servers
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=8M",
    "--proxy-protocol-networks=127.0.0.1/32,localhost",
)

_template_lock = threading.Lock()
_template: Path | None = None


class ScratchMariaDBError(WolfScaleError):
    """The server could not be installed or started; the message ends with its log."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scratch_directory(prefix: str = "ws-") -> Path:
    """A new directory with a path short enough for sockets, owned by the user that mariadbd runs as.

    The caller removes it.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    path.chmod(0o755)
    give_to_server_user(path)
    return path


def server_user() -> str | None:
    """The user that mariadbd is told to run as: "mysql" when we are root, else None."""
    return "mysql" if os.geteuid() == 0 else None


def give_to_server_user(path: Path) -> None:
    """Make a file or directory the server user's own."""
    user = server_user()
    if user is not None:
        os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(user).gr_gid)


def install_data_directory(target: Path) -> None:
    """Make a fresh data directory, whose root account has no password.

    `mariadb-install-db` runs once per process; the rest are copies.

    Args:
        target: must not exist; its parent must be reachable for the server's user.
    """
    global _template  # noqa: PLW0603
    with _template_lock:
        if _template is None:
            base = scratch_directory("ws-template-")
            atexit.register(shutil.rmtree, base, ignore_errors=True)
            data = base / "data"
            command = [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                f"--tmpdir={data.parent}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=16M",
                "--innodb-use-native-aio=OFF",
            ]
            user = server_user()
            if user is not None:
                command.append(f"--user={user}")
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            if done.returncode != 0:
                raise ScratchMariaDBError(f"mariadb-install-db failed:\n{done.stdout}\n{done.stderr}")
            _template = data
    subprocess.run(["cp", "-a", "--reflink=auto", str(_template), str(target)], check=True)


class ScratchMariaDB:
    """One server: its directory, socket, port and process.

    A context manager, sync and async: starts on entry, is killed and removed on exit.

        with ScratchMariaDB(arguments=["--log-bin=bin", "--server-id=1"], tcp=True) as server:
            server.execute("CREATE DATABASE app")
            connection = await server.connect(database="app")

    Attributes:
        directory: everything of this server; `data_directory`, `socket_path`, `error_log` are in it.
        port: its loopback TCP port, which stays the same over restarts; None without `tcp`.
        arguments: added to the command line at each start; may be changed between starts.
        process: the running process; None while stopped.
    """

    def __init__(
        self, *, arguments: Sequence[str] = (), tcp: bool = False, data_directory: Path | None = None
    ) -> None:
        """Prepare a server; nothing is started.

        Args:
            arguments: more options for mariadbd; later ones override ours.
            tcp: listen on a loopback port too, not only on the socket.
            data_directory: data to run on instead of a fresh copy; left in place on exit.
        """
        self.directory = scratch_directory()
        self.data_directory = data_directory or self.directory / "data"
        self.socket_path = str(self.directory / "mariadb.sock")
        self.error_log = self.directory / "error.log"
        self.arguments = list(arguments)
        self.port = free_port() if tcp else None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self.process is None:
            raise ScratchMariaDBError(f"the server in {self.directory} is not running")
        return self.process.pid

    def command(self, *extra: str) -> list[str]:
        """The command line that starts it."""
        user = server_user()
        return [
            "mariadbd",
            *_ARGUMENTS,
            *([f"--user={user}"] if user else []),
            f"--datadir={self.data_directory}",
            # A starting server deletes every temporary table in its tmpdir, other servers' too.
            f"--tmpdir={self.directory}",
            f"--socket={self.socket_path}",
            f"--pid-file={self.directory / 'mariadb.pid'}",
            f"--log-error={self.error_log}",
            *(
                ["--bind-address=127.0.0.1", f"--port={self.port}"]
                if self.port is not None
                else ["--skip-networking"]
            ),
            *self.arguments,
            *extra,
        ]

    def start(self, *extra: str) -> None:
        """Start and wait until it greets.

        Args:
            extra: options for this start only.

        Raises:
            ScratchMariaDBError: it ended or did not greet within a minute.
        """
        if self.process is not None:
            raise ScratchMariaDBError(f"the server in {self.directory} is running already")
        if not self.data_directory.exists():
            install_data_directory(self.data_directory)
        Path(self.socket_path).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self.command(*extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._greets():
            if self.process.poll() is not None:
                code = self.process.returncode
                self.process = None
                raise ScratchMariaDBError(f"mariadbd ended with {code}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill9()
                raise ScratchMariaDBError(f"mariadbd did not greet in time:\n{self.log_tail()}")
            time.sleep(0.01)

    def _greets(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(self.socket_path)
                return bool(probe.recv(5))
            except OSError:
                return False

    def stop(self) -> None:
        """Shut it down in order (SIGTERM); SIGKILL after a minute. Harmless when stopped."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill9(self) -> None:
        """SIGKILL; harmless when stopped."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None

    def pause(self) -> None:
        """SIGSTOP: alive and silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *extra: str, kill: bool = False) -> None:
        """Stop (or kill) and start again on the same data, socket and port."""
        if kill:
            self.kill9()
        else:
            self.stop()
        self.start(*extra)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the error log."""
        if not self.error_log.exists():
            return "(no error log)"
        return "\n".join(self.error_log.read_text(errors="replace").splitlines()[-lines:])

    def pymysql(self, *, user: str = "root", password: str = "", tcp: bool = False, **options: Any) -> Any:
        """A PyMySQL connection, autocommit unless said otherwise: the independent client."""
        options.setdefault("autocommit", True)
        if tcp:
            options.update(host="127.0.0.1", port=self.port)
        else:
            options.update(unix_socket=self.socket_path)
        return pymysql.connect(user=user, password=password, **options)

    def execute(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """Run statements as root on a connection of their own; the rows of the last."""
        connection = self.pymysql()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    async def connect(self, *, user: str = "root", tcp: bool = False, **options: Any) -> Connection:
        """Our own client, as root over the socket unless said otherwise."""
        if tcp:
            return await Connection.connect(user=user, host="127.0.0.1", port=self.port, **options)
        return await Connection.connect(user=user, socket_path=self.socket_path, **options)

    def remove(self) -> None:
        """Kill the server and delete its directory."""
        self.kill9()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "ScratchMariaDB":
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    async def __aenter__(self) -> "ScratchMariaDB":
        try:
            await trio.to_thread.run_sync(self.start)
        except BaseException:
            self.remove()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()
