"""Certificates that prove the cluster secret: TLS 1.3 only, both ends.

The secret determines a certificate authority's Ed25519 key, the same on every node. Each process issues
itself a certificate under it at start; whoever can show one knows the secret. Nothing expires (a wrong
clock must not split a cluster), nothing is written to a disk. Certificates of one's own can be given
instead.

The key is stretched with scrypt (RFC 7914): a server shows its certificate to whoever connects, so a
weak secret could otherwise be guessed from it at leisure.
"""

import datetime
import functools
import hashlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wolfscale.node.errors import NodeError

HOSTNAME = "node.wolfscale.internal"
"""Every node's certificate carries this name: it proves membership of the cluster, not an address."""

_NOT_BEFORE = datetime.datetime(2000, 1, 1)
_NOT_AFTER = datetime.datetime(9999, 12, 31)
_SALT = b"wolfscale peer authority 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Certificates that the operator provides instead of the ones the cluster makes itself (PEM)."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a process needs to prove itself and to demand proof: TLS contexts for both directions."""

    client: ssl.SSLContext
    server: ssl.SSLContext

    @classmethod
    def from_secret(cls, secret: bytes, name: str) -> "Credentials":
        """Issue a certificate for this process under the authority that the secret determines.

        Takes some 50 ms of computing for the first use of a secret in a process.

        Args:
            secret: the cluster's secret.
            name: shows up in the certificate, for whoever looks at the traffic.
        """
        authority_key = _authority_key(secret)
        authority = _authority_certificate(authority_key)
        key = Ed25519PrivateKey.generate()
        certificate = _node_certificate(key, authority_key, authority, name)
        chain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + certificate.public_bytes(serialization.Encoding.PEM)
        trusted = authority.public_bytes(serialization.Encoding.PEM).decode()
        # ssl loads a key from a file name only; this file is memory and never has a name on a disk.
        descriptor = os.memfd_create("wolfscale-node-key")
        try:
            os.write(descriptor, chain)
            file = f"/proc/self/fd/{descriptor}"
            return cls(_client_context(file, None, trusted), _server_context(file, None, trusted))
        finally:
            os.close(descriptor)

    @classmethod
    def from_files(cls, files: CertificateFiles) -> "Credentials":
        """Use given certificates; any certificate under the given authority is a node of the cluster.

        Raises:
            NodeError: a file cannot be read or does not fit the others.
        """
        try:
            trusted = files.authority.read_text()
            chain, key = str(files.certificate), str(files.key)
            return cls(_client_context(chain, key, trusted), _server_context(chain, key, trusted))
        except (OSError, ValueError, ssl.SSLError) as error:
            raise NodeError(
                f"the peer certificates cannot be used ({error}): check {files.certificate}, {files.key} "
                f"and {files.authority}"
            ) from error


@functools.lru_cache(maxsize=4)
def _authority_key(secret: bytes) -> Ed25519PrivateKey:
    stretched = hashlib.scrypt(secret, salt=_SALT, n=2**14, r=8, p=1, dklen=32)
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=_SALT, info=b"ed25519").derive(stretched)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _authority_certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    # Every field is fixed and Ed25519 signs deterministically (RFC 8032): all nodes make the same bytes.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WolfScale cluster")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )


def _node_certificate(
    key: Ed25519PrivateKey, authority_key: Ed25519PrivateKey, authority: x509.Certificate, name: str
) -> x509.Certificate:
    issuer = authority_key.public_key()
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOSTNAME)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(authority_key, None)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _client_context(chain: str, key: str | None, trusted: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _restricted(context, chain, key, trusted)


def _server_context(chain: str, key: str | None, trusted: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # sessions are never resumed, and a ticket would be unread data at close
    return _restricted(context, chain, key, trusted)


def _restricted(context: ssl.SSLContext, chain: str, key: str | None, trusted: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Python before 3.11.4 would take a connection that is torn for one that was ended.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trusted)
    context.load_cert_chain(chain, key)
    return context
