"""The feed as a replica of our own making sees it, over loopback TCP."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from feed_client import feed_client
from logged_groups import FORMAT, append_group, events, fragments
from memory_log import MemoryEntry, MemoryLog
from replication_servers import LIMIT_SECONDS, feeding

from wolfscale.mysql.binlog.events import parse_gtid_list
from wolfscale.mysql.binlog.format import BinlogFormat, parse_format_description
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.binlog.header import HEADER, EventType, check_checksum, parse_header
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.entry import Fragment, encode_fragment
from wolfscale.replication.feed import Feed
from wolfscale.replication.feed_dump import HEARTBEAT_POSITION


def log_of(*sequences: int) -> MemoryLog:
    log = MemoryLog()
    for sequence in sequences:
        append_group(log, sequence, 10)
    log.commit()
    return log


async def test_dump_begins_with_rotate_format_and_position() -> None:
    async with feeding(log_of(1, 2)) as feed, feed_client(feed) as client:
        await client.start("0-7-1")
        first = [await client.event() for _ in range(6)]
    for event in first:
        check_checksum(event)
    assert [parse_header(event).type for event in first[:3]] == [
        EventType.ROTATE,
        EventType.FORMAT_DESCRIPTION,
        EventType.GTID_LIST,
    ]
    assert parse_format_description(first[1])[0] == FORMAT
    assert parse_gtid_list(first[2]) == (Gtid(domain=0, server_id=7, sequence=1),)
    assert first[3:] == events(2, 10)


async def test_groups_committed_later_are_sent_when_they_are() -> None:
    log = log_of(1)
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("")
        assert await client.data_events(3) == events(1, 10)
        append_group(log, 2, 20)
        log.changes.notify()
        append_group(log, 3, 20)
        log.commit()
        assert await client.data_events(6) == events(2, 20) + events(3, 20)
        assert feed.connected
        await feed.changes.wait_until(lambda: feed.served == Gtid(domain=0, server_id=7, sequence=3))
    assert feed.statistics.groups == 3


async def test_many_groups_are_sent_together() -> None:
    log = log_of(*range(1, 501))
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("")
        await client.data_events(1500)
    assert feed.statistics.groups == 500
    assert feed.statistics.sends < 20


async def test_format_that_changes_is_announced_before_the_first_group_of_it() -> None:
    log = log_of(1)
    newer = BinlogFormat(server_version="11.4.2-MariaDB-log", post_header_lengths=b"\x01\x02")
    for data in fragments(2, 10, binlog_format=newer):
        log.append(data, term=7)
    for data in fragments(3, 10, binlog_format=newer):
        log.append(data, term=7)
    log.commit()
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("")
        received = [await client.event() for _ in range(3 + 3 + 2 + 3 + 3)]
    types = [parse_header(event).type for event in received]
    assert types[6:8] == [EventType.ROTATE, EventType.FORMAT_DESCRIPTION]
    assert parse_format_description(received[7])[0] == newer
    assert received[8:] == events(2, 10) + events(3, 10)


async def test_fact_03_idle_replica_gets_heartbeats_at_the_position_that_disturbs_nothing() -> None:
    log = log_of(1)
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("0-7-1", heartbeat_seconds=0.01)
        kinds = [await client.event() for _ in range(6)]
        for event in kinds[3:]:
            check_checksum(event)
            header = parse_header(event)
            assert (header.type, header.end_position) == (EventType.HEARTBEAT, HEARTBEAT_POSITION)
        assert HEARTBEAT_POSITION == 0xFFFFFFFF
        append_group(log, 2, 5)
        log.commit()
        assert await client.data_events(3) == events(2, 5)


async def test_dump_that_must_not_block_ends_at_the_logs_end() -> None:
    async with feeding(log_of(1, 2)) as feed, feed_client(feed) as client:
        await client.start("", flags=1)
        received = []
        while event := await client.event():
            received.append(event)
    assert received[3:] == events(1, 10) + events(2, 10)


@pytest.mark.parametrize("position", ["0-7-9", "0-8-1", "1-7-1", "0-7-1,3-1-1", "nonsense"])
async def test_position_that_the_log_does_not_have_is_refused_with_1236(position: str) -> None:
    async with feeding(log_of(1, 2)) as feed, feed_client(feed) as client:
        await client.start(position)
        with pytest.raises(ServerError) as raised:
            await client.event()
        assert raised.value.errno == 1236
        # The feed lives on.
        async with feed_client(feed) as another:
            await another.start("0-7-1")
            assert await another.data_events(3) == events(2, 10)
    assert feed.statistics.refused == 1


async def test_reader_that_wants_no_checksums_is_refused() -> None:
    async with feeding(log_of(1)) as feed, feed_client(feed) as client:
        await client.connection.query("SET @master_binlog_checksum='NONE'")
        await client.start("")
        with pytest.raises(ServerError, match="have checksums"):
            await client.event()


@pytest.mark.parametrize(("user", "password"), [("feeder", "wrong"), ("feeder", ""), ("root", "s3cret")])
async def test_log_in_without_the_account_is_refused(user: str, password: str) -> None:
    async with feeding(log_of(1)) as feed:
        with pytest.raises(ServerError) as raised:
            async with feed_client(feed, user=user, password=password):
                pass
        assert raised.value.errno == 1045
        async with feed_client(feed) as client:
            await client.start("", flags=1)


async def test_garbage_and_silence_do_the_feed_no_harm() -> None:
    log = log_of(1)
    async with feeding(log) as feed:
        assert feed.address is not None
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200, b"\x01\0\0\x01\0"):
            stream = await trio.open_tcp_stream(*feed.address)
            await stream.send_all(data)
            await stream.aclose()
        async with feed_client(feed) as client:
            with pytest.raises(ServerError, match="runs no statements"):
                await client.connection.query("SELECT * FROM mysql.user")
            await client.start("")
            assert await client.data_events(3) == events(1, 10)


async def test_new_connection_replaces_the_old_one() -> None:
    log = log_of(1)
    async with feeding(log) as feed, feed_client(feed) as old, feed_client(feed) as new:
        await old.start("")
        await old.data_events(3)
        await new.start("0-7-1")
        with pytest.raises(ConnectionLost):
            await old.event()
        append_group(log, 2, 5)
        log.commit()
        assert await new.data_events(3) == events(2, 5)


async def test_feed_notices_that_its_replica_left() -> None:
    async with feeding(log_of(1)) as feed:
        async with feed_client(feed) as client:
            await client.start("")
            await client.data_events(3)
            assert feed.connected
        with trio.fail_after(LIMIT_SECONDS):
            await feed.changes.wait_until(lambda: not feed.connected)


class Hooks:
    """Hooks that note when they are called and let a group go when told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.called = trio.Event()
        self.applied: dict[int, trio.Event] = {}

    async def before(self, gtid: Gtid, index: int) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(f"before {gtid} at {index}")

    async def after(self, gtid: Gtid, index: int) -> None:
        self.calls.append(f"after {gtid} at {index}")
        self.called.set()
        await self.applied.setdefault(gtid.sequence, trio.Event()).wait()
        self.calls.append(f"settled {gtid}")

    def settle(self, sequence: int) -> None:
        self.applied.setdefault(sequence, trio.Event()).set()


