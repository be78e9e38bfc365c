"""Nodes whose links and whose clients are served with an operator's own certificate."""

import datetime
import shutil
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pymysql
import pytest
import trio
from cluster_under_test import ClusterUnderTest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wolfscale.demo.accounts import ACCOUNT, DATABASE, PASSWORD
from wolfscale.demo.plan import LOOPBACK, Settings

pytestmark = pytest.mark.cluster


def write_certificate(directory: Path) -> None:
    """`cert.pem` for this machine, `key.pem`, and the authority that has signed it, `ca.pem`."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of their own")])

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])
        certificate = (
            x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
            .not_valid_before(datetime.datetime(2000, 1, 1))
            .not_valid_after(datetime.datetime(2100, 1, 1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db")])
    (directory / "ca.pem").write_bytes(signed(issuer, authority_key.public_key(), ca=True))
    (directory / "cert.pem").write_bytes(signed(subject, key.public_key(), ca=False))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.fixture
def files() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="wolfscale-certificates-"))
    write_certificate(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def cluster(files: Path) -> Iterator[ClusterUnderTest]:
    given = {"tls_cert": str(files / "cert.pem"), "tls_key": str(files / "key.pem")}
    settings: Settings = {
        "cluster": {**given, "tls_ca": str(files / "ca.pem")},
        "proxy": {**given, "require_tls": True},
    }
    made = ClusterUnderTest(2, settings=settings)
    try:
        trio.run(made.start)
        yield made
    finally:
        trio.run(made.stop)
        made.remove_files()


def test_clients_of_a_follower_write_through_links_and_proxies_with_given_certificates(
    cluster: ClusterUnderTest, files: Path
) -> None:
    leader = trio.run(cluster.wait_writable)
    follower = next(number for number in cluster.numbers if number != leader)
    with (
        pymysql.connect(
            host=LOOPBACK,
            port=cluster.node(follower).mysql_port,
            user=ACCOUNT,
            password=PASSWORD,
            database=DATABASE,
            autocommit=True,
            ssl_ca=str(files / "ca.pem"),
            ssl_verify_cert=True,
            ssl_verify_identity=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE given (a INT PRIMARY KEY)")
        cursor.execute("INSERT INTO given VALUES (7)")
        cursor.execute("SELECT a FROM given")
        assert cursor.fetchall() == ((7,),)
