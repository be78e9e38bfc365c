"""TLS towards clients: what is offered, what is required, and the change from plain to TLS in a log-in."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

import trio

from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy.client_compression import CompressedStream
from wolfscale.proxy.errors import ProxyError
from wolfscale.sockets import NonblockingStream, start_tls

ER_SECURE_TRANSPORT_REQUIRED = 3159


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """What clients are offered.

    Attributes:
        context: a server's, with the certificate.
        required: whether clients that do not ask for it are turned away.
        refresh: called before each handshake, so that a renewed certificate is served; must not fail.
    """

    context: ssl.SSLContext
    required: bool = False
    refresh: Callable[[], None] | None = None


class InsecureTransport(ProxyError):
    """The client did not ask for TLS, which this proxy requires (3159, as MariaDB's and MySQL's servers)."""

    def __init__(self) -> None:
        super().__init__(
            ER_SECURE_TRANSPORT_REQUIRED,
            "08004",
            "Connections using insecure transport are prohibited while --require_secure_transport=ON. "
            "Connect with TLS (mariadb --ssl; [proxy] require_tls)",
            fatal=True,
        )


async def secure(client: PacketStream, tls: ClientTls) -> None:
    """Continue with a client that has asked for TLS.

    Whatever it sent behind its request belongs to TLS already: a packet that somebody slipped in before the
    handshake breaks it, and is never read as the client's word.

    Raises:
        ConnectionLost: the handshake failed.
    """
    if tls.refresh is not None:
        tls.refresh()
    stream = client.stream
    if not isinstance(stream, NonblockingStream):
        await client.start_tls(tls.context, server_side=True)
        return
    try:
        client.stream = await start_tls(stream, tls.context, server_side=True, first=client.take_buffered())
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise ConnectionLost(f"the TLS handshake failed: {error}") from error


def is_secure(client: PacketStream) -> bool:
    """Whether what passes between client and proxy is encrypted."""
    stream = client.stream
    if isinstance(stream, CompressedStream):
        stream = stream.inner
    if isinstance(stream, NonblockingStream):
        return stream.socket is not stream.plain_socket or isinstance(stream.socket, ssl.SSLSocket)
    return isinstance(stream, trio.SSLStream)
