"""One lane over scripted sockets: each way in which one can have no room, or end, at the wrong moment."""

import dataclasses
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from select import EPOLLIN, EPOLLOUT

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st
from shortcut_session import READ, WRITE, Following, following

from wolfscale.mysql.client import DEFAULT_CAPABILITIES
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import Column, Ok, build_ok, build_text_result
from wolfscale.mysql.session_track import SessionChanges, build_session_changes
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.engine import Arrival, Handler, Lane
from wolfscale.sockets import NonblockingStream

CAPABILITIES = int(DEFAULT_CAPABILITIES | Capability.SESSION_TRACK)
EXAMPLES = 2000 if os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos" else 30
QUERY = bytes((Command.QUERY,))
ROWS = b"".join(
    packet(payload, number + 1)
    for number, payload in enumerate(
        build_text_result([Column(name=b"v")], [[b"x" * 100], [b"y"]], CAPABILITIES)
    )
)


class ScriptedSocket(socket.socket):
    """What is received is given; what is sent is kept, as far as there is room."""

    def __init__(self, number: int) -> None:
        super().__init__()
        super().close()
        self._number = number
        self.incoming: list[bytes] = []
        self.ended = False
        self.sent = bytearray()
        self.room = 1 << 30
        self.broken = False

    def fileno(self) -> int:
        return self._number

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self.incoming:
            return self.incoming.pop(0)
        if self.ended:
            return b""
        raise BlockingIOError

    def send(self, data: object, flags: int = 0) -> int:
        if self.broken:
            raise BrokenPipeError
        taken = bytes(data)[: self.room]  # type: ignore[call-overload]
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent += taken
        return len(taken)


class ScriptedEngine:
    """What a lane asks of the engine, fired by hand."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[int, Handler]] = {}
        self.held: list[Lane] = []

    def watch(self, descriptor: int, mask: int, handler: Handler) -> None:
        self.watched[descriptor] = (mask, handler)

    def forget(self, descriptor: int) -> None:
        self.watched.pop(descriptor, None)

    def hold(self, lane: Lane) -> None:
        self.held.append(lane)

    def let_go(self, lane: Lane) -> None:
        if lane in self.held:
            self.held.remove(lane)


@dataclasses.dataclass
class Ride:
    """A lane with a client and two servers, in the engine."""

    session: Following
    engine: ScriptedEngine
    client: ScriptedSocket
    local: ScriptedSocket
    leader: ScriptedSocket
    packets: PacketStream
    arrivals: list[Arrival]
    lane: Lane

    def fire(self, sock: ScriptedSocket) -> None:
        """Its handler is called, if it is watched for what it has."""
        mask, handler = self.engine.watched[sock.fileno()]
        assert mask & EPOLLOUT or sock.incoming or sock.ended
        handler(sock.fileno())

    def client_sends(self, *texts: bytes, whole: bool = True) -> None:
        data = b"".join(packet(QUERY + text, 0) for text in texts)
        self.client.incoming.append(data if whole else data[:-1])
        self.fire(self.client)

    def server_sends(self, sock: ScriptedSocket, data: bytes) -> None:
        sock.incoming.append(data)
        self.fire(sock)

    def mask(self, sock: ScriptedSocket) -> int:
        return self.engine.watched[sock.fileno()][0] if sock.fileno() in self.engine.watched else 0


@asynccontextmanager
async def ride() -> AsyncIterator[Ride]:
    session = following(CAPABILITIES)
    session.know(READ, WRITE)
    client, local, leader = ScriptedSocket(10), ScriptedSocket(11), ScriptedSocket(12)
    session.reader.packets.stream = NonblockingStream(local)
    session.writer.packets.stream = NonblockingStream(leader)
    packets = PacketStream(NonblockingStream(client))
    engine = ScriptedEngine()
    lane = Lane(engine, packets, session.shortcut)  # type: ignore[arg-type]
    riding = Ride(session, engine, client, local, leader, packets, [], lane)

    async def task() -> None:
        riding.arrivals.append(await lane.ride())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        yield riding
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert engine.watched == {}, "a descriptor was left in the engine"
    assert engine.held == []
    for connection in (session.reader, session.writer):
        assert isinstance(connection.packets.stream, NonblockingStream)
        assert connection.packets.stream.on_closing is None


@pytest.fixture(autouse=True)
def no_descriptors_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are nobody's: nothing may be closed or waited for by them."""
    monkeypatch.setattr(trio.lowlevel, "notify_closing", lambda _: None)


