"""Log-ins while the MariaDB beside the node is behind: a database that was made before is there."""

import pytest
from proxy_pair import Pair, cluster, rows, shared_servers

servers = shared_servers
pytestmark = pytest.mark.mariadb


async def test_new_database_can_be_logged_in_to_at_once(servers: Pair) -> None:
    async with cluster(servers) as proxy:

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
