"""The primary loses power right after a statement that is no plain transaction was sent: the mark says clone.

The power cut takes the end of the binlog with it, and the group never reached the log: often nothing but the
intent mark, which was on the disk before the statement was sent, knows that there was one.
"""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio
from fault_kinds import KINDS, UNMARKED
from fault_rig import rig_scratch
from fault_seeds import chance_from
from fault_template import Template, differences, send_in_vain

from wolfscale.replication.decision import CloneNeeded, CloneReason, Position, Recovery, decide
from wolfscale.replication.evidence import CommittedLog
from wolfscale.testing.loop_disk import LoopDisk, why_unavailable
from wolfscale.testing.single_server import Node, scratch

pytestmark = pytest.mark.faults

SEED = 5
LONGEST_WAIT_SECONDS = 1.3
"""InnoDB writes its log out about once a second: what a cut leaves of a statement depends on its time."""
DISK_MB = 256


@pytest.fixture(autouse=True)
def needs_disks(tmp_path: Path) -> None:
    reason = why_unavailable(tmp_path)
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    made = Template(rig_scratch())
    try:
        trio.run(made.make)
        yield made
    finally:
        shutil.rmtree(made.directory, ignore_errors=True)


async def test_primary_cut_after_each_kind_was_sent_is_cloned_for_its_mark(template: Template) -> None:
    chance = chance_from(SEED)
    only_the_mark_knows = {}
    for kind in KINDS:
        if kind in UNMARKED:
            continue
        directory = scratch("wsf-")
        disk = LoopDisk(directory / "disk.img", directory / "disk", size_mb=DISK_MB)
        try:
            async with template.node(kind, path=disk.mount_point / "node") as node:
                recovery = await _cut_while_waiting(node, disk, kind, chance)
                outcome = node.decide(recovery)
                assert isinstance(outcome, CloneNeeded), kind
                assert outcome.reason is CloneReason.UNSETTLED
                record = msgspec.structs.replace(node.store.current, intent="")
                unmarked = decide(recovery, record, CommittedLog(node.log, complete=True))
                if isinstance(unmarked, Position):
                    assert "the intent mark stands" in outcome.detail
                    only_the_mark_knows[kind] = await differences(template, node, unmarked)
        finally:
            disk.remove()
            shutil.rmtree(directory, ignore_errors=True)
    # Nothing in the log and nothing in what is left of the binlog told of these, and some differ.
    assert any(only_the_mark_knows.values())


async def _cut_while_waiting(node: Node, disk: LoopDisk, kind: str, chance: random.Random) -> Recovery:
    await node.boot()
    async with node.primary(6) as primary:
        *before, statement = KINDS[kind]
        session = await primary.client()
        for each in before:
            await session.query(each)
        node.log.held = True
        if kind not in UNMARKED:
            await node.intents.begin(kind)
        await send_in_vain(primary, session, statement)
        await trio.sleep(chance.uniform(0, LONGEST_WAIT_SECONDS))
        os.kill(node.server.process_id, signal.SIGSTOP)
        disk.fail()
        await node.database.kill()
        node.log.truncate()
        disk.remount()
        return await node.crash()
