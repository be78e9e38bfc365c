"""A worker as a process would run it: a control stream, listening sockets, real servers."""

import socket
from typing import Any

import pytest
import trio
import trio.testing
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from raw_client import raw_client

from wolfscale.proxy.control import serve_control
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.listener import Listener
from wolfscale.proxy.view import View
from wolfscale.proxy.worker import open_local_socket, serve

servers = shared_servers
pytestmark = pytest.mark.mariadb


async def test_worker_serves_what_its_control_stream_tells_and_ends_with_it(servers: Pair) -> None:
    node = Cluster(servers, leads=False)
    node.change(database_socket=servers.replica.socket_path)
    seen: list[str] = []

    async def handle(name: str, arguments: dict[str, Any]) -> Any:
        seen.append(name)
        if name == "accounts":
            return await node.account_rows(arguments["user"])
        return None

    async def leader(view: View, proxy_header: bytes) -> trio.abc.Stream:
        assert view.writable
        return await node.open_leader(proxy_header)

    listening = socket.create_server(("127.0.0.1", 0))
    node.address = listening.getsockname()
    proxy_end, node_end = trio.testing.memory_stream_pair()
    with pytest.RaisesGroup(ControlLost, flatten_subgroups=True):
        async with trio.open_nursery() as nursery, trio.open_nursery() as node_tasks:
            node_tasks.start_soon(node.watch)
            node_tasks.start_soon(serve_control, node_end, node.views, handle)
            listener = await nursery.start(serve, [listening], proxy_end, leader)
            assert isinstance(listener, Listener)

            def client() -> None:
                with node.connect() as connection:
                    rows(connection, "CREATE TABLE worked (a INT)")
                    assert rows(connection, "SELECT COUNT(*) FROM worked") == [(0,)]
                    rows(connection, "DROP TABLE worked")

            await node.run(client)
            assert listener.statistics.local_statements >= 1
            # The end of an intent is told after the client has its answer.
            with trio.fail_after(60):
                while len(seen) < 5:
                    await trio.sleep(0.005)
            node_tasks.cancel_scope.cancel()
    assert seen == ["accounts", "intent_begin", "intent_end", "intent_begin", "intent_end"]


@pytest.mark.parametrize("path", [None, "/nowhere/mariadb.sock"])
async def test_local_socket_that_is_not_there_is_an_os_error(path: str | None) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        await open_local_socket(View(database_socket=path), b"")


async def test_local_read_never_goes_back_behind_what_the_leader_showed(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        other = await servers.primary.connect()
        async with other:
            for _ in range(50):
                await other.query("INSERT INTO demo.t (v) VALUES ('other')")
                seen = await client.query("SELECT COUNT(*) FROM t WHERE v = 'other' FOR UPDATE")
                assert await client.query("SELECT COUNT(*) FROM t WHERE v = 'other'") == seen
            await other.query("DELETE FROM demo.t WHERE id > 3")
        assert proxy.listener.statistics.local_statements == 50
