"""Looking accounts up while MariaDB does not let them be read."""

from typing import cast

import pytest
import trio

from wolfscale.app.account_lookup import LOOK_UP_SECONDS, MAX_LOOK_UPS, AccountLookup, AccountsUnreadable
from wolfscale.replication.database import Database


class _Hanging:
    """Stands for a server on which CREATE USER waits for its acknowledgement."""

    def __init__(self) -> None:
        self.sessions = 0
        self.most = 0
        self.released = trio.Event()

    async def accounts(self, user: str) -> list[dict[str, str]]:
        self.sessions += 1
        self.most = max(self.most, self.sessions)
        try:
            await self.released.wait()
        finally:
            self.sessions -= 1
        return [{"user": user}]


@pytest.mark.autojump
async def test_look_up_that_hangs_is_given_up_and_few_hang_at_a_time() -> None:
    database = _Hanging()
    lookup = AccountLookup(cast("Database", database))
    started = trio.current_time()

    async def ask() -> None:
        with pytest.raises(AccountsUnreadable, match="wait for a majority"):
            await lookup.accounts("u")

    async with trio.open_nursery() as nursery:
        for _ in range(3 * MAX_LOOK_UPS):
            nursery.start_soon(ask)
    assert trio.current_time() - started == pytest.approx(LOOK_UP_SECONDS)
    assert database.most == MAX_LOOK_UPS
    assert database.sessions == 0
    database.released.set()
    assert await lookup.accounts("u") == [{"user": "u"}]
