"""A member's durable state: what is readable, what is durable, and what a power cut leaves."""

import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.errors import InvariantError
from wolfscale.node.storage import Batch, RaftStorage
from wolfscale.raft.codec import encode_membership
from wolfscale.raft.errors import LogCompacted
from wolfscale.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Index,
    LogBase,
    Member,
    Membership,
    NodeId,
    Suffrage,
    Term,
)
from wolfscale.testing.faulty_disk import Fault, FaultyDisk, PowerCut
from wolfscale.wal import WalBusy, WalCorrupt, WalFull, WalOptions, WalSyncFailed

DIRECTORY = Path("/data")


def key_of(data: bytes) -> int:
    return int.from_bytes(data[:4], "big")


def open_storage(
    disk: FaultyDisk, *, cache_bytes: int = 1 << 20, segment_bytes: int = 1 << 20
) -> RaftStorage:
    return RaftStorage.open(
        DIRECTORY,
        wal_options=WalOptions(segment_bytes=segment_bytes),
        key_of=key_of,
        files=disk,
        cache_bytes=cache_bytes,
    )


def event(index: int, *, term: int = 1, key: int = 0, size: int = 40) -> Entry:
    data = key.to_bytes(4, "big") + f"{index}.{term}".encode().ljust(size)
    return Entry(index=Index(index), term=Term(term), kind=EntryKind.EVENTS, data=data)


def events(first: int, count: int, *, term: int = 1, size: int = 40) -> tuple[Entry, ...]:
    """Consecutive entries; the even ones have a key of ten times their index."""
    return tuple(
        event(index, term=term, key=0 if index % 2 else index * 10, size=size)
        for index in range(first, first + count)
    )


def membership_of(*names: str) -> Membership:
    result = Membership()
    for number, name in enumerate(names, 1):
        member = Member(
            id=NodeId(name), name=name, address=f"{name}:7400", number=number, suffrage=Suffrage.VOTER
        )
        result = result.with_member(member)
    return result


def change(index: int, *names: str, term: int = 1) -> Entry:
    data = encode_membership(membership_of(*names))
    return Entry(index=Index(index), term=Term(term), kind=EntryKind.MEMBERSHIP, data=data)


def base_at(index: int, *names: str, term: int = 1) -> LogBase:
    return LogBase(index=Index(index), term=Term(term), membership=membership_of(*names))


def state(term: int, vote: str | None = None) -> HardState:
    return HardState(term=Term(term), vote=NodeId(vote) if vote else None)


def store(storage: RaftStorage, *batches: Batch) -> None:
    for batch in batches:
        storage.handed_out(batch.entries, batch.base)
    storage.persist(batches)


def everything(storage: RaftStorage) -> list[Entry]:
    """All entries, read in as many calls as it takes."""
    result: list[Entry] = []
    following = storage.first_index
    while following <= storage.last_index:
        result += storage.entries(following, storage.last_index, 1 << 30)
        following = Index(result[-1].index + 1)
    return result


def check(storage: RaftStorage, expected: tuple[Entry, ...]) -> None:
    assert tuple(everything(storage)) == expected
    assert storage.last_index == (expected[-1].index if expected else storage.base.index)
    assert storage.term(storage.base.index) == storage.base.term
    greatest = None
    for entry in expected:
        assert storage.term(entry.index) == entry.term
        key = key_of(entry.data) if entry.kind is EntryKind.EVENTS else 0
        if key:
            greatest = entry.index
            assert storage.find_key(key) == entry.index
            assert storage.find_key(key + 1) is None
            assert storage.floor_key(key + 1) == entry.index
    assert storage.floor_key(1 << 31) == greatest
    assert [index for index, _ in storage.memberships()] == [
        entry.index for entry in expected if entry.kind is EntryKind.MEMBERSHIP
    ]


