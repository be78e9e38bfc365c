"""The stream between a proxy worker and its node: views one way, requests and replies both.

Frames are a length (4 bytes, big endian) and a msgpack message. The node pushes a view at once and whenever
it has changed, newest wins; the worker asks what `ControlClient` has methods for. A stream that ends is the
worker's end too: without a node it knows nothing.
"""

import contextlib
import itertools
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import trio

from wolfscale.errors import WolfScaleError
from wolfscale.proxy.accounts import Account, parse_accounts
from wolfscale.proxy.errors import ControlLost
from wolfscale.proxy.id_requests import IdRequests
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.view import View, Views

MAX_FRAME_BYTES = 1 << 20
REQUEST_TIMEOUT_S = 10.0
MAX_REQUESTS = 4096
"""Requests that one worker may have under way; the node reads no further until one is answered."""

_LENGTH = struct.Struct(">I")


class PushedView(msgspec.Struct, frozen=True, tag="view"):
    """Node to proxy: the newest view, and the worker's place among those that follow the node."""

    view: View
    place: int = 0


class Request(msgspec.Struct, frozen=True, tag="request"):
    """Either way: do this and tell me."""

    id: int
    name: str
    arguments: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """The other way: a request's result, or the reason why there is none."""

    id: int
    result: Any = None
    error: str | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PushedView | Request | Reply] = msgspec.msgpack.Decoder(
    PushedView | Request | Reply
)


class _Frames:
    """Messages over a trio stream; one task reads, any number write."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: PushedView | Request | Reply) -> None:
        payload = _encoder.encode(message)
        async with self._sending:
            try:
                await self._stream.send_all(_LENGTH.pack(len(payload)) + payload)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ControlLost("the control stream to the node broke") from error

    async def receive(self) -> PushedView | Request | Reply | None:
        """The next message; None when the peer closed.

        Raises:
            ControlLost: the stream broke, or holds what is no message.
        """
        while True:
            if len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                if length > MAX_FRAME_BYTES:
                    raise ControlLost(f"the control stream announced a message of {length} bytes")
                end = _LENGTH.size + length
                if len(self._buffer) >= end:
                    payload = bytes(self._buffer[_LENGTH.size : end])
                    del self._buffer[:end]
                    try:
                        return _decoder.decode(payload)
                    except msgspec.MsgspecError as error:
                        raise ControlLost(f"the control stream holds no valid message: {error}") from error
            try:
                data = await self._stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ControlLost("the control stream to the node broke") from error
            if not data:
                return None
            self._buffer += data


Handler = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Carries out a request by its name and arguments."""


class Caller:
    """Requests to the other end, any number at a time."""

    def __init__(self, frames: _Frames, other: str) -> None:
        self._frames = frames
        self._other = other
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[Reply]]] = {}
        self._closed = False

    def on_reply(self, reply: Reply) -> None:
        """A reply has come."""
        if reply.id in self._waiting:
            event, replies = self._waiting[reply.id]
            replies.append(reply)
            event.set()

    def close(self) -> None:
        """No reply will come any more."""
        self._closed = True
        for event, _ in self._waiting.values():
            event.set()

    async def request(self, name: str, **arguments: Any) -> Any:
        """Ask.

        Raises:
            ControlLost: the other end is gone, did not answer in time, or answered with an error. A
                checkpoint; a request that is cancelled may still be carried out.
        """
        if self._closed:
            raise ControlLost(f"the {self._other} is gone")
        number = next(self._ids)
        event, replies = self._waiting[number] = (trio.Event(), [])
        try:
            with trio.move_on_after(REQUEST_TIMEOUT_S):
                await self._frames.send(Request(number, name, arguments))
                await event.wait()
        finally:
            del self._waiting[number]
        if not replies:
            raise ControlLost(f"the {self._other} did not answer {name}")
        if replies[0].error is not None:
            raise ControlLost(f"the {self._other} could not do {name}: {replies[0].error}")
        return replies[0].result


async def _answer(frames: _Frames, handler: Handler | None, request: Request) -> None:
    try:
        if handler is None:
            raise WolfScaleError("nothing is asked of a proxy that has not begun to serve")
        reply = Reply(request.id, await handler(request.name, request.arguments))
    except (WolfScaleError, OSError) as error:
        reply = Reply(request.id, error=str(error) or type(error).__name__)
    await frames.send(reply)


