"""Draining a primary: bounded whatever sessions hold, and nothing is written past what the log has."""

import itertools
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from facts_on_one_server import Attempt, capturing_primary, column, session, state_of

from wolfscale.replication import promotion
from wolfscale.replication.decision import Position
from wolfscale.replication.errors import Diverged
from wolfscale.replication.primary_role import PrimaryRole
from wolfscale.replication.promotion import drain
from wolfscale.replication.surroundings import Surroundings
from wolfscale.testing.single_server import Node, Primary, until_true

pytestmark = pytest.mark.mariadb

INNODB_CACHE_SECONDS = 0.1
LIMIT_SECONDS = 30
"""For a drain on a machine that stalls; without our measures it waits for ever, or for 50 s."""


@pytest.fixture(autouse=True)
def little_time_for_open_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "OPEN_TRANSACTIONS_SECONDS", 0.2)


async def drained(node: Node, primary: Primary) -> None:
    """Drain; the log holds everything that the server has, and nobody can add to it."""
    with trio.fail_after(LIMIT_SECONDS):
        position = await drain(node.database, primary.capture)
    assert position == node.log.newest()
    assert await node.database.binlog_position() == position
    assert await node.database.value("SELECT @@GLOBAL.read_only") == "1"


async def test_fact_26_open_transaction_is_ended_and_leaves_nothing() -> None:
    async with capturing_primary() as (node, primary), await session(node.database) as client:
        await client.query("BEGIN")
        await client.query("INSERT INTO app.t VALUES (1, 'open')")
        await drained(node, primary)
        async with trio.open_nursery() as nursery:
            assert await Attempt(nursery, client, "COMMIT").wait() != ""
        assert await column(node.database, "SELECT id FROM app.t") == []


async def test_fact_26_drain_goes_on_as_soon_as_the_open_transaction_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """InnoDB's list of transactions is a cache that does not age while it is read all the time."""
    monkeypatch.setattr(promotion, "OPEN_TRANSACTIONS_SECONDS", 10 * LIMIT_SECONDS)
    async with (
        capturing_primary() as (node, primary),
        await session(node.database) as client,
        trio.open_nursery() as nursery,
    ):
        await client.query("BEGIN")
        await client.query("INSERT INTO app.t VALUES (1, 'open')")
        enough = trio.Event()
        count = node.database.sessions.open_transactions
        asked: list[float] = []

        async def open_transactions() -> int:
            asked.append(trio.current_time())
            if len(asked) == 5:
                enough.set()
            return await count()

        monkeypatch.setattr(node.database.sessions, "open_transactions", open_transactions)

        async def drain_it() -> None:
            await drained(node, primary)

        nursery.start_soon(drain_it)
        await enough.wait()
        await client.query("COMMIT")
    # The nursery ends with the drain, which has its limit. On a machine that stalls the cache ages even so.
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) > INNODB_CACHE_SECONDS


async def test_fact_26_account_that_read_only_does_not_stop_writes_nothing_after_the_drain() -> None:
    async with (
        capturing_primary() as (node, primary),
        await session(node.database, "mighty") as busy,
        await session(node.database, "mighty") as idle,
    ):
        await busy.query("BEGIN")
        await busy.query("INSERT INTO app.t VALUES (1, 'open')")
        await drained(node, primary)
        before = await node.database.binlog_position()
        async with trio.open_nursery() as nursery:
            attempts = [
                Attempt(nursery, busy, "COMMIT"),
                Attempt(nursery, idle, "INSERT INTO app.t VALUES (2, 'idle')"),
            ]
            assert all([await attempt.wait() for attempt in attempts])
        assert await node.database.binlog_position() == before
        assert await column(node.database, "SELECT id FROM app.t") == []


async def test_fact_26_lock_tables_holds_no_switch_over_up() -> None:
    async with capturing_primary() as (node, primary), await session(node.database) as client:
        await client.query("LOCK TABLES app.t WRITE")
        await drained(node, primary)