def test_storage_new_is_empty(tmp_path: Path) -> None:
    storage = RaftStorage.open(tmp_path / "data", key_of=key_of)
    assert storage.hard_state == HardState()
    assert storage.base == LogBase()
    assert (storage.first_index, storage.last_index, storage.durable_index) == (1, 0, 0)
    assert storage.term(Index(0)) == 0
    check(storage, ())
    with pytest.raises(WalBusy):
        RaftStorage.open(tmp_path / "data", key_of=key_of)
    storage.close()


def test_storage_reopened_has_what_was_persisted(tmp_path: Path) -> None:
    storage = RaftStorage.open(tmp_path, key_of=key_of)
    base = base_at(0, "a", term=0)
    store(storage, Batch(base=base, hard_state=state(3, "a")), Batch(entries=events(1, 10)))
    store(storage, Batch(hard_state=state(4)), Batch(entries=(change(11, "a", "b"),)))
    storage.close()
    storage = RaftStorage.open(tmp_path, key_of=key_of)
    assert storage.hard_state == state(4)
    assert storage.base == base
    assert storage.memberships() == [(11, membership_of("a", "b"))]
    check(storage, (*events(1, 10), change(11, "a", "b")))
    assert storage.durable_index == 11
    storage.close()


def test_entries_handed_out_are_readable_before_they_are_durable() -> None:
    storage = open_storage(FaultyDisk())
    store(storage, Batch(entries=events(1, 5)))
    storage.handed_out(events(6, 5))
    check(storage, events(1, 10))
    assert storage.durable_index == 5
    assert storage.unpersisted_bytes == sum(len(entry.data) for entry in events(6, 5))
    storage.handed_out(events(11, 5))
    storage.persist([Batch(entries=events(6, 5))])
    assert storage.durable_index == 10
    storage.persist([Batch(entries=events(11, 5))])
    assert storage.durable_index == 15
    assert storage.unpersisted_bytes == 0


@pytest.mark.parametrize("cache_bytes", [0, 1000, 1 << 20])
def test_entries_overwritten_take_back_durability(cache_bytes: int) -> None:
    disk = FaultyDisk()
    storage = open_storage(disk, cache_bytes=cache_bytes)
    store(storage, Batch(entries=events(1, 10)))
    storage.handed_out(events(11, 5))
    storage.handed_out(events(4, 3, term=2))
    expected = events(1, 3) + events(4, 3, term=2)
    check(storage, expected)
    assert storage.durable_index == 3
    storage.persist([Batch(entries=events(11, 5))])
    assert storage.durable_index == 3  # what is durable at 4 is not what is read there
    check(storage, expected)
    storage.handed_out(events(7, 1, term=2))
    storage.persist([Batch(entries=events(4, 3, term=2))])
    assert storage.durable_index == 6
    storage.persist([Batch(entries=events(7, 1, term=2))])
    assert storage.durable_index == 7
    check(storage, expected + events(7, 1, term=2))
    check(open_storage(disk.after_power_cut(lambda step: False)), expected + events(7, 1, term=2))


def test_persist_of_several_readys_makes_one_sync() -> None:
    disk = FaultyDisk()
    storage = open_storage(disk)
    store(storage, Batch(entries=events(1, 5)))
    before = disk.operations
    store(
        storage,
        Batch(entries=events(6, 5)),
        Batch(hard_state=state(0)),  # not changed
        Batch(entries=events(8, 5, term=2)),
        Batch(entries=events(3, 2, term=3)),
        Batch(entries=events(5, 9, term=3)),
    )
    assert disk.operations - before == 3  # write, sync, and the mark, which is not waited for
    check(storage, events(1, 2) + events(3, 11, term=3))
    check(open_storage(disk.after_power_cut(lambda step: False)), events(1, 2) + events(3, 11, term=3))


