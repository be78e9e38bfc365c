"""An old primary is given what its recovery undid: by strict replay, from the exact position."""

import pytest
from facts_on_one_server import applied, capturing_primary, column, following, table_contents

from wolfscale.replication.decision import Position
from wolfscale.replication.recovery import settle_recovery

pytestmark = pytest.mark.mariadb

TABLES = ("app.keyless", "app.moved", "app.parent", "app.child")
SETUP = (
    "CREATE TABLE app.keyless (id INT, note VARCHAR(30))",
    "CREATE TABLE app.moved (id INT PRIMARY KEY, value INT UNIQUE)",
    "CREATE TABLE app.parent (id INT PRIMARY KEY)",
    "CREATE TABLE app.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES app.parent (id) "
    "ON UPDATE CASCADE ON DELETE CASCADE)",
    "INSERT INTO app.keyless VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO app.moved VALUES (1, 10), (2, 20)",
    "INSERT INTO app.parent VALUES (1), (2), (3)",
    "INSERT INTO app.child VALUES (1, 1), (2, 2), (3, 3)",
)
CHANGES = (
    "INSERT INTO app.keyless VALUES (3, 'three')",
    "UPDATE app.moved SET id = 11 WHERE id = 1",
    "UPDATE app.parent SET id = 12 WHERE id = 2",
    "DELETE FROM app.parent WHERE id = 3",
)
"""Each of them goes wrong without an error when it is replayed over its own effect in idempotent mode."""


async def test_fact_01_old_primary_is_given_its_own_undone_groups_again() -> None:
    async with capturing_primary(*SETUP) as (node, primary):
        await primary.execute(*CHANGES[:2])
        node.log.held = True
        await primary.leave_group_waiting(CHANGES[2:])
        await primary.captured_everything()
        recovery = await node.crash()
        # A new leader held them too, so they are committed, under this server's own id of that tenure.
        node.log.held = False
        node.log.commit()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        await settle_recovery(node.database, node.store, outcome)
        last = node.log.newest()
        assert outcome.gtid is not None
        assert outcome.gtid.sequence == last.sequence - 2
        assert last.server_id == outcome.gtid.server_id == 5
        async with following(node):
            await applied(node.database, last)
            assert await column(node.database, "SELECT id FROM app.parent ORDER BY id") == ["1", "12"]
            assert await column(node.database, "SELECT parent FROM app.child ORDER BY id") == ["1", "12"]


async def test_fact_11_replay_after_recovery_is_strict_and_equal() -> None:
    async with capturing_primary(*SETUP) as (node, primary):
        await primary.execute(*CHANGES)
        expected = await table_contents(node.database, TABLES)
        await node.boot_after_crash()
        assert await node.database.value("SELECT @@GLOBAL.slave_exec_mode") == "STRICT"
        async with following(node):
            assert await node.database.position() == node.log.newest()
            assert await table_contents(node.database, TABLES) == expected


async def test_fact_11_group_that_is_there_already_stops_the_replica_instead_of_being_merged() -> None:
    async with capturing_primary("INSERT INTO app.t VALUES (1, 'once')") as (node, primary):
        before = node.log.newest()
        await primary.execute("INSERT INTO app.t VALUES (2, 'twice')")
        await node.boot_after_crash()
        await node.database.set_position(before)
        async with following(node):
            status = await node.database.replica_status()
            while not status.sql_errno:
                status = await node.database.replica_status()
            assert status.sql_errno == 1062
