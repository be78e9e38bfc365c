"""A replica becomes a primary while sessions of others are on its server."""

import pytest
import trio

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.replication.capture import Capture
from wolfscale.replication.promotion import become_primary
from wolfscale.testing.single_server import Node, fresh_node, until_true

pytestmark = pytest.mark.mariadb

TERM = 7
USER, PASSWORD = "client", "secret"
PAST_PROXIES = b"PROXY UNKNOWN\r\n"
THROUGH_A_PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 3306\r\n"


async def session(node: Node, proxy_header: bytes) -> Connection:
    return await Connection.connect(
        user=USER,
        password=PASSWORD,
        socket_path=node.database.socket_path,
        proxy_header=proxy_header,
    )


async def test_session_past_proxies_cannot_go_on_under_the_old_server_id() -> None:
    async with fresh_node() as node, trio.open_nursery() as nursery:
        await node.boot()
        await node.database.query("SET GLOBAL read_only=0")
        await node.database.query("SET sql_log_bin=0")
        await node.database.query(f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'")
        await node.database.query(f"GRANT ALL ON *.* TO {USER}")
        await node.database.query("SET sql_log_bin=1")
        await node.database.query("SET GLOBAL read_only=1")
        idle, busy = await session(node, PAST_PROXIES), await session(node, PAST_PROXIES)
        proxied = await session(node, THROUGH_A_PROXY)
        assert await _server_id_of(idle) == await _server_id_of(proxied) != TERM

        async def run_for_a_while() -> None:
            await busy.query("SELECT SLEEP(0.3)")

        nursery.start_soon(run_for_a_while)
        await until_true(lambda: _sleeps(node, busy))

        def start_capture(position: Gtid | None) -> Capture:
            capture = Capture(connect=node.database.connect, log=node.log, term=TERM, start=position)
            nursery.start_soon(capture.run)
            return capture

        capture = await become_primary(
            node.database, node.store, term=TERM, node="node-1", start_capture=start_capture
        )
        for connection in (idle, busy):
            with pytest.raises(ConnectionLost):
                await connection.query("CREATE DATABASE late")
        # What reads through a proxy is not disturbed by the promotion.
        assert await _server_id_of(proxied) != TERM
        assert capture.acknowledged is not None
        assert capture.acknowledged.server_id == TERM
        await proxied.aclose()
        nursery.cancel_scope.cancel()


async def _server_id_of(connection: Connection) -> int:
    return int((await connection.query("SELECT @@server_id")).rows[0][0] or 0)


async def _sleeps(node: Node, connection: Connection) -> bool:
    rows = (await node.database.query("SHOW PROCESSLIST")).mappings()
    return any(row["Id"] == str(connection.connection_id) and row["State"] == "User sleep" for row in rows)
