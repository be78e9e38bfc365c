"""The node's record: nothing is lost that was promised, nothing damaged is believed."""

import os
import zlib
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.durability import replace_file
from wolfscale.replication import record as record_module
from wolfscale.replication.record import (
    BinlogPosition,
    CleanStop,
    DataState,
    NodeRecord,
    RecordStore,
    Settled,
    TailEvidence,
    Tenure,
    Unsettled,
    decode_record,
    encode_record,
)
from wolfscale.replication.server_errors import RecordDamaged

POSITIONS = st.builds(BinlogPosition, file=st.text(max_size=20), offset=st.integers(0, 1 << 62))
RECORDS = st.builds(
    NodeRecord,
    data=st.sampled_from(DataState),
    boots=st.integers(0, 1 << 40),
    tenure=st.none() | st.builds(Tenure, term=st.integers(0, 1 << 32), binlog=POSITIONS),
    last_binlog=st.none() | POSITIONS,
    recovering=st.booleans(),
    tail=st.builds(TailEvidence, groups=st.integers(0, 1 << 32), first_not_plain=st.text(max_size=20)),
    settled=st.builds(
        Settled, gtid=st.text(max_size=30), index=st.integers(0, 1 << 62), binlog=st.none() | POSITIONS
    ),
    unsettled=st.none() | st.builds(Unsettled, gtid=st.text(max_size=30), index=st.integers(0, 1 << 62)),
    intent=st.text(max_size=50),
    clean_stop=st.none() | st.builds(CleanStop, gtid=st.text(max_size=30)),
)


@given(RECORDS)
def test_record_round_trips(record: NodeRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(RECORDS, st.data())
def test_damaged_record_is_refused(record: NodeRecord, data: st.DataObject) -> None:
    stored = bytearray(encode_record(record))
    position = data.draw(st.integers(0, len(stored) - 1))
    if data.draw(st.booleans()):
        del stored[position:]
    else:
        stored[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match=r"."):
        decode_record(bytes(stored))


async def test_store_without_a_file_is_a_node_without_data(tmp_path: Path) -> None:
    assert RecordStore.open(tmp_path / "record").current == NodeRecord()


async def test_store_update_is_there_for_the_next_process(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "record")
    await store.update(data=DataState.PRESENT, intent="DDL")
    await store.update(settled=Settled(gtid="0-7-3", index=9))
    assert RecordStore.open(tmp_path / "record").current == store.current
    assert store.current.intent == "DDL"
    assert os.listdir(tmp_path) == ["record"]


async def test_store_refuses_a_damaged_file_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(encode_record(NodeRecord(boots=3)).replace(b"3", b"4", 1))
    with pytest.raises(RecordDamaged, match="record is damaged"):
        RecordStore.open(path)


async def test_store_updates_that_wait_together_share_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[NodeRecord] = []
    real = replace_file

    def count(path: Path, data: bytes, *, mode: int) -> None:
        writes.append(decode_record(data))
        real(path, data, mode=mode)

    monkeypatch.setattr(record_module, "replace_file", count)
    store = RecordStore.open(tmp_path / "record")
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(_update, store, number)
    assert len(writes) <= 3
    assert store.current == writes[-1] == RecordStore.open(tmp_path / "record").current


async def _update(store: RecordStore, number: int) -> None:
    await store.update(boots=number)
    assert store.current.boots >= 0


async def test_store_boot_numbers_are_never_given_twice(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "record")
    assert [await store.next_boot() for _ in range(3)] == [1, 2, 3]
    assert await RecordStore.open(tmp_path / "record").next_boot() == 4


async def test_store_whose_disk_fails_keeps_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore.open(tmp_path / "record")
    await store.update(intent="first")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            await store.update(intent="second")
    assert store.current.intent == "first"
    assert RecordStore.open(tmp_path / "record").current.intent == "first"


def test_record_reads_one_written_before_a_field_was_added() -> None:
    body = msgspec.json.encode({"data": "present", "boots": 4})
    stored = b"%08x %s\n" % (zlib.crc32(body), body)
    assert decode_record(stored) == NodeRecord(data=DataState.PRESENT, boots=4)
