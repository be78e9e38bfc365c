"""Calls between nodes: requests and answers by name, many at a time over one stream for each address."""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from wolfscale import logs
from wolfscale.errors import InvariantError, WolfScaleError
from wolfscale.node.dialer import Dialer
from wolfscale.node.errors import (
    FrameError,
    LinkError,
    RpcFailed,
    RpcUnavailable,
    RpcUncertain,
)
from wolfscale.node.frames import FrameBuffer, build_frame

log = logs.logger(__name__)

MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_CALLS_AT_ONCE = 256
"""Calls of one stream that run at the same time; further ones wait in the socket."""

IDLE_TIMEOUT = 60.0
"""Seconds after which a stream that nobody uses is closed."""

OPEN_TIMEOUT = 2.0
"""Seconds for reaching a node that is not connected yet."""

RECEIVE_BYTES = 64 * 1024

RpcHandler = Callable[[bytes], Awaitable[bytes]]
"""Gets a call's payload, returns the answer's. A `WolfScaleError` it raises goes to the caller."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A call on the wire."""

    number: int
    name: str
    payload: bytes


class Response(msgspec.Struct, frozen=True, array_like=True):
    """Its answer: a payload, or the class and the text of an error."""

    number: int
    payload: bytes
    error_kind: str = ""
    error_message: str = ""


