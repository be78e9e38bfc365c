"""Streams whose sockets others may use as well."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from wolfscale.node import Credentials
from wolfscale.node.tls import HOSTNAME
from wolfscale.sockets import (
    NonblockingListener,
    NonblockingStream,
    TlsSocket,
    open_unix_stream,
    start_tls,
)


def pair() -> tuple[NonblockingStream, NonblockingStream]:
    near, far = socket.socketpair()
    return NonblockingStream(near), NonblockingStream(far)


EACH_TLS = pytest.mark.parametrize("kind", ["SSLSocket", "TlsSocket"])


@asynccontextmanager
async def tls_pair(kind: str) -> AsyncIterator[tuple[NonblockingStream, trio.SSLStream[trio.SocketStream]]]:
    """Ours, and trio's at the other end."""
    credentials = Credentials.from_secret(b"a secret for two", "test")
    near, far = socket.socketpair()
    wrapped: ssl.SSLSocket | TlsSocket
    if kind == "SSLSocket":
        wrapped = credentials.client.wrap_socket(
            near, server_hostname=HOSTNAME, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    else:
        wrapped = TlsSocket(near, credentials.client, server_side=False, server_hostname=HOSTNAME)
    ours = NonblockingStream(wrapped)
    theirs = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(far)), credentials.server, server_side=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.do_handshake)
        await ours.do_handshake()
    try:
        yield ours, theirs
    finally:
        await trio.aclose_forcefully(ours)
        await trio.aclose_forcefully(theirs)


async def received(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await stream.receive_some()
    return bytes(data)


async def test_megabytes_go_both_ways_at_once() -> None:
    near, far = pair()
    data = bytes(range(256)) * 20_000
    async with near, far, trio.open_nursery() as nursery:
        for one, other in ((near, far), (far, near)):
            nursery.start_soon(one.send_all, data)

            async def check(stream: NonblockingStream = other) -> None:
                assert await received(stream, len(data)) == data

            nursery.start_soon(check)


@EACH_TLS
async def test_megabytes_go_both_ways_at_once_under_tls(kind: str) -> None:
    data = bytes(range(256)) * 20_000
    async with tls_pair(kind) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, data)
        nursery.start_soon(far.send_all, data)
        assert await received(near, len(data)) == data
        assert await received(far, len(data)) == data


@EACH_TLS
async def test_tls_stream_that_is_closed_says_good_bye(kind: str) -> None:
    async with tls_pair(kind) as (near, far):
        await near.send_all(b"last")
        await near.aclose()
        assert await received(far, 4) == b"last"
        assert await far.receive_some() == b""


@EACH_TLS
async def test_tls_stream_that_is_torn_is_broken(kind: str) -> None:
    async with tls_pair(kind) as (near, far):
        await far.transport_stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()


async def test_tls_begins_behind_bytes_that_were_read_already() -> None:
    """As a MySQL client does it: the request for TLS, and its first record, in one piece."""
    credentials = Credentials.from_secret(b"a secret for two", "test")
    near, far = pair()
    buffered = b""

    async def client() -> None:
        secured = await start_tls(near, credentials.client, server_side=False, server_hostname=HOSTNAME)
        await secured.send_all(b"hello")
        assert await received(secured, 2) == b"hi"
        await secured.aclose()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            buffered = await far.receive_some(100)
            secured = await start_tls(far, credentials.server, server_side=True, first=buffered)
            assert await received(secured, 5) == b"hello"
            await secured.send_all(b"hi")
            assert await secured.receive_some() == b""
            assert isinstance(secured.socket, TlsSocket)
            assert secured.socket.version() == "TLSv1.3"
            await secured.aclose()
    assert len(buffered) == 100


async def test_tls_with_a_stranger_fails_and_closes() -> None:
    ours, theirs = (Credentials.from_secret(secret, "test") for secret in (b"one secret", b"another"))
    near, far = pair()
    failures: list[str] = []

    async def shake(stream: NonblockingStream, context: ssl.SSLContext, *, server_side: bool) -> None:
        try:
            secured = await start_tls(
                stream, context, server_side=server_side, server_hostname=None if server_side else HOSTNAME
            )
            await secured.receive_some()
        except trio.BrokenResourceError as error:
            failures.append(str(error))
        finally:
            stream.close()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: shake(near, ours.client, server_side=False))
            nursery.start_soon(lambda: shake(far, theirs.server, server_side=True))
    assert len(failures) == 2
    assert near.socket.fileno() == far.socket.fileno() == -1


def test_tls_socket_without_room_wants_the_same_bytes_again() -> None:
    credentials = Credentials.from_secret(b"a secret for two", "test")
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    near = TlsSocket(ends[0], credentials.client, server_side=False, server_hostname=HOSTNAME)
    far = TlsSocket(ends[1], credentials.server, server_side=True)
    waiting = [near, far]
    while waiting:
        for secured in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                secured.do_handshake()
                waiting.remove(secured)
    data = bytes(range(256)) * 10_000
    sent, got = 0, bytearray()
    refused = 0
    while len(got) < len(data):
        try:
            while sent < len(data):
                sent += near.send(data[sent:])
        except ssl.SSLWantWriteError:
            refused += 1
        with contextlib.suppress(ssl.SSLWantReadError):
            got += far.recv(1 << 15)
    assert bytes(got) == data
    assert refused
    near.unwrap()
    assert far.recv(100) == b""
    near.close()
    far.close()


async def test_end_of_the_other_side_is_seen() -> None:
    near, far = pair()
    async with near, far:
        await far.send_eof()
        assert await near.receive_some() == b""
        await near.send_all(b"still")
        assert await far.receive_some() == b"still"


async def test_closing_wakes_whoever_waits() -> None:
    near, far = pair()
    told: list[str] = []
    near.on_closing = lambda: told.append("closing")
    async with far, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()
            told.append("woken")

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()
    assert told == ["closing", "woken"]
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    await near.aclose()
    assert told == ["closing", "woken"]


async def test_peer_that_is_always_ready_leaves_turns_to_others() -> None:
    near, far = pair()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(100):
            await near.send_all(b"x")
            await far.receive_some()
        nursery.cancel_scope.cancel()
    assert turns > 5


async def test_cancelled_operation_ends_at_once() -> None:
    near, far = pair()
    async with near, far:
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send_all(b"x")
        assert scope.cancelled_caught
        with trio.move_on_after(0.01) as scope:
            await far.receive_some()
        assert scope.cancelled_caught


async def test_listener_gives_streams(tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    async with NonblockingListener(listening) as listener:
        client = await trio.open_tcp_stream(*address)
        stream = await listener.accept()
        async with client, stream:
            await client.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_full_queue_of_a_unix_socket_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(path)
        listening.listen(1)
        opened: list[NonblockingStream] = []

        async def open_one() -> None:
            stream = await open_unix_stream(path)
            await stream.send_all(b"x")
            opened.append(stream)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(open_one)
                await trio.testing.wait_all_tasks_blocked()
                assert len(opened) < 20, "the queue is not as short as it was to be"
                accepted = [await trio.to_thread.run_sync(listening.accept) for _ in range(20)]
    for connection, _ in accepted:
        connection.close()
    for stream in opened:
        await stream.aclose()


async def test_unix_socket_of_nobody_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await open_unix_stream(str(tmp_path / "nobody"))
