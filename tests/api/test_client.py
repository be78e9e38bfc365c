"""The client on what a node, or something else, may answer: tokens, certificates, the wrong protocol."""

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wolfscale.api.client import Access, ask, fetch_status
from wolfscale.api.errors import NodeAnswerError, NodeUnreachableError, TokenRefusedError

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"up":true}'


def refusal(status: int) -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\n{}" % status


@asynccontextmanager
async def answering(
    answer: bytes, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """A port that reads one request a connection, keeps it, and sends these bytes."""
    requests: list[str] = []

    async def handle(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                requests.append(bytes(await stream.receive_some(65536)).decode(errors="replace"))
                await stream.send_all(answer)
            except trio.BrokenResourceError:
                return

    listeners: list[Any] = [*await trio.open_tcp_listeners(0, host=host)]
    port = int(listeners[0].socket.getsockname()[1])
    if context is not None:
        listeners = [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, handle, listeners))
        yield port, requests
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a node")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "node.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_token_is_sent_as_bearer_and_not_shown() -> None:
    access = Access(token="a-reading-token")
    assert "a-reading-token" not in repr(access)
    async with answering(OK) as (port, requests):
        assert (await ask(f"http://127.0.0.1:{port}", "/status", access=access)).body == {"up": True}
        await ask(f"http://127.0.0.1:{port}", "/status")
    assert "authorization: bearer a-reading-token" in requests[0].lower()
    assert "authorization" not in requests[1].lower()


@pytest.mark.parametrize(
    ("status", "token", "words"),
    [(401, None, "wants a token"), (401, "x", "does not know this token"), (403, "x", "does not allow")],
)
async def test_refusal_says_what_is_wrong_with_the_token(status: int, token: str | None, words: str) -> None:
    async with answering(refusal(status)) as (port, _):
        with pytest.raises(TokenRefusedError, match=words):
            await fetch_status(f"http://127.0.0.1:{port}", access=Access(token=token))


async def test_host_header_of_an_ipv6_endpoint_has_brackets() -> None:
    async with answering(OK, host="::1") as (port, requests):
        await ask(f"http://[::1]:{port}", "/status")
    assert f"host: [::1]:{port}" in requests[0].lower()


async def test_https_with_the_nodes_authority_is_trusted(certificate: Path) -> None:
    async with answering(OK, context=server_context(certificate)) as (port, _):
        answer = await ask(f"https://127.0.0.1:{port}", "/status", access=Access(ca_file=certificate))
    assert answer.body == {"up": True}


async def test_https_with_another_authority_is_refused(certificate: Path) -> None:
    async with answering(OK, context=server_context(certificate)) as (port, requests):
        with pytest.raises(NodeUnreachableError, match="its certificate is not trusted"):
            await ask(f"https://127.0.0.1:{port}", "/status", access=Access(token="secret-token"))
    assert requests == []


async def test_https_to_a_plain_port_says_so() -> None:
    async with answering(OK) as (port, _):
        with pytest.raises(NodeUnreachableError, match="it does not speak TLS: write http://"):
            await ask(f"https://127.0.0.1:{port}", "/status")


async def test_http_to_a_port_of_another_protocol_says_so() -> None:
    async with answering(b"\x15\x03\x03\x00\x02\x02\x46") as (port, _):
        with pytest.raises(NodeAnswerError, match=f"not HTTP .*https://127.0.0.1:{port}"):
            await ask(f"http://127.0.0.1:{port}", "/status")
