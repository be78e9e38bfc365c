"""A client that waits for a GTID on a replica, for ever if it must, does not keep it from being promoted."""

import pytest
import trio
from fault_rig import Member, running_rig, until

from wolfscale.mysql.errors import ServerError

pytestmark = pytest.mark.faults

NEVER = "SELECT MASTER_GTID_WAIT('0-1-999999999')"
INTERRUPTED = 1317


async def test_replica_with_a_client_that_waits_for_a_gtid_is_promoted() -> None:
    async with running_rig(members=2) as rig:
        old, new = rig.members[1], rig.members[2]
        ended = trio.Event()

        async def wait_for_ever() -> None:
            async with await new.database.connect() as client:
                with pytest.raises(ServerError) as raised:
                    await client.query(NEVER)
                assert raised.value.errno == INTERRUPTED
                ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_ever)
            with trio.fail_after(60):
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
    return any(NEVER in (value or "") for row in rows for value in row)
