"""Capture: what the primary commits goes into the log, and the log's promise goes back to the primary.

The node is the primary's semi-synchronous replica (wait point AFTER_SYNC): a commit stands in the primary's
binlog, invisible and unanswered, until the ACK for its position arrives. So two tasks share one
connection: one reads groups and proposes them to the log fragment by fragment, the other waits until the log
has committed a group's last fragment and only then acknowledges it, the newest such group for all before it.

A connection that breaks is opened again from the last acknowledged GTID. The primary then sends what waits a
second time, with the request for an ACK; groups that the log holds already are not proposed again.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from wolfscale import logs
from wolfscale.changes import Changes
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.binlog.dump import DumpDecoder
from wolfscale.mysql.binlog.errors import BinlogError
from wolfscale.mysql.binlog.events import Statement
from wolfscale.mysql.binlog.groups import GroupAssembler, GroupEnd, GroupSlice
from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.replication.captured import CapturedGroup, CaptureStatistics, captured_group
from wolfscale.replication.dump_commands import acknowledgement, start_dump
from wolfscale.replication.entry import encode_fragment, fragment_of
from wolfscale.replication.errors import BinlogGap, Diverged, LeadershipLost
from wolfscale.replication.log import ReplicatedLog

log = logs.logger(__name__)

CAPTURE_SERVER_ID = 0x7FFFFFFE
"""The server id under which a capture registers. A new dump of the same id ends the old one's thread."""

UNPERSISTED_LIMIT_BYTES = 16 << 20
"""While more than this waits for the node's disk, nothing more is read from the primary."""

FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 1.0

_PASSING_ERRNOS = frozenset({1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1317, 1927})
"""Too many connections, shutdown, aborted or killed connections: they say nothing about the binlog."""
_NOT_IN_BINLOG_ERRNO = 1236

Connect = Callable[[], Awaitable[Connection]]
"""Opens a connection of its own, as an account that may replicate.

Raises `ConnectionLost` or `ServerError`.
"""
AfterNotPlain = Callable[[Gtid, Statement | None], Awaitable[None]]


