"""Three real nodes with proxies, asked through PyMySQL, an independent client. Everything here blocks."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pymysql
import trio

from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import DemoCluster, Part
from wolfscale.demo.conditions import level, writable_node
from wolfscale.demo.plan import LOOPBACK, ClusterPlan

PATIENCE_SECONDS = 60
POLL_SECONDS = 0.02
Client = Any
"""A PyMySQL connection."""


class FactCluster:
    """Three nodes; `mighty` is an account with GRANT ALL, which nobody's read_only stops."""

    def __init__(self) -> None:
        # Not below pytest's directories: unix sockets' paths may have 107 bytes at most.
        directory = Path(tempfile.mkdtemp(prefix="wolfscale-facts-", dir="/tmp"))
        directory.chmod(0o755)
        plan = ClusterPlan.with_free_ports(directory, 3, settings={"database": {"buffer_pool_mb": 64}})
        self._cluster = DemoCluster(plan, access=admin_connection_info)
        self._directory = directory
        self._clients: list[Client] = []

    @property
    def numbers(self) -> tuple[int, ...]:
        return self._cluster.numbers

    def start(self) -> None:
        try:
            trio.run(self._cluster.start)
            leader = self.leader()
            self.on_server(
                leader,
                f"CREATE USER mighty@'%' IDENTIFIED BY '{PASSWORD}'",
                "GRANT ALL ON *.* TO mighty@'%' WITH GRANT OPTION",
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.close_clients()
        trio.run(self._cluster.stop)
        shutil.rmtree(self._directory, ignore_errors=True)

    def log_tail(self, number: int, lines: int) -> str:
        return self._cluster.log_tail(number, lines)

    # Who is who

    def leader(self) -> int:
        return trio.run(self._cluster.wait_writable)

    def followers(self) -> list[int]:
        leader = self.leader()
        return [number for number in self.numbers if number != leader]

    def follower(self) -> int:
        return self.followers()[0]

    def settle(self) -> None:
        """Wait until all nodes serve and have applied the same."""
        trio.run(self._cluster.wait_for, level(*self.numbers), "all nodes to be level")

    # Hurting

    def pause(self, *numbers: int) -> None:
        for number in numbers:
            self._cluster.pause(number)

    def resume(self, *numbers: int) -> None:
        for number in numbers:
            self._cluster.resume(number)

    def kill(self, number: int) -> None:
        """`kill -9` of a node and its MariaDB."""
        self._cluster.kill(number, Part.BOTH)

    def terminate(self, number: int) -> float:
        """SIGTERM; the seconds that it took. It must end with 0."""
        begun = time.monotonic()
        assert trio.run(self._cluster.terminate, number) == 0
        return time.monotonic() - begun

    def launch(self, number: int) -> None:
        self._cluster.launch(number)

    def successor(self, old: int) -> int:
        """Wait until another node than `old` takes writes."""

        def found(statuses: Any) -> int | None:
            return writable_node({n: s for n, s in statuses.items() if n != old})

        async def wait() -> Any:
            return await self._cluster.wait_for(lambda s: found(s) is not None, f"not node-{old} to lead")

        number = found(trio.run(wait))
        assert number is not None
        return number

    # Asking

    def client(self, number: int, *, user: str = ACCOUNT, **options: Any) -> Client:
        """A client of a node's proxy; closed after the test."""
        arguments: dict[str, Any] = {
            "password": PASSWORD,
            "database": DATABASE,
            "autocommit": True,
            "charset": "utf8mb4",
            "read_timeout": PATIENCE_SECONDS,
        } | options
        connection = pymysql.connect(
            host=LOOPBACK, port=self._cluster.node(number).mysql_port, user=user, **arguments
        )
        self._clients.append(connection)
        return connection

    def address(self, number: int) -> tuple[str, int]:
        """Where a node's proxy listens."""
        return LOOPBACK, self._cluster.node(number).mysql_port

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop()._force_close()

    def on_server(self, number: int, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """Run statements on a node's own MariaDB, past the proxy; the rows of the last."""
        return trio.run(self._cluster.run_on, number, statements)[-1]

    def on_all_servers(self, *statements: str) -> list[tuple[tuple[Any, ...], ...]]:
        """The same on each, once all are level."""
        self.settle()
        return [self.on_server(number, *statements) for number in self.numbers]

    def same_everywhere(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """The rows, which all servers agree about."""
        first, *others = self.on_all_servers(*statements)
        assert all(other == first for other in others), (first, others)
        return first


def rows(connection: Client, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall())


def error_of(connection: Client, sql: str) -> tuple[int, str]:
    """The error that a statement gets; (0, "") when it is carried out."""
    try:
        rows(connection, sql)
    except pymysql.err.MySQLError as error:
        return error.args[0], str(error.args[1])
    return 0, ""


def run_all(connection: Client, statements: Sequence[str]) -> None:
    for statement in statements:
        rows(connection, statement)


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll; fails after a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"in vain for {what}"
        time.sleep(POLL_SECONDS)
