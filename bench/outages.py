"""The seconds without an acknowledged write while a node is killed or stopped."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import pymysql

WRITERS = 4
WARM_UP_SECONDS = 3.0
WATCH_SECONDS = 15.0
TABLE = (
    "CREATE TABLE IF NOT EXISTS outage (id BIGINT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6) DEFAULT NOW(6))"
)


def longest_gap(ports: Sequence[int], database: str, harm: Callable[[], None]) -> float:
    """Write through `ports`, do the harm, and return the longest time without an OK after it, in seconds.

    Args:
        ports: loopback ports that stay alive; the writers share them.
        database: where the table `outage` is made.
        harm: what happens after the warm-up.
    """
    with _connect(ports[0], database) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
    stop = threading.Event()
    moments: list[float] = []
    threads = [
        threading.Thread(target=_write, args=(ports[n % len(ports)], database, stop, moments), daemon=True)
        for n in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP_SECONDS)
    harmed = time.monotonic()
    harm()
    time.sleep(WATCH_SECONDS)
    ended = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join(timeout=60)
    edges = [harmed, *sorted(at for at in moments if harmed <= at <= ended), ended]
    return max(later - earlier for earlier, later in itertools.pairwise(edges))


def _connect(port: int, database: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host="127.0.0.1",
        port=port,
        user="app",
        password="secret",
        database=database,
        autocommit=True,
        connect_timeout=2,
        read_timeout=30,
    )


def _write(port: int, database: str, stop: threading.Event, moments: list[float]) -> None:
    while not stop.is_set():
        try:
            with _connect(port, database) as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute("INSERT INTO outage () VALUES ()")
                    moments.append(time.monotonic())
        except (pymysql.Error, OSError):
            stop.wait(0.02)
