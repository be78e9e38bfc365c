"""What the feed waits for around a group that is no plain transaction: marked before, settled after."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.errors import WritebackLost
from wolfscale.replication.filesystem import describe_fault
from wolfscale.replication.settle import Settler

log = logs.logger(__name__)

RETRY_SECONDS = 1.0


class ServedGroups:
    """Has the settler of the role that the server is in take care of what the feed serves."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._settler: Settler | None = None
        self._changes = Changes()

    def settle_by(self, settler: Settler | None) -> None:
        """The role has changed: from now on by this one; None: nothing is served until there is another."""
        self._settler = settler
        self._changes.notify()

    async def before_not_plain(self, gtid: Gtid, index: int) -> None:
        """The feed's word that it is about to serve a group that is no plain transaction.

        While the mark cannot be written, because the disk is full, the group is not served.
        """
        await self._until_written(lambda settler: settler.before_not_plain(gtid, index))

    async def after_not_plain(self, gtid: Gtid, index: int) -> None:
        """The feed's word that it has served it: returns when the group is applied and settled."""
        try:
            await self._until_written(lambda settler: settler.after_not_plain(gtid, index))
        except (ServerError, ConnectionLost, WritebackLost):
            # The server is gone, or about to be, and with it the connection that was served; nothing may
            # follow on it. What the disk lost, the settler's own next round finds too.
            await trio.sleep_forever()

    async def _until_written(self, write: Callable[[Settler], Awaitable[None]]) -> None:
        reported = False
        while True:
            try:
                await write(await self._present_settler())
                return
            except OSError as error:
                if not reported:
                    reason = describe_fault(error, self._data_directory)
                    log.warning("replication waits for the disk", reason=reason)
                    reported = True
            await trio.sleep(RETRY_SECONDS)

    async def _present_settler(self) -> Settler:
        await self._changes.wait_until(lambda: self._settler is not None)
        settler = self._settler
        assert settler is not None
        return settler
