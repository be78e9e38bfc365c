"""SET GLOBAL through a follower: on every server, after the leader's death, on the node that comes back."""

from collections.abc import Sequence
from typing import Any

import pymysql
import pytest
import trio
from cluster_clients import Client
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest

pytestmark = pytest.mark.cluster

ADMINISTRATOR = "settings_admin"
NOBODY = "settings_nobody"
PASSWORD = "settings-secret"

CHANGED = {
    "long_query_time": "2.500000",
    "sql_mode": "ANSI_QUOTES,NO_AUTO_VALUE_ON_ZERO",
    "log_output": "TABLE",
}


async def _client(cluster: ClusterUnderTest, node: int, user: str) -> Client:
    return await trio.to_thread.run_sync(
        lambda: cluster.clients.connect(node, user=user, password=PASSWORD, database=None)
    )


async def _run(client: Client, *statements: str) -> Sequence[tuple[Any, ...]]:
    def run() -> Sequence[tuple[Any, ...]]:
        with client.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    return await trio.to_thread.run_sync(run)


async def _values(cluster: ClusterUnderTest, node: int, names: Sequence[str]) -> dict[str, str]:
    wanted = ", ".join(f"'{name}'" for name in names)
    rows = await cluster.query(node, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({wanted})")
    return {str(name): str(value) for name, value in rows}


async def _wait_values(cluster: ClusterUnderTest, node: int, expected: dict[str, str]) -> None:
    found: dict[str, str] = {}
    with trio.move_on_after(PATIENCE):
        while (found := await _values(cluster, node, tuple(expected))) != expected:
            await trio.sleep(POLL_SECONDS)
    assert found == expected


async def _make_accounts(cluster: ClusterUnderTest) -> None:
    await cluster.on_writable(
        [
            f"CREATE OR REPLACE USER {ADMINISTRATOR}@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON *.* TO {ADMINISTRATOR}@'%'",
            f"CREATE OR REPLACE USER {NOBODY}@'%' IDENTIFIED BY '{PASSWORD}'",
        ]
    )
    await cluster.wait_level()


async def test_setting_holds_on_every_node_and_after_the_leaders_death(cluster: ClusterUnderTest) -> None:
    await _make_accounts(cluster)
    leader = await cluster.wait_writable()
    follower, other = cluster.followers(leader)
    before = await _values(cluster, leader, tuple(CHANGED))
    client = await _client(cluster, follower, ADMINISTRATOR)
    await _run(
        client,
        "SET SESSION lock_wait_timeout = 7, GLOBAL long_query_time = 2.5, @@global.log_output = 'TABLE'",
        "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_AUTO_VALUE_ON_ZERO'",
    )
    # The client has its OK when every node that answers has the value.
    for node in cluster.numbers:
        assert await _values(cluster, node, tuple(CHANGED)) == CHANGED
    assert await _run(client, "SELECT @@lock_wait_timeout") == ((7,),)
    assert await _run(client, "SELECT @@GLOBAL.sql_mode") == ((CHANGED["sql_mode"],),)
    listed = await _run(client, "SHOW WOLFSCALE SETTINGS")
    assert {(row[0], row[1], row[2]) for row in listed} == {
        (name, value, ADMINISTRATOR) for name, value in CHANGED.items()
    }

    cluster.kill(leader)
    await cluster.wait_successor(leader)
    await cluster.wait_serving(follower, other)
    for node in (follower, other):
        await _wait_values(cluster, node, CHANGED)
    await _run(client, "SET GLOBAL long_query_time = 3.5")
    cluster.launch(leader)
    await cluster.wait_serving()
    await _wait_values(cluster, leader, CHANGED | {"long_query_time": "3.500000"})

    # What is taken back is as it was, on each of them.
    await _run(client, *(f"SET GLOBAL {name} = DEFAULT" for name in CHANGED))
    for node in cluster.numbers:
        await _wait_values(cluster, node, before)
    assert await _run(client, "SHOW WOLFSCALE SETTINGS") == ()
    client.close()


async def test_new_session_on_any_node_has_the_new_value(cluster: ClusterUnderTest) -> None:
    await _make_accounts(cluster)
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    client = await _client(cluster, follower, ADMINISTRATOR)
    await _run(client, "SET GLOBAL group_concat_max_len = 5000, GLOBAL time_zone = '+03:00'")
    for node in cluster.numbers:
        fresh = await _client(cluster, node, NOBODY)
        assert await _run(fresh, "SELECT @@group_concat_max_len, @@time_zone") == ((5000, "+03:00"),)
        fresh.close()
    await _run(client, "SET GLOBAL group_concat_max_len = DEFAULT, GLOBAL time_zone = DEFAULT")
    client.close()


async def test_account_without_the_privilege_changes_nothing(cluster: ClusterUnderTest) -> None:
    await _make_accounts(cluster)
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    before = await _values(cluster, leader, ("long_query_time",))
    client = await _client(cluster, follower, NOBODY)
    with pytest.raises(pymysql.err.OperationalError) as refusal:
        await _run(client, "SET GLOBAL long_query_time = 9")
    assert refusal.value.args[0] == 1227
    with pytest.raises(pymysql.err.OperationalError) as unknown:
        await _run(client, "SET GLOBAL no_such_variable = 9")
    assert unknown.value.args[0] == 1193
    for node in cluster.numbers:
        assert await _values(cluster, node, ("long_query_time",)) == before
    assert await _run(client, "SHOW WOLFSCALE SETTINGS") == ()
    client.close()
