"""Recovery on a real server. The numbers are those of the facts about MariaDB that the design rests on."""

import pytest
import trio

from wolfscale.replication import recovery as recovery_module
from wolfscale.replication.decision import CloneNeeded, CloneReason, LogBehind, Position
from wolfscale.replication.record import DataState, Settled
from wolfscale.replication.recovery import stop_in_order
from wolfscale.testing.single_server import Node, Primary, fresh_node, until_true

pytestmark = pytest.mark.mariadb

SETUP = (
    "CREATE DATABASE app",
    "CREATE TABLE app.t (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE app.keyless (id INT) ENGINE=Aria",
    "CREATE TABLE app.old (id INT) ENGINE=InnoDB",
    "CREATE USER reader@localhost",
    "INSERT INTO app.t VALUES (1)",
)


async def _ids(node: Node, table: str = "t") -> list[int]:
    rows = (await node.database.query(f"SELECT id FROM app.{table} ORDER BY id")).rows
    return [int(row[0] or 0) for row in rows]


async def _set_up(primary: Primary) -> None:
    await primary.execute(*SETUP)
    await primary.settler.settle_now(primary.node.log.newest().sequence)


def _reason(outcome: object) -> CloneReason | None:
    return outcome.reason if isinstance(outcome, CloneNeeded) else None


async def test_fact_08_recovery_of_waiting_commits_undoes_them() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await primary.execute("INSERT INTO app.t VALUES (2)")
            acknowledged = node.log.newest()
            node.log.held = True
            await primary.leave_group_waiting([f"INSERT INTO app.t VALUES ({n})" for n in range(3, 23)])
            await primary.captured_everything()
            node.log.truncate()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid == acknowledged
        assert await _ids(node) == [1, 2]


async def test_fact_10_own_binlog_ahead_of_the_engine_is_not_believed() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            acknowledged = node.log.newest()
            node.log.held = True
            await primary.leave_group_waiting([f"INSERT INTO app.t VALUES ({n})" for n in range(2, 12)])
            await primary.captured_everything()
            node.log.commit()  # the cluster has them, this server never heard of it
            captured = node.log.newest()
            # The ACK may be on its way: the server is frozen before it can read it.
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid is not None
        rows = await _ids(node)
        applied = captured.sequence - acknowledged.sequence if len(rows) > 1 else 0
        assert outcome.gtid.sequence == acknowledged.sequence + applied
        assert rows == list(range(1, 2 + applied))
        assert recovery.tail.groups == 10


async def test_fact_12_recovered_server_is_at_the_last_acknowledged_group_each_time() -> None:
    async with fresh_node() as node:
        await node.boot()
        for term in range(5, 9):
            async with node.primary(term) as primary:
                if term == 5:
                    await _set_up(primary)
                first = term * 100
                async with trio.open_nursery() as nursery:
                    for number in range(8):
                        nursery.start_soon(_insert_some, primary, first + number * 10, 10)
                acknowledged = node.log.newest()
                expected = await _ids(node)
                node.log.held = True
                await primary.leave_waiting(f"INSERT INTO app.t VALUES ({first + 99})")
                await primary.captured_everything()
                node.log.truncate()
                recovery = await node.crash()
                node.log.held = False
            outcome = node.decide(recovery)
            assert isinstance(outcome, Position)
            assert outcome.gtid == acknowledged
            assert await _ids(node) == expected
            await recovery_module.settle_recovery(node.database, node.store, outcome)


async def _insert_some(primary: Primary, first: int, count: int) -> None:
    async with await primary.client() as client:
        for number in range(first, first + count):
            await client.query(f"INSERT INTO app.t VALUES ({number})")


async def test_fact_12_acknowledged_xa_prepare_survives_recovery() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await primary.execute(
                "XA START 'transfer'",
                "INSERT INTO app.t VALUES (7)",
                "XA END 'transfer'",
                "XA PREPARE 'transfer'",
            )
            await primary.settler.settle_now(node.log.newest().sequence)
            settled = node.log.newest()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid == settled
        prepared = (await node.database.query("XA RECOVER")).rows
        assert [row[3] for row in prepared] == ["transfer"]


async def test_fact_12_marker_row_alone_makes_the_position_one_of_this_tenure() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
        await node.boot_after_crash()
        async with node.primary(6):
            marker = node.log.newest()
            recovery = await node.crash()
        assert marker.server_id == 6
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid == marker


async def test_fact_12_last_binlog_of_an_earlier_tenure_is_not_taken_for_this_one() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            before = node.log.newest()
        await node.boot_after_crash()
        # Killed between the record of the tenure and the marker row.
        await recovery_module.begin_tenure(node.database, node.store, 6)
        outcome = node.decide(await node.crash())
        assert isinstance(outcome, Position)
        assert outcome.gtid == before


async def test_fact_14_reset_binlog_keeps_counting() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            before = node.log.newest()
        await node.boot_after_crash()
        await node.database.reset_binlog()
        async with node.primary(6):
            assert node.log.newest().sequence == before.sequence + 1


