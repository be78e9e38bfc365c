"""What the default level of reads costs beside writers: a follower at `node`, and one at `session`."""

import statistics
import subprocess

import trio

from bench.report import made_by
from bench.sysbench import Endpoint, command, prepare, run
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.conditions import level
from wolfscale.demo.plan import Settings

LEVELS = ("node", "session")
READERS, WRITERS = 12, 4
SCRIPT = "oltp_point_select"
WRITES = "oltp_update_index"
LEADER = 1

Rates = dict[str, list[float]]
"""Level -> reads a second of each round."""


def settings() -> dict[int, Settings]:
    """The followers' levels, by node; the node that founds the cluster leads it."""
    return {LEADER + 1 + place: {"proxy": {"consistency": name}} for place, name in enumerate(LEVELS)}


async def levels(cluster: DemoCluster, *, rounds: int, seconds: int) -> Rates:
    """Measure both followers by turns, each with writers of its own."""
    leader = await cluster.wait_writable()
    if leader != LEADER:
        raise RuntimeError(f"node {leader} leads, which is one to be measured: run it again")
    await cluster.on_writable(["CREATE DATABASE IF NOT EXISTS sbtest"])
    prepare(Endpoint(name="leader", host="127.0.0.1", port=cluster.node(leader).mysql_port))
    await cluster.wait_for(level(*cluster.numbers), "all nodes to be level")
    rates: Rates = {}
    for _ in range(rounds):
        for place, name in enumerate(LEVELS):
            port = cluster.node(LEADER + 1 + place).mysql_port
            endpoint = Endpoint(name=name, host="127.0.0.1", port=port)
            rate = await trio.to_thread.run_sync(measure, endpoint, seconds)
            rates.setdefault(name, []).append(rate)
            print(f"{SCRIPT} beside {WRITERS} writers, level {name}: {rate:.0f}/s", flush=True)
    return rates


def measure(endpoint: Endpoint, seconds: int) -> float:
    """Reads a second while writers write through the same proxy."""
    writing = subprocess.Popen(
        command(endpoint, WRITES, f"--threads={WRITERS}", f"--time={seconds + 2}", "run"),
        stdout=subprocess.DEVNULL,
    )
    try:
        return run(endpoint, SCRIPT, threads=READERS, seconds=seconds)
    finally:
        writing.terminate()
        writing.wait()


def section(rates: Rates, rounds: int, seconds: int) -> str:
    """The report's section."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(
        node / session for node, session in zip(rates["node"], rates["session"], strict=True)
    )
    lines = ["## Reads beside writers", ""]
    lines += made_by(f"--only levels --rounds {rounds} --seconds {seconds}", rounds, seconds)
    lines += [
        f"`{SCRIPT}` with {READERS} threads beside `{WRITES}` with {WRITERS}, through the same follower's",
        "proxy: at the default level `node` a read waits until the server has applied what any client of the",
        "node was told is committed; at `session` only for its own session's writes.",
        "",
        "| level | reads/s |",
        "|---|--:|",
        *(f"| {name} | {median:,.0f} |" for name, median in medians.items()),
        "",
        f"The median of the rounds' ratios is {ratio:.2f}.",
    ]
    return "\n".join(lines) + "\n"