class RpcServer:
    """The calls that this node answers."""

    def __init__(self) -> None:
        self._handlers: dict[str, RpcHandler] = {}

    def handle(self, name: str, handler: RpcHandler) -> None:
        """Answer calls of a name from now on.

        Raises:
            InvariantError: the name has a handler already.
        """
        if name in self._handlers:
            raise InvariantError(f"calls of {name!r} have a handler already")
        self._handlers[name] = handler

    async def run_here(self, name: str, payload: bytes) -> bytes:
        """Run a call's handler in this node itself.

        Raises:
            RpcFailed: the handler raised, or there is none.
        """
        handler = self._handlers.get(name)
        if handler is None:
            raise RpcFailed(name, "UnknownCall", "this node knows no such call")
        try:
            return await handler(payload)
        except InvariantError:
            raise
        except WolfScaleError as error:
            raise RpcFailed(name, type(error).__name__, str(error)) from error

    async def serve(self, _kind: str, _header: bytes, stream: trio.abc.Stream) -> None:
        """Answer the calls of one stream until it ends."""
        frames = FrameBuffer(MAX_FRAME_BYTES)
        places = trio.Semaphore(MAX_CALLS_AT_ONCE)
        sending = trio.Lock()
        async with trio.open_nursery() as nursery:
            while data := await _receive(stream):
                for payload in frames.feed(data):
                    try:
                        request = msgspec.msgpack.decode(payload, type=Request)
                    except msgspec.MsgspecError as error:
                        raise FrameError(f"a call that makes no sense: {error}") from error
                    await places.acquire()
                    nursery.start_soon(self._answer, request, stream, sending, places)
            nursery.cancel_scope.cancel()

    async def _answer(
        self, request: Request, stream: trio.abc.Stream, sending: trio.Lock, places: trio.Semaphore
    ) -> None:
        try:
            try:
                response = Response(request.number, await self.run_here(request.name, request.payload))
            except RpcFailed as error:
                reason = str(error.__cause__ or error)
                response = Response(request.number, b"", error.kind, reason)
            except InvariantError:
                raise
            except Exception as error:
                log.error("the handler of a call failed", error=error, call=request.name)
                response = Response(request.number, b"", type(error).__name__, str(error))
            try:
                async with sending:
                    await stream.send_all(build_frame(msgspec.msgpack.encode(response)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                log.debug("a caller is gone", call=request.name)
        finally:
            places.release()


class _Channel:
    """One stream to one address, with the calls that wait for an answer on it."""

    __slots__ = ("closed", "number", "scope", "sending", "stream", "waiting")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.waiting: dict[int, tuple[trio.Event, list[Response]]] = {}
        self.number = 0
        self.sending = trio.Lock()
        self.scope = trio.CancelScope()
        self.closed = False


class RpcClient:
    """Calls other nodes; keeps its streams for a while."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._channels: dict[str, _Channel] = {}
        self._opening: dict[str, trio.Lock] = {}
        self._failures: dict[str, tuple[float, LinkError]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the streams until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def call(self, address: str, name: str, payload: bytes, *, timeout: float) -> bytes:
        """Call a node and wait for its answer. A checkpoint; a cancelled call may still run over there.

        Raises:
            RpcUnavailable: it did not run; its cause says why the node cannot be reached.
            RpcUncertain: it may have run: no answer in time, or the connection was lost.
            RpcFailed: its handler raised.
        """
        deadline = trio.current_time() + timeout
        try:
            with trio.fail_at(deadline):
                channel = await self._channel(address)
        except trio.TooSlowError:
            raise RpcUnavailable(f"{name}: {address} could not be reached within {timeout:g} s") from None
        channel.number += 1
        number = channel.number
        answered, answers = channel.waiting[number] = (trio.Event(), [])
        channel.scope.deadline = max(channel.scope.deadline, deadline + IDLE_TIMEOUT)
        frame = build_frame(msgspec.msgpack.encode(Request(number, name, payload)))
        try:
            with trio.move_on_at(deadline):
                async with channel.sending:
                    if channel.closed:
                        raise RpcUnavailable(f"{name}: the connection to {address} was lost")
                    await self._send(channel, frame, f"{name}: the connection to {address} was lost")
                await answered.wait()
        finally:
            channel.waiting.pop(number, None)
        if not answers:
            reason = "the connection was lost" if channel.closed else f"no answer within {timeout:g} s"
            raise RpcUncertain(f"{name}: {reason} ({address}); it may have been carried out")
        response = answers[0]
        if response.error_kind:
            raise RpcFailed(name, response.error_kind, response.error_message)
        return response.payload

    async def _send(self, channel: _Channel, frame: bytes, lost: str) -> None:
        sent = False
        try:
            await channel.stream.send_all(frame)
            sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise RpcUncertain(f"{lost}; it may have been carried out") from error
        finally:
            if not sent:  # half a frame is on the wire: nothing can follow it
                channel.scope.cancel()

    async def _channel(self, address: str) -> _Channel:
        arrived = trio.current_time()
        async with self._opening.setdefault(address, trio.Lock()):
            channel = self._channels.get(address)
            if channel is not None and not channel.closed:
                return channel
            if self._nursery is None:
                raise RpcUnavailable(f"{address}: this node is not running")
            failed_at, failure = self._failures.pop(address, (0.0, None))
            if failure is not None and failed_at >= arrived:
                # Everybody who waited for the same attempt learns its outcome; nobody queues for another.
                self._failures[address] = failed_at, failure
                raise RpcUnavailable(str(failure)) from failure
            try:
                stream = await self._dialer.open_stream(address, "rpc", timeout=OPEN_TIMEOUT)
            except LinkError as error:
                self._failures[address] = trio.current_time(), error
                raise RpcUnavailable(str(error)) from error
            channel = self._channels[address] = _Channel(stream)
            channel.scope.deadline = trio.current_time() + IDLE_TIMEOUT
            self._nursery.start_soon(self._read, address, channel)
            return channel

    async def _read(self, address: str, channel: _Channel) -> None:
        frames = FrameBuffer(MAX_FRAME_BYTES)
        try:
            with channel.scope:
                while data := await _receive(channel.stream):
                    for payload in frames.feed(data):
                        response = msgspec.msgpack.decode(payload, type=Response)
                        waiting = channel.waiting.get(response.number)
                        if waiting is not None:
                            waiting[1].append(response)
                            waiting[0].set()
        except (FrameError, msgspec.MsgspecError) as error:
            log.warning(
                "closed the calls to a peer that answered nonsense", address=address, reason=str(error)
            )
        finally:
            channel.closed = True
            if self._channels.get(address) is channel:
                del self._channels[address]
            for answered, _ in channel.waiting.values():
                answered.set()
            await trio.aclose_forcefully(channel.stream)


async def _receive(stream: trio.abc.Stream) -> bytes | bytearray:
    try:
        return await stream.receive_some(RECEIVE_BYTES)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""
