"""What clients and backups do on a replica does not keep it from being promoted, nor a kill in the middle.

`SET GLOBAL gtid_slave_pos`, which a promotion needs, waits behind each `MASTER_GTID_WAIT`; behind a backup's
locks it waits with the server's variables locked, which the backup then waits for; and it is not atomic.
"""

import pytest
import trio
from fault_kinds import SETUP
from fault_rig import Member, running_rig, until

from wolfscale.mysql.errors import ServerError
from wolfscale.replication.roles import DatabaseState

pytestmark = pytest.mark.faults

LIMIT_SECONDS = 60.0
WAIT_FOR_EVER = "SELECT MASTER_GTID_WAIT('0-1-999999999')"
INTERRUPTED = 1317


async def test_replica_with_a_client_that_waits_for_a_gtid_is_promoted() -> None:
    async with running_rig(members=2) as rig:
        old, new = rig.members[1], rig.members[2]
        ended = trio.Event()

        async def wait_for_ever() -> None:
            async with await new.database.connect() as client:
                with pytest.raises(ServerError) as raised:
                    await client.query(WAIT_FOR_EVER)
                assert raised.value.errno == INTERRUPTED
                ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_ever)
            with trio.fail_after(LIMIT_SECONDS):
                while not await _is_waiting(new):
                    await trio.sleep(0.005)
            old.kill()
            rig.log.depose()
            await old.wait_dead()
            rig.log.elect(new.number)
            await until(lambda: new.lifecycle.writable, rig.describe)
            await ended.wait()


async def _is_waiting(member: Member) -> bool:
    rows = (await member.database.query("SHOW PROCESSLIST")).rows
    return any(WAIT_FOR_EVER in (value or "") for row in rows for value in row)


async def test_replica_that_is_promoted_under_a_backup_lets_it_end_and_goes_on() -> None:
    async with running_rig(members=2) as rig:
        old, new = rig.members[1], rig.members[2]
        async with await new.database.connect() as backup:
            for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                await backup.query(f"BACKUP STAGE {stage}")
            old.kill()
            rig.log.depose()
            await old.wait_dead()
            rig.log.elect(new.number)
            await until(lambda: new.lifecycle.state is DatabaseState.PROMOTING, rig.describe)
            # What mariadb-backup asks before it lets go; its answer must not wait for the promotion.
            with trio.fail_after(LIMIT_SECONDS):
                for _ in range(20):
                    await backup.query("SHOW VARIABLES")
            assert not new.lifecycle.writable
            await backup.query("BACKUP STAGE END")
        await until(lambda: new.lifecycle.writable, rig.describe)


async def test_replica_killed_while_its_position_is_set_is_cloned() -> None:
    async with running_rig(members=2) as rig:
        await rig.on_leader(*SETUP)
        await rig.level()
        replica = rig.members[2]
        newest = rig.log.find_sequence(rig.log.newest_sequence())
        await until(lambda: replica.records.current.settled.index == newest, rig.describe)
        await until(lambda: replica.records.current.unsettled is None, rig.describe)
        # What the table holds between its being emptied and its being filled again.
        await replica.database.query("DELETE FROM mysql.gtid_slave_pos")
        replica.kill()
        await replica.wait_dead()
        await rig.on_leader("UPDATE app.t SET note=note+1")
        replica.start()
        await rig.level()
        assert any("position is gone" in text for text in replica.clone_reasons), replica.clone_reasons
        assert await rig.differences() == []
