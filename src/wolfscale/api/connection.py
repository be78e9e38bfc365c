"""One HTTP connection: hypercorn's, held to HTTP/1.1 and to bounds.

hypercorn relays between a socket, h11 and the application. What is done differently here, and why:

* HTTP/2 is never spoken, be it upgraded to, assumed or negotiated: no client of a node gains from it, and
  its streams would multiply every bound. Upgrades are ignored, as a server may (RFC 9110, 7.8).
* a client that does not read its answer is given up, where hypercorn would wait for ever, even cancelled.
* a body that the application does not read ends the connection after the answer, where hypercorn would wait
  for ever for room in the application's queue. What is still on its way is read and dropped for a moment
  first, or the client would see a reset instead of the answer (RFC 9112, 9.6).
* what is no HTTP at all is answered in the one form of all failures.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from wolfscale import logs

log = logs.logger(__name__)

SEND_SECONDS: Final = 30.0
"""A client must take the next piece of its answer within this."""
_PIECE_BYTES: Final = 64 << 10
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 16 << 20
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

_REASONS: Final = {
    408: ("request_too_slow", "the request was not here in time"),
    414: ("address_too_long", "the address is too long"),
    431: ("headers_too_large", "the request's line and headers are too long"),
    501: ("not_implemented", "this node does not know how to read such a request"),
}


def _problem(error: str, message: str) -> bytes:
    """In the form of `wolfscale.api.problems`."""
    return json.dumps(
        {"error": error, "message": message, "field": None, "errno": None, "sqlstate": None}
    ).encode()


_PLAIN_BODY: Final = _problem("https_wanted", "this port speaks https: write https:// instead of http://")
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN_BODY), _PLAIN_BODY)
)


class Http1(H11Protocol):
    """Between h11 and the application."""

    async def _check_protocol(self, _event: h11.Request) -> None:
        """Never change the protocol."""

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def _maybe_recycle(self) -> None:
        if self.connection.their_state is h11.DONE:
            await super()._maybe_recycle()
        else:
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        error, message = _REASONS.get(status_code, ("bad_request", "this is no HTTP request"))
        body = _problem(error, message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Connection(TCPServer):
    """One client's connection, from its handshake to its end."""

    def __init__(
        self,
        app: AppWrapper,
        config: HypercornConfig,
        context: WorkerContext,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
    ) -> None:
        super().__init__(app, config, context, ConnectionState({}), cast(Any, stream))
        self._whole = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._lingers = False
        self.idle_since: float | None = trio.current_time()
        """When the last request ended, on trio's clock; None while one is answered."""

    async def run(self) -> None:
        """Answer requests until the client or a bound ends it; closes the stream, raises nothing of it."""
        try:
            with self._whole:
                await self._run()
        except* _GONE:
            pass  # the client has gone, which is its right
        except* Exception as group:
            log.error("an HTTP connection failed", error=group.exceptions[0])
        finally:
            with trio.move_on_after(_LINGER_SECONDS, shield=True):
                await self._close()

    def drop(self) -> None:
        """End it now."""
        self._whole.cancel()

    async def _run(self) -> None:
        encrypted = isinstance(self.stream, trio.SSLStream)
        if encrypted and not await self._shake_hands():
            return
        socket = self.stream.transport_stream.socket if encrypted else self.stream.socket
        async with TaskGroup() as task_group:
            self._task_group = task_group
            self.protocol = cast(
                Any,
                Http1(
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    encrypted,
                    parse_socket_addr(socket.family, socket.getpeername()),
                    parse_socket_addr(socket.family, socket.getsockname()),
                    self.protocol_send,
                ),
            )
            await self.idle_task.restart(task_group, self._idle_timeout)
            with self._reading:
                await self._read_data()
            if self._lingers:
                await self._linger()
                self.drop()
            await self.idle_task.stop()

    async def _shake_hands(self) -> bool:
        with trio.move_on_after(self.config.ssl_handshake_timeout):
            try:
                await self.stream.do_handshake()
                return True
            except trio.BrokenResourceError as error:
                if getattr(error.__cause__, "reason", None) != "HTTP_REQUEST":
                    raise
                await self.stream.transport_stream.send_all(_PLAIN)
                await self.stream.transport_stream.send_eof()
        return False

    async def protocol_send(self, event: Event) -> None:
        """Carry out what the protocol wants of the socket."""
        if isinstance(event, RawData):
            async with self.send_lock:
                await self._send(event.data)
        elif isinstance(event, Closed):
            self._lingers = True
            self._reading.cancel()
        elif isinstance(event, Updated):
            self.idle_since = trio.current_time() if event.idle else None
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                with trio.fail_after(SEND_SECONDS):
                    await self.stream.send_all(data[start : start + _PIECE_BYTES])
        except (*_GONE, trio.TooSlowError):
            self.drop()
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _linger(self) -> None:
        """Say that nothing follows, and drop what still comes for a moment."""
        with trio.move_on_after(_LINGER_SECONDS):
            if isinstance(self.stream, trio.SocketStream):
                await self.stream.send_eof()
            dropped = 0
            while dropped < _LINGER_BYTES:
                data = await self.stream.receive_some(_PIECE_BYTES)
                if not data:
                    break
                dropped += len(data)

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        self._reading.cancel()


class Connections:
    """All connections of one listener, no more than a bound.

    Args:
        limit: how many. A further one takes the place of the one that has been idle for longest; where all
            are busy it is closed at once.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        config: HypercornConfig,
        context: WorkerContext,
        *,
        limit: int,
    ) -> None:
        self._app = cast(AppWrapper, app)
        self._config = config
        self._context = context
        self._limit = limit
        self._open: set[Connection] = set()

    async def serve(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        """Serve one client to its end."""
        if len(self._open) >= self._limit and not self._make_room():
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(self._app, self._config, self._context, stream)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    def _make_room(self) -> bool:
        idle = [connection for connection in self._open if connection.idle_since is not None]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: cast(float, connection.idle_since))
        self._open.discard(longest)
        longest.drop()
        return True
