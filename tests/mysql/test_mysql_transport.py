import datetime
import ssl
from collections import deque
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.transport import PacketStream


class ScriptedStream(trio.abc.Stream):
    """Gives these chunks, one a call, and keeps what it is sent."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = deque(chunks)
        self.sent: list[bytes] = []
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.chunks.popleft() if self.chunks else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_many_packets_in_one_chunk_are_read_without_waiting() -> None:
    stream = PacketStream(ScriptedStream(packet(b"a", 0) + packet(b"b", 1) + b"\1\0", b"\0\2c"))
    assert await stream.read_batch() == [b"a", b"b"]
    assert stream.next_sequence == 2
    assert stream.read_nowait() is None
    assert await stream.read() == b"c"
    assert stream.next_sequence == 3
    with pytest.raises(ConnectionLost):
        await stream.read()


async def test_answers_are_sent_in_one_call_and_numbered_on() -> None:
    inner = ScriptedStream(packet(b"\3SELECT", 0))
    stream = PacketStream(inner)
    await stream.read()
    for payload in (b"one", b"two", b"three"):
        stream.queue(payload)
    await stream.flush()
    assert inner.sent == [packet(b"one", 1) + packet(b"two", 2) + packet(b"three", 3)]
    await stream.flush()
    assert len(inner.sent) == 1


async def test_command_starts_the_numbers_anew() -> None:
    inner = ScriptedStream()
    stream = PacketStream(inner)
    stream.next_sequence = 200
    await stream.command(b"\x0e")
    assert inner.sent == [packet(b"\x0e", 0)]
    assert stream.next_sequence == 1


async def test_sequence_numbers_wrap_at_255() -> None:
    inner = ScriptedStream()
    stream = PacketStream(inner)
    for _ in range(258):
        stream.queue(b"")
    await stream.flush()
    assert inner.sent[0][3::4] == bytes(n & 0xFF for n in range(258))


async def test_long_payload_is_split_and_not_joined_with_small_ones() -> None:
    inner = ScriptedStream()
    stream = PacketStream(inner)
    payload = bytes(MAX_PACKET_PAYLOAD + 10)
    stream.queue(b"small")
    stream.queue(payload)
    stream.queue(b"tail")
    await stream.flush()
    assert b"".join(inner.sent) == packet(b"small", 0) + packet(payload, 1) + packet(b"tail", 3)
    assert [len(sent) for sent in inner.sent] == [13, MAX_PACKET_PAYLOAD, 22]


@pytest.mark.parametrize("step", [1_000_003, 1 << 22, MAX_PACKET_PAYLOAD + 4, 1 << 25])
async def test_long_payload_is_joined_whatever_the_chunks(step: int) -> None:
    wire = packet(b"x" * MAX_PACKET_PAYLOAD, 0) + packet(b"y", 2)
    stream = PacketStream(ScriptedStream(*(wire[at : at + step] for at in range(0, len(wire), step))))
    assert len(await stream.read()) == MAX_PACKET_PAYLOAD
    assert stream.next_sequence == 2
    assert await stream.read() == b"y"


async def test_raw_bytes_pass_unparsed_and_can_be_put_back() -> None:
    chunks = (packet(b"a", 0) + packet(b"b", 1), packet(b"c", 2))
    inner = ScriptedStream(*chunks)
    stream = PacketStream(inner)
    assert await stream.receive_raw() is chunks[0]
    stream.unread(chunks[0][5:])
    assert stream.buffered_bytes == 5
    assert await stream.read() == b"b"
    assert await stream.receive_raw() is chunks[1]
    await stream.send_raw(chunks[1])
    stream.queue_raw(chunks[0])
    await stream.flush()
    assert inner.sent == [chunks[1], chunks[0]]


async def test_payload_longer_than_allowed_is_refused_until_allowed() -> None:
    stream = PacketStream(ScriptedStream(packet(bytes(50), 0)), max_payload_bytes=49)
    with pytest.raises(RemoteProtocolError):
        await stream.read()
    stream.max_payload_bytes = 50
    assert stream.max_payload_bytes == 50
    assert await stream.read() == bytes(50)


async def test_cancelled_read_loses_nothing() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = PacketStream(near)
    wire = packet(b"hello", 0)
    async with trio.open_nursery() as nursery:

        async def read_cancelled() -> None:
            await stream.read()

        nursery.start_soon(read_cancelled)
        await far.send_all(wire[:6])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await far.send_all(wire[6:])
    assert await stream.read() == b"hello"


async def test_broken_and_closed_streams_are_lost_connections() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = PacketStream(near)
    await far.aclose()
    with pytest.raises(ConnectionLost):
        await stream.write(b"x")
    await stream.aclose()
    with pytest.raises(ConnectionLost):
        await stream.read()
    with pytest.raises(ConnectionLost):
        await stream.write(b"x")


async def test_clear_text_behind_a_request_for_tls_is_never_read_as_a_packet() -> None:
    stream = PacketStream(ScriptedStream(packet(b"request", 1) + packet(b"injected", 2)))
    await stream.read()
    with pytest.raises(ConnectionLost, match="TLS"):
        await stream.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)
    assert stream.buffered_bytes == 0


async def test_first_tls_record_may_come_together_with_the_request(tmp_path: Path) -> None:
    server_context, client_context = make_contexts(tmp_path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    near, far = trio.testing.memory_stream_pair()
    server = PacketStream(near)
    async with trio.open_nursery() as nursery:

        async def speak() -> None:
            await far.send_all(packet(b"request", 1) + outgoing.read())
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(await far.receive_some())
            client.write(packet(b"log in", 2))
            await far.send_all(outgoing.read())

        nursery.start_soon(speak)
        assert await server.read() == b"request"
        await server.start_tls(server_context, server_side=True)
        assert await server.read() == b"log in"


async def test_tls_that_the_peer_does_not_speak_is_a_lost_connection() -> None:
    stream = PacketStream(ScriptedStream(b"GET / HTTP/1.0\r\n\r\n"))
    with pytest.raises(ConnectionLost, match="TLS"):
        await stream.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)


async def test_packets_pass_under_tls(tmp_path: Path) -> None:
    server_context, client_context = make_contexts(tmp_path)
    near, far = trio.testing.memory_stream_pair()
    server, client = PacketStream(near), PacketStream(far)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await server.start_tls(server_context, server_side=True)
            await server.write(await server.read() + b"!")

        nursery.start_soon(serve)
        await client.start_tls(client_context, server_side=False, server_hostname="localhost")
        await client.write(b"hello", sequence=2)
        assert await client.read() == b"hello!"
        assert client.next_sequence == 4


def make_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, None)
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    both = pem + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "both.pem").write_bytes(both)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "both.pem")
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client
