"""Runs Debian's sysbench against one MySQL address and reads its transactions per second."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

TABLES = 4
ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address that sysbench can load.

    Attributes:
        name: how the tables call it.
        host: address, loopback.
        port: TCP port.
        database: the schema that holds sysbench's tables.
    """

    name: str
    host: str
    port: int
    database: str = "sbtest"


def command(endpoint: Endpoint, script: str, *options: str) -> list[str]:
    """The arguments of sysbench for one script at an endpoint."""
    return [
        "sysbench",
        script,
        "--db-driver=mysql",
        f"--mysql-host={endpoint.host}",
        f"--mysql-port={endpoint.port}",
        "--mysql-user=app",
        "--mysql-password=secret",
        f"--mysql-db={endpoint.database}",
        f"--tables={TABLES}",
        f"--table-size={ROWS}",
        *options,
    ]


def prepare(endpoint: Endpoint) -> None:
    """Create and fill sysbench's tables."""
    subprocess.run(command(endpoint, "oltp_read_write", "prepare"), check=True, stdout=subprocess.DEVNULL)


def run(endpoint: Endpoint, script: str, *, threads: int, seconds: int, options: Sequence[str] = ()) -> float:
    """Run one script and return its transactions per second.

    Args:
        endpoint: where.
        script: one of sysbench's own.
        threads: clients at once.
        seconds: how long.
        options: more of sysbench's.

    Raises:
        RuntimeError: sysbench failed; the message holds its last lines.
    """
    done = subprocess.run(
        command(endpoint, script, f"--threads={threads}", f"--time={seconds}", *options, "run"),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"transactions:\s+\d+\s+\(([\d.]+) per sec", done.stdout)
    if done.returncode != 0 or found is None:
        raise RuntimeError(
            f"sysbench {script} on {endpoint.name} failed:\n{(done.stdout + done.stderr)[-1500:]}"
        )
    return float(found[1])
