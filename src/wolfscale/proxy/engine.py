"""The relay engine: one trio task that carries what all sessions of a worker only pass on.

It drains an epoll of its own, on whose descriptor trio waits. A session whose task has nothing to do *rides*
in a `Lane`: its sockets are in that epoll, and a command, its response and the next command cost system calls
and the `Shortcut`'s decisions, but no turn of trio's loop. The session's task sleeps until something comes
that is its own.

Bounded per session: two chunks read from the client while a response is under way, and one chunk that the
receiver had no room for. Whoever does not take what it asked for is not read from on the other side. Each
turn of the loop gives each ready socket one `recv`, so a session with a large result has no advantage over
one with many small.
"""

import struct
from collections.abc import Callable
from enum import Enum, auto
from select import EPOLLIN, EPOLLOUT, epoll

import trio

from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.shortcut import BROKEN, DONE, HOLD, REPLAY, SEND, SLOW, UNKNOWN, Shortcut, Verdict
from wolfscale.proxy.view import Views
from wolfscale.sockets import NOT_NOW, NonblockingStream

CHUNK_BYTES = 1 << 15
"""One receive; at least a TLS record, so that none stays behind in a socket that looks empty to epoll."""
LONGEST_COMMAND_BYTES = 1 << 16
"""A longer command is the session's task's, which streams it."""
EVENTS = 64
"""Sockets served in one turn."""
TURNS = 8
"""Turns before the other tasks of the process get theirs, if sockets keep being ready."""


_read_header = struct.Struct("<I").unpack_from
"""A packet's length in bytes, and its number above them: cheaper than putting three bytes together."""


class Arrival(Enum):
    """Why a ride has ended."""

    COMMAND = auto()
    """The client's stream has a command, or the beginning of one, for the session's task."""
    GONE = auto()
    """The client is gone."""
    RESPONSE = auto()
    """A response goes on in the session's task: `Shortcut.go_on`."""
    UNKNOWN = auto()
    """The leader did not answer: `Shortcut.give_up`."""
    BROKEN = auto()
    """A response cannot be completed; the session ends."""


Handler = Callable[[int], None]
"""Called with the descriptor that is ready."""


class Engine:
    """Owns the epoll.

    To be closed after the last session has ended, and not by whatever cancels `run`: sessions are cancelled
    in no order.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._epoll = epoll()
        self._handlers: dict[int, Handler] = {}
        self._held: dict[Lane, None] = {}

    async def run(self) -> None:
        """Relay until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release)
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._drain()

    def close(self) -> None:
        """Close the epoll; no lane may be left."""
        self._epoll.close()

    def _drain(self) -> None:
        poll, handlers = self._epoll.poll, self._handlers
        for _ in range(TURNS):
            events = poll(0, EVENTS)
            if not events:
                return
            for descriptor, _mask in events:
                # One that was served before in this turn may have taken this one out.
                handler = handlers.get(descriptor)
                if handler is not None:
                    handler(descriptor)

    async def _release(self) -> None:
        """Let responses go whose GTID the log has committed by now."""
        while True:
            await self._views.changes.wait()
            for lane in list(self._held):
                lane.on_view()

    def watch(self, descriptor: int, mask: int, handler: Handler) -> None:
        """Call the handler whenever the descriptor is ready; in place of what was watched there before."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Watch it no more; before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def hold(self, lane: "Lane") -> None:
        """Tell the lane about each new view."""
        self._held[lane] = None

    def let_go(self, lane: "Lane") -> None:
        """Tell it no more."""
        self._held.pop(lane, None)


class _End:
    """A back-end connection's socket while it is in a lane."""

    __slots__ = ("connection", "descriptor", "receive", "send", "stream", "watched")

    def __init__(self, lane: "Lane", connection: BackendConnection) -> None:
        stream = connection.packets.stream
        assert isinstance(stream, NonblockingStream)
        self.connection = connection
        self.stream = stream
        self.receive = stream.socket.recv
        self.send = stream.socket.send
        self.descriptor = stream.socket.fileno()
        self.watched = False
        stream.on_closing = lambda: lane.on_closing(self)


