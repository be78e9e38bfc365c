"""Log-ins while the MariaDB beside the node is behind: newer databases and accounts are there."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from proxy_pair import BOUNDS, Pair, cluster, rows, shared_servers

from wolfscale.proxy import dialogue
from wolfscale.proxy.accounts import Account
from wolfscale.proxy.backend import Backends
from wolfscale.proxy.dialogue import find_accounts

servers = shared_servers
pytestmark = pytest.mark.mariadb


async def test_new_database_can_be_logged_in_to_at_once(servers: Pair) -> None:
    async with cluster(servers, bounds=replace(BOUNDS, replica_seconds=0.5)) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                servers.replica.execute("STOP SLAVE SQL_THREAD")
                try:
                    rows(connection, "CREATE DATABASE late")
                    with proxy.connect(database="late") as another:
                        assert rows(another, "SELECT DATABASE()") == [("late",)]
                        rows(another, "CREATE TABLE t (i INT)")
                finally:
                    servers.replica.execute("START SLAVE SQL_THREAD")
                servers.catch_up()
                with proxy.connect(database="late") as another:
                    assert rows(another, "SELECT COUNT(*) FROM t") == [(0,)]
                rows(connection, "DROP DATABASE late")

        await proxy.run(client)


async def test_account_that_is_not_applied_yet_is_waited_for(
    servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = threading.Event()

    async def find(backends: Backends, user: bytes) -> Sequence[Account]:
        accounts = await find_accounts(backends, user)
        looked_up.set()
        return accounts

    monkeypatch.setattr(dialogue, "find_accounts", find)
    async with cluster(servers) as proxy:

        def catch_up() -> None:
            # The leader's server has let the client in, and the account was not found beside the node.
            assert looked_up.wait(60)
            servers.replica.execute("START SLAVE SQL_THREAD")

        def client() -> None:
            with proxy.connect() as connection:
                servers.replica.execute("STOP SLAVE SQL_THREAD")
                applying = threading.Thread(target=catch_up)
                try:
                    rows(connection, "CREATE USER late IDENTIFIED BY 'secret'")
                    looked_up.clear()
                    applying.start()
                    with proxy.connect(user="late", password="secret", database=None) as another:
                        assert rows(another, "SELECT CURRENT_USER()") == [("late@%",)]
                finally:
                    looked_up.set()
                    applying.join()
                rows(connection, "DROP USER late")

        await proxy.run(client)
