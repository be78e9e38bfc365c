"""The peer port: takes streams from whoever proves the cluster secret, and hands them on by kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from wolfscale import logs
from wolfscale.errors import InvariantError
from wolfscale.node.dialer import (
    describe,
    format_address,
    is_secret_mismatch,
    parse_address,
    tune,
)
from wolfscale.node.errors import FrameError
from wolfscale.node.frames import build_frame, read_frame
from wolfscale.node.hello import decode_hello, encode_answer
from wolfscale.node.tls import Credentials

log = logs.logger(__name__)

MAX_HANDSHAKES = 64
"""Connections that have not proved the secret yet; more are closed at once."""

HANDSHAKE_TIMEOUT = 5.0
"""Seconds for the proof and the first frame together."""

CLOSE_TIMEOUT = 2.0
"""Seconds for telling a peer that its stream was closed on purpose."""

COMPLAINT_INTERVAL = 30.0
"""Seconds between two log lines about refused connections."""

StreamHandler = Callable[[str, bytes, trio.abc.Stream], Awaitable[None]]
"""Called with kind, header and stream; the stream is closed when it returns."""

Admission = Callable[[bytes], str | None]
"""Looks at a header before the stream is taken; returns why not, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatus:
    """Counters of the peer port since the start."""

    open_streams: int
    handshakes: int
    wrong_secret: int
    failed_handshakes: int
    turned_away: int


class Listener:
    """Owns the peer port's sockets and the life of every stream that came in through it."""

    def __init__(self, credentials: Credentials, bind_address: str) -> None:
        self._credentials = credentials
        self._bind_address = bind_address
        self._handlers: dict[str, tuple[StreamHandler, Admission | None]] = {}
        self._open = self._handshakes = self._wrong_secret = self._failed = self._turned_away = 0
        self._complained_at = float("-inf")
        self.bound_address: str | None = None
        """The address that is really listened on, known once `run` has started."""

    def handle(self, kind: str, handler: StreamHandler, admit: Admission | None = None) -> None:
        """Take streams of a kind from now on.

        Raises:
            InvariantError: the kind has a handler already.
        """
        if kind in self._handlers:
            raise InvariantError(f"streams of kind {kind!r} have a handler already")
        self._handlers[kind] = (handler, admit)

    def status(self) -> ListenerStatus:
        """The counters now."""
        return ListenerStatus(
            open_streams=self._open,
            handshakes=self._handshakes,
            wrong_secret=self._wrong_secret,
            failed_handshakes=self._failed,
            turned_away=self._turned_away,
        )

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; started with the address bound.

        Raises:
            OSError: the address cannot be listened on.
        """
        host, port = parse_address(self._bind_address)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            reason = f"cannot listen for peers at {self._bind_address}: {error.strerror or error}"
            raise OSError(error.errno, f"{reason}. Choose another [node] bind_address") from error
        bound = listeners[0].socket.getsockname()
        self.bound_address = format_address(host, bound[1])
        task_status.started(self.bound_address)
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, transport: trio.SocketStream) -> None:
        if self._handshakes >= MAX_HANDSHAKES:
            self._turned_away += 1
            await trio.aclose_forcefully(transport)
            return
        stream = trio.SSLStream(transport, self._credentials.server, server_side=True)
        try:
            taken = await self._greet(stream)
            if taken is not None:
                await self._hand_on(stream, *taken)
        finally:
            await trio.aclose_forcefully(stream)

    async def _greet(
        self, stream: trio.SSLStream[trio.SocketStream]
    ) -> tuple[StreamHandler, str, bytes] | None:
        self._handshakes += 1
        proved = False
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                await stream.do_handshake()
                proved = True
                hello = decode_hello(await read_frame(stream))
                handler, admit = self._handlers.get(hello.kind, (None, None))
                if handler is None:
                    refusal: str | None = f"this node takes no streams of kind {hello.kind!r}"
                else:
                    refusal = admit(hello.header) if admit is not None else None
                await stream.send_all(build_frame(encode_answer(refusal)))
                if handler is None or refusal is not None:
                    await stream.aclose()
                    return None
                tune(stream.transport_stream.socket, hello.kind)
                return handler, hello.kind, hello.header
        except (OSError, trio.BrokenResourceError, FrameError, trio.TooSlowError) as error:
            if not proved:
                self._refused(stream, error)
            return None
        finally:
            self._handshakes -= 1

    def _refused(self, stream: trio.SSLStream[trio.SocketStream], error: Exception) -> None:
        if is_secret_mismatch(error):
            self._wrong_secret += 1
        else:
            self._failed += 1
        now = trio.current_time()
        if now - self._complained_at < COMPLAINT_INTERVAL:
            return
        self._complained_at = now
        try:
            peer = format_address(*stream.transport_stream.socket.getpeername()[:2])
        except OSError:
            peer = "a peer that is gone"
        log.warning(
            "refused a connection that did not prove the cluster's secret",
            peer=peer,
            reason="timed out" if isinstance(error, trio.TooSlowError) else describe(error),
            refused_so_far=self._wrong_secret + self._failed,
        )

    async def _hand_on(
        self,
        stream: trio.SSLStream[trio.SocketStream],
        handler: StreamHandler,
        kind: str,
        header: bytes,
    ) -> None:
        self._open += 1
        try:
            await handler(kind, header, stream)
            with trio.move_on_after(CLOSE_TIMEOUT):
                await stream.aclose()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, FrameError) as error:
            log.debug("a stream ended", kind=kind, reason=describe(error))
        except InvariantError:
            raise
        except Exception as error:
            # One stream's handler must not take the peer port, and with it the node, along.
            log.error("the handler of a stream failed", error=error, kind=kind)
        finally:
            self._open -= 1
