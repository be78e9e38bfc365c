"""A follower is killed while it applies a group that is no plain transaction, and rejoins equal."""

import pytest
import trio
from fault_kinds import KINDS, SETUP
from fault_rig import Member, Rig, running_rig, until
from fault_seeds import chance_from

pytestmark = pytest.mark.faults

SEED = 4
LONGEST_APPLY_SECONDS = 0.01


async def test_follower_killed_while_it_applies_each_kind_rejoins_equal() -> None:
    chance = chance_from(SEED)
    async with running_rig(members=2) as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        follower = rig.members[2]
        for kind, statements in KINDS.items():
            await _kill_while_sent(rig, follower, statements, chance.uniform(0, LONGEST_APPLY_SECONDS))
            # What may be half done is never gone on from.
            assert any("which is no plain transaction" in text for text in follower.clone_reasons), kind
            follower.clone_reasons.clear()
            assert await rig.differences() == [], kind


async def test_follower_killed_between_mark_and_group_rejoins_equal() -> None:
    async with running_rig(members=2) as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        follower = rig.members[2]
        dead = trio.Event()

        async def kill(member: Member) -> None:
            member.kill()
            dead.set()
            await trio.sleep_forever()

        follower.after_mark = kill
        await rig.on_leader(*KINDS["CREATE SELECT"])
        await dead.wait()
        await _back(rig, follower)
        assert "which is no plain transaction" in follower.clone_reasons[0]
        assert await rig.differences() == []


async def test_follower_killed_when_a_group_is_applied_and_not_settled_rejoins_equal() -> None:
    async with running_rig(members=2) as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        follower = rig.members[2]
        for kind in ("CREATE SELECT", "CREATE SEQUENCE", "Aria insert", "XA COMMIT"):
            dead = trio.Event()

            async def kill(member: Member, dead: trio.Event = dead) -> None:
                newest = rig.log.newest_sequence()
                await until(lambda: member.lifecycle.applied_sequence == newest, rig.describe)
                member.kill()
                dead.set()
                await trio.sleep_forever()

            follower.before_settling = kill
            await rig.on_leader(*KINDS[kind])
            await dead.wait()
            await _back(rig, follower)
            assert await rig.differences() == [], kind


async def _kill_while_sent(
    rig: Rig, follower: Member, statements: tuple[str, ...], after_seconds: float
) -> None:
    dead = trio.Event()

    async def kill(member: Member) -> None:
        await trio.sleep(after_seconds)
        member.kill()
        dead.set()
        await trio.sleep_forever()

    follower.before_settling = kill
    await rig.on_leader(*statements)
    await dead.wait()
    await _back(rig, follower)


async def _back(rig: Rig, member: Member) -> None:
    """Start a killed member again and wait until it has caught up."""
    await member.wait_dead()
    member.after_mark = member.before_settling = None
    member.start()
    await rig.level()