@pytest.mark.parametrize("stage", ["heuristic boot", "record of the line", "last boot", "position"])
async def test_fact_15_recovery_killed_at_any_stage_starts_over(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await primary.execute("INSERT INTO app.t VALUES (2)")
            acknowledged = node.log.newest()
            node.log.held = True
            await primary.leave_waiting("INSERT INTO app.t VALUES (3)")
            await primary.captured_everything()
            node.log.truncate()
            await node.database.kill()
        node.reopen()
        with monkeypatch.context() as patch:
            match stage:
                case "heuristic boot":
                    patch.setattr(node.server, "start_once", _killed)
                case "record of the line":
                    patch.setattr(recovery_module, "last_binlog", _killed_now)
                case "last boot":
                    patch.setattr(node.server, "start", _killed)
                case _:
                    patch.setattr(node.database, "set_position", _killed)
            with pytest.raises(_KilledError):
                await node.boot()
        outcome = node.decide(await node.crash())
        assert isinstance(outcome, Position)
        assert outcome.gtid == acknowledged
        assert await _ids(node) == [1, 2]


class _KilledError(Exception):
    pass


async def _killed(*_: object, **__: object) -> None:
    raise _KilledError


def _killed_now(_: str) -> None:
    raise _KilledError


WAITING: dict[str, tuple[str, ...]] = {
    "CREATE TABLE": ("CREATE TABLE app.fresh (id INT)",),
    "ALTER TABLE": ("ALTER TABLE app.old ADD COLUMN more INT",),
    "DROP TABLE": ("DROP TABLE app.old",),
    "TRUNCATE": ("TRUNCATE app.old",),
    "CREATE SELECT": ("CREATE TABLE app.copied ENGINE=InnoDB SELECT * FROM app.t",),
    "CREATE USER": ("CREATE USER writer@localhost",),
    "GRANT": ("GRANT SELECT ON app.* TO reader@localhost",),
    "CREATE PROCEDURE": ("CREATE PROCEDURE app.p() SELECT 1",),
    "CREATE SEQUENCE": ("CREATE SEQUENCE app.s",),
    "Aria insert": ("INSERT INTO app.keyless VALUES (1)",),
    "XA PREPARE": (
        "XA START 'x'",
        "INSERT INTO app.t VALUES (70)",
        "XA END 'x'",
        "XA PREPARE 'x'",
    ),
    "XA COMMIT": ("XA COMMIT 'prepared'",),
}


@pytest.mark.parametrize("in_log", [True, False], ids=["in the log", "not in the log"])
@pytest.mark.parametrize("kind", WAITING)
async def test_facts_17_and_18_waiting_group_that_is_not_plain_asks_for_a_clone(
    kind: str, in_log: bool
) -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            if kind == "XA COMMIT":
                await primary.execute(
                    "XA START 'prepared'",
                    "INSERT INTO app.t VALUES (60)",
                    "XA END 'prepared'",
                    "XA PREPARE 'prepared'",
                )
                await primary.settler.settle_now(node.log.newest().sequence)
            *before, waiting = WAITING[kind]
            node.log.held = True
            await primary.leave_waiting(waiting, *before)
            await primary.captured_everything()
            await node.database.kill()
            if in_log:
                node.log.commit()
            else:
                node.log.truncate()
            recovery = await node.crash()
        assert _reason(node.decide(recovery)) is CloneReason.UNSETTLED


@pytest.mark.parametrize("kind", ["CREATE TABLE", "CREATE SELECT", "Aria insert"])
@pytest.mark.parametrize("order", ["ahead", "behind"])
async def test_fact_19_waiting_row_change_beside_one_that_is_not_plain_asks_for_a_clone(
    kind: str, order: str
) -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            statements = ["INSERT INTO app.t VALUES (2)", *WAITING[kind]]
            if order == "behind":
                statements.reverse()
            node.log.held = True
            await primary.leave_waiting(statements[0])
            await primary.captured_everything()
            await primary.send(statements[1])
            await node.database.kill()
            node.log.truncate()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        # Where the second one never reached the binlog, nothing of it was done.
        if recovery.tail.first_not_plain:
            assert _reason(outcome) is CloneReason.UNSETTLED
        else:
            assert isinstance(outcome, Position)
            assert await _ids(node) == [1]


@pytest.mark.parametrize("kind", WAITING)
async def test_fact_20_settled_group_that_is_not_plain_is_whole_after_a_kill(kind: str) -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            if kind == "XA COMMIT":
                await primary.execute(
                    "XA START 'prepared'",
                    "INSERT INTO app.t VALUES (60)",
                    "XA END 'prepared'",
                    "XA PREPARE 'prepared'",
                )
            await primary.execute(*WAITING[kind])
            last = node.log.newest()
            await primary.settler.settle_now(last.sequence)
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position), outcome
        assert outcome.gtid == last
        await _check_effect(node, kind)