class ControlClient:
    """The proxy's end.

    Attributes:
        views: what the node pushes.
        handler: answers what the node asks.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.views = Views()
        self.handler: Handler | None = None
        self._frames = _Frames(stream)
        self._caller = Caller(self._frames, "node")
        self._id_requests = IdRequests(self._ask_for_ids)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the node closes; started once the first view is here.

        Raises:
            ControlLost: the stream ended or broke.
        """
        lost = ControlLost("the node closed the control stream")
        async with trio.open_nursery() as nursery:
            try:
                await self._read(nursery, task_status)
            except ControlLost as error:
                lost = error
            finally:
                self._caller.close()
            nursery.cancel_scope.cancel()
        raise lost

    async def _read(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        started = False
        while (message := await self._frames.receive()) is not None:
            if isinstance(message, PushedView):
                self.views.place = message.place
                self.views.update(message.view)
                if not started:
                    started = True
                    task_status.started()
            elif isinstance(message, Reply):
                self._caller.on_reply(message)
            else:
                nursery.start_soon(self._answer, message)

    async def _answer(self, request: Request) -> None:
        # A stream that breaks meanwhile is noticed where it is read.
        with contextlib.suppress(ControlLost):
            await _answer(self._frames, self.handler, request)

    async def request(self, name: str, **arguments: Any) -> Any:
        """Ask the node; see `Caller.request`."""
        return await self._caller.request(name, **arguments)

    async def accounts(self, user: str) -> Sequence[Account]:
        """All accounts that a client of this name may be logged in to."""
        return parse_accounts(await self.request("accounts", user=user))

    async def intent_begin(self, connection_id: int) -> None:
        """Have the leader's node put its intent mark on disk before a statement that is no plain DML.

        Args:
            connection_id: the leader session's, by which `intent_end` names it again.
        """
        await self.request("intent_begin", connection_id=connection_id)

    async def intent_end(self, connection_id: int, *, finished: bool) -> None:
        """Say that the statement has ended.

        Args:
            connection_id: as given to `intent_begin`.
            finished: whether the leader's MariaDB answered; if not, the statement may still be running.
        """
        await self.request("intent_end", connection_id=connection_id, finished=finished)

    async def members(self) -> list[dict[str, str]]:
        """The cluster's members, one row each: column names to text."""
        result = await self.request("members")
        return [{str(name): str(value) for name, value in row.items()} for row in result]

    async def spread_settings(
        self, *, term: int, names: Sequence[str], defaults: Sequence[str], user: str
    ) -> None:
        """Give the leader's values of global variables to every node; see `Backends.spread_settings`."""
        await self.request(
            "spread_settings", term=term, names=list(names), defaults=list(defaults), user=user
        )

    async def settings(self) -> list[dict[str, str]]:
        """The global variables that clients have set for the cluster, one row each."""
        result = await self.request("settings")
        return [{str(name): str(value) for name, value in row.items()} for row in result]

    async def kill(self, call: KillCall) -> Killed:
        """Kill sessions of the whole cluster."""
        return msgspec.convert(await self.request("kill", call=msgspec.to_builtins(call)), Killed)

    async def interrupt(self, connection_id: int, *, leader: bool, term: int, connection: bool) -> bool:
        """Have a MariaDB interrupt a connection of this proxy's; see `Backends.interrupt`."""
        return bool(
            await self.request(
                "interrupt", connection_id=connection_id, leader=leader, term=term, connection=connection
            )
        )

    async def is_applying_blocked(self) -> bool:
        """Whether the MariaDB beside the node cannot apply the log because a session holds a lock."""
        return bool(await self.request("is_applying_blocked"))

    async def sessions(self) -> list[dict[str, str]]:
        """The sessions of the node's proxies, one row each."""
        result = await self.request("sessions")
        return [{str(name): str(value) for name, value in row.items()} for row in result]

    async def read_position(self) -> int:
        """The GTID sequence up to which everything was committed when a majority confirmed the leader."""
        return int(await self.request("read_position"))

    async def take_ids(self, count: int) -> list[int]:
        """This many new snowflake ids of the node, 1 to `id_requests.MAX_IDS`, ascending."""
        return await self._id_requests.take(count)

    async def _ask_for_ids(self, count: int) -> list[int]:
        result = await self.request("ids", count=count)
        return [int(item) for item in result]


async def serve_control(
    stream: trio.abc.Stream,
    views: Views,
    handler: Handler,
    *,
    place: int = 0,
    callers: set[Caller] | None = None,
    pause_seconds: float = 0.0,
) -> None:
    """The node's end: push views and answer requests until the worker is gone.

    Args:
        stream: to one worker; closed on return.
        views: updated by the node.
        handler: carries out a request; what it raises as `WolfScaleError` or `OSError` is told to the worker,
            anything else is a bug and ends the node.
        place: the worker's among those that follow the node.
        callers: what asks the worker is in there while it lives.
        pause_seconds: after each view, before the next one; what changes meanwhile is told in one.

    Raises:
        ControlLost: the worker sent what is no message, or the stream broke.
    """
    frames = _Frames(stream)
    limit = trio.CapacityLimiter(MAX_REQUESTS)
    caller = Caller(frames, "proxy worker")

    async def push() -> None:
        sent: View | None = None
        while True:
            if views.current != sent:
                sent = views.current
                await frames.send(PushedView(sent, place))
                if pause_seconds:
                    await trio.sleep(pause_seconds)
            else:
                await views.changes.wait()

    async def answer(request: Request, borrower: object) -> None:
        try:
            await _answer(frames, handler, request)
        finally:
            limit.release_on_behalf_of(borrower)

    if callers is not None:
        callers.add(caller)
    try:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(push)
            while (message := await frames.receive()) is not None:
                if isinstance(message, Request):
                    borrower = object()
                    await limit.acquire_on_behalf_of(borrower)
                    nursery.start_soon(answer, message, borrower)
                elif isinstance(message, Reply):
                    caller.on_reply(message)
            nursery.cancel_scope.cancel()
    finally:
        caller.close()
        if callers is not None:
            callers.discard(caller)
