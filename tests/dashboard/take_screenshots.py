"""Takes the pictures of the dashboard in docs/images, of a real cluster with clients: `make screenshots`.

A cluster of three runs for some minutes while clients read and write through all nodes, more and less of
them as by day and night. Its leader is killed and comes back, so that there is something to see.
"""

import argparse
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import trio

from wolfscale.app.admin import admin_connection_info
from wolfscale.demo import ClusterPlan, DemoCluster, Part, running_cluster
from wolfscale.demo.conditions import serving
from wolfscale.demo.writers import CREATE_TABLE, TABLE, Client, connect
from wolfscale.testing.chromium import Chromium, Page, find_chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CLIENTS = 12
READS_A_WRITE = 5
WAVE_SECONDS = 70.0
FASTEST_ROUNDS_PER_SECOND = 12.0
RETRY_SECONDS = 0.2
HEIGHT = 1250
"""Of the pictures: enough for all but the oldest events."""


class Clients:
    """Threads that read and write through all nodes at a pace that goes up and down."""

    def __init__(self, cluster: DemoCluster) -> None:
        self._ports = [cluster.node(number).mysql_port for number in cluster.numbers]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(CLIENTS)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """They run within the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _run(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            try:
                self._work(connect(self._ports[turn % len(self._ports)]), number)
            except (pymysql.err.MySQLError, OSError):
                turn += 1
                self._stop.wait(RETRY_SECONDS)

    def _work(self, connection: Client, number: int) -> None:
        try:
            with connection.cursor() as cursor:
                while not self._stop.is_set():
                    cursor.execute(
                        f"INSERT INTO {TABLE} (writer, number, note) VALUES (%s, %s, 'x') "
                        "ON DUPLICATE KEY UPDATE note = 'again'",
                        (number, time.monotonic_ns() >> 20),
                    )
                    for _ in range(READS_A_WRITE):
                        cursor.execute(f"SELECT note FROM {TABLE} WHERE writer = %s LIMIT 1", (number,))
                    self._stop.wait(self._pause(number))
        finally:
            connection._force_close()  # type: ignore[attr-defined]

    def _pause(self, number: int) -> float:
        wave = math.sin(time.monotonic() * math.tau / WAVE_SECONDS + number / CLIENTS)
        return 1 / (FASTEST_ROUNDS_PER_SECOND * (0.6 + 0.4 * wave))


async def take(page: Page, name: str) -> None:
    """Save what the page looks like now."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    picture = await page.screenshot()
    (IMAGES / name).write_bytes(picture)
    print(f"{name}: {len(picture) // 1024} KiB")


async def open_dashboard(page: Page, cluster: DemoCluster, number: int) -> None:
    """Open a node's page with three minutes in its plots."""
    await page.goto(f"{cluster.node(number).endpoint}/")
    await page.wait_until("document.body?.dataset.state === 'live'")
    await page.evaluate("document.querySelector('input[name=minutes][value=\"3\"]').click()")


async def play(cluster: DemoCluster, chromium: Chromium, seconds: float) -> None:
    """Have something happen, and take the pictures."""
    await cluster.on_writable(["USE demo", CREATE_TABLE])
    with Clients(cluster).running():
        await trio.sleep(seconds / 2)
        killed = await cluster.wait_writable()
        cluster.kill(killed, Part.BOTH)
        leader = await cluster.wait_writable(other_than=killed)
        [other] = {*cluster.numbers} - {killed, leader}
        await trio.sleep(5)
        cluster.launch(killed)
        await cluster.wait_for(serving(*cluster.numbers), "all nodes to serve")
        await trio.sleep(seconds / 2)
        async with chromium.open_page(height=HEIGHT) as page:
            await open_dashboard(page, cluster, leader)
            await take(page, "dashboard-light.png")
        async with chromium.open_page(width=390, height=1150, scale=1.5, touch=True) as page:
            await open_dashboard(page, cluster, other)
            await take(page, "dashboard-phone.png")
        cluster.kill(killed, Part.BOTH)
        async with chromium.open_page(height=HEIGHT, dark=True) as page:
            await open_dashboard(page, cluster, leader)
            await page.wait_until("document.querySelector('#members').innerText.includes('not heard from')")
            await page.point_at("#plots svg[role=slider]", across=0.7)
            await take(page, "dashboard-dark.png")


async def main(seconds: float) -> None:
    """Run the cluster and the browser."""
    binary = find_chromium()
    if binary is None:
        raise SystemExit("no Chromium here: run make browser-packages")
    with tempfile.TemporaryDirectory(prefix="wolfscale-screenshots-", dir="/tmp") as directory:
        # MariaDB runs as a user of its own and must reach its data below.
        os.chmod(directory, 0o755)
        plan = ClusterPlan.with_free_ports(Path(directory))
        async with running_cluster(plan, access=admin_connection_info, report=print) as cluster:
            chromium = Chromium(binary)
            try:
                await play(cluster, chromium, seconds)
            finally:
                chromium.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=170, help="of load before the pictures")
    trio.run(main, parser.parse_args().seconds)
