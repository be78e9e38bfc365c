"""Keeps the settled record: up to where the data survives a power cut, whole.

MariaDB does not sync at each commit, so about once a second the node reads a position, has the engines
write their logs, calls `syncfs`, and only then records it. What is recorded was read one round earlier:
a position read just before `syncfs` vouched for too much once in twenty power cuts, the one before it never.

A group that is no plain transaction (DDL, accounts, sequences, Aria, XA) is whole only once settled. A
replica is given such a group alone, with a mark on the disk; on a primary the intent mark is on the disk
before the statement is sent, and is lifted by the first round that begins after it has ended.
"""

import errno
from collections.abc import Awaitable, Callable

import trio

from wolfscale import logs
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication.database import Database
from wolfscale.replication.errors import WritebackLost
from wolfscale.replication.filesystem import sync_file_system
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.record import BinlogPosition, RecordStore, Settled, Unsettled
from wolfscale.replication.tail import order

log = logs.logger(__name__)

ROUND_SECONDS = 1.0
POLL_SECONDS = 0.005

_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Nothing is lost by them: the data waits in memory until there is room."""

PositionReader = Callable[[], Awaitable[Settled | None]]
"""Reads a position that is committed in the engine; None while there is none to vouch for."""


class Settler:
    """Makes positions of one server durable while it has one role. Any task may call it."""

    def __init__(
        self, database: Database, store: RecordStore, intents: IntentMarks, read: PositionReader
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            database: the server.
            store: the node's record.
            intents: the node's intent marks.
            read: the role's way to read a position: `replica_position` or `primary_position`.
        """
        self._database = database
        self._store = store
        self._intents = intents
        self._read = read
        self._lock = trio.Lock()
        self._previous: Settled | None = None
        self._first_kept_file = ""
        self._lost: WritebackLost | None = None

    async def run(self) -> None:
        """Settle about once a second until cancelled.

        Raises:
            ServerError, ConnectionLost: the server refused or is gone.
            WritebackLost: the disk lost writes.
            OSError: the disk is full, or the record cannot be written.
        """
        while True:
            await self.settle()
            await trio.sleep(ROUND_SECONDS)

    async def settle(self) -> None:
        """Take one round: settle what was read a round earlier. Does nothing where nothing has moved.

        Raises:
            ServerError, ConnectionLost: the server refused or is gone.
            WritebackLost: the disk lost writes.
            OSError: the disk is full, or the record cannot be written.
        """
        await self._round(at_once=False)

    async def settle_now(self, sequence: int) -> None:
        """Wait until the group with this sequence number is committed in the engine, and settle it.

        Raises:
            ServerError, ConnectionLost: the server refused or is gone.
            WritebackLost: the disk lost writes.
            OSError: the disk is full, or the record cannot be written.
        """
        while True:
            position = await self._read()
            if position is not None and _sequence(position) >= sequence:
                break
            await trio.sleep(POLL_SECONDS)
        await self._round(at_once=True)

    async def before_not_plain(self, gtid: Gtid, index: int) -> None:
        """Mark that this replica is about to be given a group that is no plain transaction.

        Raises:
            OSError: the mark cannot be written.
        """
        await self._store.update(unsettled=Unsettled(gtid=str(gtid), index=index))

    async def after_not_plain(self, gtid: Gtid, index: int) -> None:
        """Wait until the group is applied, settle it and take the mark away; returns then only.

        Raises:
            ServerError, ConnectionLost: the server refused or is gone.
            WritebackLost: the disk lost writes.
            OSError: the disk is full, or the record cannot be written.
        """
        await self.settle_now(gtid.sequence)
        # The position is this very group's, since nothing was sent after it.
        await self._store.update(unsettled=None, settled=Settled(gtid=str(gtid), index=index))

    async def _round(self, *, at_once: bool) -> None:
        async with self._lock:
            liftable = self._intents.liftable()
            position = await self._read()
            settled = position if at_once else self._previous
            if settled is not None and _sequence(settled) <= _sequence(self._store.current.settled):
                settled = None
            if settled is None and liftable is None and position == self._previous:
                return
            await self._database.flush_engine_logs()
            await self._sync()
            self._previous = position
            if settled is not None:
                await self._store.update(settled=settled)
                await self._purge(settled.binlog)
            if liftable is not None:
                await self._intents.lift(liftable)

    async def _sync(self) -> None:
        """Sync the data; one that failed is never tried again, since it would succeed without them."""
        directory = self._database.data_directory
        if self._lost is None:
            try:
                await sync_file_system(directory)
            except OSError as error:
                if error.errno in _PASSING:
                    raise
                self._lost = WritebackLost(directory, error.strerror or str(error))
        if self._lost is not None:
            raise self._lost

    async def _purge(self, settled: BinlogPosition | None) -> None:
        """Delete binlog files that the log has made superfluous; recovery reads from the settled one on."""
        if settled is not None and settled.file != self._first_kept_file:
            await self._database.purge_binlogs(settled)
            self._first_kept_file = settled.file


def replica_position(database: Database, index_of: Callable[[int], int | None]) -> PositionReader:
    """Return the reader for a replica: `gtid_slave_pos` changes in each applied transaction.

    Args:
        database: the server.
        index_of: the log index of the group with a sequence number, if it is known.
    """

    async def read() -> Settled | None:
        gtid = await database.position()
        if gtid is None:
            return None
        return Settled(gtid=str(gtid), index=index_of(gtid.sequence) or 0)

    return read


def primary_position(database: Database, acknowledged: Callable[[], Settled | None]) -> PositionReader:
    """Return the reader for a primary: what a quorum has acknowledged *and* the engine has committed.

    `gtid_binlog_pos` would vouch for too much, since it counts groups that still wait; and a group that
    was acknowledged just now may not have reached the engine.

    Args:
        database: the server.
        acknowledged: the newest group that the capture has acknowledged, with its binlog position.
    """
    latest: Settled | None = None

    async def read() -> Settled | None:
        nonlocal latest
        candidate = acknowledged()
        if candidate is not None and candidate != latest and candidate.binlog is not None:
            engine = await database.engine_position()
            if _reaches(engine, candidate.binlog):
                latest = candidate
        return latest

    return read


def _reaches(engine: BinlogPosition, wanted: BinlogPosition) -> bool:
    """Whether a position is at or after another in the binlog of one boot."""
    return (*order(engine.file), engine.offset) >= (*order(wanted.file), wanted.offset)


def _sequence(settled: Settled) -> int:
    return int(settled.gtid.rpartition("-")[2]) if settled.gtid else 0