class Capture:
    """Carries one primary's groups into the log for one term.

    One task runs `run`; everything else may be read or awaited from any task.

    Attributes:
        changes: notified when any of the properties has moved.
        statistics: counters.
    """

    def __init__(
        self,
        *,
        connect: Connect,
        log: ReplicatedLog,
        term: int,
        start: Gtid | None,
        after_not_plain: AfterNotPlain | None = None,
        unpersisted_limit_bytes: int = UNPERSISTED_LIMIT_BYTES,
        statistics: CaptureStatistics | None = None,
    ) -> None:
        """Prepare; nothing is connected.

        Args:
            connect: opens a connection to the primary.
            log: where groups go.
            term: the term that this node leads; the primary's server id must be the same.
            start: the last group that the log holds and the primary has; None: the log holds none, and the
                primary's binlog has everything.
            after_not_plain: awaited after the ACK of each group that is no plain transaction, in order, one
                at a time; later groups are captured and acknowledged meanwhile.
            unpersisted_limit_bytes: how much may wait for the node's disk.
            statistics: counted on, where captures before this one have counted.
        """
        self.changes = Changes()
        self.statistics = statistics or CaptureStatistics()
        self._connect = connect
        self._log = log
        self._term = term
        self._after_not_plain = after_not_plain
        self._unpersisted_limit_bytes = unpersisted_limit_bytes
        self._captured = start
        self._acknowledged = start
        self._acknowledged_group: CapturedGroup | None = None
        self._connection_id: int | None = None
        self._registered = False
        # Groups proposed here and not acknowledged: where their last fragments are.
        self._indexes: dict[int, int] = {}
        self._log_may_hold_more = True
        self._not_plain: deque[CapturedGroup] = deque()
        self._not_plain_arrived = Changes()

    @property
    def captured(self) -> Gtid | None:
        """The newest group that was proposed to the log whole; at first the start position."""
        return self._captured

    @property
    def acknowledged(self) -> Gtid | None:
        """The newest group that is committed in the log and acknowledged; at first the start position."""
        return self._acknowledged

    @property
    def acknowledged_group(self) -> CapturedGroup | None:
        """The newest acknowledged group, with its places in log and binlog; None before the first."""
        return self._acknowledged_group

    @property
    def registered(self) -> bool:
        """Whether the primary is sending its dump on the present connection."""
        return self._registered

    @property
    def connection_id(self) -> int | None:
        """The primary's id of the newest dump connection: its dump thread's, in the process list."""
        return self._connection_id

    async def wait_registered(self) -> int:
        """Wait until the primary sends its dump; returns the dump thread's connection id."""
        await self.changes.wait_until(lambda: self._registered)
        assert self._connection_id is not None
        return self._connection_id

    async def run(self) -> None:
        """Capture until cancelled, and connect again as often as needed.

        Raises:
            LeadershipLost: the log takes nothing from this term any more.
            Diverged: the primary writes under another server id or domain.
            BinlogGap: its binlog does not hold what follows `start`.
            BinlogError: what it sends makes no sense, or is damaged.
            ServerError: it refuses the connection for a reason that does not pass by itself.
        """
        try:
            async with trio.open_nursery() as nursery:
                if self._after_not_plain is not None:
                    nursery.start_soon(self._call_after_not_plain, self._after_not_plain)
                await self._keep_connected()
        except BaseExceptionGroup as group:
            raise _first_error(group) from None
        finally:
            self._registered = False
            self.changes.notify()

    async def _keep_connected(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                connection = await self._connect()
                try:
                    delay = FIRST_RETRY_SECONDS
                    await self._capture_from(connection)
                finally:
                    self._registered = False
                    with trio.CancelScope(shield=True):
                        await connection.packets.aclose_forcefully()
            except* (ConnectionLost, OSError) as group:
                log.info("the capture's connection is lost", error=str(_first_error(group)))
            except* ServerError as group:
                error = _first_error(group)
                if not isinstance(error, ServerError) or error.errno not in _PASSING_ERRNOS:
                    raise
                log.info("the capture's connection was refused", error=str(error))
            self.changes.notify()
            await trio.sleep(delay)
            delay = min(LAST_RETRY_SECONDS, delay * 2)

    async def _capture_from(self, connection: Connection) -> None:
        """Capture on one connection until it breaks."""
        start = self._acknowledged
        await start_dump(connection, start, server_id=CAPTURE_SERVER_ID)
        self._connection_id = connection.connection_id
        self.statistics.connections += 1
        dump = _Dump(connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge, dump)
            await self._read(dump, start)

    async def _read(self, dump: "_Dump", start: Gtid | None) -> None:
        decoder = DumpDecoder()
        assembler = GroupAssembler()
        by_flag = self.statistics.ends_by_flag
        while True:
            data = await dump.connection.packets.receive_raw()
            slices: list[GroupSlice] = []
            try:
                for part in decoder.feed(data):
                    slices += assembler.receive(
                        part.data, first=part.first, last=part.last, acknowledge=part.acknowledge
                    )
            except ServerError as error:
                if error.errno == _NOT_IN_BINLOG_ERRNO:
                    raise BinlogGap(start, error.message) from error
                raise
            if decoder.ended:
                raise ConnectionLost("the primary ended its dump")
            if not self._registered:
                # The last ACK may have been lost with the connection before this one: nobody would be told
                # of it again, and the client of that very group would wait for the next group's.
                acknowledged = self._acknowledged_group
                if acknowledged is not None:
                    await dump.acknowledge(acknowledged)
                self._registered = True
                self.changes.notify()
            self.statistics.ends_by_flag = by_flag + assembler.ends_by_flag
            if slices:
                self._take(slices, assembler, dump)
                if self._log.unpersisted_bytes > self._unpersisted_limit_bytes:
                    self.statistics.pauses += 1
                    await self._log.changes.wait_until(
                        lambda: self._log.unpersisted_bytes <= self._unpersisted_limit_bytes
                    )

    def _take(self, slices: list[GroupSlice], assembler: GroupAssembler, dump: "_Dump") -> None:
        """Propose the slices that the log does not hold, and queue the groups that end with them."""
        if assembler.format is None:
            raise BinlogError("the primary's dump has groups before its Format Description event")
        datas: list[bytes] = []
        ended: list[tuple[GroupSlice, GroupEnd, int]] = []  # the number is an offset into datas
        for piece in slices:
            if piece.number == 0:
                dump.skips = self._log_holds(piece.gtid)
            if dump.skips:
                if piece.end is not None:
                    self.statistics.resent += 1
                    dump.queue(captured_group(piece, piece.end, self._index_of(piece.gtid)), piece.end)
                continue
            datas.append(encode_fragment(fragment_of(piece, assembler.format)))
            self.statistics.bytes += len(piece.data)
            if piece.end is not None:
                ended.append((piece, piece.end, len(datas) - 1))
                self._captured = piece.gtid
        if not datas:
            return
        try:
            last = self._log.propose(datas, term=self._term)
        except WolfScaleError as error:
            raise LeadershipLost(self._term, str(error)) from error
        self.statistics.fragments += len(datas)
        for piece, end, offset in ended:
            group = captured_group(piece, end, last - len(datas) + 1 + offset)
            self._indexes[piece.gtid.sequence] = group.index
            self.statistics.groups += 1
            self.statistics.not_plain += not group.plain
            dump.queue(group, end)
        if ended:
            self.changes.notify()

    def _log_holds(self, gtid: Gtid) -> bool:
        """Whether a group that begins is one that the log was given already."""
        if gtid.domain != 0 or gtid.server_id != self._term:
            raise Diverged(gtid, f"in term {self._term} the primary writes as 0-{self._term}")
        if self._captured is not None and gtid.sequence <= self._captured.sequence:
            return True
        # An earlier capture of the same term may have proposed groups that nobody acknowledged.
        if self._log_may_hold_more:
            index = self._log.find_sequence(gtid.sequence)
            if index is not None:
                if self._log.term_at(index) != self._term:
                    raise Diverged(gtid, "the log has another transaction with this sequence number")
                self._indexes[gtid.sequence] = index
                self._captured = gtid
                return True
            self._log_may_hold_more = False
        return False

    def _index_of(self, gtid: Gtid) -> int:
        index = self._indexes.get(gtid.sequence)
        if index is None:
            index = self._log.find_sequence(gtid.sequence)
        if index is None:
            raise Diverged(gtid, "it is older than the log's newest transaction, and not in the log")
        return index

    async def _acknowledge(self, dump: "_Dump") -> None:
        """Acknowledge groups of one connection as the log commits them."""
        waiting = dump.waiting
        while True:
            await dump.arrived.wait_until(lambda: bool(waiting))
            await self._wait_committed(waiting[0][0].index)
            commit_index = self._log.commit_index
            newest: CapturedGroup | None = None
            flagged: CapturedGroup | None = None
            not_plain: list[CapturedGroup] = []
            read_at: list[float] = []
            while waiting and waiting[0][0].index <= commit_index:
                newest, wants_answer, at = waiting.popleft()
                read_at.append(at)
                flagged = newest if wants_answer else flagged
                if not newest.plain:
                    not_plain.append(newest)
            assert newest is not None
            # The entry at that index could be another leader's, which has replaced ours.
            term = self._log.term_at(newest.index)
            if term != self._term:
                raise LeadershipLost(self._term, f"entry {newest.index} of the log is of term {term}")
            if flagged is not None:
                await dump.acknowledge(flagged)
                self.statistics.acknowledgements += 1
            now = time.perf_counter()
            for at in read_at:
                self.statistics.ack_seconds.observe(now - at)
            self._on_acknowledged(newest, not_plain)

    async def _wait_committed(self, index: int) -> None:
        await self._log.changes.wait_until(lambda: self._log.commit_index >= index)

    def _on_acknowledged(self, newest: CapturedGroup, not_plain: list[CapturedGroup]) -> None:
        sequence = newest.gtid.sequence
        if self._acknowledged is not None and sequence <= self._acknowledged.sequence:
            return
        for known in list(self._indexes):  # in the order of the log
            if known > sequence:
                break
            del self._indexes[known]
        before = self._acknowledged.sequence if self._acknowledged is not None else 0
        self._acknowledged = newest.gtid
        self._acknowledged_group = newest
        fresh = [group for group in not_plain if group.gtid.sequence > before]
        if fresh and self._after_not_plain is not None:
            self._not_plain.extend(fresh)
            self._not_plain_arrived.notify()
        self.changes.notify()

    async def _call_after_not_plain(self, hook: AfterNotPlain) -> None:
        while True:
            await self._not_plain_arrived.wait_until(lambda: bool(self._not_plain))
            group = self._not_plain.popleft()
            await hook(group.gtid, group.statement)


class _Dump:
    """One connection's dump: its groups that are in the log and wait to be acknowledged."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # With each group whether it wants an answer, and when its end came.
        self.waiting: deque[tuple[CapturedGroup, bool, float]] = deque()
        self.arrived = Changes()
        self.skips = False
        self._writing = trio.Lock()

    def queue(self, group: CapturedGroup, end: GroupEnd) -> None:
        """Have a group acknowledged once it is committed."""
        self.waiting.append((group, end.acknowledge, time.perf_counter()))
        self.arrived.notify()

    async def acknowledge(self, group: CapturedGroup) -> None:
        """Tell the primary that everything up to the end of a group is committed."""
        async with self._writing:
            await self.connection.packets.send_raw(acknowledgement(group.file, group.end_position))


def _first_error(group: BaseException) -> BaseException:
    """The error that a nursery ended with: one of ours rather than a cancellation beside it."""
    while isinstance(group, BaseExceptionGroup):
        ours, _ = group.split(WolfScaleError)
        group = (ours or group).exceptions[0]
    return group