class Lane:
    """One session in the engine."""

    __slots__ = (
        "_arrival",
        "_client",
        "_command",
        "_descriptor",
        "_end",
        "_ended",
        "_ends",
        "_engine",
        "_failure",
        "_holding",
        "_inbound",
        "_listening",
        "_outbound",
        "_receive",
        "_request",
        "_send",
        "_shortcut",
        "_task",
    )

    def __init__(self, engine: Engine, client: PacketStream, shortcut: Shortcut) -> None:
        """Make a lane for a client whose stream is a `NonblockingStream`."""
        stream = client.stream
        assert isinstance(stream, NonblockingStream)
        self._engine = engine
        self._client = client
        self._shortcut = shortcut
        self._receive = stream.socket.recv
        self._send = stream.socket.send
        self._descriptor = stream.socket.fileno()
        self._ends: dict[BackendConnection, _End] = {}
        self._end: _End | None = None
        """Has the command that is under way."""
        self._command = b""
        """That command, to be given back if the session's task has to run it after all."""
        self._inbound = b""
        """What the client has sent behind it."""
        self._ended = False
        """It will send nothing more."""
        self._request = b""
        """What the back end had no room for."""
        self._outbound = b""
        """What the client had no room for."""
        self._listening = False
        """Whether what the client sends is waited for."""
        self._holding = False
        """The command is answered, but the log does not hold yet what the answer promises."""
        self._task: trio.lowlevel.Task | None = None
        self._arrival: Arrival | None = None
        self._failure: Exception | None = None

    @property
    def is_sending(self) -> bool:
        """Whether the client has not taken all of an answer."""
        return bool(self._outbound)

    async def ride(self) -> Arrival:
        """Leave the session to the engine until its task is needed.

        What the client's stream has buffered is taken first. A checkpoint if it has to wait. When cancelled,
        nothing of the session is in the engine any more, and both of its connections may be in the middle of
        something: close them.
        """
        self._shortcut.look_again()
        self._shortcut.connection = None
        self._inbound = self._client.take_buffered()
        try:
            self._next()
            if self._arrival is None:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._on_cancelled)
        finally:
            self._leave()
        failure, self._failure = self._failure, None
        arrival, self._arrival = self._arrival, None
        if failure is not None:
            raise failure
        assert arrival is not None
        # What the task itself answers follows a command, whose number was 0.
        self._client.next_sequence = 1
        return arrival

    def _on_cancelled(self, _raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
        self._task = None
        self._leave()
        return trio.lowlevel.Abort.SUCCEEDED

    def _leave(self) -> None:
        engine = self._engine
        self._turn_away()
        engine.let_go(self)
        for end in self._ends.values():
            if end.watched:
                engine.forget(end.descriptor)
            end.stream.on_closing = None
        self._ends.clear()
        self._end = None
        self._holding = False
        self._command = self._request = self._outbound = b""
        if self._inbound:
            self._client.unread(self._inbound)
            self._inbound = b""

    def _arrive(self, arrival: Arrival) -> None:
        """Wake the session's task. Until it runs, nothing more may happen here."""
        if self._arrival is None:
            self._arrival = arrival
            self._leave()
            task, self._task = self._task, None
            if task is not None:
                trio.lowlevel.reschedule(task)

    def _fail(self, error: Exception) -> None:
        """A bug of ours: the session's task raises it."""
        self._failure = error
        self._arrive(Arrival.BROKEN)

    def _listen(self) -> None:
        """Wait for what the client sends."""
        self._listening = True
        self._engine.watch(self._descriptor, EPOLLIN, self.on_client)

    def _turn_away(self) -> None:
        """Wait for nothing from the client."""
        self._listening = False
        self._engine.forget(self._descriptor)

    # The client has sent something.

    def on_client(self, _descriptor: int) -> None:
        """The client's socket is readable."""
        # Not `self._receive(...)`: a slot is read fast as an attribute, but not as the method of a call.
        receive = self._receive
        try:
            data = receive(CHUNK_BYTES)
        except NOT_NOW:
            return
        except OSError:
            data = b""
        try:
            if self._end is not None:
                # It sends on while its command is under way; or it has closed its side, and may still read.
                self._inbound += data
                self._ended = not data
                self._turn_away()
            elif not data:
                self._arrive(Arrival.GONE)
            else:
                self._inbound += data
                self._next()
        except Exception as error:
            self._fail(error)

    def _next(self) -> None:
        """Nothing is under way: go on with what the client has sent."""
        self._end = None
        while data := self._inbound:
            size = len(data)
            if size < 4:
                break
            end = 4 + (_read_header(data)[0] & 0xFFFFFF)
            if size == end <= LONGEST_COMMAND_BYTES:
                self._inbound, command = b"", data
            elif end > LONGEST_COMMAND_BYTES:
                self._arrive(Arrival.COMMAND)
                return
            elif size < end:
                break
            else:
                self._inbound, command = data[end:], data[:end]
            verdict = self._shortcut.request(command)
            if verdict is SEND:
                self._command = command
                self._forward()
                return
            if verdict is not DONE:
                self._inbound = data
                self._arrive(Arrival.COMMAND)
                return
            if not self._deliver(done=True):
                return
        if self._ended:
            self._arrive(Arrival.GONE)
        elif not self._listening:
            self._listen()

    def _forward(self) -> None:
        """Send the command to its back end."""
        shortcut = self._shortcut
        connection = shortcut.connection
        assert connection is not None
        end = self._ends.get(connection)
        if end is None:
            if not connection.is_alive():
                # Ended before the command was sent, which is run from the start.
                self._answer(REPLAY)
                return
            end = self._ends[connection] = _End(self, connection)
        self._end = end
        data, send = shortcut.data, end.send
        try:
            sent = send(data)
        except NOT_NOW:
            sent = 0
        except OSError:
            self._answer(shortcut.lost())
            return
        mask = EPOLLIN
        if sent < len(data):
            self._request = bytes(data[sent:])
            mask = EPOLLIN | EPOLLOUT
        elif end.watched:
            return
        end.watched = True
        self._engine.watch(end.descriptor, mask, self.on_backend)

    # A back end has sent something, or has room again.

    def on_backend(self, descriptor: int) -> None:
        """A back end's socket is readable; or writable, if that was waited for."""
        end = self._end
        if end is None or end.descriptor != descriptor or self._holding:
            # Nothing was asked: it says that it closes. Its next use finds out what that means.
            self._part_with(next(end for end in self._ends.values() if end.descriptor == descriptor))
            return
        if self._request and not self._send_request(end):
            return
        receive = end.receive
        try:
            data = receive(CHUNK_BYTES)
        except NOT_NOW:
            return
        except OSError:
            data = b""
        shortcut = self._shortcut
        try:
            verdict = shortcut.response(data) if data else shortcut.lost()
            # The usual end of a response, without the calls that the others take.
            if verdict is DONE and self._listening and not self._inbound:
                answer, send = shortcut.data, self._send
                try:
                    sent = send(answer)
                except NOT_NOW:
                    sent = 0
                if sent == len(answer):
                    self._end = None
                else:
                    self._block(bytes(answer[sent:]), done=True)
            else:
                self._answer(verdict)
        except OSError:
            self._arrive(Arrival.GONE)
        except Exception as error:
            self._fail(error)

    def _send_request(self, end: _End) -> bool:
        """Send the rest of a command; false if the connection broke."""
        try:
            sent = end.send(self._request)
        except NOT_NOW:
            return True
        except OSError:
            self._answer(self._shortcut.lost())
            return False
        self._request = self._request[sent:]
        if not self._request:
            self._engine.watch(end.descriptor, EPOLLIN, self.on_backend)
        return True

    def _part_with(self, end: _End) -> None:
        self._engine.forget(end.descriptor)
        end.watched = False
        end.connection.closed = True
        self._shortcut.look_again()

    def on_closing(self, end: _End) -> None:
        """Another task closes this connection."""
        self._part_with(end)
        if end is self._end and not self._holding:
            self._guarded(lambda: self._answer(self._shortcut.lost()))

    def on_view(self) -> None:
        """The view has changed while the end of a response is held."""
        self._guarded(self._release)

    def _release(self) -> None:
        verdict = self._shortcut.release()
        if verdict is not HOLD:
            self._engine.let_go(self)
            self._holding = False
            self._answer(verdict)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._fail(error)

    def _answer(self, verdict: Verdict) -> None:
        """Do with a response, or with the end of one, what was decided."""
        if verdict is DONE:
            if self._deliver(done=True):
                self._next()
        elif verdict is SEND:
            self._deliver(done=False)
        elif verdict is HOLD:
            self._holding = True
            self._engine.hold(self)
        elif verdict is REPLAY:
            self._inbound = self._command + self._inbound
            self._arrive(Arrival.COMMAND)
        elif verdict is SLOW:
            self._arrive(Arrival.RESPONSE)
        else:
            assert verdict is UNKNOWN or verdict is BROKEN
            self._arrive(Arrival.UNKNOWN if verdict is UNKNOWN else Arrival.BROKEN)

    def _deliver(self, *, done: bool) -> bool:
        """Send the client what was decided on; false unless it took everything."""
        data = self._shortcut.data
        if not data:
            return True
        self._shortcut.sent = True
        try:
            sent = self._send(data)
        except NOT_NOW:
            sent = 0
        except OSError:
            self._arrive(Arrival.GONE)
            return False
        if sent < len(data):
            self._block(bytes(data[sent:]), done=done)
            return False
        return True

    # The client has no room.

    def _block(self, rest: bytes, *, done: bool) -> None:
        """Read no more from the back end until the client has taken this."""
        self._outbound = rest
        end = self._end
        if end is not None and end.watched:
            self._engine.forget(end.descriptor)
            end.watched = False
        if done:
            self._end = None
        self._listening = False
        self._engine.watch(self._descriptor, EPOLLOUT, self._on_room_at_the_end if done else self._on_room)

    def _send_outbound(self) -> bool:
        """Whether the client has taken everything now."""
        try:
            sent = self._send(self._outbound)
        except NOT_NOW:
            return False
        except OSError:
            self._arrive(Arrival.GONE)
            return False
        self._outbound = self._outbound[sent:]
        return not self._outbound

    def _on_room(self, _descriptor: int) -> None:
        """The client takes more; the response goes on."""
        if not self._send_outbound():
            return
        # What it sends meanwhile is read when the response has ended, or now if nothing has come yet.
        if self._inbound or self._ended:
            self._turn_away()
        else:
            self._listen()
        end = self._end
        assert end is not None
        end.watched = True
        mask = EPOLLIN | EPOLLOUT if self._request else EPOLLIN
        self._engine.watch(end.descriptor, mask, self.on_backend)

    def _on_room_at_the_end(self, _descriptor: int) -> None:
        if self._send_outbound():
            self._turn_away()
            self._guarded(self._next)
