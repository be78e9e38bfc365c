"""Twenty cycles of killing a primary whose commits are held back at some stage, and having it back."""

import random

import pytest
import trio
from fault_rig import Member, Rig, running_rig, until
from fault_seeds import chance_from
from fault_workload import SCHEMA, Workload

from wolfscale.testing.hold import Stage

pytestmark = pytest.mark.faults

CYCLES = 20
WRITES = 10
"""Acknowledged before each kill."""
SEED = 20


async def test_primary_killed_with_commits_held_at_each_stage_rejoins_equal() -> None:
    chance = chance_from(SEED)
    stages = [*Stage] * CYCLES
    async with running_rig() as rig:
        await rig.on_leader(*SCHEMA)
        servers = [member.client for member in rig.members.values()]
        with Workload(servers, writers=6, seed=chance.random()) as workload:
            for stage in stages[:CYCLES]:
                await _cycle(rig, workload, stage, chance)
                await _check(rig, workload)
        # Nothing but plain transactions was under way, so that recovery was exact each time.
        assert [reason for member in rig.members.values() for reason in member.clone_reasons] == []


async def _cycle(rig: Rig, workload: Workload, stage: Stage, chance: random.Random) -> None:
    before = len(workload.acknowledged)
    await until(lambda: len(workload.acknowledged) >= before + WRITES, rig.describe)
    await trio.sleep(chance.uniform(0, 0.3))
    old = await rig.writable()
    rig.log.hold(stage)
    await _until_somebody_waits(old)
    await trio.sleep(chance.uniform(0, 0.1))
    node_too = chance.random() < 0.7
    if node_too:
        old.kill()
        # Of what was not committed the next leader holds the first part, or all, or nothing.
        tail = len(rig.log.entries) - rig.log.commit_index
        rig.log.depose(keep=chance.randint(0, tail))
    else:
        old.kill_server()
    await old.wait_dead() if node_too else await until(lambda: rig.log.leader != old.number, rig.describe)
    rig.log.release()
    if node_too:
        rig.log.elect(chance.choice(rig.alive).number)
        await trio.sleep(chance.uniform(0, 0.3))
        old.start()
    await rig.writable()


async def _until_somebody_waits(member: Member) -> None:
    with trio.fail_after(60):
        while not await member.database.waiting_commits():
            await trio.sleep(0.005)


async def _check(rig: Rig, workload: Workload) -> None:
    await trio.to_thread.run_sync(workload.pause)
    await rig.level()
    problems = await rig.differences()
    for member in rig.members.values():
        async with await member.database.connect() as connection:
            rows = (await connection.query("SELECT writer, number FROM demo.written")).rows
            keyless = (await connection.query("SELECT writer, number FROM demo.keyless")).rows
        problems += [
            f"{member.name}: {text}"
            for text in workload.judge(
                [(int(a or 0), int(b or 0)) for a, b in rows],
                [(int(a or 0), int(b or 0)) for a, b in keyless],
            )
        ]
    assert not problems, problems
    workload.resume()
