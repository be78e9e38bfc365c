"""Settling: what is recorded was read a round earlier, and marks are on the disk when they must be."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.replication import settle as settle_module
from wolfscale.replication.database import Database
from wolfscale.replication.errors import WritebackLost
from wolfscale.replication.intents import IntentMarks
from wolfscale.replication.record import BinlogPosition, RecordStore, Settled, Unsettled
from wolfscale.replication.settle import Settler, primary_position, replica_position


class FakeDatabase:
    """Answers positions and notes what is asked of it, in order."""

    def __init__(self) -> None:
        self.data_directory = Path("/nowhere")
        self.calls: list[str] = []
        self.applied = 0
        self.engine = BinlogPosition(file="binlog-000001.000001", offset=0)
        self.on_sync: Callable[[], None] = lambda: None

    async def position(self) -> Gtid | None:
        await trio.lowlevel.checkpoint()
        return Gtid(domain=0, server_id=7, sequence=self.applied) if self.applied else None

    async def engine_position(self) -> BinlogPosition:
        await trio.lowlevel.checkpoint()
        return self.engine

    async def flush_engine_logs(self) -> None:
        self.calls.append("flush")

    async def purge_binlogs(self, before: BinlogPosition) -> None:
        self.calls.append(f"purge {before.file}")

    async def sync(self, path: Path) -> None:
        await trio.sleep(0.01)
        assert path == self.data_directory
        self.calls.append("sync")
        self.on_sync()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> FakeDatabase:
    fake = FakeDatabase()
    monkeypatch.setattr(settle_module, "sync_file_system", fake.sync)
    return fake


def _replica(fake: FakeDatabase, store: RecordStore) -> tuple[Settler, IntentMarks]:
    real = cast("Database", fake)
    intents = IntentMarks(store)
    return Settler(real, store, intents, replica_position(real, lambda sequence: sequence * 10)), intents


def _at(sequence: int, offset: int | None = None, file: str = "binlog-000001.000001") -> Settled:
    binlog = None if offset is None else BinlogPosition(file=file, offset=offset)
    return Settled(gtid=f"0-7-{sequence}", index=sequence * 10, binlog=binlog)


async def test_settler_records_the_position_of_the_round_before(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)
    seen = []
    for sequence in range(1, 5):
        database.applied = sequence
        await settler.settle()
        seen.append(store.current.settled)
    assert seen == [Settled(), _at(1), _at(2), _at(3)]


async def test_settler_of_an_idle_server_leaves_the_disk_alone(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)
    database.applied = 4
    for _ in range(3):
        await settler.settle()
    assert store.current.settled == _at(4)
    calls = len(database.calls)
    for _ in range(100):
        await settler.settle()
    assert len(database.calls) == calls


async def test_settle_now_waits_for_the_group_and_flushes_before_it_syncs(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)
    database.applied = 4
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settler.settle_now, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert database.calls == []
        database.applied = 5
    assert database.calls == ["flush", "sync"]
    assert store.current.settled == _at(5)


async def test_replica_marks_a_group_that_is_not_plain_until_it_is_settled(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)
    gtid = Gtid(domain=0, server_id=7, sequence=5)
    await settler.before_not_plain(gtid, 50)
    assert RecordStore.open(tmp_path / "record").current.unsettled == Unsettled(gtid="0-7-5", index=50)
    marked = []
    database.on_sync = lambda: marked.append(store.current.unsettled)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settler.after_not_plain, gtid, 50)
        database.applied = 5
    assert marked == [Unsettled(gtid="0-7-5", index=50)]
    assert store.current.unsettled is None
    assert store.current.settled == _at(5)


async def test_primary_position_is_acknowledged_and_in_the_engine(database: FakeDatabase) -> None:
    acknowledged: Settled | None = None
    read = primary_position(cast("Database", database), lambda: acknowledged)
    assert await read() is None
    acknowledged = _at(3, 300)
    assert await read() is None
    database.engine = BinlogPosition(file="binlog-000001.000001", offset=300)
    assert await read() == _at(3, 300)
    acknowledged = _at(4, 400)
    assert await read() == _at(3, 300)
    database.engine = BinlogPosition(file="binlog-000001.000010", offset=4)
    assert await read() == _at(4, 400)


async def test_settler_of_a_primary_purges_binlogs_before_the_settled_one(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    acknowledged = _at(3, 300)
    real = cast("Database", database)
    settler = Settler(real, store, IntentMarks(store), primary_position(real, lambda: acknowledged))
    database.engine = BinlogPosition(file="binlog-000001.000002", offset=900)
    await settler.settle_now(3)
    acknowledged = _at(4, 400)
    await settler.settle_now(4)
    acknowledged = _at(5, 500, "binlog-000001.000002")
    await settler.settle_now(5)
    purges = [call for call in database.calls if call.startswith("purge")]
    assert purges == ["purge binlog-000001.000001", "purge binlog-000001.000002"]


async def test_intent_mark_is_on_the_disk_when_begin_returns(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "record")
    intents = IntentMarks(store)
    await intents.begin("DDL")
    assert RecordStore.open(tmp_path / "record").current.intent == "DDL"
    assert intents.active == 1


async def test_intent_mark_is_lifted_only_by_a_round_that_began_after_the_last_end(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, intents = _replica(database, store)
    database.applied = 1
    await intents.begin("DDL")
    database.on_sync = intents.end  # while a round is under way
    await settler.settle_now(1)
    database.on_sync = lambda: None
    assert store.current.intent == "DDL"
    await settler.settle_now(1)
    assert store.current.intent == ""


async def test_intent_that_begins_during_a_round_keeps_the_mark(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, intents = _replica(database, store)
    database.applied = 1
    await intents.begin("DDL")
    intents.end()
    async with trio.open_nursery() as nursery:
        database.on_sync = lambda: nursery.start_soon(intents.begin, "another")
        await settler.settle_now(1)
    assert RecordStore.open(tmp_path / "record").current.intent != ""
    assert intents.active == 1


async def test_intent_that_begins_while_the_mark_is_lifted_sets_it_again(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "record")
    intents = IntentMarks(store)
    for _ in range(20):
        await intents.begin("first")
        intents.end()
        ticket = intents.liftable()
        assert ticket is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intents.lift, ticket)
            nursery.start_soon(intents.begin, "second")
        assert RecordStore.open(tmp_path / "record").current.intent != ""
        intents.end()
        ticket = intents.liftable()
        assert ticket is not None
        await intents.lift(ticket)
        assert RecordStore.open(tmp_path / "record").current.intent == ""


async def test_intent_whose_mark_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents = IntentMarks(RecordStore.open(tmp_path / "record"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        with pytest.raises(OSError, match="No space"):
            await intents.begin("DDL")
    assert intents.active == 0


async def test_cancelled_intent_counts_for_nothing(tmp_path: Path) -> None:
    intents = IntentMarks(RecordStore.open(tmp_path / "record"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await intents.begin("DDL")
    assert intents.active == 0


async def test_settler_never_vouches_for_anything_after_a_sync_that_failed(
    database: FakeDatabase, tmp_path: Path
) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)
    database.applied = 1
    await settler.settle()

    def fail() -> None:
        database.on_sync = lambda: None
        raise OSError(errno.EIO, "Input/output error")

    database.on_sync = fail
    database.applied = 2
    for _ in range(3):
        with pytest.raises(WritebackLost, match="check the disk"):
            await settler.settle()
    with pytest.raises(WritebackLost):
        await settler.after_not_plain(Gtid(domain=0, server_id=7, sequence=2), 20)
    assert store.current.settled == Settled()


async def test_settler_goes_on_after_a_full_disk(database: FakeDatabase, tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "record")
    settler, _ = _replica(database, store)

    def fail() -> None:
        database.on_sync = lambda: None
        raise OSError(errno.ENOSPC, "No space left on device")

    database.on_sync = fail
    database.applied = 1
    with pytest.raises(OSError, match="No space left"):
        await settler.settle()
    database.applied = 2
    await settler.settle()
    await settler.settle()
    assert store.current.settled == _at(2)
