"""The peers that WolfScale is measured beside: one plain MariaDB, and three Galera nodes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from bench.sysbench import Endpoint

START_SECONDS = 120
GALERA_LIBRARY = "/usr/lib/galera/libgalera_smm.so"


@dataclass(slots=True)
class Server:
    """One mariadbd that a benchmark started."""

    name: str
    directory: Path
    port: int
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def socket_path(self) -> Path:
        """MariaDB's unix socket."""
        return self.directory.with_suffix(".sock")

    def start(self) -> None:
        """Create the data where missing, start, and wait until it answers.

        Raises:
            RuntimeError: it did not come up in `START_SECONDS`.
        """
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            for owned in (self.directory, self.directory.parent):  # the socket is made in the parent
                shutil.chown(owned, "mysql")
            install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={self.directory}"]
            options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
            subprocess.run([*install, *options], check=True, stdout=subprocess.DEVNULL)
        self.process = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                "--user=mysql",
                f"--datadir={self.directory}",
                f"--port={self.port}",
                f"--socket={self.socket_path}",
                f"--pid-file={self.directory}/pid",
                f"--log-error={self.directory}/error.log",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=128M",
                "--performance-schema=OFF",
                *self.arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(pymysql.Error):
                if self._ready():
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not start; see {self.directory}/error.log")

    def _ready(self) -> bool:
        if not any("wsrep-on=ON" in argument for argument in self.arguments):
            return bool(self.query("SELECT 1"))
        rows = self.query("SHOW STATUS LIKE 'wsrep_local_state_comment'")
        return bool(rows) and rows[0][1] == "Synced"

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """Run one statement as root over the socket."""
        connection = pymysql.connect(unix_socket=str(self.socket_path), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def signal(self, number: int) -> None:
        """Send a signal to the server (SIGKILL, SIGSTOP, SIGCONT)."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Kill it; benchmarks never need their data again."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def endpoint(self, name: str | None = None) -> Endpoint:
        """The address that sysbench uses."""
        return Endpoint(name=name or self.name, host="127.0.0.1", port=self.port)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


ACCOUNTS = (
    "CREATE DATABASE IF NOT EXISTS sbtest",
    "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'secret'",
    "GRANT ALL ON *.* TO app@'%'",
)


@contextlib.contextmanager
def single_mariadb(directory: Path) -> Iterator[Server]:
    """One MariaDB with its own durable settings (flush 1, sync_binlog 1), as a careful owner runs it."""
    arguments = ["--log-bin=bin", "--binlog-format=ROW", "--server-id=1", "--sync-binlog=1"]
    server = Server("single MariaDB", directory / "single", free_port(), arguments)
    try:
        server.start()
        for statement in ACCOUNTS:
            server.query(statement)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def galera(directory: Path) -> Iterator[list[Server]]:
    """Three Galera nodes at their defaults on loopback; needs Debian's galera-4 and rsync."""
    listen = [free_port() for _ in range(3)]
    cluster = ",".join(f"127.0.0.1:{port}" for port in listen)
    servers: list[Server] = []
    try:
        for number, port in enumerate(listen, 1):
            provider = ";".join(
                [
                    f"gmcast.listen_addr=tcp://127.0.0.1:{port}",
                    f"ist.recv_addr=127.0.0.1:{free_port()}",
                    f"base_port={port}",
                ]
            )
            arguments = [
                f"--server-id={number}",
                "--binlog-format=ROW",
                "--innodb-autoinc-lock-mode=2",
                "--wsrep-on=ON",
                f"--wsrep-provider={GALERA_LIBRARY}",
                f"--wsrep-cluster-address=gcomm://{'' if number == 1 else cluster}",
                "--wsrep-cluster-name=peer",
                "--wsrep-node-address=127.0.0.1",
                f"--wsrep-node-name=galera{number}",
                f"--wsrep-provider-options={provider}",
                "--wsrep-sst-method=rsync",
                f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
                "--wsrep-slave-threads=4",
            ]
            server = Server(f"Galera {number}", directory / f"galera{number}", free_port(), arguments)
            servers.append(server)
            server.start()
            if number == 1:
                for statement in ACCOUNTS:
                    server.query(statement)
        yield servers
    finally:
        for server in reversed(servers):
            server.signal(signal.SIGCONT)
            server.stop()
