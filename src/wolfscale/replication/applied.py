"""Knows how far the local replica has applied, without asking it again and again.

`MASTER_GTID_WAIT` returns within a quarter of a millisecond after the replica has applied a group, so it
serves as a push: the tracker waits with it for a group that the log has committed, and for the next one
then. While the replica is level nothing is asked at all.
"""

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.capture import Connect
from wolfscale.replication.gtid_position import parse_position
from wolfscale.replication.log import ReplicatedLog
from wolfscale.replication.positions import newest_group

log = logs.logger(__name__)

STEP_GROUPS = 64
"""A replica that is behind is followed in steps of so many groups, so that nobody waits for all of them."""

WAIT_SECONDS = 10.0
"""How long one wait may take; then the position is read, in case somebody has set it."""

RETRY_SECONDS = 0.2


class AppliedTracker:
    """Follows one replica. One task runs `run`; the rest may be used from any task.

    Attributes:
        changes: notified when `applied_sequence` has moved.
    """

    def __init__(self, connect: Connect, log: ReplicatedLog) -> None:
        """Prepare; nothing is connected.

        Args:
            connect: opens a connection to the replica.
            log: the log that it follows.
        """
        self.changes = Changes()
        self._connect = connect
        self._log = log
        self._applied_sequence = 0
        self._committed_sequence = 0
        self._seen_index = 0

    @property
    def applied_sequence(self) -> int:
        """GTID sequence of the newest group that the replica has applied, as far as known; 0: none."""
        return self._applied_sequence

    def reset(self, position: Gtid | None) -> None:
        """Set what is known of the replica: after recovery, or a clone, it may be older than before."""
        self._applied_sequence = position.sequence if position is not None else 0
        self.changes.notify()

    async def wait_applied(self, sequence: int) -> None:
        """Wait until the replica has applied the group with this sequence."""
        await self.changes.wait_until(lambda: self._applied_sequence >= sequence)

    async def run(self) -> None:
        """Follow the replica until cancelled; connects again as often as needed."""
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._follow(connection)
                finally:
                    with trio.CancelScope(shield=True):
                        await connection.packets.aclose_forcefully()
            except (ConnectionLost, ServerError, OSError) as error:
                log.debug("the replica cannot be asked for its position", error=str(error))
                await trio.sleep(RETRY_SECONDS)

    async def _follow(self, connection: Connection) -> None:
        self._on_position(await connection.value("SELECT @@GLOBAL.gtid_slave_pos"))
        while True:
            await self._log.changes.wait_until(self._is_behind)
            target = min(self._committed_sequence, self._applied_sequence + STEP_GROUPS)
            result = await connection.query(
                f"SELECT MASTER_GTID_WAIT('0-1-{target}', {WAIT_SECONDS}), @@GLOBAL.gtid_slave_pos"
            )
            self._on_position(result.rows[0][1])

    def _on_position(self, text: str | None) -> None:
        position = parse_position(text)
        sequence = position.sequence if position is not None else 0
        if sequence != self._applied_sequence:
            self._applied_sequence = sequence
            self.changes.notify()

    def _is_behind(self) -> bool:
        commit_index = self._log.commit_index
        if commit_index != self._seen_index:
            found = newest_group(self._log, commit_index, above=self._seen_index)
            self._seen_index = commit_index
            if found is not None:
                self._committed_sequence = found[0].sequence
        return self._applied_sequence < self._committed_sequence
