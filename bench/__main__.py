"""`python -m bench`: everything side by side in one run; writes its sections of docs/performance.md.

python -m bench [--rounds 3] [--seconds 8] [--threads 1,16,64] [--only throughput|outages|relay|levels]
    [--dry-run]
"""

import argparse
import shutil
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trio

from bench import levels, relay
from bench.outages import longest_gap
from bench.report import made_by, write_sections
from bench.servers import Server, galera, single_mariadb
from bench.sysbench import Endpoint, prepare, run
from wolfscale.app.admin import admin_connection_info
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.conditions import level, serving
from wolfscale.demo.plan import ClusterPlan, Settings

SCRIPTS = ("oltp_point_select", "oltp_write_only", "oltp_insert")
PEER_PACKAGES = ("sysbench", "galera-4", "rsync", "haproxy")
RELAY_THREADS = [16]
BASE = "single MariaDB"

Rates = dict[tuple[str, int, str], list[float]]
"""Script, threads, system -> transactions per second of each round."""


def main() -> None:
    """Run what the arguments ask for and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--threads", default="1,16,64")
    parser.add_argument("--only", choices=["throughput", "outages", "relay", "levels"])
    parser.add_argument("--dry-run", action="store_true", help="print the sections only")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    subprocess.run([str(root / "docker" / "install-packages"), *PEER_PACKAGES], check=True)
    threads = [int(count) for count in arguments.threads.split(",")]
    directory = Path(tempfile.mkdtemp(prefix="wolfscale-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        sections = []
        rounds, seconds, only = arguments.rounds, arguments.seconds, arguments.only
        if only in (None, "throughput"):
            rates = trio.run(throughput, directory, rounds, seconds, threads)
            sections.append(throughput_section(rates, rounds, seconds))
        if only in (None, "outages"):
            sections.append(outages_section(trio.run(outages, directory, rounds), rounds))
        if only in (None, "relay"):
            runs = trio.run(relaying, directory, rounds, seconds)
            sections.append(relay.section(runs, rounds, seconds))
        if only in (None, "levels"):
            sections.append(levels.section(trio.run(reading, directory, rounds, seconds), rounds, seconds))
        print("\n".join(sections))
        if not arguments.dry_run:
            write_sections(*sections)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _start(directory: Path, settings: Mapping[int, Settings] | None = None) -> DemoCluster:
    plan = ClusterPlan.with_free_ports(directory, node_settings=settings)
    cluster = DemoCluster(plan, access=admin_connection_info)
    await cluster.start()
    return cluster


async def throughput(directory: Path, rounds: int, seconds: int, threads: list[int]) -> Rates:
    """Measure every system with every script, alternating inside each round."""
    rates: Rates = {}
    cluster = await _start(directory / "wolfscale")
    try:
        leader = await cluster.wait_writable()
        follower = next(number for number in cluster.numbers if number != leader)
        with single_mariadb(directory) as single, galera(directory) as peers:
            await cluster.on_writable(["CREATE DATABASE IF NOT EXISTS sbtest"])
            leader_port = cluster.node(leader).mysql_port
            follower_port = cluster.node(follower).mysql_port
            systems = [
                single.endpoint(BASE),
                Endpoint(name="WolfScale, leader's proxy", host="127.0.0.1", port=leader_port),
                Endpoint(name="WolfScale, follower's proxy", host="127.0.0.1", port=follower_port),
                peers[0].endpoint("Galera"),
            ]
            for endpoint in (systems[0], systems[1], systems[3]):
                prepare(endpoint)
            await cluster.wait_for(level(*cluster.numbers), "all nodes to be level")
            for _ in range(rounds):
                for script in SCRIPTS:
                    for count in threads:
                        for endpoint in systems:
                            rate = await trio.to_thread.run_sync(
                                lambda e=endpoint, s=script, c=count: run(e, s, threads=c, seconds=seconds)  # type: ignore[misc]
                            )
                            rates.setdefault((script, count, endpoint.name), []).append(rate)
                            print(f"{script} {count} threads, {endpoint.name}: {rate:.0f}/s", flush=True)
    finally:
        await cluster.stop()
    return rates


async def outages(directory: Path, rounds: int) -> dict[str, list[float]]:
    """Measure the seconds without writes for each kind of harm."""
    gaps: dict[str, list[float]] = {}

    def note(what: str, gap: float) -> None:
        gaps.setdefault(what, []).append(gap)
        print(f"{what}: {gap:.2f} s", flush=True)

    cluster = await _start(directory / "wolfscale-outages")
    try:
        for _ in range(rounds):
            for harm in ("killed", "stopped"):
                for victim in ("leader", "follower"):
                    note(f"WolfScale, {victim} {harm}", await _harm_wolfscale(cluster, victim, harm))
    finally:
        await cluster.stop()
    for round_number in range(rounds):
        for harm in ("killed", "stopped"):
            with galera(directory / f"outage-{round_number}-{harm}") as peers:
                note(f"Galera, a node {harm}", await trio.to_thread.run_sync(_harm_galera, peers, harm))
    return gaps


async def _harm_wolfscale(cluster: DemoCluster, victim: str, harm: str) -> float:
    await cluster.wait_for(serving(*cluster.numbers), "all nodes to serve")
    leader = await cluster.wait_writable()
    number = leader if victim == "leader" else next(n for n in cluster.numbers if n != leader)
    ports = [cluster.node(n).mysql_port for n in cluster.numbers if n != number]

    def hurt() -> None:
        if harm == "killed":
            cluster.kill(number)
        else:
            cluster.pause(number)

    gap = await trio.to_thread.run_sync(longest_gap, ports, "demo", hurt)
    if harm == "killed":
        cluster.launch(number)
    else:
        cluster.resume(number)
    await cluster.wait_for(level(*cluster.numbers), "the harmed node to catch up")
    return gap


def _harm_galera(peers: list[Server], harm: str) -> float:
    number = signal.SIGKILL if harm == "killed" else signal.SIGSTOP
    ports = [peer.port for peer in peers[1:]]
    return longest_gap(ports, "sbtest", lambda: peers[0].signal(number))


async def relaying(directory: Path, rounds: int, seconds: int) -> relay.Runs:
    """Measure the proxy beside HAProxy."""
    cluster = await _start(directory / "wolfscale-relay", relay.settings(range(1, 4)))
    try:
        return await relay.relay(cluster, directory, rounds=rounds, seconds=seconds, threads=RELAY_THREADS)
    finally:
        await cluster.stop()


async def reading(directory: Path, rounds: int, seconds: int) -> levels.Rates:
    """Measure levels of consistency beside writers."""
    cluster = await _start(directory / "wolfscale-levels", levels.settings())
    try:
        return await levels.levels(cluster, rounds=rounds, seconds=seconds)
    finally:
        await cluster.stop()


def throughput_section(rates: Rates, rounds: int, seconds: int) -> str:
    """Medians, and ratios to what stands beside them in the same run."""
    lines = ["## Throughput (sysbench, 4 tables of 10,000 rows)", ""]
    lines += made_by(f"--only throughput --rounds {rounds} --seconds {seconds}", rounds, seconds)
    lines += [
        "| script | threads | system | transactions/s | of single | of Galera |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for script, threads in dict.fromkeys((script, count) for script, count, _ in rates):
        group = {name: values for (s, c, name), values in rates.items() if (s, c) == (script, threads)}
        medians = {name: statistics.median(values) for name, values in group.items()}
        for name, median in medians.items():
            of_single = median / medians[BASE]
            of_galera = median / medians["Galera"]
            lines.append(
                f"| {script} | {threads} | {name} | {median:,.0f} | {of_single:.2f} | {of_galera:.2f} |"
            )
    return "\n".join(lines) + "\n"


def outages_section(gaps: dict[str, list[float]], rounds: int) -> str:
    """Medians and the worst of all rounds."""
    lines = ["## Seconds without an acknowledged write", ""]
    lines += made_by(f"--only outages --rounds {rounds}", rounds)
    lines += [
        "Four writers on the other two nodes.",
        "",
        "| what happened | median | worst |",
        "|---|--:|--:|",
    ]
    for what, values in gaps.items():
        lines.append(f"| {what} | {statistics.median(values):.2f} | {max(values):.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
