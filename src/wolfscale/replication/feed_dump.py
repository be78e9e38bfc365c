"""One dump of the feed: groups from the log to a replica, until it leaves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from wolfscale.errors import InvariantError
from wolfscale.mysql.binlog.dump import DumpEncoder
from wolfscale.mysql.binlog.events import build_gtid_list, build_heartbeat, build_rotate
from wolfscale.mysql.binlog.format import BinlogFormat, build_format_description
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.results import Eof, build_eof
from wolfscale.mysql.transport import PacketStream
from wolfscale.replication.feed_session import FEED_SERVER_ID, FEED_VERSION, ReplicaGone
from wolfscale.replication.group_reader import GroupReader, LoggedGroup

FEED_FILE = "wolfscale.000001"
"""The binlog file that the feed says everything is in; replicas that use GTIDs only show it."""

HEARTBEAT_POSITION = 0xFFFFFFFF
"""The only position that a replica accepts in a heartbeat whatever it was sent (else 1623, 1595)."""

HEARTBEAT_SECONDS = 10.0
"""How often an idle replica hears of the feed where it does not say how often it wants to."""

SEND_BYTES = 1 << 18

NotPlainHook = Callable[[Gtid, int], Awaitable[None]]
"""Takes a group's GTID and the log index of its last fragment."""


@dataclass(slots=True, kw_only=True)
class FeedStatistics:
    """What a feed has done since it was made.

    Attributes:
        connections: connections accepted.
        dumps: dumps begun.
        refused: dumps refused, mostly since the log does not have the replica's position.
        groups: groups sent.
        not_plain: those of them that were served alone.
        bytes: bytes sent.
        sends: times that something was sent.
        heartbeats: heartbeats sent.
    """

    connections: int = 0
    dumps: int = 0
    refused: int = 0
    groups: int = 0
    not_plain: int = 0
    bytes: int = 0
    sends: int = 0
    heartbeats: int = 0


class Gate:
    """Lets groups that are no plain transactions through one at a time, over all connections of a feed.

    Attributes:
        pending: the group that was let through and is not known to be settled, and its log index.
    """

    def __init__(self, before: NotPlainHook | None, after: NotPlainHook | None) -> None:
        self.pending: tuple[Gtid, int] | None = None
        self._before = before
        self._after = after

    async def enter(self, gtid: Gtid, index: int) -> None:
        """Announce a group; it may be sent when this returns."""
        if self._before is not None:
            await self._before(gtid, index)
        self.pending = (gtid, index)

    async def leave(self) -> None:
        """Wait until the pending group is applied and settled. Cancelled, the group stays pending."""
        if self.pending is None:
            return
        pending = self.pending
        if self._after is not None:
            await self._after(*pending)
        self.pending = None


class FeedDump:
    """Sends groups to one replica. One task runs `run`."""

    def __init__(
        self,
        packets: PacketStream,
        reader: GroupReader,
        *,
        position: tuple[Gtid, ...],
        gate: Gate,
        statistics: FeedStatistics,
        wait_more: Callable[[], Awaitable[None]],
        on_served: Callable[[Gtid], None],
        heartbeat_seconds: float | None = None,
        non_blocking: bool = False,
    ) -> None:
        """Begin behind the replica's request.

        Args:
            packets: the connection.
            reader: where the groups come from.
            position: where the replica stands.
            gate: the feed's.
            statistics: the feed's.
            wait_more: returns when the reader has more.
            on_served: called with the newest group whenever some have been sent.
            heartbeat_seconds: how long the replica may hear nothing.
            non_blocking: end the dump at the log's end instead of waiting.
        """
        self._packets = packets
        self._reader = reader
        self._position = position
        self._gate = gate
        self._statistics = statistics
        self._wait_more = wait_more
        self._on_served = on_served
        self._heartbeat_seconds = heartbeat_seconds or HEARTBEAT_SECONDS
        self._non_blocking = non_blocking
        self._encoder = DumpEncoder(sequence=packets.next_sequence)
        self._format: BinlogFormat | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0

    async def run(self) -> None:
        """Send until the replica leaves, or to the log's end where it wants no more.

        Raises:
            ReplicaGone: it left.
            InvariantError, FragmentDamaged: the log holds nonsense.
        """
        pending = self._gate.pending
        if pending is not None and any(gtid.sequence >= pending[0].sequence for gtid in self._position):
            # An earlier connection sent it this group; what follows must wait for it here too.
            await self._while_beating(self._gate.leave)
        while True:
            groups = self._reader.read()
            if groups:
                await self._send_groups(groups)
            elif self._reader.has_more:
                await trio.lowlevel.checkpoint()
            elif self._non_blocking:
                await self._end()
                return
            else:
                await self._wait()

    async def _wait(self) -> None:
        self._begin()
        await self._flush()
        with trio.move_on_after(self._heartbeat_seconds) as silence:
            await self._wait_more()
        if silence.cancelled_caught:
            await self._send_heartbeat()

    async def _send_groups(self, groups: list[LoggedGroup]) -> None:
        for group in groups:
            if group.plain:
                await self._send_group(group)
                continue
            await self._flush()
            await self._gate.enter(group.gtid, group.index)
            await self._send_group(group)
            await self._flush()
            self._statistics.not_plain += 1
            self._on_served(group.gtid)
            await self._while_beating(self._gate.leave)
        await self._flush()
        self._on_served(groups[-1].gtid)

    async def _send_group(self, group: LoggedGroup) -> None:
        self._begin(group.format)
        for body in self._reader.bodies(group):
            self._queue(self._encoder.encode(body))
            if self._out_bytes >= SEND_BYTES:
                await self._flush()
        if self._encoder.in_event:
            raise InvariantError(f"the events of group {group.gtid} end in the middle of one")
        self._statistics.groups += 1

    def _begin(self, binlog_format: BinlogFormat | None = None) -> None:
        """Queue what must precede the first event, and the first one of another format."""
        if self._format is not None and binlog_format in (None, self._format):
            return
        first = self._format is None
        self._format = binlog_format or BinlogFormat(server_version=FEED_VERSION)
        self._queue_event(build_rotate(FEED_FILE, server_id=FEED_SERVER_ID))
        self._queue_event(build_format_description(self._format, server_id=FEED_SERVER_ID))
        if first:
            self._queue_event(build_gtid_list(self._position, server_id=FEED_SERVER_ID))

    async def _while_beating(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Await something long; the replica hears of the feed meanwhile."""
        done = trio.Event()

        async def await_it() -> None:
            await wait()
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(await_it)
            while not done.is_set():
                with trio.move_on_after(self._heartbeat_seconds):
                    await done.wait()
                if not done.is_set():
                    # Not cancelled in the middle: half a packet on the wire would be the end of it.
                    await self._send_heartbeat()

    async def _send_heartbeat(self) -> None:
        self._begin()
        self._queue_event(
            build_heartbeat(FEED_FILE, server_id=FEED_SERVER_ID, end_position=HEARTBEAT_POSITION)
        )
        self._statistics.heartbeats += 1
        await self._flush()

    async def _end(self) -> None:
        self._begin()
        await self._flush()
        try:
            await self._packets.write(build_eof(Eof()), sequence=self._encoder.sequence)
        except ConnectionLost as error:
            raise ReplicaGone(str(error)) from error

    def _queue_event(self, event: bytes) -> None:
        self._queue(self._encoder.encode(event))

    def _queue(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    async def _flush(self) -> None:
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self._statistics.bytes += len(data)
        self._statistics.sends += 1
        try:
            await self._packets.send_raw(data)
        except ConnectionLost as error:
            raise ReplicaGone(str(error)) from error
