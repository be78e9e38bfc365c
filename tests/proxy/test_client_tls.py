"""TLS between clients and the proxy: offered, required, and never with anything slipped in before it."""

import contextlib
import ssl
import struct
import subprocess
from pathlib import Path

import pymysql
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT
from test_hostile_clients import examples

from wolfscale.certificates import ServerCertificate
from wolfscale.mysql.constants import Capability
from wolfscale.mysql.framing import packet
from wolfscale.mysql.handshake import build_tls_request, is_tls_request
from wolfscale.mysql.results import parse_error
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.proxy.stream_status import asked_stream_status

servers = shared_servers

CERTIFICATE = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("127.0.0.1", "localhost"))


def offered(*, required: bool = False) -> ClientTls:
    return ClientTls(context=CERTIFICATE.context(), required=required)


@pytest.fixture
def authority(tmp_path: Path) -> str:
    return str(CERTIFICATE.write_authority(tmp_path))


@pytest.mark.mariadb
@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_verifying_client_reads_and_writes_under_tls(
    servers: Pair, leads: bool, authority: str
) -> None:
    async with cluster(servers, leads=leads, tls=offered()) as proxy:

        def client() -> None:
            with proxy.connect(
                ssl_ca=authority, ssl_verify_cert=True, ssl_verify_identity=True
            ) as connection:
                assert connection._sock.version() == "TLSv1.3"
                for _ in range(3):
                    assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]
                with connection.cursor() as cursor:
                    cursor.execute("CREATE OR REPLACE TABLE tls_t (v LONGTEXT)")
                    cursor.execute("INSERT INTO tls_t VALUES (%s)", ("x" * 3_000_000,))
                assert rows(connection, "SELECT LENGTH(v) FROM tls_t") == [(3_000_000,)]
                assert len(rows(connection, "SELECT v FROM tls_t")[0][0]) == 3_000_000
                rows(connection, "DROP TABLE tls_t")

        await proxy.run(client)
        assert proxy.listener.statistics.relayed_statements > 0


@pytest.mark.mariadb
async def test_client_is_told_its_own_tls_and_not_the_proxys(servers: Pair) -> None:
    async with cluster(servers, tls=offered()) as proxy:

        def client() -> None:
            with proxy.connect(ssl={"check_hostname": False}) as connection:
                cipher = connection._sock.cipher()[0]
                assert rows(connection, "SHOW STATUS LIKE 'Ssl_cipher'") == [("Ssl_cipher", cipher)]
                assert rows(connection, "show session status like 'ssl_version%';") == [
                    ("Ssl_version", "TLSv1.3")
                ]
                assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]
            with proxy.connect(ssl_disabled=True) as connection:
                assert rows(connection, "SHOW STATUS LIKE 'Ssl_cipher'") == [("Ssl_cipher", "")]

        await proxy.run(client)


@pytest.mark.parametrize(
    ("sql", "variable"),
    [
        (b"SHOW STATUS LIKE 'Ssl_cipher'", "Ssl_cipher"),
        (b" show local status like 'SSL_VERSION' ; ", "Ssl_version"),
        (b"SHOW STATUS LIKE 'Ssl_version%'", "Ssl_version"),
        (b"show status like 'compression'", "Compression"),
        (b'SHOW STATUS LIKE "Ssl_cipher"', "Ssl_cipher"),
        (b"SHOW STATUS LIKE \"Ssl_cipher'", None),
        (b"SHOW STATUS LIKE 'Ssl_cipher%'", None),
        (b"SHOW GLOBAL STATUS LIKE 'Ssl_version'", None),
        (b"SHOW STATUS LIKE 'Ssl_version'; DROP TABLE t", None),
        (b"SHOW STATUS", None),
    ],
)
def test_question_about_the_stream_is_told_from_others(sql: bytes, variable: str | None) -> None:
    assert asked_stream_status(sql) == variable


@pytest.mark.mariadb
async def test_change_of_user_works_under_tls(servers: Pair) -> None:
    async with cluster(servers, tls=offered()) as proxy:

        def client() -> bytes:
            command = [
                "mariadb",
                "--ssl",
                "-h127.0.0.1",
                f"-P{proxy.address[1]}",
                "-uapp",
                f"-p{PASSWORD}",
                "-N",
            ]
            script = b"connect demo\nSELECT v FROM t WHERE id = 2; \\s"
            done = subprocess.run(command, input=script, capture_output=True, check=True, timeout=60)
            return done.stdout

        answer = await proxy.run(client)
    assert b"two" in answer
    assert b"Cipher in use is" in answer


@pytest.mark.mariadb
async def test_client_without_tls_is_refused_where_it_is_required(servers: Pair) -> None:
    async with cluster(servers, tls=offered(required=True)) as proxy:

        def client() -> None:
            with pytest.raises(pymysql.err.OperationalError) as caught:
                proxy.connect(ssl_disabled=True)
            assert caught.value.args[0] == 3159
            assert "insecure transport are prohibited" in caught.value.args[1]
            with proxy.connect() as connection:
                assert rows(connection, "SELECT 1") == [(1,)]

        await proxy.run(client)


