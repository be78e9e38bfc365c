"""Boots a server whose last stop nobody vouches for, and finds out where InnoDB stands.

A server's own binlog cannot be believed: after a power cut InnoDB is mostly ahead of it, sometimes
behind, and a boot that trusts it comes up at a wrong position without any error. So it is read for
evidence, deleted, and the server is started once with `--tc-heuristic-recover=ROLLBACK`, which rolls back
what waited for its acknowledgement, says where InnoDB's last committed group ended, and ends by itself.

Everything may be killed at any point and is then started over; what must not get lost (the line that
only the first boot prints) goes to the record at once.
"""

import re
from pathlib import Path

import trio

from wolfscale import logs
from wolfscale.replication.clone_files import CLONE_DIRECTORY, discard
from wolfscale.replication.database import Database
from wolfscale.replication.decision import Position, Recovery
from wolfscale.replication.filesystem import sync_file_system
from wolfscale.replication.orphans import remove_orphans
from wolfscale.replication.record import (
    BinlogPosition,
    CleanStop,
    DataState,
    NodeRecord,
    RecordStore,
    Settled,
    TailEvidence,
    Tenure,
)
from wolfscale.replication.settings import BINLOG_PREFIX, RELAY_LOG, RESERVED_SERVER_ID, Boot
from wolfscale.replication.tail import scan_tail

log = logs.logger(__name__)

ROLLBACK = "--tc-heuristic-recover=ROLLBACK"

_LAST_BINLOG = re.compile(r"InnoDB: Last binlog file '([^']+)', position (\d+)")
_REPLICATION_FILES = (
    "master.info",
    "master-*.info",
    "multi-master.info",
    "relay-log.info",
    "relay-log-*.info",
    f"{RELAY_LOG}*",
)
_BINLOG_FILES = (f"{BINLOG_PREFIX}*", "tc.log")


async def recover(database: Database, store: RecordStore, *, number: int = 0) -> Recovery:
    """Make sure that no server runs, bring the data to a consistent state and boot it as a replica.

    Afterwards the server runs, read only and with its replica threads stopped, unless `data` says that
    there is nothing to run. `decide` then tells where it stands; `settle_recovery` makes that durable.

    Args:
        database: the node's server.
        store: the node's record.
        number: the member's number, for the reserved server id; 0 while it has none.

    Raises:
        ServerStartFailed: the server does not come up; its data may be damaged.
        OSError: the data directory or the record cannot be written.
    """
    await database.kill()
    record = store.current
    if record.data is not DataState.PRESENT or not database.server.data_exists():
        return Recovery(data=DataState.ABSENT if record.data is DataState.PRESENT else record.data)
    await trio.to_thread.run_sync(discard, database.data_directory / CLONE_DIRECTORY)
    if record.clean_stop is not None and not record.recovering:
        return await _boot_after_clean_stop(database, store, record.clean_stop, number)
    return await _recover_unclean(database, store, number)


async def _boot_after_clean_stop(
    database: Database, store: RecordStore, clean_stop: CleanStop, number: int
) -> Recovery:
    await trio.to_thread.run_sync(delete_files, database.data_directory, _REPLICATION_FILES + _BINLOG_FILES)
    # Killed from here on, the server is recovered; the settled record then knows what the mark knew.
    await store.update(clean_stop=None)
    await _boot(database, store, number)
    return Recovery(clean_stop=clean_stop, replicated=await database.position())


async def _recover_unclean(database: Database, store: RecordStore, number: int) -> Recovery:
    directory = database.data_directory
    first_try = not store.current.recovering
    if first_try:
        tail = await trio.to_thread.run_sync(scan_tail, directory, store.current)
        # What the binlog shows must outlive the binlog: a kill after its deletion starts over without it.
        await store.update(recovering=True, last_binlog=None, tail=tail)
    await trio.to_thread.run_sync(delete_files, directory, _REPLICATION_FILES + _BINLOG_FILES)
    boot = Boot(number=await store.next_boot(), server_id=RESERVED_SERVER_ID + number)
    text = await database.server.start_once(boot, ROLLBACK, keep_log=not first_try)
    last = last_binlog(text)
    if last is not None and store.current.last_binlog is None:
        await store.update(last_binlog=last)
    await trio.to_thread.run_sync(delete_files, directory, _BINLOG_FILES)
    await _boot(database, store, number)
    await remove_orphans(database)
    recovery = Recovery(
        last_binlog=store.current.last_binlog,
        replicated=await database.position(),
        tail=store.current.tail,
        boot_group=await database.binlog_position(),
    )
    log.info("found where InnoDB stands", last_binlog=recovery.last_binlog, replicated=recovery.replicated)
    return recovery


