"""Everybody dies while nobody's data is beyond doubt: the cluster comes back by itself, and identical."""

import random
from functools import partial

import pytest
import trio
from fault_kinds import KINDS, SETUP
from fault_rig import Member, Rig, running_rig, until
from fault_seeds import CHAOS, chance_from

from wolfscale.errors import WolfScaleError
from wolfscale.replication.record import RecordStore, Settled
from wolfscale.testing.hold import Stage

pytestmark = pytest.mark.faults

SEED = 6
TRIED = (
    [*KINDS]
    if CHAOS
    else [
        "CREATE TABLE",
        "ALTER TABLE",
        "CREATE SELECT",
        "CREATE USER",
        "Aria insert",
        "XA PREPARE",
        "XA COMMIT",
    ]
)
"""Two clones each take their seconds."""
LONGEST_APPLY_SECONDS = 0.01


async def test_members_that_all_die_when_only_the_primary_has_done_each_kind_come_back_identical() -> None:
    await _die_and_come_back(TRIED, sent=False)


async def test_members_that_all_die_while_they_apply_each_kind_come_back_identical() -> None:
    await _die_and_come_back(TRIED if CHAOS else ["ALTER TABLE", "XA COMMIT"], sent=True)


async def _die_and_come_back(kinds: list[str], *, sent: bool) -> None:
    chance = chance_from(SEED)
    async with running_rig() as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        for kind in kinds:
            old = await _die_during(rig, KINDS[kind], chance, sent=sent)
            for member in rig.members.values():
                member.start()
            # Where the replicas were not sent it, nobody stands later than the primary, which has done it.
            rig.log.elect(chance.choice([*rig.members]) if sent else old.number)
            await rig.level()
            assert await rig.differences() == [], kind
            if kind == "CREATE SELECT":
                assert await rig.leader.database.value("SELECT COUNT(*) FROM app.copied") == "2"
            # Otherwise there was somebody to clone from.
            doubted = [bool(member.clone_reasons) for member in rig.members.values()]
            assert all(doubted), f"{kind}: {[m.clone_reasons for m in rig.members.values()]}"
            for member in rig.members.values():
                member.clone_reasons.clear()


async def test_member_that_is_alone_comes_back_with_what_it_had_half_done() -> None:
    async with running_rig(members=1) as rig:
        await rig.on_leader(*SETUP)
        [member] = rig.members.values()
        for kind, statements in KINDS.items():
            await _die_during(rig, statements, chance_from(SEED), sent=False)
            member.start()
            rig.log.elect(member.number)
            await rig.level()
            assert member.clone_reasons, kind
            member.clone_reasons.clear()
            assert await rig.differences() == [], kind
            if kind == "CREATE SELECT":
                assert await member.database.value("SELECT COUNT(*) FROM app.copied") == "2"
            if kind == "CREATE SEQUENCE":
                assert await member.database.value("SELECT next_not_cached_value FROM app.s") == "1"


async def test_leader_whose_data_diverged_yields_to_one_whose_data_is_only_in_doubt() -> None:
    async with running_rig() as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        await _die_during(rig, KINDS["CREATE TABLE"], chance_from(SEED), sent=True)
        diverged = rig.members[1]
        await RecordStore.open(diverged.directory / "record").update(
            settled=Settled(gtid="0-99-999999"), unsettled=None, tenure=None, last_binlog=None
        )
        for member in rig.members.values():
            member.start()
        rig.log.elect(diverged.number)
        await rig.level()
        assert any("diverged" in reason for reason in diverged.clone_reasons)
        assert await rig.differences() == []


async def _die_during(rig: Rig, statements: tuple[str, ...], chance: random.Random, *, sent: bool) -> Member:
    """Kill everybody while the primary waits for the ACK and both replicas are unsettled.

    Args:
        rig: the members.
        statements: what is run.
        chance: when they are killed.
        sent: the replicas have been sent the group, otherwise they have only marked it.

    Returns:
        The member that was primary.
    """
    leader = await rig.writable()
    followers = [member for member in rig.alive if member is not leader]
    reached: set[int] = set()

    async def stay_unsettled(member: Member) -> None:
        reached.add(member.number)
        await trio.sleep_forever()

    for member in followers:
        if sent:
            member.before_settling = stay_unsettled
        else:
            member.after_mark = stay_unsettled
    rig.log.hold(Stage.COMMITTED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_run_in_vain, leader, statements))
        await until(lambda: len(reached) == len(followers), rig.describe)
        await until(lambda: rig.log.commit_index > rig.log.acknowledged_index, rig.describe)
        await trio.sleep(chance.uniform(0, LONGEST_APPLY_SECONDS))
        for member in rig.members.values():
            member.kill()
        rig.log.depose()
    for member in rig.members.values():
        await member.wait_dead()
        member.after_mark = member.before_settling = None
    rig.log.release()
    return leader


async def _run_in_vain(member: Member, statements: tuple[str, ...]) -> None:
    try:
        async with await member.database.connect() as connection:
            for statement in statements:
                await connection.query(statement)
    except WolfScaleError:
        return
    raise AssertionError(f"{statements[-1]} was answered without an acknowledgement")
