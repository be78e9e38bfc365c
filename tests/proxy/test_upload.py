"""Long commands on their way through: packets of any lengths in, the same command out, or none of it."""

import contextlib
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wolfscale.mysql import framing
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import PacketReader, pieces
from wolfscale.mysql.transport import PacketStream
from wolfscale.proxy import upload as module
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.relay import ClientGone
from wolfscale.proxy.statement_scan import StatementScan
from wolfscale.proxy.upload import CommandTooLong, SeveralStatements, Upload

FULL = 100
HEAD = 10


@pytest.fixture(autouse=True, scope="module")
def small_packets() -> Iterator[None]:
    """Everything at a small scale: it is the same arithmetic."""
    with pytest.MonkeyPatch.context() as patch:
        for changed in (framing, module):
            patch.setattr(changed, "MAX_PACKET_PAYLOAD", FULL)
        patch.setattr(module, "HEAD_BYTES", HEAD)
        patch.setattr(module, "CHUNK_BYTES", 7)
        patch.setattr(module, "MAX_COMMAND_BYTES", 5 * FULL)
        yield


async def begun(payload: bytes, *, behind: bytes = b"", cut: int = 0) -> tuple[Upload, PacketStream]:
    """An upload whose client has sent all of it, but for so many bytes, and what is behind it."""
    ours, theirs = trio.testing.memory_stream_pair()
    wire = b"".join(pieces(payload, 0)) + behind
    await theirs.send_all(wire[: len(wire) - cut])
    await theirs.send_eof()
    client = PacketStream(ours, receive_bytes=13)
    return await Upload.begin(client), client


async def rest(client: PacketStream) -> bytes:
    """What the client has sent behind the command."""
    data = b""
    with contextlib.suppress(ConnectionLost):
        while True:
            data += await client.receive_raw()
    return data


def server() -> tuple[BackendConnection, trio.testing.MemoryReceiveStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = BackendConnection(
        PacketStream(ours),
        capabilities=0,
        status=2,
        connection_id=1,
        term=1,
        leader=True,
        server_version="10.11",
    )
    return connection, theirs.receive_stream


async def received(stream: trio.testing.MemoryReceiveStream) -> bytes:
    return bytes(await stream.receive_some())


LENGTHS = st.one_of(st.integers(HEAD + 1, 5 * FULL), st.sampled_from([FULL, 2 * FULL, 3 * FULL, 4 * FULL]))


@given(LENGTHS, st.integers(0, 40))
@example(FULL, 0)
@example(FULL - 1, 1)
@example(2 * FULL - 3, 3)
@settings(deadline=None)
def test_command_arrives_with_another_beginning(length: int, longer: int) -> None:
    trio.run(_arrives, length, longer)


async def _arrives(length: int, longer: int) -> None:
    payload = bytes(number % 251 for number in range(length))
    if longer and length < FULL <= length + longer:
        longer = 0  # a beginning is only changed of what takes several packets
    upload, client = await begun(payload, behind=b"the next command")
    assert upload.head == payload[:HEAD]
    assert upload.continued is (length >= FULL)
    connection, stream = server()
    head = b"y" * longer + upload.head
    assert await upload.send(connection, head)
    wire = await received(stream)
    reader = PacketReader()
    reader.feed(wire)
    assert reader.next() == head + payload[HEAD:]
    assert reader.buffered_bytes == 0
    assert wire == b"".join(pieces(head + payload[HEAD:], 0))
    assert client.next_sequence == length // FULL + 1
    assert await rest(client) == b"the next command"


@pytest.mark.parametrize("length", [HEAD + 1, FULL - 1, FULL, 2 * FULL, 5 * FULL])
async def test_command_is_collected_or_read_for_nothing(length: int) -> None:
    payload = bytes(number % 251 for number in range(length))
    upload, client = await begun(payload, behind=b"next")
    assert await upload.collect() == payload
    assert await rest(client) == b"next"
    upload, client = await begun(payload, behind=b"next")
    await upload.drain()
    await upload.drain()
    assert await rest(client) == b"next"


async def test_too_long_command_is_not_collected() -> None:
    upload, client = await begun(bytes(7 * FULL), behind=b"next")
    with pytest.raises(CommandTooLong):
        await upload.collect()
    await upload.drain()
    assert await rest(client) == b"next"


@pytest.mark.parametrize("cut", [1, 60, 104, 180])
async def test_client_that_leaves_in_the_middle_closes_the_servers_connection(cut: int) -> None:
    upload, _ = await begun(bytes(2 * FULL + 50), cut=cut)
    connection, _ = server()
    with pytest.raises(ClientGone):
        await upload.send(connection, upload.head)
    assert connection.closed


async def test_second_statement_closes_the_servers_connection() -> None:
    upload, client = await begun(b"INSERT 'abc;" * 30 + b"'; x", behind=b"next")
    scan = StatementScan(LexerMode())
    scan.feed(upload.head)
    connection, _ = server()
    with pytest.raises(SeveralStatements):
        await upload.send(connection, upload.head, scan)
    assert connection.closed
    await upload.drain()
    assert await rest(client) == b"next"


async def test_servers_loss_is_told_when_the_client_has_sent_all() -> None:
    upload, client = await begun(bytes(3 * FULL), behind=b"next")
    connection, stream = server()
    stream.close()
    connection.packets.stream.send_stream.close()  # type: ignore[attr-defined]
    assert not await upload.send(connection, upload.head)
    assert await rest(client) == b"next"


async def test_cancelled_upload_closes_the_servers_connection() -> None:
    upload, _ = await begun(bytes(3 * FULL))
    connection, _ = server()
    with trio.CancelScope() as scope:
        scope.cancel()
        await upload.send(connection, upload.head)
    assert scope.cancelled_caught
    assert connection.closed
