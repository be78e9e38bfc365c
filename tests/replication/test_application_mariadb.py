"""What a cluster makes for its application, on a real server: once, whole, with no right too many."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.application import (
    Application,
    administrator_statements,
    create_missing,
    password_hash,
)
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.testing.single_server import Node, Primary, fresh_node

pytestmark = pytest.mark.mariadb

WANTED = Application(database="my_app", user="it's me", password="pass\"word'\\")
OWN_ACCOUNTS = "SELECT COUNT(*) FROM mysql.global_priv WHERE User NOT IN ('', 'mariadb.sys', 'wolfscale')"


@asynccontextmanager
async def founded() -> AsyncIterator[tuple[Node, Primary]]:
    """A new cluster's only server, as the primary."""
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(7) as primary:
            yield node, primary


async def create(node: Node, application: Application) -> None:
    await create_missing(node.database, OpenIntents(node.database, node.intents), application)


async def log_in(node: Node, user: str, password: str) -> Connection:
    return await Connection.connect(socket_path=node.server.socket_path, user=user, password=password)


async def newest(node: Node) -> str:
    return str(await node.database.binlog_position())


async def test_application_at_the_first_start_is_made_once_and_never_again() -> None:
    async with founded() as (node, primary):
        await create(node, WANTED)
        await primary.captured_everything()
        async with await log_in(node, "it's me", "pass\"word'\\") as client:
            await client.query("CREATE TABLE my_app.t (a INT PRIMARY KEY)")
            await client.query("INSERT INTO my_app.t VALUES (1)")
            # The underscore is no wildcard, and nothing else is open.
            for statement in (
                "CREATE DATABASE myXapp",
                "CREATE USER other",
                "SELECT * FROM mysql.global_priv",
                "GRANT SELECT ON my_app.* TO wolfscale@localhost",
            ):
                with pytest.raises(ServerError) as refused:
                    await client.query(statement)
                assert refused.value.errno in {1044, 1142, 1227, 1410}

        before = await newest(node)
        await create(node, WANTED)
        assert await newest(node) == before, "nothing was missing, so nothing may be written"

        # An account that was dropped beside another one stays away.
        await node.database.query("CREATE USER second IDENTIFIED BY 'x'")
        await node.database.query("DROP USER 'it''s me'@'%'")
        await node.database.query("DROP DATABASE my_app")
        await create(node, WANTED)
        assert await node.database.value(OWN_ACCOUNTS) == "1"
        assert await node.database.value("SHOW DATABASES LIKE 'my\\_app'") == "my_app"


async def test_application_that_the_server_refuses_leaves_the_primary_at_work() -> None:
    async with founded() as (node, _):
        await create(node, Application(database="x" * 65, user="a", password="b"))
        assert await node.database.value(OWN_ACCOUNTS) == "0"
        await create(node, Application(database="fine", user="a", password="b"))
        assert await node.database.value(OWN_ACCOUNTS) == "1"


async def test_password_in_no_event_of_the_log() -> None:
    async with founded() as (node, primary):
        await create(node, Application(database="app", user="app", password="never-to-be-seen"))
        await primary.captured_everything()
        assert not any(b"never-to-be-seen" in entry.data for entry in node.log.entries)
        assert any(password_hash("never-to-be-seen").encode() in entry.data for entry in node.log.entries)


async def test_administrator_outside_the_system_schemas_may_do_everything() -> None:
    async with founded() as (node, _):
        async with await node.database.connect() as connection:
            for statement in administrator_statements("root", password_hash("word")):
                await connection.query(statement)
        async with await log_in(node, "root", "word") as client:
            for statement in (
                "CREATE DATABASE shop",
                "CREATE USER app IDENTIFIED BY 'x'",
                "GRANT ALL ON shop.* TO app",
                "DROP USER app",
                "SELECT COUNT(*) FROM wolfscale.term",
                "SHOW DATABASES",
                "FLUSH PRIVILEGES",
            ):
                await client.query(statement)
            for statement in (
                "UPDATE mysql.global_priv SET Priv='{}'",
                "DROP TABLE wolfscale.term",
                "SET GLOBAL read_only=1",
                "GRANT ALL ON *.* TO root",
                "SHUTDOWN",
            ):
                with pytest.raises(ServerError) as refused:
                    await client.query(statement)
                assert refused.value.errno in {1044, 1045, 1142, 1227}
