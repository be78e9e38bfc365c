"""What the proxy costs: reads through a follower's proxy, beside HAProxy before the same MariaDB server."""

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.report import made_by
from bench.servers import free_port
from bench.sysbench import Endpoint, prepare, run
from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.cluster import DemoCluster, Part
from wolfscale.demo.conditions import level
from wolfscale.demo.processes import processor_seconds

SCRIPTS: dict[str, tuple[str, ...]] = {
    "oltp_point_select": (),
    # A transaction is the leader's unless it is begun as READ ONLY: so the reads are measured without one.
    "oltp_read_only": ("--skip-trx=on",),
}
PROTOCOLS: dict[str, tuple[str, ...]] = {"text": ("--db-ps-mode=disable",), "prepared": ()}
HAPROXY, PROXY = "HAProxy", "WolfScale"
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
listen mariadb
  bind 127.0.0.1:{port}
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
    """Measure HAProxy and the proxy by turns."""
    leader = await cluster.wait_writable()
    follower = next(number for number in cluster.numbers if number != leader)
    await cluster.on_writable(["CREATE DATABASE IF NOT EXISTS sbtest"])
    prepare(Endpoint(name="leader", host="127.0.0.1", port=cluster.node(leader).mysql_port))
    await cluster.wait_for(level(*cluster.numbers), "all nodes to be level")
    socket_path, _, _ = admin_connection_info(cluster.node(follower).data_dir)
    runs: Runs = {}
    _node, *workers = cluster.process_ids(follower, Part.NODE)
    proxy = Endpoint(name=PROXY, host="127.0.0.1", port=cluster.node(follower).mysql_port)
    with haproxy(directory, socket_path) as (before, process):
        systems = ((before, [process]), (proxy, workers))
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


@contextlib.contextmanager
def haproxy(directory: Path, socket_path: str) -> Iterator[tuple[Endpoint, int]]:
    """HAProxy (TCP, one thread) before a MariaDB's unix socket; where it listens, and its process id."""
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(_CONFIGURATION.format(port=port, socket=socket_path), encoding="utf-8")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"haproxy did not start; see `haproxy -c -f {configuration}`")
            time.sleep(0.05)
        yield Endpoint(name=HAPROXY, host="127.0.0.1", port=port), process.pid
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
        "follower's MariaDB server. The proxy classifies each statement and follows each response; HAProxy",
        "passes bytes on. `oltp_read_only` runs with `--skip-trx=on`: 14 statements a transaction, four of",
        "them of 100 rows. With BEGIN and COMMIT around them they would be the leader's.",
        "",
        "| script | protocol | threads | HAProxy | WolfScale | of HAProxy | CPU each: HAProxy | WolfScale |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for (script, protocol, threads), group in runs.items():
        rates = {name: statistics.median(item.rate for item in items) for name, items in group.items()}
        costs = {name: statistics.median(item.cost_us for item in items) for name, items in group.items()}
        lines.append(
            f"| {script} | {protocol} | {threads} | {rates[HAPROXY]:,.0f}/s | {rates[PROXY]:,.0f}/s "
            f"| {rates[PROXY] / rates[HAPROXY]:.2f} | {costs[HAPROXY]:.0f} us | {costs[PROXY]:.0f} us |"
        )
    return "\n".join(lines) + "\n"
