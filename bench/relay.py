"""What the proxy costs: reads through a follower's proxy, beside HAProxy before the same MariaDB server."""

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.report import made_by
from bench.servers import free_port
from bench.sysbench import Endpoint, prepare, run
from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.cluster import DemoCluster, Part
from wolfscale.demo.conditions import level
from wolfscale.demo.plan import Settings
from wolfscale.demo.processes import processor_seconds

SCRIPTS: dict[str, tuple[str, ...]] = {
    "oltp_point_select": (),
    # A transaction is the leader's unless it is begun as READ ONLY: so the reads are measured without one.
    "oltp_read_only": ("--skip-trx=on",),
}
PROTOCOLS: dict[str, tuple[str, ...]] = {"text": ("--db-ps-mode=disable",), "prepared": ()}
OVER_TCP, OVER_SOCKET, PROXY = "HAProxy over TCP", "HAProxy over the socket", "WolfScale"
START_SECONDS = 10

_CONFIGURATION = """\
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
listen tcp
  bind 127.0.0.1:{over_tcp}
  server follower 127.0.0.1:{server}
listen socket
  bind 127.0.0.1:{over_socket}
  server follower unix@{socket}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        rate: transactions a second.
        cost_us: processor time of the proxy's process for each transaction, in microseconds.
    """

    rate: float
    cost_us: float


Runs = dict[tuple[str, str, int], dict[str, list[Run]]]
"""Script, protocol, threads -> system -> its runs."""


async def relay(
    cluster: DemoCluster, directory: Path, *, rounds: int, seconds: int, threads: list[int]
) -> Runs:
    """Measure HAProxy, over both ways to the follower's MariaDB server, and the proxy by turns.

    Args:
        cluster: one whose servers listen on TCP too: `settings`.
        directory: for HAProxy's configuration.
        rounds: of all.
        seconds: of each run.
        threads: clients at once.
    """
    leader = await cluster.wait_writable()
    follower = next(number for number in cluster.numbers if number != leader)
    await cluster.on_writable(["CREATE DATABASE IF NOT EXISTS sbtest"])
    prepare(Endpoint(name="leader", host="127.0.0.1", port=cluster.node(leader).mysql_port))
    await cluster.wait_for(level(*cluster.numbers), "all nodes to be level")
    server = cluster.node(follower)
    socket_path, _, _ = admin_connection_info(server.data_dir)
    runs: Runs = {}
    _node, *workers = cluster.process_ids(follower, Part.NODE)
    proxy = Endpoint(name=PROXY, host="127.0.0.1", port=server.mysql_port)
    with haproxy(directory, socket_path, int(str(server.settings["database"]["port"]))) as (befores, process):
        systems = (*((before, [process]) for before in befores), (proxy, workers))
        for _ in range(rounds):
            for script, options in SCRIPTS.items():
                for protocol, flags in PROTOCOLS.items():
                    for count in threads:
                        for endpoint, processes in systems:
                            done = await trio.to_thread.run_sync(
                                measure, endpoint, processes, script, count, seconds, (*options, *flags)
                            )
                            group = runs.setdefault((script, protocol, count), {})
                            group.setdefault(endpoint.name, []).append(done)
                            print(
                                f"{script}, {protocol}, {count} threads, {endpoint.name}: {done.rate:.0f}/s, "
                                f"{done.cost_us:.0f} us of a processor each",
                                flush=True,
                            )
    return runs


def measure(
    endpoint: Endpoint,
    processes: list[int],
    script: str,
    threads: int,
    seconds: int,
    options: tuple[str, ...],
) -> Run:
    """One run of sysbench, and what it cost the processes in between."""
    before = sum(map(processor_seconds, processes))
    rate = run(endpoint, script, threads=threads, seconds=seconds, options=options)
    cost = sum(map(processor_seconds, processes)) - before
    return Run(rate, cost / (rate * seconds) * 1e6)


def settings(numbers: Sequence[int]) -> dict[int, Settings]:
    """What the nodes' configuration needs: their servers listen on TCP as well."""
    return {number: {"database": {"port": free_port()}} for number in numbers}


@contextlib.contextmanager
def haproxy(directory: Path, socket_path: str, server_port: int) -> Iterator[tuple[list[Endpoint], int]]:
    """HAProxy (TCP mode, one thread) before a MariaDB server; where it listens, and its process id."""
    ports = {OVER_TCP: free_port(), OVER_SOCKET: free_port()}
    configuration = directory / "haproxy.cfg"
    configuration.write_text(
        _CONFIGURATION.format(
            over_tcp=ports[OVER_TCP], over_socket=ports[OVER_SOCKET], server=server_port, socket=socket_path
        ),
        encoding="utf-8",
    )
    process = subprocess.Popen(["haproxy", "-db", "-f", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(map(_listens, ports.values())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"haproxy did not start; see `haproxy -c -f {configuration}`")
            time.sleep(0.05)
        yield [Endpoint(name=name, host="127.0.0.1", port=port) for name, port in ports.items()], process.pid
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    listening = f"0100007F:{port:04X} 00000000:0000 0A"
    return listening in Path("/proc/net/tcp").read_text(encoding="ascii")


def section(runs: Runs, rounds: int, seconds: int) -> str:
    """The report's section."""
    lines = ["## Relaying", ""]
    lines += made_by(f"--only relay --rounds {rounds} --seconds {seconds}", rounds, seconds)
    lines += [
        "Reads through a follower's proxy, and through HAProxy (TCP mode, one thread) before the same",
        "follower's MariaDB server: over TCP, as from a machine of its own or beside the application, and",
        "over the server's unix socket, as the proxy does. The proxy classifies each statement and follows",
        "each response; HAProxy passes bytes on. `oltp_read_only` runs with `--skip-trx=on`: 14 statements",
        "a transaction, four of them of 100 rows. With BEGIN and COMMIT around them they would be the",
        "leader's. Each ratio is the median of the rounds' ratios.",
        "",
        "| script | protocol | threads | HAProxy over TCP | over the socket | WolfScale "
        "| of HAProxy over TCP | over the socket "
        "| CPU each: HAProxy over TCP | over the socket | WolfScale |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    systems = (OVER_TCP, OVER_SOCKET, PROXY)
    for (script, protocol, threads), group in runs.items():
        rates = [statistics.median(item.rate for item in group[name]) for name in systems]
        costs = [statistics.median(item.cost_us for item in group[name]) for name in systems]
        ratios = [
            statistics.median(
                mine.rate / other.rate for mine, other in zip(group[PROXY], group[name], strict=True)
            )
            for name in (OVER_TCP, OVER_SOCKET)
        ]
        cells = [script, protocol, str(threads), *(f"{rate:,.0f}/s" for rate in rates)]
        cells += [*(f"{ratio:.2f}" for ratio in ratios), *(f"{cost:.0f} us" for cost in costs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
