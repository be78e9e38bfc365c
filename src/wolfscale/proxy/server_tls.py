"""TLS towards a MariaDB server: for accounts that it lets in under TLS only."""

import ssl

import trio

from wolfscale.mysql.constants import Capability
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.handshake import Greeting, HandshakeResponse, build_tls_request
from wolfscale.mysql.transport import PacketStream
from wolfscale.sockets import NonblockingStream, start_tls


def _unverified() -> ssl.SSLContext:
    """Towards a server that is reached over its own unix socket, or over a link that has proved itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def begin_tls(packets: PacketStream, greeting: Greeting, response: HandshakeResponse) -> int:
    """Continue with a server under TLS, if it can: for accounts that MariaDB lets in so only.

    Returns:
        The capability that the response must carry then; 0 without TLS.

    Raises:
        ConnectionLost: the server is gone, or the handshake failed.
    """
    if not greeting.capabilities & Capability.SSL:
        return 0
    await packets.write(
        build_tls_request(response.capabilities, response.max_packet_bytes, response.collation)
    )
    stream = packets.stream
    if isinstance(stream, NonblockingStream) and stream.socket is stream.plain_socket:
        try:
            packets.stream = await start_tls(stream, _unverified(), server_side=False)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost(f"MariaDB's TLS handshake failed: {error}") from error
    else:
        # TLS within the link's: the relay engine does not carry that, the session's task does.
        await packets.start_tls(_unverified(), server_side=False)
    return int(Capability.SSL)
