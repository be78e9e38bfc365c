"""`wolfscale demo`: a cluster on this machine to try things on, and the scripted tour."""

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.live import Live

from wolfscale.app.admin import admin_connection_info
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.cli.tables import node_table, wide_console
from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.errors import DemoError
from wolfscale.demo.plan import HTTP_PORT, LOOPBACK, MYSQL_PORT, PEER_PORT, ClusterPlan, taken_ports
from wolfscale.demo.tour import Tour

_REFRESH_SECONDS = 0.5
_TOUR_NODES = 3


def command(
    nodes: Annotated[
        int, typer.Option("--nodes", "-n", metavar="NUMBER", min=1, max=9, help="How many nodes.")
    ] = 3,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where everything goes; not removed if it was there before. Default: a new one in /tmp.",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the directory behind.")] = False,
    mysql_port: Annotated[
        int,
        typer.Option(
            "--mysql-port",
            metavar="PORT",
            min=1024,
            max=65000,
            help="The first node's port for MySQL clients.",
        ),
    ] = MYSQL_PORT,
    http_port: Annotated[
        int,
        typer.Option(
            "--http-port", metavar="PORT", min=1024, max=65000, help="The first node's port for HTTP."
        ),
    ] = HTTP_PORT,
    peer_port: Annotated[
        int,
        typer.Option(
            "--peer-port",
            metavar="PORT",
            min=1024,
            max=65000,
            help="The first node's port for the other nodes.",
        ),
    ] = PEER_PORT,
    tour: Annotated[
        bool,
        typer.Option("--tour", help="Play the scripted tour and end; exits with 0 only if every step held."),
    ] = False,
) -> None:
    """Start a cluster on this machine, each node with a MariaDB of its own, and show it until Ctrl-C."""
    if tour and nodes < _TOUR_NODES:
        raise CommandError(f"the tour needs {_TOUR_NODES} nodes or more", exit_code=Exit.USAGE)
    with _Scratch(directory, keep=keep) as scratch:
        plan = ClusterPlan.with_fixed_ports(
            scratch.path, nodes, mysql_port=mysql_port, http_port=http_port, peer_port=peer_port
        )
        if taken := taken_ports(plan):
            ports = ", ".join(map(str, taken))
            raise CommandError(
                f"something else listens on port {ports} of {LOOPBACK}",
                next_step="stop it, or choose others with --mysql-port, --http-port and --peer-port",
            )
        show = _Show(plan, keep=scratch.is_kept)
        held = trio.run(show.run, tour)
    if not held:
        raise typer.Exit(int(Exit.FAILED))


class _Scratch:
    """The demo's directory: removed on the way out when it was made here and is not to be kept."""

    def __init__(self, directory: Path | None, *, keep: bool) -> None:
        self._existed = directory is not None and directory.exists()
        self.is_kept = keep or self._existed
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="wolfscale-demo-", dir="/tmp"))
            # The servers run as another user than root and must be able to walk through.
            directory.chmod(0o711)
        self.path = directory.absolute()

    def __enter__(self) -> "_Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_kept:
            shutil.rmtree(self.path, ignore_errors=True)


class _Show:
    """One run of the demo on the terminal: progress, addresses, live table or tour, and a clean end."""

    def __init__(self, plan: ClusterPlan, *, keep: bool) -> None:
        self._plan = plan
        self._keep = keep
        self._console = wide_console()

    async def run(self, tour: bool) -> bool:
        """Whether everything that was to hold did; being told to stop is no failure."""
        cluster = DemoCluster(self._plan, access=admin_connection_info)
        held = not tour  # a tour that is interrupted has not held
        async with trio.open_nursery() as nursery:
            await nursery.start(_cancel_on_signal, nursery.cancel_scope)
            try:
                held = await self._play(cluster, tour=tour)
            except DemoError as error:
                held = False
                self._console.print(f"The cluster failed: {error}", style="red", markup=False)
            finally:
                self._console.print("Stopping ...")
                clean = await cluster.stop()
            nursery.cancel_scope.cancel()
        self._console.print("Stopped." if clean else "Stopped; not every node ended in good order by itself.")
        if self._keep:
            self._console.print(f"Everything is kept in {self._plan.directory}", markup=False)
        return held and clean

    async def _play(self, cluster: DemoCluster, *, tour: bool) -> bool:
        started = trio.current_time()

        def report(text: str) -> None:
            self._console.print(f"{trio.current_time() - started:7.2f} s  {text}", markup=False)

        self._console.print(f"Starting {len(self._plan.nodes)} nodes in {self._plan.directory}", markup=False)
        await cluster.start(report)
        report("all nodes are up")
        if tour:
            held = await Tour(cluster, lambda text: self._console.print(text, markup=False)).play()
            self._console.print("Every step held." if held else "A step did not hold; see above.")
            return held
        self._console.print(connection_help(self._plan), markup=False)
        await self._show_table(cluster)
        return True

    async def _show_table(self, cluster: DemoCluster) -> None:
        """Show all nodes until cancelled; a dead node too, since somebody may have killed it to see."""
        is_terminal = self._console.is_terminal
        with Live(console=self._console, auto_refresh=False, transient=is_terminal) as live:
            while True:
                statuses = await cluster.statuses()
                rows = [(cluster.node(number).name, status) for number, status in statuses.items()]
                if is_terminal:
                    live.update(node_table(rows, title="Ctrl-C stops everything"), refresh=True)
                await trio.sleep(_REFRESH_SECONDS)


async def _cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


def connection_help(plan: ClusterPlan) -> str:
    """Every node's addresses, with a line to paste for a client and a URL for SQLAlchemy."""
    lines = [f"Account {ACCOUNT}, password {PASSWORD}, database {DATABASE}; connect to any node:"]
    for node in plan.nodes:
        lines += [
            "",
            f"  {node.name}   {node.endpoint}/ (dashboard, /status, /docs)   {node.log_path}",
            f"    mariadb -h {LOOPBACK} -P {node.mysql_port} -u {ACCOUNT} -p{PASSWORD} {DATABASE}",
            f"    mysql+pymysql://{ACCOUNT}:{PASSWORD}@{LOOPBACK}:{node.mysql_port}/{DATABASE}",
        ]
    return "\n".join([*lines, ""])
