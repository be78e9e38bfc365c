"""`wolfscale proxy` as a process beside a cluster under test, and what its clients ask."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymysql
import trio
from cluster_clients import Client
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK, free_ports


class StandaloneProxy:
    """A running one.

    Attributes:
        port: where it takes clients.
    """

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def connect(self, *, user: str = ACCOUNT, password: str = PASSWORD, **options: Any) -> Client:
        """A client, autocommit on; blocks."""
        return pymysql.connect(
            host=LOOPBACK,
            port=self.port,
            user=user,
            password=password,
            database=DATABASE,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=30,
            read_timeout=int(PATIENCE),
            write_timeout=int(PATIENCE),
            **options,
        )

    async def clients(self, count: int) -> list[Client]:
        """Several clients, one after the other."""
        return [await trio.to_thread.run_sync(self.connect) for _ in range(count)]

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text(encoding="utf-8")


@asynccontextmanager
async def standalone_proxy(
    cluster: ClusterUnderTest, peers: Sequence[int] = (1,), *, servers: int | None = None, **settings: object
) -> AsyncIterator[StandaloneProxy]:
    """Run a proxy that is given some of the cluster's nodes; as soon as it knows all that have a MariaDB.

    Args:
        cluster: running.
        peers: the nodes' numbers.
        servers: how many nodes have a MariaDB; None: all.
        settings: keys under [proxy].
    """
    [port] = free_ports(1)
    directory = cluster.plan.directory
    config, log = directory / f"proxy-{port}.toml", directory / f"proxy-{port}.log"
    keys = "".join(f"{name} = {value}\n" for name, value in settings.items())
    addresses = [cluster.node(number).peer_address for number in peers]
    config.write_text(
        f'[node]\nid = "proxy"\ndata_dir = "{directory / "proxy"}"\n'
        f'[cluster]\npeers = {addresses}\nsecret_file = "{cluster.plan.secret_path}"\n'
        f'[proxy]\nbind_address = "{LOOPBACK}:{port}"\n{keys}',
        encoding="utf-8",
    )
    process = _start(config, log)
    proxy = StandaloneProxy(port, log)
    try:
        with trio.fail_after(PATIENCE):
            while proxy.log.count("following a node") < (servers or len(cluster.numbers)):
                assert process.poll() is None, proxy.log
                await trio.sleep(POLL_SECONDS)
        yield proxy
    except BaseException:
        print(proxy.log)
        raise
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _start(config: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "wolfscale", "proxy", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("WOLFSCALE_")},
        )


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    """What a statement answers; blocks."""
    with client.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def reads_at(client: Client) -> str:
    """Where the session would read now, by name: "leader" or a node's."""
    name = rows(client, "WOLFSCALE EXPLAIN SELECT * FROM users")[0][0]
    assert isinstance(name, str)
    return name


def status(client: Client, name: str) -> str:
    """One line of SHOW WOLFSCALE STATUS."""
    [(_, value)] = rows(client, f"SHOW WOLFSCALE STATUS LIKE 'Wolfscale_{name}'")
    assert isinstance(value, str)
    return value
