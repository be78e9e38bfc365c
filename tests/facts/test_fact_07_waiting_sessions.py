"""What waits for its acknowledgement is never let loose by us, and nobody of ours hangs behind it."""

import pytest
import trio
from facts_on_one_server import Attempt, capturing_primary, column, session, state_of

from wolfscale.replication.decision import CloneNeeded, CloneReason, Position
from wolfscale.testing.single_server import Node, until_true

pytestmark = pytest.mark.mariadb

BOUND_SECONDS = 20


async def test_fact_07_session_that_waits_is_not_killed_with_the_open_transactions() -> None:
    async with (
        capturing_primary() as (node, _primary),
        await session(node.database) as client,
        trio.open_nursery() as nursery,
    ):
        node.log.held = True
        insert = Attempt(nursery, client, "INSERT INTO app.t VALUES (1, 'waits')")

        async def waits() -> bool:
            return "semi-sync" in await state_of(node.database, client)

        await until_true(waits)
        await node.database.sessions.kill_with_open_transactions()
        assert [s.committing for s in await node.database.sessions.present()] == [True]
        assert await column(node.database, "SELECT id FROM app.t") == []
        assert insert.outcome is None
        node.log.held = False
        node.log.commit()
        assert await insert.wait() == ""


async def test_fact_08_fencing_undoes_waiting_commits_and_is_bounded() -> None:
    async with capturing_primary() as (node, primary):
        settled = node.log.newest()
        node.log.held = True
        await primary.leave_group_waiting([f"INSERT INTO app.t VALUES ({n}, '')" for n in range(5)])
        await primary.captured_everything()
        with trio.fail_after(BOUND_SECONDS):
            node.log.truncate()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, Position)
        assert outcome.gtid == settled
        assert await column(node.database, "SELECT id FROM app.t") == []


async def test_fact_09_waiting_account_statement_hangs_nothing_of_the_nodes() -> None:
    """It hangs whoever reads mysql.user, unkillably: log-ins may wait for it, the node's work must not."""
    async with capturing_primary() as (node, primary):
        node.log.held = True
        await primary.leave_waiting("CREATE USER newcomer@localhost IDENTIFIED BY 'x'")
        await primary.captured_everything()
        database = node.database
        with trio.fail_after(BOUND_SECONDS):
            await (await database.connect()).aclose()
            assert await database.waiting_commits() == 1
            await database.engine_position()
            await primary.settler.settle()
            with trio.move_on_after(0.3):
                await database.native_password_hashes("plain")
            # What hung was cut off, and the next question has a connection of its own.
            assert await database.value("SELECT 1") == "1"
            node.log.truncate()
            recovery = await node.crash()
        outcome = node.decide(recovery)
        assert isinstance(outcome, CloneNeeded)
        assert outcome.reason is CloneReason.UNSETTLED


async def test_fact_09_log_in_that_waited_for_an_account_statement_goes_on_after_it() -> None:
    async with capturing_primary() as (node, primary), trio.open_nursery() as nursery:
        node.log.held = True
        await primary.leave_waiting("CREATE USER newcomer@localhost IDENTIFIED BY 'x'")
        await primary.captured_everything()
        found: list[str] = []

        async def ask(node: Node) -> None:
            found.extend(await node.database.native_password_hashes("newcomer"))

        nursery.start_soon(ask, node)
        await trio.sleep(0.1)
        assert found == []
        node.log.held = False
        node.log.commit()
        with trio.fail_after(BOUND_SECONDS):
            while not found:
                await trio.sleep(0.01)
