"""The primary is killed while a statement that is no plain transaction waits: never a silent difference.

Either the recovered server, given the rest of the log, holds exactly what an untouched replica holds, or the
decision is to clone it.
"""

import shutil
from collections.abc import Iterator

import msgspec
import pytest
import trio
from fault_kinds import KINDS, UNMARKED
from fault_rig import rig_scratch
from fault_template import Template, differences, send_in_vain

from wolfscale.replication.decision import CloneNeeded, CloneReason, Outcome, Position, Recovery, decide
from wolfscale.replication.evidence import CommittedLog
from wolfscale.testing.single_server import Node

pytestmark = pytest.mark.faults

ROW_CHANGE = "UPDATE app.t SET note=note+1 WHERE id=1"
ALONE, AHEAD, BEHIND = "alone", "ahead of a row change", "behind a row change"


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    made = Template(rig_scratch())
    try:
        trio.run(made.make)
        yield made
    finally:
        shutil.rmtree(made.directory, ignore_errors=True)


@pytest.mark.parametrize("in_log", [True, False], ids=["in the log", "not in the log"])
@pytest.mark.parametrize("order", [ALONE, AHEAD, BEHIND])
@pytest.mark.parametrize("kind", KINDS)
async def test_waiting_statement_never_leaves_a_silent_difference(
    template: Template, kind: str, order: str, in_log: bool
) -> None:
    async with template.node("scenario") as node:
        recovery = await _kill_while_waiting(node, kind, order, in_log=in_log)
        outcome = node.decide(recovery)
        if kind not in UNMARKED:
            assert isinstance(outcome, CloneNeeded)
        unmarked = _decide_without_mark(node, recovery)
        if isinstance(unmarked, CloneNeeded):
            assert unmarked.reason is CloneReason.UNSETTLED
            return
        assert isinstance(unmarked, Position)
        found = await differences(template, node, unmarked)
        # Where nothing else speaks against the data and it differs, the mark alone is what saves it.
        assert not found or isinstance(outcome, CloneNeeded), found


async def test_create_select_behind_a_row_change_differs_and_only_the_mark_knows(template: Template) -> None:
    async with template.node("scenario") as node:
        recovery = await _kill_while_waiting(node, "CREATE SELECT", BEHIND, in_log=False)
        outcome = node.decide(recovery)
        assert isinstance(outcome, CloneNeeded)
        assert "the intent mark stands" in outcome.detail
        unmarked = _decide_without_mark(node, recovery)
        assert isinstance(unmarked, Position)
        # The table is there, empty: it was made before its group got into the binlog.
        found = await differences(template, node, unmarked)
        assert any("app`.`copied" in text for text in found)


async def _kill_while_waiting(node: Node, kind: str, order: str, *, in_log: bool) -> Recovery:
    """Leave a statement unacknowledged, kill the server, and recover it as a new process does."""
    await node.boot()
    async with node.primary(6) as primary:
        *before, statement = KINDS[kind]
        session = await primary.client()
        for each in before:
            await session.query(each)
        node.log.held = True
        if order == BEHIND:
            await send_in_vain(primary, await primary.client(), ROW_CHANGE)
        if kind not in UNMARKED:
            await node.intents.begin(kind)
        await send_in_vain(primary, session, statement)
        if order == AHEAD:
            await send_in_vain(primary, await primary.client(), ROW_CHANGE)
        await primary.captured_everything()
        await node.database.kill()
        if in_log:
            node.log.commit()
        else:
            node.log.truncate()
        return await node.crash()


def _decide_without_mark(node: Node, recovery: Recovery) -> Outcome:
    record = msgspec.structs.replace(node.store.current, intent="")
    return decide(recovery, record, CommittedLog(node.log, complete=True))
