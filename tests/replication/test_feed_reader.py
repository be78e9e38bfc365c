import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from logged_groups import FORMAT, append_group, events, fragments
from memory_log import MemoryLog

from wolfscale.errors import InvariantError
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ServerError
from wolfscale.replication.entry import Fragment, encode_fragment
from wolfscale.replication.group_reader import KEPT_BYTES, READ_BYTES, GroupReader, LoggedGroup
from wolfscale.replication.start_position import find_start

NOOP = 0


def read_all(reader: GroupReader) -> list[LoggedGroup]:
    groups = []
    while reader.has_more:
        groups += reader.read()
    return groups


def body(reader: GroupReader, group: LoggedGroup) -> bytes:
    return b"".join(reader.bodies(group))


def test_groups_come_in_order_with_their_events() -> None:
    log = MemoryLog()
    for sequence in (1, 2, 5):
        append_group(log, sequence, 10, plain=sequence != 2)
    log.commit()
    reader = GroupReader(log, 1)
    groups = read_all(reader)
    assert [(group.gtid.sequence, group.plain, group.index) for group in groups] == [
        (1, True, 1),
        (2, False, 2),
        (5, True, 3),
    ]
    assert [body(reader, group) for group in groups] == [
        b"".join(events(1, 10)),
        b"".join(events(2, 10, plain=False)),
        b"".join(events(5, 10)),
    ]
    assert all(group.format == FORMAT for group in groups)


def test_entry_that_is_not_committed_is_never_read() -> None:
    log = MemoryLog()
    append_group(log, 1)
    append_group(log, 2)
    reader = GroupReader(log, 1)
    assert not reader.has_more
    assert reader.read() == []
    log.commit(1)
    assert [group.gtid.sequence for group in read_all(reader)] == [1]
    assert not reader.has_more
    log.commit(2)
    assert [group.gtid.sequence for group in read_all(reader)] == [2]


def test_group_whose_last_fragment_is_not_committed_waits_for_it() -> None:
    log = MemoryLog()
    for data in fragments(1, 500, slice_bytes=100):
        log.append(data, term=7)
    reader = GroupReader(log, 1)
    for index in range(1, log.last_index):
        log.commit(index)
        assert reader.read() == []
    log.commit()
    (group,) = reader.read()
    assert body(reader, group) == b"".join(events(1, 500))
    assert (group.first_index, group.index) == (1, log.last_index)


def test_group_whose_end_never_came_is_skipped_for_the_next_terms_entries() -> None:
    log = MemoryLog()
    for data in fragments(4, 900, slice_bytes=100)[:-1]:
        log.append(data, term=7)
    log.append(b"", term=8, kind=NOOP)
    append_group(log, 4, 20, term=8)
    log.commit()
    reader = GroupReader(log, 1)
    (group,) = read_all(reader)
    assert group.gtid == Gtid(domain=0, server_id=8, sequence=4)
    assert body(reader, group) == b"".join(events(4, 20, server_id=8))


def test_group_that_its_primary_sent_again_from_the_start_is_served_once() -> None:
    log = MemoryLog()
    pieces = fragments(4, 900, slice_bytes=100)
    for data in [*pieces[:3], *pieces[:-1], *pieces]:
        log.append(data, term=7)
    log.commit()
    reader = GroupReader(log, 1)
    (group,) = read_all(reader)
    assert group.first_index == 3 + len(pieces) - 1 + 1
    assert body(reader, group) == b"".join(events(4, 900))


def test_rafts_own_entries_among_fragments_do_no_harm() -> None:
    log = MemoryLog()
    for data in fragments(1, 500, slice_bytes=100):
        log.append(data, term=7)
        log.append(b"membership", term=7, kind=1)
    log.commit()
    reader = GroupReader(log, 1)
    (group,) = read_all(reader)
    assert body(reader, group) == b"".join(events(1, 500))


