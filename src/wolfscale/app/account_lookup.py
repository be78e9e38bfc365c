"""What proxies ask about accounts, bounded: a waiting account statement makes their readers wait with it."""

import trio

from wolfscale.errors import WolfScaleError
from wolfscale.replication.database import Database

LOOK_UP_SECONDS = 5.0
MAX_LOOK_UPS = 16
"""Sessions on MariaDB at a time; those that hang in one hold their place until their time is over."""


class AccountsUnreadable(WolfScaleError):
    """MariaDB does not let its accounts be read now."""

    def __init__(self) -> None:
        super().__init__(
            f"MariaDB did not let its accounts be read within {LOOK_UP_SECONDS:g} s: a CREATE USER, GRANT or "
            "other account statement may wait for a majority of the nodes. See `wolfscale status`, then "
            "try again"
        )


class AccountLookup:
    """Reads the accounts of the MariaDB beside the node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limit = trio.CapacityLimiter(MAX_LOOK_UPS)

    async def accounts(self, user: str) -> list[dict[str, str]]:
        """The accounts that a client of this name may be logged in to; see `Database.accounts`.

        Raises:
            AccountsUnreadable: not within the bound; the session that hangs in it is given up.
            ServerError: MariaDB refused.
            ConnectionLost: it is not there.
        """
        try:
            with trio.fail_after(LOOK_UP_SECONDS):
                async with self._limit:
                    return await self._database.accounts(user)
        except trio.TooSlowError as error:
            raise AccountsUnreadable from error
