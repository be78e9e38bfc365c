"""Certificates for clients: an authority that the cluster's secret determines, and one for each node.

An operator has certificates of the company's own, or none. For the latter, every node makes itself one under
an authority that all nodes have in common: a client that trusts it once (one file, copied once) knows each
node, by each of its names, a node that is added later too. Nothing expires, and as everything in them is
derived, a node has the very same certificate after a restart, a lost disk or a clone; no private key stands
on a disk. Clients are browsers, drivers and tools of any age, hence P-256, which all of them know.

The authority for the links between nodes (`wolfscale.node.tls`) is another one: a client that trusts this one
is no member of the cluster.
"""

import contextlib
import datetime
import hashlib
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wolfscale.errors import WolfScaleError
from wolfscale.keys import derived_key

AUTHORITY_FILE = "tls-authority.pem"
"""In a node's data directory: what a client must trust, the same on every node."""

# As in `wolfscale.node.tls`: a wrong clock must lock nobody out. Some systems refuse certificates that are
# valid for long only when they begin after 2019.
_NOT_BEFORE = datetime.datetime(2000, 1, 1)
_NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_DNS_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateUnusable(WolfScaleError):
    """A certificate that the operator gave cannot be used.

    Attributes:
        certificate: the certificate's file.
        key: the private key's file.
    """

    def __init__(self, certificate: Path, key: Path, why: str) -> None:
        self.certificate = certificate
        self.key = key
        super().__init__(
            f"the certificate {certificate} with the key {key} cannot be used: {why}. Give a PEM certificate "
            "and its unencrypted PEM key"
        )


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A node's certificate under the cluster's authority, and its key.

    Attributes:
        chain_pem: the certificate and its private key, to be kept in memory.
        authority_pem: what clients must trust.
        names: the names and addresses that it is for.
    """

    chain_pem: bytes
    authority_pem: bytes
    names: tuple[str, ...]

    @classmethod
    def from_secret(cls, secret: bytes, node: str, names: Iterable[str]) -> "ServerCertificate":
        """Make a node's certificate; the same arguments make the same one.

        Args:
            secret: the cluster's secret.
            node: the node's name.
            names: under which clients reach it: names and addresses. What can stand in no certificate is
                left out.
        """
        authority_key = _key(derived_key(secret, "wolfscale client authority"))
        authority = _authority(authority_key)
        wanted = tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))
        described = [(name, general) for name in wanted if (general := _general_name(name)) is not None]
        purpose = "\0".join(("wolfscale node certificate", node))
        key = _key(derived_key(secret, purpose))
        certificate = _leaf(key, authority_key, authority, node, [general for _, general in described])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(
            private + certificate.public_bytes(serialization.Encoding.PEM),
            authority.public_bytes(serialization.Encoding.PEM),
            tuple(name for name, _ in described),
        )

    def context(self) -> ssl.SSLContext:
        """A server's TLS context with this certificate."""
        # ssl loads a key from a file name only; this file is memory and never has a name on a disk.
        descriptor = os.memfd_create("wolfscale-client-key")
        try:
            os.write(descriptor, self.chain_pem)
            context = _server_context()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context

    def write_authority(self, data_dir: Path) -> Path:
        """Have the authority stand in the data directory for people to copy; returns the file.

        Raises:
            OSError: it cannot be written.
        """
        path = data_dir / AUTHORITY_FILE
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == self.authority_pem:
                return path
        draft = path.with_name(f".{path.name}.new")
        draft.write_bytes(self.authority_pem)
        draft.chmod(0o644)
        draft.rename(path)
        return path


class GivenCertificate:
    """A certificate of the operator's, served as the files have it: it is renewed without a restart.

    Attributes:
        context: a server's TLS context; always the same one, whose certificate changes.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            CertificateUnusable: they cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._seen = self._identity()
        self.context = context_from_files(certificate, key)

    def refresh(self) -> bool:
        """Read the files again if they have changed; returns whether they had.

        Raises:
            CertificateUnusable: they cannot be used; the one before stays in force.
        """
        identity = self._identity()
        if identity == self._seen:
            return False
        self._seen = identity
        # Tried apart first: a certificate with another one's key would leave the context with neither.
        context_from_files(self._certificate, self._key)
        self.context.load_cert_chain(self._certificate, self._key)
        return True

    def _identity(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes when a file is written or replaced."""
        return tuple(map(_file_identity, (self._certificate, self._key)))


def _file_identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def context_from_files(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS context with a certificate of the operator's.

    Raises:
        CertificateUnusable: a file cannot be read, or they do not belong together.
    """

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal.
        raise ValueError("the key is encrypted")

    context = _server_context()
    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, ssl.SSLError):
            why = error.reason or "they are no PEM files, or do not belong together"
        raise CertificateUnusable(certificate, key, why) from error
    return context


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _key(seed: bytes) -> ec.EllipticCurvePrivateKey:
    # 256 bits onto 1..order-1; what is skewed by it is smaller than 2**-32 and of no use to anybody.
    return ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _common_name("WolfScale cluster, for clients")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(_serial(key, b"authority"))
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    node: str,
    names: list[x509.GeneralName],
) -> x509.Certificate:
    issuer = authority_key.public_key()
    alternative = x509.SubjectAlternativeName(names)
    # Two certificates of one issuer never share a serial number, and these change with their names.
    serial = _serial(key, alternative.public_bytes())
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(node))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternative, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(authority_key, hashes.SHA256(), ecdsa_deterministic=True)
    )


def _serial(key: ec.EllipticCurvePrivateKey, content: bytes) -> int:
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # Positive and at most 20 octets (RFC 5280, 4.1.2.2).
    return int.from_bytes(hashlib.sha256(public + content).digest()[:16]) | 1


def _general_name(name: str) -> x509.GeneralName | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name) if len(name) <= 253 and _DNS_NAME.fullmatch(name) else None


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