def test_base_installed_drops_what_was_there() -> None:
    disk = FaultyDisk()
    storage = open_storage(disk)
    store(storage, Batch(entries=events(1, 10)))
    base = base_at(100, "a", "b", term=4)
    storage.handed_out(events(101, 2, term=5), base)
    assert storage.base == base
    assert storage.durable_index == 10
    check(storage, events(101, 2, term=5))
    for index in (10, 99):
        with pytest.raises(LogCompacted):
            storage.term(Index(index))
    storage.persist([Batch(base=base, entries=events(101, 2, term=5))])
    assert storage.durable_index == 102
    storage = open_storage(disk.after_power_cut(lambda step: False))
    assert storage.base == base
    check(storage, events(101, 2, term=5))


def test_entries_out_of_range_are_refused() -> None:
    storage = open_storage(FaultyDisk())
    store(storage, Batch(base=base_at(5, "a")), Batch(entries=events(6, 5)))
    for first, last, error in [(5, 6, LogCompacted), (6, 11, InvariantError), (11, 11, InvariantError)]:
        with pytest.raises(error):
            storage.entries(Index(first), Index(last), 1000)
    assert storage.entries(Index(8), Index(7), 1000) == []
    with pytest.raises(InvariantError):
        storage.handed_out(events(12, 1))
    with pytest.raises(InvariantError):
        storage.handed_out(events(5, 1))
    with pytest.raises(InvariantError):
        storage.handed_out((event(11), event(13)))
    with pytest.raises(InvariantError, match="not handed out"):
        storage.persist([Batch(entries=events(11, 1))])
    check(storage, events(6, 5))


