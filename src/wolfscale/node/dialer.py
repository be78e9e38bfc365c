"""Opens streams to other nodes; works in any process that holds the cluster secret."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import trio

from wolfscale.node.errors import FrameError, SecretMismatch, StreamRefused, Unreachable
from wolfscale.node.frames import build_frame, read_frame
from wolfscale.node.hello import Hello, decode_answer, encode_hello
from wolfscale.node.tls import HOSTNAME, Credentials
from wolfscale.sockets import NonblockingStream

_StreamT = TypeVar("_StreamT", trio.SSLStream[trio.SocketStream], NonblockingStream)

OPEN_TIMEOUT = 5.0
"""Seconds for connecting, proving the secret and having the stream taken."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 3, 1, 3
"""A machine that went silent is noticed on an idle stream after about 6 seconds."""

USER_TIMEOUTS_MS = {"raft": 3_000, "rpc": 10_000}
"""How long sent bytes may stay unacknowledged, by kind of stream. Raft sends everything again, so its
streams are given up early. The others have no bound: Linux counts a reader that does not read, and the
client of a session may well pause in the middle of a long result."""


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address!r}: an IPv6 address must stand in brackets, as in [::1]:7400")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tune(sock: socket.socket | trio.socket.SocketType, kind: str) -> None:
    """Set the socket options that let a silent machine be noticed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    if kind in USER_TIMEOUTS_MS:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUTS_MS[kind])


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens authenticated streams to other nodes' peer ports."""

    credentials: Credentials

    @classmethod
    def from_secret(cls, secret: bytes, name: str) -> "Dialer":
        """A dialer with a certificate of its own; `name` shows up in it."""
        return cls(Credentials.from_secret(secret, name))

    async def open_stream(
        self, address: str, kind: str, header: bytes = b"", *, timeout: float = OPEN_TIMEOUT
    ) -> trio.SSLStream[trio.SocketStream]:
        """Open a stream of a kind; it has been taken by the other node when this returns.

        The stream ends cleanly (`receive_some` returns `b""`) only when the other side closed it on
        purpose; a process that died raises `trio.BrokenResourceError`. A checkpoint; cancelling it
        leaves nothing open.

        Args:
            address: `host:port` of the peer port.
            kind: what the stream is for, as registered by the other node.
            header: bytes that belong to the kind.
            timeout: seconds for everything.

        Raises:
            Unreachable: nobody there, or not in time.
            SecretMismatch: the node there belongs to another cluster.
            StreamRefused: the node there does not take it; says why.
        """
        with _bounded(address, timeout):
            transport = await _connect(address)
            tune(transport.socket, kind)
            stream = trio.SSLStream(transport, self.credentials.client, server_hostname=HOSTNAME)
            return await self._greet(stream, address, Hello(kind=kind, header=header))

    async def open_nonblocking_stream(
        self, address: str, kind: str, header: bytes = b"", *, timeout: float = OPEN_TIMEOUT
    ) -> NonblockingStream:
        """Like `open_stream`, but of a socket that the proxy's relay engine can use.

        Raises: as `open_stream`.
        """
        with _bounded(address, timeout):
            transport = await _connect(address)
            tune(transport.socket, kind)
            plain = socket.socket(fileno=transport.socket.detach())
            stream = NonblockingStream(
                self.credentials.client.wrap_socket(
                    plain, server_hostname=HOSTNAME, do_handshake_on_connect=False, suppress_ragged_eofs=False
                )
            )
            return await self._greet(stream, address, Hello(kind=kind, header=header))

    async def _greet(self, stream: _StreamT, address: str, hello: Hello) -> _StreamT:
        taken = False
        try:
            if isinstance(stream, NonblockingStream):
                await stream.do_handshake()
            await stream.send_all(build_frame(encode_hello(hello)))
            refusal = decode_answer(await read_frame(stream))
            if refusal is not None:
                raise StreamRefused(address, refusal)
            taken = True
            return stream
        except trio.BrokenResourceError as error:
            if is_secret_mismatch(error):
                raise SecretMismatch(address, "the node there has another cluster secret") from error
            raise Unreachable(address, f"the connection was lost ({describe(error)})") from error
        except FrameError as error:
            raise Unreachable(address, str(error)) from error
        except OSError as error:
            raise Unreachable(address, str(error)) from error
        finally:
            if not taken:
                await trio.aclose_forcefully(stream)


@contextlib.contextmanager
def _bounded(address: str, seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise Unreachable(address, f"no answer within {seconds:g} s") from None


async def _connect(address: str) -> trio.SocketStream:
    try:
        host, port = parse_address(address)
        return await trio.open_tcp_stream(host, port)
    except (OSError, ValueError) as error:
        raise Unreachable(address, str(error)) from error


def is_secret_mismatch(error: BaseException) -> bool:
    """Whether a lost connection was lost because the two ends hold different secrets."""
    cause = error.__cause__
    return isinstance(cause, ssl.SSLCertVerificationError) or (
        isinstance(cause, ssl.SSLError) and "UNKNOWN_CA" in str(cause.reason)
    )


def describe(error: BaseException) -> str:
    """One line about why a connection was lost, in the system's words where it has some."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    if isinstance(error, BaseExceptionGroup):
        return describe(error.exceptions[0])
    if error.__cause__ is not None:
        return describe(error.__cause__)
    return str(error) or type(error).__name__
