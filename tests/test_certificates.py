"""Certificates that the cluster makes for its clients."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.certificates import (
    CertificateUnusable,
    GivenCertificate,
    ServerCertificate,
    context_from_files,
)
from wolfscale.keys import derived_key

SECRET = b"the secret of this cluster"
NAMES = ["LocalHost.", "db1.example.com", "127.0.0.1", "::1", "my_node"]


def made(secret: bytes = SECRET, node: str = "node-1", names: list[str] = NAMES) -> ServerCertificate:
    return ServerCertificate.from_secret(secret, node, names)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A handshake in memory; raises what the client objects to."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        waiting = []
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(end)
        if not waiting:
            return
        ends = waiting
    raise AssertionError("the handshake did not end")


def test_certificate_is_the_same_after_a_restart_and_another_for_another_node_or_cluster() -> None:
    assert made() == made()
    assert made(node="node-2").authority_pem == made().authority_pem
    assert made(node="node-2").chain_pem != made().chain_pem
    assert made(names=["localhost"]).chain_pem != made().chain_pem
    assert made(secret=b"another secret").authority_pem != made().authority_pem


@pytest.mark.parametrize("name", ["localhost", "db1.example.com", "127.0.0.1", "::1", "my_node"])
def test_client_that_trusts_the_authority_reaches_every_node_by_every_name(name: str) -> None:
    client = ssl.create_default_context(cadata=made().authority_pem.decode())
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    for node in ("node-1", "node-2"):
        shake_hands(made(node=node).context(), client, name)


@pytest.mark.parametrize(
    ("secret", "name", "complaint"),
    [
        (SECRET, "db2.example.com", "Hostname mismatch"),
        (SECRET, "127.0.0.2", "IP address mismatch"),
        (b"another secret", "localhost", "unable to get local issuer|self.signed|signature failure"),
    ],
)
def test_client_does_not_trust_another_name_or_cluster(secret: bytes, name: str, complaint: str) -> None:
    client = ssl.create_default_context(cadata=made(secret).authority_pem.decode())
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        shake_hands(made().context(), client, name)


def test_certificate_names_its_node_and_never_expires() -> None:
    [leaf] = x509.load_pem_x509_certificates(made().chain_pem)
    assert leaf.subject.rfc4514_string() == "CN=node-1"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "db1.example.com" in names.get_values_for_type(x509.DNSName)
    assert leaf.not_valid_after_utc.year == 9999


@given(st.lists(st.text(max_size=300), max_size=5))
@settings(max_examples=20, deadline=None)
def test_name_that_can_stand_in_no_certificate_is_left_out(names: list[str]) -> None:
    assert set(made(names=names).names) <= {name.lower().rstrip(".") for name in names}
    made(names=names).context()


def test_authority_is_written_for_people_to_copy(tmp_path: Path) -> None:
    path = made().write_authority(tmp_path)
    assert path.read_bytes() == made().authority_pem
    before = path.stat().st_ino
    assert made().write_authority(tmp_path).stat().st_ino == before
    assert b"PRIVATE" not in path.read_bytes()
    made(b"another secret").write_authority(tmp_path)
    assert path.read_bytes() != made().authority_pem


def test_certificate_of_the_operator_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    good, other, text = tmp_path / "good", tmp_path / "other", tmp_path / "text"
    good.write_bytes(made().chain_pem)
    other.write_bytes(made(node="node-2").chain_pem)
    text.write_text("hello")
    assert context_from_files(good, good)
    for certificate, key in ((good, other), (text, good), (good, text), (tmp_path / "none", good)):
        with pytest.raises(CertificateUnusable, match="cannot be used"):
            context_from_files(certificate, key)


def test_renewed_certificate_is_served_and_an_unusable_one_is_not(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain", tmp_path / "key"

    def put(certificate: ServerCertificate) -> None:
        chain.write_bytes(certificate.chain_pem)
        key.write_bytes(certificate.chain_pem)

    first, second = made(names=["first"]), made(names=["second"])
    client = ssl.create_default_context(cadata=first.authority_pem.decode())
    put(first)
    given = GivenCertificate(chain, key)
    shake_hands(given.context, client, "first")
    assert not given.refresh()
    put(second)
    assert given.refresh()
    shake_hands(given.context, client, "second")
    for harm in (
        lambda: key.write_text("nothing"),
        lambda: key.write_bytes(made(node="x").chain_pem),
        key.unlink,
    ):
        harm()
        with pytest.raises(CertificateUnusable):
            given.refresh()
        assert not given.refresh()
        shake_hands(given.context, client, "second")
    put(first)
    assert given.refresh()
    shake_hands(given.context, client, "first")


def test_encrypted_key_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    chain = tmp_path / "chain"
    chain.write_bytes(made().chain_pem)
    key = serialization.load_pem_private_key(made().chain_pem, None)
    locked = tmp_path / "locked"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    with pytest.raises(CertificateUnusable, match="encrypted"):
        context_from_files(chain, locked)


def test_old_versions_of_tls_are_not_spoken() -> None:
    assert made().context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_keys_of_different_purposes_have_nothing_in_common() -> None:
    assert derived_key(SECRET, "a") == derived_key(SECRET, "a")
    assert len({derived_key(SECRET, "a"), derived_key(SECRET, "b"), derived_key(b"other", "a")}) == 3