async def test_fact_26_held_back_statement_of_an_open_transaction_is_no_deadlock() -> None:
    """A running UPDATE waits for a row of a transaction whose next statement the drain holds back."""
    async with (
        capturing_primary("INSERT INTO app.t VALUES (1, ''), (2, '')") as (node, primary),
        await session(node.database) as first,
        await session(node.database) as second,
        trio.open_nursery() as nursery,
    ):
        await first.query("BEGIN")
        await first.query("UPDATE app.t SET note = 'first' WHERE id = 1")
        await second.query("BEGIN")
        waiting = Attempt(nursery, second, "UPDATE app.t SET note = 'second' WHERE id = 1")

        async def updates() -> bool:
            return await state_of(node.database, second) == "Updating"

        await until_true(updates)

        async def drain_it() -> None:
            await drained(node, primary)

        nursery.start_soon(drain_it)
        held_back = Attempt(nursery, first, "UPDATE app.t SET note = 'first' WHERE id = 2")
        await waiting.wait()
        await held_back.wait()
    # Leaving the nursery proves that the drain came to its end.


async def test_fact_27_flush_tables_with_read_lock_holds_no_switch_over_up() -> None:
    async with (
        capturing_primary() as (node, primary),
        await session(node.database) as holder,
        await session(node.database) as writer,
        trio.open_nursery() as nursery,
    ):
        await writer.query("BEGIN")
        await writer.query("INSERT INTO app.t VALUES (1, 'waits')")
        await holder.query("FLUSH TABLES WITH READ LOCK")
        commit = Attempt(nursery, writer, "COMMIT")

        async def waits() -> bool:
            return "lock" in await state_of(node.database, writer)

        await until_true(waits)
        await drained(node, primary)
        assert await commit.wait() != ""
        assert await column(node.database, "SELECT id FROM app.t") == []


async def test_fact_26_commits_in_flight_are_acknowledged_by_the_log_before_the_drain_ends() -> None:
    async with (
        capturing_primary() as (node, primary),
        await session(node.database) as client,
        trio.open_nursery() as nursery,
    ):
        node.log.held = True
        insert = Attempt(nursery, client, "INSERT INTO app.t VALUES (1, 'in flight')")

        async def waits() -> bool:
            return "semi-sync" in await state_of(node.database, client)

        await until_true(waits)
        await primary.captured_everything()
        done = trio.Event()

        async def drain_it() -> None:
            await drained(node, primary)
            done.set()

        nursery.start_soon(drain_it)
        with trio.move_on_after(0.7):
            await done.wait()
        assert not done.is_set()
        assert insert.outcome is None
        node.log.held = False
        node.log.commit()
        assert await insert.wait() == ""
        await done.wait()


async def test_fact_26_write_that_comes_after_the_drain_is_noticed_before_the_tenure_ends() -> None:
    """A proxy that has not heard of the drain yet may still send one, for an account with all privileges."""
    async with capturing_primary() as (node, primary):
        around = SimpleNamespace(database=node.database, records=node.store, marks=node.intents)
        role = PrimaryRole(cast("Surroundings", around), term=5)
        await drained(node, primary)
        position = Position(gtid=node.log.newest(), index=node.log.commit_index)
        node.log.held = True
        async with await session(node.database, "mighty") as late, trio.open_nursery() as nursery:
            insert = Attempt(nursery, late, "INSERT INTO app.t VALUES (1, 'late')")
            await until_true(lambda: _differs(node, position))
            await primary.captured_everything()
            with pytest.raises(Diverged):
                await role.end(position)
            assert insert.outcome is None
            assert node.store.current.tenure is not None
            await node.database.kill()
        node.log.truncate()
        node.log.held = False
    # The capture ended with its server.


async def _differs(node: Node, position: Position) -> bool:
    return await node.database.binlog_position() != position.gtid