@pytest.mark.parametrize("cache_bytes", [0, 1500, 1 << 20])
def test_entries_give_what_fits_but_one_at_least(cache_bytes: int) -> None:
    storage = open_storage(FaultyDisk(), cache_bytes=cache_bytes, segment_bytes=300)
    expected = events(1, 30, size=96)
    for first in range(0, 30, 3):
        store(storage, Batch(entries=expected[first : first + 3]))
    storage.handed_out(events(31, 3, size=96))
    expected += events(31, 3, size=96)
    for first in (1, 15, 28, 31):
        for fitting in (1, 2, 20):
            for max_bytes in ((fitting - 1) * 100 + 99 if fitting > 1 else 0, fitting * 100):
                found = storage.entries(Index(first), Index(33), max_bytes)
                assert tuple(found) == expected[first - 1 : first - 1 + len(found)]
                # Where memory and disk meet a call may give less than would fit.
                assert 1 <= len(found) <= max(1, max_bytes // 100)


def test_truncate_prefix_keeps_the_membership_of_the_new_base() -> None:
    disk = FaultyDisk()
    storage = open_storage(disk, segment_bytes=100, cache_bytes=0)
    store(storage, Batch(base=base_at(0, "a", term=0)))
    expected = [*events(1, 3), change(4, "a", "b"), *events(5, 3), change(8, "a", "b", "c"), *events(9, 4)]
    for entry in expected:
        store(storage, Batch(entries=(entry,)))
    assert storage.truncate_prefix(Index(3)) == base_at(3, "a")
    assert storage.truncate_prefix(Index(6)) == base_at(6, "a", "b")
    assert storage.base == base_at(6, "a", "b")
    assert storage.memberships() == [(8, membership_of("a", "b", "c"))]
    check(storage, tuple(expected[6:]))
    with pytest.raises(LogCompacted):
        storage.entries(Index(6), Index(8), 1000)
    storage = open_storage(disk.after_power_cut(lambda step: False), segment_bytes=100)
    assert storage.base == base_at(6, "a", "b")
    check(storage, tuple(expected[6:]))
    assert storage.truncate_prefix(Index(1000)).index == 11  # the segment in use stays
    assert storage.memberships() == []


def test_truncate_prefix_never_drops_what_is_not_durable() -> None:
    storage = open_storage(FaultyDisk(), segment_bytes=100)
    for index in range(1, 8):
        store(storage, Batch(entries=(event(index),)))
    storage.handed_out((event(4, term=2),))
    assert storage.truncate_prefix(Index(6)).index == 3
    check(storage, (event(4, term=2),))
    storage.persist([Batch(entries=(event(4, term=2),))])
    check(storage, (event(4, term=2),))


def test_persist_on_a_full_disk_may_be_repeated() -> None:
    disk = FaultyDisk()
    storage = open_storage(disk)
    store(storage, Batch(entries=events(1, 5)))
    batches = [Batch(hard_state=state(2, "a"), entries=events(4, 5, term=2))]
    storage.handed_out(batches[0].entries)
    disk.capacity_bytes = 0
    with pytest.raises(WalFull):
        storage.persist(batches)
    assert storage.durable_index == 3
    disk.capacity_bytes = None
    storage.handed_out(events(9, 1, term=2))
    storage.persist([*batches, Batch(entries=events(9, 1, term=2))])
    assert (storage.durable_index, storage.hard_state) == (9, state(2, "a"))
    check(open_storage(disk.after_power_cut(lambda step: False)), events(1, 3) + events(4, 6, term=2))


@pytest.mark.parametrize(
    "batch", [Batch(entries=events(6, 1)), Batch(hard_state=state(9)), Batch(base=base_at(9))]
)
def test_persist_whose_sync_failed_is_never_repeated(batch: Batch) -> None:
    disk = FaultyDisk()
    storage = open_storage(disk)
    store(storage, Batch(entries=events(1, 5)))
    storage.handed_out(batch.entries, batch.base)
    disk.faults.append(Fault(operation="sync"))
    for _ in range(2):
        with pytest.raises(WalSyncFailed):
            storage.persist([batch])
    with pytest.raises(WalSyncFailed):
        storage.truncate_prefix(Index(3))
    assert storage.hard_state == HardState()


def test_hard_state_that_is_missing_or_damaged_is_refused() -> None:
    disk = FaultyDisk()
    store(open_storage(disk), Batch(hard_state=state(7, "b")))
    path = DIRECTORY / "hard-state"
    damaged = disk.after_kill()
    content = bytearray(damaged.content(path))
    content[20] ^= 1
    damaged.set_content(path, bytes(content))
    with pytest.raises(WalCorrupt, match="hard-state, byte 0"):
        open_storage(damaged)
    lost = disk.after_kill()
    lost.delete(path)
    with pytest.raises(WalCorrupt, match="missing"):
        open_storage(lost)
    assert open_storage(disk.after_kill()).hard_state == state(7, "b")


def test_storage_opened_after_a_kill_makes_its_vote_durable() -> None:
    total = FaultyDisk()
    storage = open_storage(total)
    before = total.operations
    storage.persist([Batch(hard_state=state(5, "a"))])
    for operations in range(total.operations - before):
        disk = FaultyDisk()
        storage = open_storage(disk)
        disk.stop_after = operations
        with pytest.raises(PowerCut):
            storage.persist([Batch(hard_state=state(5, "a"))])
        found = disk.after_kill()
        vote = open_storage(found).hard_state
        assert vote in (HardState(), state(5, "a"))
        assert open_storage(found.after_power_cut(lambda step: False)).hard_state == vote


@given(seed=st.integers(0, 2**32), cache_bytes=st.sampled_from([0, 800, 1 << 20]))
def test_storage_cut_by_power_keeps_every_promise(seed: int, cache_bytes: int) -> None:
    chance = random.Random(seed)
    disk = FaultyDisk()
    expected: tuple[Entry, ...] = ()
    vote, base = HardState(), LogBase()
    term = 1
    for _ in range(3):
        storage = open_storage(disk, cache_bytes=cache_bytes, segment_bytes=400)
        assert (storage.hard_state, storage.base) == (vote, base)
        check(storage, expected)
        waiting: list[Batch] = []
        visible = expected  # as it is read; `expected` is what has been promised
        disk.stop_after = chance.randrange(60)
        try:
            while True:
                action = chance.randrange(10)
                if action < 6:
                    last = storage.last_index
                    first = last + 1 if action < 4 else chance.randint(storage.first_index, last + 1)
                    term += first != last + 1
                    new = events(first, chance.randint(1, 4), term=term)
                    waiting.append(Batch(entries=new, hard_state=state(term, chance.choice("ab"))))
                    storage.handed_out(new)
                    visible = (*(entry for entry in visible if entry.index < first), *new)
                elif action == 6 and storage.durable_index > storage.base.index:
                    moved = storage.truncate_prefix(Index(chance.randint(0, storage.durable_index)))
                    visible = tuple(entry for entry in visible if entry.index > moved.index)
                elif action == 7 and chance.randrange(3) == 0:
                    installed = base_at(storage.last_index + chance.randrange(3), "a", "b", term=term)
                    waiting.append(Batch(base=installed))
                    storage.handed_out((), installed)
                    visible = ()
                elif waiting:
                    done = chance.randint(1, len(waiting))
                    storage.persist(waiting[:done])
                    del waiting[:done]
                check(storage, visible)
                limit = storage.durable_index
                if not any(batch.base for batch in waiting):
                    expected = tuple(entry for entry in visible if entry.index <= limit)
                vote = storage.hard_state
        except PowerCut:
            pass
        disk = disk.after_power_cut(lambda step: chance.random() < 0.5)
        storage = open_storage(disk, cache_bytes=cache_bytes, segment_bytes=400)
        found = tuple(everything(storage))
        bases = [batch.base for batch in waiting if batch.base is not None]
        if storage.base not in bases:
            # Every promised entry is there, unless a Ready that was under way has taken its place.
            replaced = min((batch.entries[0].index for batch in waiting if batch.entries), default=1 << 62)
            for entry in expected:
                if storage.base.index < entry.index < replaced:
                    assert found[entry.index - storage.base.index - 1] == entry
        assert storage.hard_state.term >= vote.term
        assert all(entry.term <= storage.hard_state.term for entry in found)
        expected, vote, base = found, storage.hard_state, storage.base
        term = max([term, storage.hard_state.term])
        storage.close()


def test_storage_is_read_while_a_worker_persists(tmp_path: Path) -> None:
    storage = RaftStorage.open(
        tmp_path, wal_options=WalOptions(segment_bytes=3000, fsync=False), key_of=key_of, cache_bytes=5000
    )
    wake = threading.Condition()
    queue: list[Batch] = []
    failures: list[BaseException] = []
    done = False

    def work() -> None:
        try:
            while True:
                with wake:
                    wake.wait_for(lambda: queue or done)
                    batches = queue[:]
                    del queue[: len(batches)]
                if not batches:
                    return
                storage.persist(batches)
                storage.truncate_prefix(Index(max(0, storage.durable_index - 200)))
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    chance = random.Random(5)
    visible: tuple[Entry, ...] = ()
    term = 1
    for _ in range(400):
        last = storage.last_index
        first = last + 1
        if chance.randrange(4) == 0:
            first, term = max(1, last - chance.randrange(8)), term + 1
        new = events(first, chance.randint(1, 10), term=term)
        visible = (*visible[: first - 1], *new)
        storage.handed_out(new)
        with wake:
            queue.append(Batch(entries=new))
            wake.notify()
        start = max(storage.base.index + 1, storage.last_index - chance.randrange(1, 150))
        try:
            found = storage.entries(Index(start), storage.last_index, 1 << 20)
        except LogCompacted:
            continue
        assert tuple(found) == visible[start - 1 : start - 1 + len(found)]
        assert storage.term(found[0].index) == found[0].term
        key = key_of(found[-1].data)
        if key:
            assert storage.find_key(key) == found[-1].index
    with wake:
        done = True
        wake.notify()
    worker.join()
    assert failures == []
    assert storage.durable_index == storage.last_index
    assert tuple(everything(storage)) == visible[storage.base.index :]
    storage.close()
