"""A whole cluster on one machine as an object: start it, hurt it, wait for it, ask it. Prints nothing."""

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum

import pymysql
import trio

from wolfscale.api.client import fetch_status
from wolfscale.api.errors import ApiError
from wolfscale.api.models import NodeStatus
from wolfscale.demo.accounts import account_statements, database_statement, users_statement
from wolfscale.demo.conditions import Condition, Statuses, describe, has_writable, serving, writable_node
from wolfscale.demo.errors import DemoError, NodeEndedError, WaitedInVainError
from wolfscale.demo.plan import ClusterPlan, NodePlan, free_ports
from wolfscale.demo.processes import (
    is_alive,
    kill_now,
    send_signal,
    server_processes,
    start_node_process,
    wait_ended,
    with_descendants,
)
from wolfscale.demo.servers import DatabaseAccess, Row, query_server

DEFAULT_WAIT_SECONDS = 60.0
# Three servers are initialised on a machine that may have one slow disk.
START_WAIT_SECONDS = 180.0
STOP_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_STATUS_TIMEOUT_SECONDS = 2.0
_LOG_TAIL_LINES = 15

Reporter = Callable[[str], None]


class Part(Enum):
    """Which of a node's processes are meant."""

    NODE = "node"
    """The `wolfscale` process and its workers."""
    MARIADB = "mariadb"
    BOTH = "both"