def test_large_group_is_read_a_second_time_instead_of_kept() -> None:
    log = MemoryLog()
    log.append(b"", term=7, kind=NOOP)
    append_group(log, 1, 900_000, 900_000, 9_000_000)
    append_group(log, 2, 5)
    log.commit()
    reader = GroupReader(log, 1)
    large, small = read_all(reader)
    assert large.bodies is None
    assert small.bodies is not None
    assert body(reader, large) == b"".join(events(1, 900_000, 900_000, 9_000_000))
    assert log.most_bytes_read <= READ_BYTES + 200
    assert KEPT_BYTES < 9_000_000


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(30, 300), st.integers(0, 3)), max_size=8),
    st.lists(st.integers(0, 40), max_size=10),
)
def test_groups_are_complete_whatever_is_lost_and_whenever_it_is_committed(
    groups: list[tuple[int, int, int]], commits: list[int]
) -> None:
    """Some groups are begun several times before they come whole."""
    log = MemoryLog()
    expected = []
    for number, (size, slice_bytes, false_starts) in enumerate(groups):
        pieces = fragments(number + 1, size, slice_bytes=slice_bytes)
        for attempt in range(false_starts):
            for data in pieces[: min(attempt + 1, len(pieces) - 1)]:
                log.append(data, term=7)
        for data in pieces:
            log.append(data, term=7)
        expected.append(b"".join(events(number + 1, size)))
    reader = GroupReader(log, 1)
    found = []
    for index in [*sorted(min(at, log.last_index) for at in commits), log.last_index]:
        log.commit(index)
        found += [body(reader, group) for group in read_all(reader)]
    assert found == expected


def test_fragment_that_continues_nothing_is_a_broken_invariant() -> None:
    pieces = fragments(4, 900, slice_bytes=100)
    for wrong in ([pieces[1]], [pieces[0], pieces[2]], [pieces[0], fragments(5, 900, slice_bytes=100)[1]]):
        log = MemoryLog()
        for data in wrong:
            log.append(data, term=7)
        log.commit()
        with pytest.raises(InvariantError, match="does not continue"):
            GroupReader(log, 1).read()


def test_sequence_that_goes_back_is_a_broken_invariant() -> None:
    log = MemoryLog()
    append_group(log, 5)
    append_group(log, 4)
    log.commit()
    with pytest.raises(InvariantError, match="behind 0-7-5"):
        GroupReader(log, 1).read()


async def test_start_behind_a_group_of_the_log_is_found() -> None:
    log = MemoryLog()
    log.append(b"", term=7, kind=NOOP)
    append_group(log, 3)
    append_group(log, 4)
    log.commit()
    assert await find_start(log, ()) == 1
    assert await find_start(log, (Gtid(domain=0, server_id=7, sequence=3),)) == 3
    assert await find_start(log, (Gtid(domain=0, server_id=7, sequence=4),)) == 4


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ([(0, 7, 9)], "does not have 0-7-9"),
        ([(0, 8, 3)], "another transaction in the place of 0-8-3"),
        ([(0, 7, 3), (1, 1, 1)], "other domains"),
        ([(2, 7, 3)], "other domains"),
    ],
)
async def test_start_at_a_position_that_is_not_the_logs_is_refused(
    position: list[tuple[int, int, int]], reason: str
) -> None:
    log = MemoryLog()
    append_group(log, 3)
    log.commit()
    gtids = tuple(
        Gtid(domain=domain, server_id=server_id, sequence=sequence)
        for domain, server_id, sequence in position
    )
    with pytest.raises(ServerError, match=reason) as raised:
        await find_start(log, gtids)
    assert raised.value.errno == 1236


async def test_start_without_a_position_needs_the_log_from_its_beginning() -> None:
    log = MemoryLog()
    log.first_index = 5
    with pytest.raises(ServerError, match="no longer has everything"):
        await find_start(log, ())


@pytest.mark.autojump
async def test_start_at_a_position_that_is_not_known_to_be_committed_waits() -> None:
    log = MemoryLog()
    append_group(log, 3)
    started = []

    async def find() -> None:
        started.append(await find_start(log, (Gtid(domain=0, server_id=7, sequence=3),)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        await trio.sleep(100)
        assert not started
        log.commit()
    assert started == [2]


@pytest.mark.autojump
async def test_start_at_a_position_that_another_leader_replaces_is_refused() -> None:
    log = MemoryLog()
    append_group(log, 3)
    async with trio.open_nursery() as nursery:

        async def find() -> None:
            with pytest.raises(ServerError, match="another transaction"):
                await find_start(log, (Gtid(domain=0, server_id=7, sequence=3),))

        nursery.start_soon(find)
        await trio.sleep(1)
        log.truncate(1)
        append_group(log, 3, term=8)
        log.commit()


def test_fragment_encoder_is_the_one_that_the_log_double_understands() -> None:
    log = MemoryLog()
    gtid = Gtid(domain=0, server_id=7, sequence=9)
    log.append(
        encode_fragment(Fragment(gtid=gtid, flags2=4, number=0, is_last=True, format=FORMAT, body=b"")),
        term=7,
    )
    assert log.find_sequence(9) == 1