async def _check_effect(node: Node, kind: str) -> None:
    database = node.database
    match kind:
        case "CREATE TABLE":
            assert await _ids(node, "fresh") == []
        case "ALTER TABLE":
            await database.query("SELECT more FROM app.old")
        case "DROP TABLE":
            assert await database.value("SHOW TABLES FROM app LIKE 'old'") is None
        case "CREATE SELECT":
            assert await _ids(node, "copied") == [1]
        case "CREATE USER":
            assert await database.value("SELECT COUNT(*) FROM mysql.user WHERE user='writer'") == "1"
        case "GRANT":
            grants = (await database.query("SHOW GRANTS FOR reader@localhost")).rows
            assert any("SELECT ON `app`" in (row[0] or "") for row in grants)
        case "CREATE PROCEDURE":
            assert await database.value("SHOW CREATE PROCEDURE app.p") == "p"
        case "CREATE SEQUENCE":
            assert await database.value("SELECT next_not_cached_value FROM app.s") == "1"
        case "Aria insert":
            assert await _ids(node, "keyless") == [1]
        case "XA PREPARE":
            assert [row[3] for row in (await database.query("XA RECOVER")).rows] == ["x"]
        case "XA COMMIT":
            assert await _ids(node) == [1, 60]


@pytest.mark.parametrize(
    ("statement", "harmless"),
    [
        ("FLUSH TABLES", True),
        ("FLUSH PRIVILEGES", True),
        ("ANALYZE TABLE app.t", True),
        ("SELECT COUNT(*) FROM app.volatile", True),
        ("INSERT INTO app.t VALUES (9)", False),
        ("TRUNCATE app.t", False),
        ("CREATE USER local@localhost", False),
    ],
)
async def test_fact_22_statement_of_an_administrator_on_a_replica_is_divergence_only_if_it_changes_data(
    statement: str, harmless: bool
) -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await primary.execute("CREATE TABLE app.volatile (id INT) ENGINE=MEMORY")
            await primary.settler.settle_now(node.log.newest().sequence)
        await node.boot_after_crash()
        await node.database.query(statement)
        own = await node.database.binlog_position()
        assert own is not None
        recovery = await node.crash()
        assert recovery.tail.own_change == ("" if harmless else str(own))
        assert _reason(node.decide(recovery)) is (None if harmless else CloneReason.DIVERGED)


async def test_intent_mark_alone_asks_for_a_clone_until_it_is_lifted() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await node.intents.begin("DDL of a client")
            node.intents.end()
            recovery = await node.crash()
            outcome = node.decide(recovery)
            assert isinstance(outcome, CloneNeeded)
            assert outcome.reason is CloneReason.UNSETTLED
            assert "DDL of a client" in outcome.detail


async def test_intent_mark_is_lifted_by_the_settled_record_that_covers_it() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await node.intents.begin("DDL of a client")
            await primary.execute("CREATE TABLE app.fresh (id INT)")
            node.intents.end()
            await primary.settler.settle_now(node.log.newest().sequence)
            assert node.store.current.intent == ""
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid == node.log.newest()


async def test_committed_group_that_the_log_does_not_hold_is_divergence() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            node.log.held = True
            await primary.leave_waiting("INSERT INTO app.t VALUES (2)")
            await primary.captured_everything()
            # What a KILL, or semi-synchronous replication switched off by hand, does.
            await node.database.query("SET GLOBAL rpl_semi_sync_master_enabled=0")
            await until_true(lambda: _has(node, 2))
            await node.database.flush_engine_logs()
            node.log.truncate()
            recovery = await node.crash()
        assert isinstance(node.decide(recovery, complete=False), LogBehind)
        assert _reason(node.decide(recovery, complete=True)) is CloneReason.DIVERGED


async def _has(node: Node, number: int) -> bool:
    return number in await _ids(node)


async def test_server_stopped_in_order_starts_at_its_position_without_recovery() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            await node.database.set_read_only(True)
            last = Position(gtid=node.log.newest(), index=node.log.commit_index)
            assert await stop_in_order(node.database, node.store, last)
        node.reopen()
        recovery = await node.recover()
        assert recovery.clean_stop is not None
        assert node.decide(recovery) == last
        assert node.store.current.clean_stop is None
        # Killed before anybody told the server its position, it still stands there.
        assert node.decide(await node.crash()) == last


async def test_data_that_was_never_whole_asks_for_a_clone() -> None:
    async with fresh_node() as node:
        await node.store.update(data=DataState.UNFINISHED)
        assert _reason(node.decide(await node.recover())) is CloneReason.NO_DATA
        assert node.server.process_id == 0


async def test_position_of_a_log_that_starts_later_is_too_far_behind() -> None:
    async with fresh_node() as node:
        await node.boot()
        async with node.primary(5) as primary:
            await _set_up(primary)
            first = node.log.newest()
            for number in range(2, 6):
                await primary.execute(f"INSERT INTO app.t VALUES ({number})")
            await node.database.kill()
        node.log.first_index = node.log.commit_index
        await node.store.update(tenure=None, settled=Settled(gtid=str(first)))
        node.reopen()
        recovery = await node.recover()
        outcome = node.decide(recovery)
        assert first != node.log.newest()
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is CloneReason.TOO_FAR_BEHIND