class DemoCluster:
    """Controls the nodes of a plan as child processes.

    Node numbers count from 1. Methods that signal return at once; those that wait are bounded and raise
    `WaitedInVainError` with what was found instead. Not for use by several tasks at once, but for `statuses`,
    `wait_for` and `query`.

    Args:
        plan: the nodes; more can be added later.
        access: how to reach a node's own MariaDB.
    """

    def __init__(self, plan: ClusterPlan, *, access: DatabaseAccess) -> None:
        self._plan = plan
        self._access = access
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._expected_dead: set[int] = set()

    @property
    def plan(self) -> ClusterPlan:
        """The nodes as they are now."""
        return self._plan

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all nodes."""
        return tuple(node.number for node in self._plan.nodes)

    def node(self, number: int) -> NodePlan:
        """One node's plan."""
        return next(node for node in self._plan.nodes if node.number == number)

    # Starting and stopping

    def launch(self, number: int, *, bootstrap: bool = False) -> None:
        """Start a node's process; what becomes of it is for `wait_for`."""
        if self.is_running(number):
            raise DemoError(f"node-{number} runs already")
        node = self.node(number)
        self._expected_dead.discard(number)
        self._processes[number] = start_node_process(node.config_path, node.log_path, bootstrap=bootstrap)

    async def start(self, report: Reporter = lambda _: None) -> None:
        """Write the configurations, bring all nodes up and create the demo's account and database.

        The first node bootstraps; on a directory that a cluster has lived in before it rejoins instead.
        """
        self._plan.write()
        first, *others = self.numbers
        report(f"starting {self.node(first).name}")
        self.launch(first, bootstrap=True)
        if not others or not self._has_state(others):
            await self.wait_for(
                has_writable, f"{self.node(first).name} to take writes", START_WAIT_SECONDS, report
            )
        for number in others:
            report(f"starting {self.node(number).name}")
            self.launch(number)
        await self.wait_for(serving(*self.numbers), "all nodes to serve", START_WAIT_SECONDS, report)
        await self.create_account()

    def _has_state(self, numbers: Iterable[int]) -> bool:
        """Whether these nodes have been members before: then a quorum needs them to be up."""
        return any(self.node(number).data_dir.exists() for number in numbers)

    async def create_account(self) -> None:
        """Create account, database and table on whichever node takes writes; no harm when they are there."""
        await self.on_writable([*account_statements(), database_statement(), users_statement()])

    def add_node(self) -> int:
        """Plan one more node on free ports, knowing all others as peers; returns its number. Not started."""
        number = max(self.numbers) + 1
        mysql_port, http_port, peer_port = free_ports(3)
        node = NodePlan(
            number=number,
            directory=self._plan.directory / f"node-{number}",
            mysql_port=mysql_port,
            http_port=http_port,
            peer_port=peer_port,
        )
        self._plan = replace(self._plan, nodes=(*self._plan.nodes, node))
        self._plan.write_node(node)
        return number

    def wipe(self, number: int) -> None:
        """Remove a stopped node's data, as a new disk would."""
        if self.is_running(number):
            raise DemoError(f"node-{number} runs: stop it before its data is removed")
        shutil.rmtree(self.node(number).data_dir, ignore_errors=True)

    async def terminate(self, number: int, timeout_seconds: float = STOP_WAIT_SECONDS) -> int:
        """Stop a node in good order (SIGTERM) and return its exit code.

        Raises:
            WaitedInVainError: it has not ended in time; it is left as it is.
        """
        process = self._processes[number]
        self._expected_dead.add(number)
        if process.poll() is None:
            process.terminate()
        with trio.move_on_after(timeout_seconds):
            await wait_ended(process.pid)
        exit_code = process.poll()
        if exit_code is None:
            raise WaitedInVainError(f"node-{number} to stop", timeout_seconds, self.log_tail(number))
        return exit_code

    async def stop(self) -> bool:
        """Stop all nodes together; returns whether each ended in good order by itself within a minute.

        Afterwards nothing of the cluster runs any more, whatever was done to it. Shielded against
        cancellation, because nobody else would clean up.
        """
        results: list[bool] = []
        with trio.CancelScope(shield=True):
            self.resume_all()
            running = [number for number in self._processes if self.is_running(number)]
            async with trio.open_nursery() as nursery:
                for number in running:
                    nursery.start_soon(self._stop_one, number, results)
            for number in self.numbers:
                self.kill(number, Part.BOTH)
        return all(results)

    async def _stop_one(self, number: int, results: list[bool]) -> None:
        try:
            results.append(await self.terminate(number) == 0)
        except WaitedInVainError:
            results.append(False)

    # Hurting

    def is_running(self, number: int) -> bool:
        """Whether a node's process is there (paused counts)."""
        process = self._processes.get(number)
        return process is not None and process.poll() is None

    def process_id(self, number: int) -> int:
        """The id of a node's main process."""
        return self._processes[number].pid

    def mariadb_process_ids(self, number: int) -> list[int]:
        """The ids of the MariaDB servers on a node's data; more than one only while something is wrong."""
        return server_processes(self.node(number).directory)

    def process_ids(self, number: int, part: Part = Part.BOTH) -> list[int]:
        """The ids of all of a node's processes, or of one part of them; the node's own come first."""
        servers = self.mariadb_process_ids(number)
        node: list[int] = []
        if part is not Part.MARIADB and self.is_running(number):
            node = with_descendants(self.process_id(number), without=servers)
        return node + (servers if part is not Part.NODE else [])

    def kill(self, number: int, part: Part = Part.BOTH) -> None:
        """`kill -9` a node, its MariaDB, or both; returns when they are gone."""
        pids = self.process_ids(number, part)
        if part is not Part.MARIADB:
            self._expected_dead.add(number)
        kill_now(pids)
        if part is not Part.MARIADB and (process := self._processes.get(number)) is not None:
            process.wait()

    def pause(self, number: int, part: Part = Part.BOTH) -> None:
        """Stop a node's processes where they stand (SIGSTOP)."""
        send_signal(self.process_ids(number, part), signal.SIGSTOP)

    def resume(self, number: int, part: Part = Part.BOTH) -> None:
        """Let paused processes go on (SIGCONT)."""
        send_signal(self.process_ids(number, part), signal.SIGCONT)

    def resume_all(self) -> None:
        """Let everything go on, so that it can be stopped."""
        for number in self.numbers:
            self.resume(number)

    async def wait_dead(self, pids: Iterable[int], timeout_seconds: float = DEFAULT_WAIT_SECONDS) -> None:
        """Wait until none of these processes is there any more, reaped or not."""
        wanted = list(pids)
        with trio.move_on_after(timeout_seconds):
            for pid in wanted:
                await wait_ended(pid)
            return
        alive = [pid for pid in wanted if is_alive(pid)]
        raise WaitedInVainError("processes to end", timeout_seconds, f"alive: {alive}")

    # Asking and waiting

    async def status(self, number: int) -> NodeStatus | None:
        """A node's own status; None when it does not answer within two seconds."""
        try:
            return await fetch_status(self.node(number).endpoint, timeout_seconds=_STATUS_TIMEOUT_SECONDS)
        except ApiError:
            return None

    async def statuses(self) -> dict[int, NodeStatus | None]:
        """All nodes' status, asked at the same time."""
        found: dict[int, NodeStatus | None] = dict.fromkeys(self.numbers)

        async def ask(number: int) -> None:
            found[number] = await self.status(number)

        async with trio.open_nursery() as nursery:
            for number in self.numbers:
                if self.is_running(number):
                    nursery.start_soon(ask, number)
        return found

    async def wait_for(
        self,
        condition: Condition,
        what: str,
        timeout_seconds: float = DEFAULT_WAIT_SECONDS,
        report: Reporter = lambda _: None,
    ) -> Statuses:
        """Ask all nodes again and again until a condition over their status holds; returns that status.

        Args:
            condition: see `conditions`.
            what: completes "waiting for ..." in the error.
            timeout_seconds: for how long at most.
            report: told in words whenever what is found changes.

        Raises:
            WaitedInVainError: in time it did not.
            NodeEndedError: a node's process ended that nobody stopped.
        """
        found: Statuses = {}
        told = ""
        with trio.move_on_after(timeout_seconds):
            while True:
                self.check_processes()
                found = await self.statuses()
                if condition(found):
                    return found
                if (now := _progress(found)) != told:
                    report(now)
                    told = now
                await trio.sleep(_POLL_SECONDS)
        raise WaitedInVainError(what, timeout_seconds, describe(found))

    async def wait_writable(self, *, other_than: int | None = None) -> int:
        """Wait for a node that takes writes, and is not the one given; returns its number."""
        found = await self.wait_for(
            lambda statuses: writable_node(statuses) not in {None, other_than}, "a node that takes writes"
        )
        number = writable_node(found)
        assert number is not None
        return number

    def check_processes(self) -> None:
        """Raise `NodeEndedError` for a node that ended without having been stopped or killed."""
        for number, process in self._processes.items():
            if number not in self._expected_dead and process.poll() is not None:
                self._expected_dead.add(number)
                raise NodeEndedError(self.node(number).name, process.returncode, self.log_tail(number))

    def log_tail(self, number: int, lines: int = _LOG_TAIL_LINES) -> str:
        """The last lines of a node's log."""
        try:
            text = self.node(number).log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    async def query(self, number: int, sql: str, database: str | None = None) -> tuple[Row, ...]:
        """Run a statement on a node's own MariaDB, beside the proxy, with the node's account."""
        [rows] = await self.run_on(number, [sql], database)
        return rows

    async def run_on(
        self, number: int, statements: Sequence[str], database: str | None = None
    ) -> list[tuple[Row, ...]]:
        """The same for several statements in one connection."""
        return await query_server(self._access(self.node(number).data_dir), statements, database)

    async def on_writable(self, statements: Sequence[str]) -> list[tuple[Row, ...]]:
        """Run statements that may be run twice on whichever node takes writes, past a change of leader."""
        with trio.move_on_after(DEFAULT_WAIT_SECONDS):
            while True:
                number = await self.wait_writable()
                try:
                    return await self.run_on(number, statements)
                except (pymysql.err.OperationalError, pymysql.err.InterfaceError):
                    # The leader may have changed between asking and running.
                    await trio.sleep(_POLL_SECONDS)
        raise WaitedInVainError(
            "the node's account on the leader", DEFAULT_WAIT_SECONDS, describe(await self.statuses())
        )


@asynccontextmanager
async def running_cluster(
    plan: ClusterPlan, *, access: DatabaseAccess, report: Reporter = lambda _: None
) -> AsyncIterator[DemoCluster]:
    """A started cluster that is stopped and cleaned of processes on the way out; its files stay."""
    cluster = DemoCluster(plan, access=access)
    try:
        await cluster.start(report)
        yield cluster
    finally:
        await cluster.stop()


def _progress(statuses: Statuses) -> str:
    parts = []
    for number, status in statuses.items():
        if status is None:
            parts.append(f"node-{number}: starting")
            continue
        clone = status.database.clone
        detail = f" {clone.received_bytes / 2**20:.0f} MiB from {clone.donor}, {clone.phase}" if clone else ""
        parts.append(f"{status.name}: {status.role.value}, MariaDB {status.database.state.value}{detail}")
    return "; ".join(parts)