def mixed_log() -> MemoryLog:
    log = MemoryLog()
    append_group(log, 1, 5)
    append_group(log, 2, plain=False)
    append_group(log, 3, 5)
    append_group(log, 4, plain=False)
    log.commit()
    return log


async def test_group_that_is_not_plain_is_served_alone_between_its_hooks() -> None:
    hooks = Hooks()
    async with (
        feeding(mixed_log(), before_not_plain=hooks.before, after_not_plain=hooks.after) as feed,
        feed_client(feed) as client,
    ):
        await client.start("", heartbeat_seconds=0.01)
        assert await client.data_events(3 + 2) == events(1, 5) + events(2, plain=False)
        with trio.fail_after(LIMIT_SECONDS):
            await hooks.called.wait()
        assert hooks.calls == ["before 0-7-2 at 2", "after 0-7-2 at 2"]
        # Until it is settled nothing but heartbeats comes, however long.
        for _ in range(3):
            assert parse_header(await client.event()).type == EventType.HEARTBEAT
        assert feed.served == Gtid(domain=0, server_id=7, sequence=2)
        hooks.settle(2)
        assert await client.data_events(3) == events(3, 5)
        assert await client.data_events(2) == events(4, plain=False)
        hooks.settle(4)
        with trio.fail_after(LIMIT_SECONDS):
            while len(hooks.calls) < 6:
                await trio.sleep(0.001)
    assert hooks.calls == [
        "before 0-7-2 at 2",
        "after 0-7-2 at 2",
        "settled 0-7-2",
        "before 0-7-4 at 4",
        "after 0-7-4 at 4",
        "settled 0-7-4",
    ]
    assert feed.statistics.not_plain == 2