async def _boot(database: Database, store: RecordStore, number: int) -> None:
    await database.start(Boot(number=await store.next_boot(), server_id=RESERVED_SERVER_ID + number))


async def settle_recovery(database: Database, store: RecordStore, position: Position) -> None:
    """Make a recovered server stand at the decided position, durably; its evidence is then done with.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
        OSError: the disk failed.
    """
    await database.set_position(position.gtid)
    await database.flush_engine_logs()
    await sync_file_system(database.data_directory)
    await store.update(
        tenure=None,
        last_binlog=None,
        recovering=False,
        tail=TailEvidence(),
        unsettled=None,
        intent="",
        settled=Settled(gtid=str(position.gtid) if position.gtid else "", index=position.index),
    )


async def begin_tenure(database: Database, store: RecordStore, term: int) -> None:
    """Record durably that the server is about to become the primary of a term: before anything else.

    The own binlog is begun anew when an earlier tenure of this boot has written to it.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
        OSError: the record cannot be written.
    """
    if await database.binlog_position() is not None:
        await database.reset_binlog()
    end = await database.binlog_end()
    start = await database.position()
    await store.update(
        tenure=Tenure(term=term, binlog=end, start=str(start) if start else ""), last_binlog=None
    )


async def end_tenure(database: Database, store: RecordStore, position: Position) -> None:
    """Record that a primary was drained: nothing waits, nothing is open, it stands at a position.

    The server keeps running, as a replica from that position on.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
        OSError: the disk failed.
    """
    await settle_recovery(database, store, position)


async def stop_in_order(database: Database, store: RecordStore, position: Position) -> bool:
    """Stop a replica, or a drained primary, so that the next start needs no recovery.

    The replica threads must be stopped and the position be what they, or the drain, ended at.

    Returns:
        Whether it stopped in good order; if not, the next start recovers.

    Raises:
        ServerError, ConnectionLost: the server refused or is gone.
        OSError: the disk failed.
    """
    if await database.position() != position.gtid:
        # A primary's is that of the replica it was.
        await database.set_position(position.gtid)
    if not await database.stop():
        return False
    await sync_file_system(database.data_directory)
    gtid = str(position.gtid) if position.gtid else ""
    await store.update(
        clean_stop=CleanStop(gtid=gtid, index=position.index),
        settled=Settled(gtid=gtid, index=position.index),
        tenure=None,
        last_binlog=None,
        recovering=False,
        tail=TailEvidence(),
        unsettled=None,
        intent="",
    )
    return True


async def create_data(database: Database, store: RecordStore) -> None:
    """Give the first node of a cluster its data: an empty server with the node's account and schema.

    Raises:
        DataDirectoryUnusable: it cannot be made.
        OSError: the record cannot be written.
    """
    await store.update(data=DataState.UNFINISHED)
    await database.server.create_data()
    await store.update(**fresh_data())


def fresh_data(settled: Settled | None = None) -> dict[str, object]:
    """Return the record's changes for data that was just created or cloned and knows no past."""
    empty = NodeRecord(data=DataState.PRESENT, settled=settled or Settled())
    return {name: getattr(empty, name) for name in NodeRecord.__struct_fields__ if name != "boots"}


def last_binlog(text: str) -> BinlogPosition | None:
    """Return what an error log says of InnoDB's last binlog position: its first such line."""
    found = _LAST_BINLOG.search(text)
    if found is None:
        return None
    return BinlogPosition(file=found[1].rpartition("/")[2], offset=int(found[2]))


def delete_files(directory: Path, patterns: tuple[str, ...]) -> None:
    """Delete the files (never directories, which are schemas) whose names match. Blocks.

    Raises:
        OSError: one cannot be deleted.
    """
    for pattern in patterns:
        for path in directory.glob(pattern):
            if not path.is_dir():
                path.unlink(missing_ok=True)
