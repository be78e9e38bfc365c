"""Global variables as rows, on a real primary: recorded, applied to another server's state, taken back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wolfscale.replication.global_settings import GlobalSettings
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.testing.single_server import Node, fresh_node

pytestmark = pytest.mark.mariadb

VALUES = {
    "long_query_time": "0.25",
    "sql_mode": "'ANSI_QUOTES,NO_ZERO_DATE'",
    "wait_timeout": "1234",
    "general_log": "ON",
    "ft_boolean_syntax": "'& -><()~*:\"\"+|'",
    "default_tmp_storage_engine": "NULL",
    "optimizer_switch": "'mrr=on'",
    "tx_isolation": "'READ-COMMITTED'",
    "time_zone": "'+05:30'",
}


@asynccontextmanager
async def founded() -> AsyncIterator[tuple[Node, GlobalSettings]]:
    """A primary, and what keeps its settings."""
    async with fresh_node() as node:
        await node.boot()
        settings = GlobalSettings(node.database, OpenIntents(node.database, node.intents))
        await settings.apply()
        async with node.primary(7):
            yield node, settings


async def shown(node: Node) -> dict[str, str]:
    rows = (await node.database.query("SHOW GLOBAL VARIABLES")).rows
    return {name or "": value or "" for name, value in rows if name in VALUES}


async def test_recorded_values_are_given_to_a_server_that_starts_and_taken_back() -> None:
    async with founded() as (node, settings):
        configured = await shown(node)
        for name, value in VALUES.items():
            await node.database.query(f"SET GLOBAL {name} = {value}")
        await settings.record([name.upper() for name in VALUES], [], "somebody's")
        changed = await shown(node)
        unchanged = {name for name in VALUES if changed[name] == configured[name]}
        assert unchanged == {"default_tmp_storage_engine"}
        listed = {row["Name"]: row for row in await settings.listed()}
        assert listed.keys() == VALUES.keys()
        assert listed["wait_timeout"]["Value"] == "1234"
        assert {row["Set_by"] for row in listed.values()} == {"somebody's"}

        # A server that has just started has what it is configured with.
        for name in VALUES:
            await node.database.query(f"SET GLOBAL {name} = DEFAULT")
        settings.on_start()
        await settings.apply()
        assert await shown(node) == changed

        await settings.record([], [name.upper() for name in VALUES], "somebody")
        assert await settings.listed() == []
        assert await shown(node) == configured


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system_versioning_asof", "'2020-02-02 00:00:00'"),
        ("default_tmp_storage_engine", "MyISAM"),
        ("innodb_tmpdir", "'/tmp'"),
    ],
)
async def test_variable_without_a_value_has_none_again_when_it_is_taken_back(name: str, value: str) -> None:
    async with founded() as (node, settings):

        async def now() -> object:
            return (await node.database.query(f"SELECT @@GLOBAL.{name}")).rows

        configured = await now()
        await node.database.query(f"SET GLOBAL {name} = {value}")
        await settings.record([name.upper()], [], "app")
        assert await now() != configured
        # As a replica sees what the primary has deleted.
        await node.database.query("DELETE FROM wolfscale.global_settings")
        await settings.apply()
        assert await now() == configured

        # A client has taken the value away without the word DEFAULT, and another server starts.
        if name != "system_versioning_asof":
            await node.database.query(f"SET GLOBAL {name} = NULL")
            await settings.record([name.upper()], [], "app")
            await node.database.query(f"SET GLOBAL {name} = {value}")
            settings.on_start()
            await settings.apply()
            assert await now() == configured


async def test_row_that_has_gone_is_taken_back_by_the_servers_that_had_it() -> None:
    async with founded() as (node, settings):
        configured = await shown(node)
        await node.database.query("SET GLOBAL wait_timeout = 77")
        await settings.record(["WAIT_TIMEOUT"], [], "app")
        # As a replica sees what the primary has deleted.
        await node.database.query("DELETE FROM wolfscale.global_settings")
        await settings.apply()
        assert await shown(node) == configured


async def test_value_that_this_server_refuses_leaves_the_others() -> None:
    async with founded() as (node, settings):
        await node.database.query(
            "INSERT INTO wolfscale.global_settings VALUES ('no_such_variable', '1', 0, 'app', NOW()), "
            "('wait_timeout', '88', 0, 'app', NOW())"
        )
        await settings.apply()
        assert (await shown(node))["wait_timeout"] == "88"


async def test_cluster_older_than_the_table_gets_it_with_its_first_setting() -> None:
    async with founded() as (node, settings):
        await node.database.query("DROP TABLE wolfscale.global_settings")
        assert await settings.listed() == []
        await settings.apply()
        await node.database.query("SET GLOBAL wait_timeout = 99")
        await settings.record(["WAIT_TIMEOUT"], [], "app")
        assert [row["Name"] for row in await settings.listed()] == ["wait_timeout"]


async def test_time_zone_is_known_whoever_has_set_it() -> None:
    async with founded() as (node, settings):
        configured = node.database.time_zone
        assert configured.startswith("UTC")
        await node.database.query("SET GLOBAL time_zone = '-11:30'")
        await settings.record(["TIME_ZONE"], [], "app")
        assert node.database.time_zone == "UTC-11:30"
        # As a server that starts, and as a replica sees what the primary has deleted.
        await node.database.query("SET GLOBAL time_zone = DEFAULT")
        settings.on_start()
        await settings.apply()
        assert node.database.time_zone == "UTC-11:30"
        await node.database.query("DELETE FROM wolfscale.global_settings")
        await settings.apply()
        assert node.database.time_zone == configured
