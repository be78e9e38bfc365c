"""A trio stream over a non-blocking socket that others than trio may read and write as well.

The proxy's relay engine works on the socket itself, between two turns of the task that owns the stream;
trio's own streams do not give their socket away. The socket may be a plain one or an `ssl.SSLSocket`, which
tells "not now" by exceptions of its own.
"""

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable

import trio

RECEIVE_BYTES = 1 << 16

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What `recv` and `send` raise when they would have to wait."""

QUEUE_RETRY_SECONDS = 0.002
"""Between two attempts to connect to a unix socket whose queue is full."""

_TURNS = 16
"""Operations that need not wait before the other tasks get their turn."""


class NonblockingStream(trio.abc.Stream):
    """A byte stream; one task may read while another writes.

    An operation that can be carried out at once is no checkpoint, but for every sixteenth: a peer that is
    always ready does not keep the other tasks waiting, and most exchanges cost no turn of trio's loop.

    Attributes:
        socket: non-blocking and connected.
        on_closing: called just before the socket is closed, for whoever else waits for it.
    """

    __slots__ = ("_turns", "on_closing", "socket")

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        sock.setblocking(False)
        self.socket = sock
        self.on_closing: Callable[[], None] | None = None
        self._turns = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or none at the end.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed by this side.
        """
        sock = self.socket
        size = max_bytes or RECEIVE_BYTES
        await self._begin()
        while True:
            try:
                return sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except OSError as error:
                raise self._broken(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed by this side.
        """
        sock = self.socket
        await self._begin()
        sent = 0
        with memoryview(data) as view:
            while sent < len(view):
                try:
                    sent += sock.send(view[sent:])
                except (BlockingIOError, ssl.SSLWantWriteError):
                    await self._wait(trio.lowlevel.wait_writable)
                except ssl.SSLWantReadError:
                    await self._wait(trio.lowlevel.wait_readable)
                except OSError as error:
                    raise self._broken(error) from error

    async def do_handshake(self) -> None:
        """Shake hands, if this is TLS and it has not been done.

        Raises:
            trio.BrokenResourceError: it failed; the cause says why.
        """
        sock = self.socket
        if not isinstance(sock, ssl.SSLSocket):
            return
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except OSError as error:
                raise self._broken(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        await self._begin()
        await self._wait(trio.lowlevel.wait_writable)

    async def send_eof(self) -> None:
        """Say that nothing follows; of no effect under TLS."""
        await trio.lowlevel.checkpoint()
        if not isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close; tasks that wait for the socket get `trio.ClosedResourceError`."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close at once."""
        if self.socket.fileno() == -1:
            return
        if self.on_closing is not None:
            self.on_closing()
        trio.lowlevel.notify_closing(self.socket)
        if isinstance(self.socket, ssl.SSLSocket):
            # Sends the farewell, and then wants to hear the peer's, which nobody waits for.
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
        self.socket.close()

    async def _begin(self) -> None:
        self._turns += 1
        if self._turns >= _TURNS:
            self._turns = 0
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._turns = 0
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError("the stream was closed by this side")
        await until(self.socket)

    def _broken(self, error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self.socket.fileno() == -1:
            return trio.ClosedResourceError("the stream was closed by this side")
        return trio.BrokenResourceError(f"the connection broke: {error}")


class NonblockingListener(trio.abc.Listener[NonblockingStream]):
    """Accepts connections on a listening socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a socket that listens already."""
        self._socket = trio.socket.from_stdlib_socket(sock)

    async def accept(self) -> NonblockingStream:
        """The next connection.

        Raises:
            OSError: it could not be accepted, e.g. for want of descriptors.
            trio.ClosedResourceError: the listener was closed.
        """
        while True:
            try:
                accepted, _ = await self._socket.accept()
            except ConnectionError:
                continue  # the client changed its mind before its turn came
            except OSError:
                if self._socket.fileno() == -1:
                    raise trio.ClosedResourceError("the listener was closed") from None
                raise
            return NonblockingStream(socket.socket(fileno=accepted.detach()))

    async def aclose(self) -> None:
        """Close the listening socket."""
        self._socket.close()
        await trio.lowlevel.checkpoint()


async def open_unix_stream(path: str) -> NonblockingStream:
    """Connect to a unix socket, waiting while its queue of connections to be accepted is full.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
                break
            except BlockingIOError:
                # Not "in progress", as it would be for TCP: connect(2) has done nothing, and no event tells
                # when there is room. (trio's own connect takes it for progress.)
                await trio.sleep(QUEUE_RETRY_SECONDS)
        await trio.lowlevel.checkpoint()
    except BaseException:
        sock.close()
        raise
    return NonblockingStream(sock)
