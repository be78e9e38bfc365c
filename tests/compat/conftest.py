"""Two addresses that must answer alike: a follower's proxy, and a MariaDB server itself."""

from collections.abc import Iterator

import pytest
import trio
from compat_addresses import Address, Addresses

from wolfscale.app.admin import admin_connection_info
from wolfscale.certificates import AUTHORITY_FILE
from wolfscale.demo.accounts import account_statements, database_statement
from wolfscale.demo.cluster import DemoCluster
from wolfscale.demo.plan import ClusterPlan
from wolfscale.testing.mariadb import ScratchMariaDB, scratch_directory

SCHEMAS = ("test", "test_schema")
# What a managed server is told beyond its defaults and a client can see.
_ARGUMENTS = (
    "--log-bin=binlog",
    "--server-id=1",
    "--binlog-format=ROW",
    "--innodb-snapshot-isolation=ON",
    "--log-bin-trust-function-creators=ON",
    "--max-connections=500",
    "--max-allowed-packet=1G",
    "--performance-schema=OFF",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
)


@pytest.fixture(scope="session")
def addresses() -> Iterator[Addresses]:
    directory = scratch_directory("ws-compat-")
    cluster = DemoCluster(ClusterPlan.with_free_ports(directory / "cluster"), access=admin_connection_info)
    with ScratchMariaDB(arguments=_ARGUMENTS, tcp=True) as server:
        schemas = [f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4" for name in SCHEMAS]
        for statement in (*account_statements(), database_statement(), *schemas):
            server.execute(statement)
        try:
            trio.run(cluster.start)
            follower = trio.run(_prepare, cluster, schemas)
            assert server.port is not None
            yield Addresses(
                direct=Address(port=server.port),
                proxied=Address(port=cluster.node(follower).mysql_port),
                authority=cluster.node(follower).data_dir / AUTHORITY_FILE,
            )
        finally:
            trio.run(cluster.stop)


async def _prepare(cluster: DemoCluster, schemas: list[str]) -> int:
    leader = await cluster.wait_writable()
    await cluster.on_writable(schemas)
    return next(number for number in cluster.numbers if number != leader)