async def test_read_goes_out_and_its_rows_come_back() -> None:
    async with ride() as r:
        for count in range(1, 4):
            r.client_sends(READ)
            r.server_sends(r.local, ROWS)
            assert bytes(r.client.sent) == ROWS * count
        assert bytes(r.local.sent) == packet(QUERY + READ, 0) * 3
        assert r.mask(r.client) == r.mask(r.local) == EPOLLIN
    assert r.arrivals == []


async def test_client_without_room_stops_its_server_and_nothing_is_lost() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.client.room = 10
        r.server_sends(r.local, ROWS[:50])
        assert r.mask(r.local) == 0
        assert r.mask(r.client) == EPOLLOUT
        r.client.room = 5
        r.fire(r.client)
        assert r.mask(r.local) == 0
        r.client.room = 1000
        r.fire(r.client)
        assert r.mask(r.client) == r.mask(r.local) == EPOLLIN
        r.server_sends(r.local, ROWS[50:])
        assert bytes(r.client.sent) == ROWS


@pytest.mark.parametrize("room", [0, 1, len(ROWS) - 1])
async def test_client_without_room_for_the_end_gets_it_before_its_next_answer(room: int) -> None:
    async with ride() as r:
        r.client_sends(READ, READ)
        r.client.room = room
        r.server_sends(r.local, ROWS)
        assert bytes(r.local.sent) == packet(QUERY + READ, 0), "the next command waits"
        r.client.room = 1000
        r.fire(r.client)
        r.server_sends(r.local, ROWS)
        assert bytes(r.client.sent) == ROWS * 2


async def test_connection_that_is_closed_while_the_client_has_no_room_for_the_end_is_no_loss() -> None:
    async with ride() as r:
        r.client_sends(WRITE)
        r.client.room = 3
        answer = packet(build_ok(Ok(), CAPABILITIES), 1)
        r.server_sends(r.leader, answer)
        r.lane.on_closing(r.lane._ends[r.session.writer])
        r.client.room = 100
        r.fire(r.client)
        assert bytes(r.client.sent) == answer
        assert r.session.writer.closed
    assert r.arrivals == []


async def test_server_without_room_gets_the_rest_of_the_command() -> None:
    async with ride() as r:
        r.local.room = 7
        r.client_sends(READ)
        assert r.mask(r.local) == EPOLLIN | EPOLLOUT
        r.local.room = 1000
        r.fire(r.local)
        assert bytes(r.local.sent) == packet(QUERY + READ, 0)
        assert r.mask(r.local) == EPOLLIN
        r.server_sends(r.local, ROWS)
        assert bytes(r.client.sent) == ROWS


async def test_response_that_begins_before_the_command_has_ended_is_passed_on() -> None:
    async with ride() as r:
        r.local.room = 7
        r.client_sends(READ)
        r.server_sends(r.local, ROWS[:30])
        assert bytes(r.client.sent) == ROWS[:30]
        r.local.room = 1000
        r.server_sends(r.local, ROWS[30:])
        assert bytes(r.client.sent) == ROWS


async def test_what_a_client_sends_meanwhile_is_bounded() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.client_sends(READ)
        assert r.mask(r.client) == 0, "no more is read from it"
        r.server_sends(r.local, ROWS)
        r.server_sends(r.local, ROWS)
        assert bytes(r.client.sent) == ROWS * 2
        assert r.mask(r.client) == EPOLLIN


async def test_client_that_has_ended_gets_its_answer_first() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.client.ended = True
        r.fire(r.client)
        r.server_sends(r.local, ROWS)
        assert bytes(r.client.sent) == ROWS
    assert r.arrivals == [Arrival.GONE]


async def test_client_that_is_gone_ends_the_ride() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.client.broken = True
        r.server_sends(r.local, ROWS)
    assert r.arrivals == [Arrival.GONE]


@pytest.mark.parametrize("text", [READ, WRITE])
async def test_command_whose_server_cannot_be_written_to_is_judged_by_what_it_is(text: bytes) -> None:
    async with ride() as r:
        r.local.broken = r.leader.broken = True
        r.client_sends(text)
    assert r.arrivals == [Arrival.COMMAND if text is READ else Arrival.UNKNOWN]
    if text is READ:
        assert r.packets.read_nowait() == QUERY + READ


