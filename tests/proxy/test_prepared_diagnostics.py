"""SHOW WARNINGS and SHOW ERRORS as prepared statements speak of the statement before, wherever that ran."""

import pytest
from proxy_pair import Pair, cluster, shared_servers
from raw_client import raw_client

from wolfscale.mysql.errors import ServerError

servers = shared_servers
pytestmark = pytest.mark.mariadb


@pytest.mark.parametrize("tail", ["", " FOR UPDATE"], ids=["here", "leader"])
async def test_warnings_of_an_execution(servers: Pair, tail: str) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SELECT v + 1 FROM t WHERE id = 1" + tail)
        await client.execute(statement)
        asking = await client.prepare("SHOW WARNINGS")
        for _ in range(2):
            assert any(b"Truncated incorrect" in packet for packet in await client.execute(asking))


@pytest.mark.parametrize("failing", ["SELECT nothing FROM t", "INSERT INTO t SELECT nothing FROM t"])
async def test_error_of_a_preparation(servers: Pair, failing: str) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(ServerError, match="1054"):
            await client.prepare(failing)
        asking = await client.prepare("SHOW ERRORS")
        for _ in range(2):
            assert any(b"nothing" in packet for packet in await client.execute(asking))