async def test_replica_that_reconnects_gets_nothing_until_what_it_was_sent_is_settled() -> None:
    hooks = Hooks()
    async with feeding(mixed_log(), before_not_plain=hooks.before, after_not_plain=hooks.after) as feed:
        async with feed_client(feed) as client:
            await client.start("")
            await client.data_events(5)
            with trio.fail_after(LIMIT_SECONDS):
                await hooks.called.wait()
        hooks.called = trio.Event()
        async with feed_client(feed) as client:
            await client.start("0-7-2", heartbeat_seconds=0.01)
            with trio.fail_after(LIMIT_SECONDS):
                await hooks.called.wait()
            for number in range(6):
                if number >= 3:
                    assert parse_header(await client.event()).type == EventType.HEARTBEAT
                else:
                    await client.event()
            assert hooks.calls == ["before 0-7-2 at 2", "after 0-7-2 at 2", "after 0-7-2 at 2"]
            hooks.settle(2)
            assert await client.data_events(3) == events(3, 5)


async def test_replica_that_reconnects_before_the_group_is_served_it_again() -> None:
    hooks = Hooks()
    async with feeding(mixed_log(), before_not_plain=hooks.before, after_not_plain=hooks.after) as feed:
        async with feed_client(feed) as client:
            await client.start("")
            await client.data_events(5)
            with trio.fail_after(LIMIT_SECONDS):
                await hooks.called.wait()
        async with feed_client(feed) as client:
            await client.start("0-7-1")
            assert await client.data_events(2) == events(2, plain=False)
            hooks.settle(2)
            assert await client.data_events(3) == events(3, 5)
    assert hooks.calls[-4:-1] != []


class HookFailed(Exception):
    pass


@pytest.mark.parametrize("which", ["before_not_plain", "after_not_plain"])
async def test_error_of_a_hook_ends_the_feed(which: str) -> None:
    async def fail(gtid: Gtid, index: int) -> None:
        raise HookFailed

    hook: dict[str, Callable[[Gtid, int], Awaitable[None]]] = {which: fail}
    with pytest.RaisesGroup(HookFailed, flatten_subgroups=True):
        async with feeding(mixed_log(), **hook) as feed, feed_client(feed) as client:
            await client.start("")
            with suppress(ConnectionLost):
                await client.data_events(3 + 2 + 3)
            await trio.sleep_forever()


async def test_large_group_and_large_events_arrive_unchanged() -> None:
    log = MemoryLog()
    append_group(log, 1, 300_000, 20_000_000, 16_777_215 - 24, 5)
    append_group(log, 2, 5)
    log.commit()
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("")
        received = await client.data_events(6 + 3)
    assert received == events(1, 300_000, 20_000_000, 16_777_215 - 24, 5) + events(2, 5)
    assert log.most_bytes_read < 1_100_000


class MadeUpLog(MemoryLog):
    """A group of 200 MiB whose fragments are made when they are read."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.slices = slices
        self.commit_index = slices
        self._slice = b"x" * (1 << 20)
        length = slices << 20
        self._first = events(1)[0]
        row = HEADER.pack(0, 23, 7, length - len(self._first) - len(events(1)[1]), 0, 0)
        self._head = self._first + row

    def read(self, first: int, last: int, max_bytes: int) -> list[MemoryEntry]:
        body = self._slice
        if first == 1:
            body = self._head + body[len(self._head) :]
        elif first == self.slices:
            body = body[: -len(events(1)[1])] + events(1)[1]
        fragment = Fragment(
            gtid=Gtid(domain=0, server_id=7, sequence=1),
            flags2=0x0C,
            number=first - 1,
            is_last=first == self.slices,
            plain=first == self.slices,
            format=FORMAT if first == 1 else None,
            body=body,
        )
        return [MemoryEntry(index=first, term=7, kind=2, data=encode_fragment(fragment))]


async def test_group_of_200_mib_is_sent_in_bounded_memory() -> None:
    log = MadeUpLog(200)
    peak = 0
    received = 0
    async with feeding(log) as feed, feed_client(feed) as client:
        await client.start("", flags=1)
        before = resident_bytes()
        with trio.fail_after(LIMIT_SECONDS):
            while not client.decoder.ended:
                for part in client.decoder.feed(await client.connection.packets.receive_raw()):
                    received += len(part.data)
                peak = max(peak, resident_bytes())
    assert received > 200 << 20
    assert peak - before < 32 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_address_is_known_only_while_it_listens() -> None:
    feed = Feed(MemoryLog(), user="u", password="p")
    assert feed.address is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        with trio.fail_after(LIMIT_SECONDS):
            address = await feed.wait_listening()
        assert address == feed.address
        nursery.cancel_scope.cancel()
    assert feed.address is None
