"""The tasks that run while the server is the primary of one term, from promotion to the end of the tenure."""

from collections.abc import Awaitable, Callable

import trio

from wolfscale.mysql.binlog.events import Statement
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.application import create_missing
from wolfscale.replication.capture import Capture
from wolfscale.replication.decision import Position
from wolfscale.replication.errors import Diverged
from wolfscale.replication.progress import watch_progress
from wolfscale.replication.promotion import become_primary, drain
from wolfscale.replication.record import BinlogPosition, Settled
from wolfscale.replication.recovery import end_tenure
from wolfscale.replication.settle import Settler, primary_position
from wolfscale.replication.surroundings import Surroundings


class PrimaryRole:
    """One tenure.

    Attributes:
        settler: makes what was acknowledged durable.
    """

    def __init__(self, surroundings: Surroundings, term: int) -> None:
        reader = primary_position(surroundings.database, self._acknowledged)
        self.settler = Settler(surroundings.database, surroundings.records, surroundings.marks, reader)
        self._surroundings = surroundings
        self._term = term
        self._capture: Capture | None = None

    async def promote(self, nursery: trio.Nursery) -> None:
        """Make the caught-up replica the primary; its tasks run in the nursery.

        Raises:
            ServerError, ConnectionLost: the server refused a step, or is gone.
        """
        around = self._surroundings

        def start_capture(start: Gtid | None) -> Capture:
            self._capture = Capture(
                connect=around.database.connect,
                log=around.cluster.log,
                term=self._term,
                start=start,
                after_not_plain=self._after_not_plain,
                statistics=around.statistics.capture,
            )
            nursery.start_soon(self._capture.run)
            return self._capture

        capture = await become_primary(
            around.database,
            around.records,
            term=self._term,
            node=around.cluster.name,
            start_capture=start_capture,
        )
        nursery.start_soon(self.settler.run)
        nursery.start_soon(self._watch_progress, capture)
        nursery.start_soon(around.intents.sweep)

    async def create_missing(self) -> None:
        """Create the application's database and first account that the configuration names.

        Raises:
            ConnectionLost: the server is gone.
            OSError: the disk failed.
        """
        around = self._surroundings
        await create_missing(around.database, around.intents, around.application)

    async def drain(self, count_uploads: Callable[[], Awaitable[int]]) -> Position:
        """Stop writes and let what is in flight end; returns where the primary stopped.

        Args:
            count_uploads: how many long commands proxies are passing on to it.

        Raises:
            ServerError, ConnectionLost: the server refused a step, or is gone.
        """
        assert self._capture is not None
        database, log = self._surroundings.database, self._surroundings.cluster.log
        gtid = await drain(database, self._capture, count_uploads) or await database.position()
        index = log.find_sequence(gtid.sequence) if gtid else None
        return Position(gtid=gtid, index=index or 0)

    async def end(self, position: Position) -> None:
        """Make the drained server one that was never primary; the capture's task must have ended.

        Raises:
            Diverged: somebody wrote after the drain, whom read_only does not stop: kill and recover it.
            ServerError, ConnectionLost: the server refused a step, or is gone.
            OSError: the disk failed.
        """
        database = self._surroundings.database
        await self._check_unchanged(position)
        await database.sessions.kill_all()
        await self._check_unchanged(position)
        await database.disable_semi_sync()
        await end_tenure(database, self._surroundings.records, position)

    async def _check_unchanged(self, position: Position) -> None:
        written = await self._surroundings.database.binlog_position()
        if written is not None and written != position.gtid:
            raise Diverged(written, f"it was written after the primary had been drained at {position.gtid}")

    def _acknowledged(self) -> Settled | None:
        group = self._capture.acknowledged_group if self._capture else None
        if group is None:
            return None
        end = BinlogPosition(file=group.file, offset=group.end_position)
        return Settled(gtid=str(group.gtid), index=group.index, binlog=end)

    async def _after_not_plain(self, gtid: Gtid, _statement: Statement | None) -> None:
        """Settle the group, and let the cluster know which events are enabled: DDL may have changed them."""
        database = self._surroundings.database
        await self.settler.settle_now(gtid.sequence)
        await database.events.record(await database.events.enabled())

    async def _watch_progress(self, capture: Capture) -> None:
        around = self._surroundings
        await watch_progress(
            around.database,
            capture,
            term=self._term,
            node=around.cluster.name,
            idle_seconds=around.probe_seconds,
            limit_seconds=around.probe_seconds,
        )
