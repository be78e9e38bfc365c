"""What the settled record vouches for, and what it does not, on a real server."""

import os
from dataclasses import replace

import pytest
import trio
from facts_on_one_server import applied, capturing_primary, column, following

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.decision import CloneNeeded, CloneReason, Position
from wolfscale.replication.settings import Durability
from wolfscale.replication.settle import Settler, replica_position
from wolfscale.testing import single_server
from wolfscale.testing.single_server import fresh_node

pytestmark = pytest.mark.mariadb


async def test_fact_13_record_of_a_primary_is_a_round_older_than_what_was_acknowledged() -> None:
    async with capturing_primary() as (node, primary):
        recorded = []
        newest = []
        for number in range(4):
            await primary.execute(f"INSERT INTO app.t VALUES ({number}, '')")
            await primary.settler.settle()
            recorded.append(node.store.current.settled.gtid)
            newest.append(str(node.log.newest()))
        assert recorded[1:] == newest[:-1]


async def test_fact_13_group_that_waits_is_not_vouched_for_however_long() -> None:
    async with capturing_primary() as (node, primary):
        acknowledged = str(node.log.newest())
        node.log.held = True
        await primary.leave_waiting("INSERT INTO app.t VALUES (1, 'waits')")
        await primary.captured_everything()
        # MariaDB counts it already.
        assert await node.database.binlog_position() == node.log.newest()
        for _ in range(5):
            await primary.settler.settle()
        assert node.store.current.settled.gtid == acknowledged


async def test_fact_16_flushing_the_engines_writes_no_group_on_a_replica() -> None:
    async with capturing_primary() as (node, _primary):
        await node.boot_after_crash()
        await node.database.flush_engine_logs()
        assert await node.database.binlog_position() is None


async def test_fact_16_kill_beside_a_binlog_rotation_is_exact() -> None:
    async with capturing_primary() as (node, primary):
        for number in range(3):
            await primary.execute(f"INSERT INTO app.t VALUES ({number}, 'before')")
        await node.database.query("FLUSH BINARY LOGS")
        await primary.execute("INSERT INTO app.t VALUES (3, 'behind')")
        acknowledged = node.log.newest()
        node.log.held = True
        await primary.leave_waiting("INSERT INTO app.t VALUES (4, 'waits')")
        await primary.captured_everything()
        node.log.truncate()
        outcome = node.decide(await node.crash())
        assert isinstance(outcome, Position)
        assert outcome.gtid == acknowledged
        assert await column(node.database, "SELECT id FROM app.t ORDER BY id") == ["0", "1", "2", "3"]


async def test_fact_16_no_two_boots_share_a_binlog_name_and_replicas_keep_none() -> None:
    async with capturing_primary() as (node, _primary):
        bases = [(await node.database.binlog_end()).file.partition(".")[0]]
        for _ in range(2):
            await node.boot_after_crash()
            bases.append((await node.database.binlog_end()).file.partition(".")[0])
        assert bases == sorted(set(bases))
        assert await node.database.value("SELECT @@GLOBAL.log_slave_updates") == "0"
        names = os.listdir(node.database.data_directory)
        assert {name.partition(".")[0] for name in names if name.startswith("binlog-")} == {bases[-1]}


async def test_fact_16_torn_replication_files_do_not_stop_a_recovery() -> None:
    async with capturing_primary() as (node, _primary):
        await node.boot_after_crash()
        async with following(node):
            await applied(node.database, node.log.newest())
        last = node.log.newest()
        await node.database.kill()
        for name in ("master.info", "relay-log.info", "relay-wolfscale.index", "multi-master.info"):
            (node.database.data_directory / name).write_bytes(b"\0" * 100)
        outcome = await node.boot_after_crash()
        assert outcome.gtid == last


@pytest.mark.parametrize("moment", ["before it is sent", "after it is applied"])
async def test_fact_16_replica_killed_in_a_group_that_is_not_plain_is_cloned(moment: str) -> None:
    async with capturing_primary() as (donor, primary), fresh_node() as node:
        node.log = donor.log
        await node.boot()
        await primary.execute("CREATE TABLE app.made (id INT) ENGINE=Aria")
        made = donor.log.newest()
        reader = replica_position(node.database, node.log.find_sequence)
        settler = Settler(node.database, node.store, node.intents, reader)
        reached = trio.Event()

        async def before(gtid: Gtid, index: int) -> None:
            await settler.before_not_plain(gtid, index)
            if gtid == made and moment == "before it is sent":
                reached.set()
                await trio.sleep_forever()

        async def after(gtid: Gtid, index: int) -> None:
            if gtid == made:
                await applied(node.database, gtid)
                reached.set()
                await trio.sleep_forever()
            await settler.after_not_plain(gtid, index)

        async with following(node, before, after):
            with trio.fail_after(60):
                await reached.wait()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is CloneReason.UNSETTLED
        assert str(made) in str(outcome)


async def test_fact_16_intent_mark_is_on_the_disk_before_the_statement_and_alone_says_clone() -> None:
    async with capturing_primary() as (node, _primary):
        await node.intents.begin("a session runs a statement that is no plain transaction")
        # Killed before it reached the log, or the binlog: nothing else names it.
        recovery = await node.crash()
        assert recovery.tail.groups == 0
        outcome = node.decide(recovery)
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is CloneReason.UNSETTLED
        assert "intent mark" in str(outcome)


async def test_fact_16_full_durability_keeps_the_rule_about_what_is_not_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = replace(single_server.OPTIONS, durability=Durability.FULL)
    monkeypatch.setattr(single_server, "OPTIONS", full)
    async with capturing_primary("CREATE TABLE app.aria (id INT) ENGINE=Aria") as (node, primary):
        assert await node.database.value("SELECT @@GLOBAL.sync_binlog") == "1"
        node.log.held = True
        await primary.leave_waiting("INSERT INTO app.aria VALUES (1)")
        await primary.captured_everything()
        node.log.commit()
        outcome = node.decide(await node.crash())
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is CloneReason.UNSETTLED