async def test_server_that_ends_within_rows_breaks_the_session() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.server_sends(r.local, ROWS[:60])
        r.local.ended = True
        r.fire(r.local)
    assert r.arrivals == [Arrival.BROKEN]


async def test_server_that_ends_before_rows_leaves_the_command_to_the_task_with_what_came_behind() -> None:
    async with ride() as r:
        r.client_sends(READ, b"something else")
        r.local.ended = True
        r.fire(r.local)
    assert r.arrivals == [Arrival.COMMAND]
    assert r.packets.read_nowait() == QUERY + READ
    assert r.packets.read_nowait() == QUERY + b"something else"


async def test_server_that_ends_while_idle_is_found_out_by_the_next_command() -> None:
    async with ride() as r:
        r.client_sends(READ)
        r.server_sends(r.local, ROWS)
        r.local.ended = True
        r.fire(r.local)
        assert r.mask(r.local) == 0
        assert r.session.reader.closed
        r.client_sends(READ)
    assert r.arrivals == [Arrival.COMMAND]


async def test_unknown_command_wakes_the_task_with_all_that_came() -> None:
    async with ride() as r:
        r.client_sends(b"CREATE TABLE x (a INT)", READ)
    assert r.arrivals == [Arrival.COMMAND]
    assert r.packets.read_nowait() == QUERY + b"CREATE TABLE x (a INT)"
    assert r.packets.read_nowait() == QUERY + READ


async def test_held_answer_goes_with_the_view_and_a_server_that_dies_meanwhile_does_not_matter() -> None:
    async with ride() as r:
        changes = build_session_changes(SessionChanges(gtid="0-1-7"))
        answer = packet(build_ok(Ok(status=2 | 1 << 14, session_data=changes), CAPABILITIES), 1)
        r.client_sends(WRITE)
        r.server_sends(r.leader, answer)
        assert r.engine.held == [r.lane]
        r.leader.ended = True
        r.fire(r.leader)
        r.lane.on_view()
        assert not r.client.sent
        r.session.change(committed_sequence=7)
        r.lane.on_view()
        assert bytes(r.client.sent) == answer
        assert r.engine.held == []
    assert r.arrivals == []


async def test_bug_in_a_lane_ends_its_session_only() -> None:
    failures: list[Exception] = []
    session = following(CAPABILITIES)
    packets = PacketStream(NonblockingStream(client := ScriptedSocket(10)))
    engine = ScriptedEngine()
    lane = Lane(engine, packets, session.shortcut)  # type: ignore[arg-type]

    async def task() -> None:
        try:
            await lane.ride()
        except KeyError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        client.incoming.append(packet(QUERY + READ, 0))

        def fail(_: bytes) -> None:
            raise KeyError("a bug")

        lane._shortcut = type("Broken", (), {"request": staticmethod(fail)})()
        engine.watched[10][1](10)
    assert len(failures) == 1
    assert engine.watched == {}


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_order_of_readiness_gives_every_answer_once(random: random.Random, commands: int) -> None:
    """Cut anywhere on all sides, with room for anything from nothing to everything."""
    trio.run(_any_order, random, commands)


async def _any_order(random: random.Random, commands: int) -> None:
    async with ride() as r:
        to_send = packet(QUERY + READ, 0) * commands
        answered = 0
        unsent = b""
        for _ in range(10_000):
            if bytes(r.client.sent) == ROWS * commands:
                break
            for sock in (r.client, r.local):
                sock.room = random.choice((0, 1, 7, 60, 1000))
            if to_send and random.random() < 0.5 and not r.client.incoming:
                size = random.randint(1, len(to_send))
                r.client.incoming.append(to_send[:size])
                to_send = to_send[size:]
            while len(r.local.sent) // len(packet(QUERY + READ, 0)) > answered:
                answered += 1
                unsent += ROWS
            if unsent and not r.local.incoming:
                size = random.randint(1, len(unsent))
                r.local.incoming.append(unsent[:size])
                unsent = unsent[size:]
            for sock in random.sample((r.client, r.local), 2):
                if r.mask(sock) & EPOLLOUT or (r.mask(sock) and sock.incoming):
                    r.fire(sock)
        assert bytes(r.client.sent) == ROWS * commands
        assert bytes(r.local.sent) == packet(QUERY + READ, 0) * commands
        r.client.room = r.local.room = 1000
        r.client_sends(READ)
        r.server_sends(r.local, ROWS)
        assert bytes(r.client.sent) == ROWS * (commands + 1), "the session goes on"
    assert r.arrivals == []
