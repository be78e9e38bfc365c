"""The leader's end of a follower's client session: bytes between a peer stream and MariaDB's socket.

A follower's proxy opens a stream of kind `session` whose header is the PROXY protocol header that
MariaDB shall read first. Nothing is parsed here; a session that ends on either side ends on both.
"""

import trio

from wolfscale.sockets import open_unix_stream

CHUNK_BYTES = 64 * 1024


async def relay_session(stream: trio.abc.Stream, socket_path: str, proxy_header: bytes) -> None:
    """Connect a peer's stream with MariaDB's unix socket until either side ends.

    Args:
        stream: the peer's end; closed on return.
        socket_path: MariaDB's unix socket.
        proxy_header: sent to MariaDB before anything else (PROXY protocol v1 or v2).

    Raises:
        OSError: MariaDB's socket cannot be reached. A checkpoint; cancelling closes both ends.
    """
    async with stream:
        database = await open_unix_stream(socket_path)
        async with database:
            await database.send_all(proxy_header)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, stream, database, nursery.cancel_scope)
                nursery.start_soon(_pump, database, stream, nursery.cancel_scope)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(CHUNK_BYTES):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
