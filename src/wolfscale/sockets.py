"""A trio stream over a non-blocking socket that others than trio may read and write as well.

The proxy's relay engine works on the socket itself, between two turns of the task that owns the stream;
trio's own streams do not give their socket away. The socket may be a plain one, an `ssl.SSLSocket`, or a
`TlsSocket`, which tell "not now" by exceptions of their own.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

import trio

RECEIVE_BYTES = 1 << 16

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What `recv` and `send` raise when they would have to wait."""

QUEUE_RETRY_SECONDS = 0.002
"""Between two attempts to connect to a unix socket whose queue is full."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no second."""
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

    def __init__(self, sock: "socket.socket | TlsSocket") -> None:
        """Take over a connected socket."""
        sock.setblocking(False)
        self.socket = sock
        self.on_closing: Callable[[], None] | None = None
        self._turns = 0

    @property
    def plain_socket(self) -> socket.socket:
        """The socket that has addresses and options, whatever runs over it."""
        return self.socket.plain if isinstance(self.socket, TlsSocket) else self.socket

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
        if not isinstance(sock, ssl.SSLSocket | TlsSocket):
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
        if isinstance(self.socket, socket.socket) and not isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close; tasks that wait for the socket get `trio.ClosedResourceError`."""
        self.close()
        await trio.lowlevel.checkpoint()

    def reset_on_close(self) -> None:
        """Have the peer told by a reset when this is closed: what it sends afterwards fails at once."""
        with contextlib.suppress(OSError):
            self.plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def close(self) -> None:
        """Close at once."""
        if self.socket.fileno() == -1:
            return
        if self.on_closing is not None:
            self.on_closing()
        trio.lowlevel.notify_closing(self.socket.fileno())
        if isinstance(self.socket, ssl.SSLSocket | TlsSocket):
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

    async def _wait(self, until: Callable[[int], Awaitable[None]]) -> None:
        self._turns = 0
        descriptor = self.socket.fileno()
        if descriptor == -1:
            raise trio.ClosedResourceError("the stream was closed by this side")
        await until(descriptor)

    def _broken(self, error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self.socket.fileno() == -1:
            return trio.ClosedResourceError("the stream was closed by this side")
        return trio.BrokenResourceError(f"the connection broke: {error}")


class TlsSocket:
    """TLS over a non-blocking socket from which some bytes of it may have been read already.

    That is what `ssl.SSLSocket` cannot take up: a MySQL client sends its first TLS record right behind its
    request for TLS. Otherwise it behaves like one, and `recv` gives everything that can be decrypted, so that
    nothing is left behind where epoll does not see it.
    """

    __slots__ = ("_encrypted", "_incoming", "_object", "_outgoing", "_owed", "_socket")

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        first: bytes = b"",
    ) -> None:
        """Take over a connected socket.

        Args:
            sock: nobody else uses it from now on.
            context: the certificate, and what is asked of the other side.
            server_side: which side this is.
            server_hostname: whom a client wants to reach.
            first: what was read from the socket already.
        """
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._incoming.write(first)
        self._encrypted = b""
        """What the socket had no room for."""
        self._owed = 0
        """So many bytes of the caller's are in it: `send` has not said yet that they are sent."""

    def setblocking(self, flag: bool) -> None:
        """As of the socket underneath, which must not block."""
        self._socket.setblocking(flag)

    def fileno(self) -> int:
        """As of the socket underneath."""
        return self._socket.fileno()

    @property
    def plain(self) -> socket.socket:
        """The socket underneath, for its addresses and options."""
        return self._socket

    def version(self) -> str | None:
        """The TLS version agreed on."""
        return self._object.version()

    def cipher(self) -> str:
        """The name of the cipher agreed on; empty before the handshake has ended."""
        agreed = self._object.cipher()
        return "" if agreed is None else agreed[0]

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLWantReadError: wait until the socket is readable, and call again.
            ssl.SSLWantWriteError: likewise, writable.
            OSError: it failed.
        """
        while True:
            try:
                self._object.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill(RECEIVE_BYTES)
            except ssl.SSLError:
                # The other side is to hear why.
                with contextlib.suppress(OSError):
                    self._flush()
                raise

    def recv(self, size: int) -> bytes:
        """Everything that can be read now, decrypted; about `size` bytes at most; none at the end.

        Raises:
            OSError: as of a non-blocking socket; `ssl.SSLWantReadError` when nothing is there yet.
        """
        parts: list[bytes] = []
        while True:
            try:
                data = self._object.read(size)
            except ssl.SSLWantReadError:
                if parts:
                    break
                self._fill(size)
                continue
            if not data:
                break
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt and send some of the bytes; how many.

        Raises:
            ssl.SSLWantWriteError: no room: call again with the same bytes when the socket is writable.
            OSError: the connection broke.
        """
        if not self._owed:
            with memoryview(data) as view:
                self._owed = self._object.write(view[:RECEIVE_BYTES])
        self._flush()
        sent, self._owed = self._owed, 0
        return sent

    def unwrap(self) -> None:
        """Say that nothing follows, if there is room for it; do not wait for the other side's word."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.unwrap()
        self._flush()

    def close(self) -> None:
        """Close the socket underneath."""
        self._socket.close()

    def _fill(self, size: int) -> None:
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        """Send what is encrypted.

        Raises:
            ssl.SSLWantWriteError: there is no room for all of it.
        """
        if self._outgoing.pending:
            self._encrypted += self._outgoing.read()
        while self._encrypted:
            try:
                sent = self._socket.send(self._encrypted)
            except BlockingIOError:
                raise ssl.SSLWantWriteError from None
            self._encrypted = self._encrypted[sent:]


async def start_tls(
    stream: NonblockingStream,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None = None,
    first: bytes = b"",
) -> NonblockingStream:
    """Continue a stream under TLS; the plain one is of no use any more.

    Args:
        stream: over a plain socket.
        context: the certificate, and what is asked of the other side.
        server_side: which side this is.
        server_hostname: whom a client wants to reach.
        first: what was read from the stream and belongs to TLS.

    Raises:
        trio.BrokenResourceError: the handshake failed; the stream is closed.
    """
    assert isinstance(stream.socket, socket.socket)
    secured = NonblockingStream(
        TlsSocket(
            stream.socket, context, server_side=server_side, server_hostname=server_hostname, first=first
        )
    )
    try:
        await secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


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
