"""Certificates: made from the secret, or given."""

import contextlib
import datetime
import ssl
from pathlib import Path

import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wolfscale.node import CertificateFiles, Credentials
from wolfscale.node.tls import HOSTNAME


async def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """The TLS version in which the server let the client in; None when either refused."""
    ours, theirs = trio.testing.memory_stream_pair()
    near = trio.SSLStream(ours, client, server_hostname=HOSTNAME)
    far = trio.SSLStream(theirs, server, server_side=True)

    async def serve() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await far.do_handshake()
            await far.send_all(b"in")
        await trio.aclose_forcefully(theirs)

    version = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with contextlib.suppress(trio.BrokenResourceError):
            await near.do_handshake()
            if await near.receive_some(2) == b"in":
                version = near.version()
        await trio.aclose_forcefully(ours)
    return version


async def test_two_processes_with_one_secret_trust_each_other_over_tls_1_3() -> None:
    near, far = (Credentials.from_secret(b"one secret for both", name) for name in ("node-1", "node-2"))
    assert await shake_hands(near.client, far.server) == "TLSv1.3"


async def test_other_secrets_are_refused_by_both_sides() -> None:
    near = Credentials.from_secret(b"one secret", "node-1")
    far = Credentials.from_secret(b"another secret", "node-2")
    assert await shake_hands(near.client, far.server) is None
    careless = Credentials.from_secret(b"another secret", "stranger").client
    careless.verify_mode = ssl.CERT_NONE
    assert await shake_hands(careless, near.server) is None


async def test_client_without_a_certificate_is_refused() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    assert await shake_hands(bare, Credentials.from_secret(b"one secret", "node-1").server) is None


async def test_tls_1_2_is_refused() -> None:
    credentials = Credentials.from_secret(b"one secret", "node-1")
    old = Credentials.from_secret(b"one secret", "node-2").client
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await shake_hands(old, credentials.server) is None


def write_certificates(directory: Path) -> CertificateFiles:
    """An operator's own authority and one certificate under it."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our own authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(2000, 1, 1))
            .not_valid_after(datetime.datetime(2100, 1, 1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    files = CertificateFiles(
        certificate=directory / "node.pem", key=directory / "node.key", authority=directory / "ca.pem"
    )
    files.authority.write_bytes(build(issuer, authority_key.public_key(), ca=True))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db1.example.org")])
    files.certificate.write_bytes(build(subject, key.public_key(), ca=False))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


async def test_given_certificates_are_used_and_only_they_are_trusted(tmp_path: Path) -> None:
    given = Credentials.from_files(write_certificates(tmp_path))
    assert await shake_hands(given.client, given.server) == "TLSv1.3"
    assert await shake_hands(Credentials.from_secret(b"one secret", "node-1").client, given.server) is None