@pytest.mark.mariadb
async def test_wrong_password_under_tls_is_mariadbs_own_error(servers: Pair) -> None:
    async with cluster(servers, tls=offered()) as proxy:

        def client() -> None:
            with pytest.raises(pymysql.err.OperationalError) as caught:
                proxy.connect(password="wrong")
            assert caught.value.args[0] == 1045

        await proxy.run(client)


async def _greeted(proxy: Cluster) -> tuple[trio.SocketStream, int]:
    stream = await trio.open_tcp_stream(*proxy.address)
    greeting = await stream.receive_some()
    version_end = greeting.index(b"\0", 5)
    low, _collation, _status, high = struct.unpack_from("<HBHH", greeting, version_end + 14)
    return stream, low | high << 16


async def _rest(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            answer += data
    return answer


async def _failed_log_ins(proxy: Cluster, count: int) -> None:
    """Wait for the proxy to be done with clients that are gone."""
    with trio.fail_after(60):
        while proxy.listener.statistics.sessions:
            await trio.sleep(0.005)
    assert proxy.listener.statistics.log_ins_failed == count


@pytest.mark.mariadb
async def test_greeting_offers_tls_only_where_there_is_some(servers: Pair) -> None:
    for tls in (None, offered()):
        async with cluster(servers, tls=tls) as proxy:
            stream, capabilities = await _greeted(proxy)
            async with stream:
                assert bool(capabilities & Capability.SSL) is (tls is not None)


@pytest.mark.mariadb
async def test_packet_slipped_in_before_the_handshake_breaks_it(servers: Pair) -> None:
    """What somebody on the way puts behind the request for TLS must not be read as the client's log-in."""
    async with cluster(servers, tls=offered()) as proxy:
        stream, _ = await _greeted(proxy)
        async with stream:
            head = struct.pack("<IIB23x", MODERN_CLIENT & 0xFFFFFFFF & ~Capability.SSL, 1 << 24, 45)
            injected = packet(head + b"nopassword\0\0", 2)
            await stream.send_all(packet(build_tls_request(MODERN_CLIENT), 1) + injected)
            answer = await _rest(stream)
        # At most a TLS alert: no packet of ours, no session.
        assert answer == b"" or answer[0] == 0x15
        await _failed_log_ins(proxy, 1)


@pytest.mark.mariadb
async def test_second_request_for_tls_is_a_bad_handshake(servers: Pair) -> None:
    async with cluster(servers, tls=offered()) as proxy:
        stream, _ = await _greeted(proxy)
        await stream.send_all(packet(build_tls_request(MODERN_CLIENT), 1))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secured = trio.SSLStream(stream, context, https_compatible=True)
        async with secured:
            await secured.send_all(packet(build_tls_request(MODERN_CLIENT), 2))
            with trio.fail_after(60):
                answer = await secured.receive_some()
        assert parse_error(bytes(answer[4:])).errno == 1043


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", bytes(300), b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_garbage_instead_of_the_handshake_ends_this_client_only(servers: Pair, data: bytes) -> None:
    async with cluster(servers, tls=offered()) as proxy:
        stream, _ = await _greeted(proxy)
        async with stream:
            await stream.send_all(packet(build_tls_request(MODERN_CLIENT), 1) + data)
            await stream.send_eof()
            await _rest(stream)

        def client() -> None:
            with proxy.connect() as connection:
                assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

        await proxy.run(client)
        assert proxy.listener.statistics.sessions_failed == 0


@pytest.mark.mariadb
async def test_handshake_that_never_ends_is_bounded_in_time(servers: Pair) -> None:
    async with cluster(servers, tls=offered()) as proxy:
        proxy.listener._bounds = type(proxy.listener._bounds)(log_in_seconds=0.1)
        stream, _ = await _greeted(proxy)
        async with stream:
            await stream.send_all(packet(build_tls_request(MODERN_CLIENT), 1) + b"\x16\x03\x01")
            await _rest(stream)
        await _failed_log_ins(proxy, 1)


@pytest.mark.mariadb
async def test_garbage_within_tls_is_survived(servers: Pair) -> None:
    framed = st.builds(packet, st.binary(max_size=200), st.integers(0, 255))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with cluster(servers, tls=offered()) as proxy:
        for data in examples(st.one_of(st.binary(max_size=200), framed)):
            stream, _ = await _greeted(proxy)
            await stream.send_all(packet(build_tls_request(MODERN_CLIENT), 1))
            secured = trio.SSLStream(stream, context, https_compatible=True)
            with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
                async with secured:
                    await secured.send_all(data)
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass

        def client() -> None:
            with proxy.connect() as connection:
                assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

        await proxy.run(client)
        assert proxy.listener.statistics.sessions_failed == 0
        assert proxy.listener.statistics.log_ins_failed > 0


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 255))
@settings(max_examples=200)
def test_request_for_tls_is_told_from_a_log_in(capabilities: int, longest: int, collation: int) -> None:
    request = build_tls_request(capabilities, longest, collation)
    assert is_tls_request(request)
    assert not is_tls_request(request + b"user\0\0")
    assert not is_tls_request(struct.pack("<I", capabilities & ~Capability.SSL) + request[4:])
