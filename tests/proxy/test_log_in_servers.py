"""Log-ins at servers that are set up in another way: with TLS, with names of hosts, with limits."""

from collections.abc import Iterator

import pymysql
import pytest
import trio
from proxy_pair import PASSWORD, Pair, cluster, rows
from test_log_in_accounts import command_line, refusal

from wolfscale.certificates import ServerCertificate
from wolfscale.proxy.client_tls import ClientTls
from wolfscale.testing.mariadb import give_to_server_user, scratch_directory

pytestmark = pytest.mark.mariadb

_CERTIFICATE = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("127.0.0.1",))
_USERS = ("guarded", "signing", "shown")


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """A pair of its own, whose servers have certificates, look up hosts, and may limit connections."""
    directory = scratch_directory()
    pem = directory / "tls.pem"
    pem.write_bytes(_CERTIFICATE.chain_pem)
    pem.chmod(0o600)
    give_to_server_user(pem)
    pair = Pair()
    for server in (pair.primary, pair.replica):
        server.arguments += [f"--ssl-cert={pem}", f"--ssl-key={pem}"]
        # Later options win. A limit can be changed only where there is one.
        server.arguments += ["--skip-name-resolve=OFF", "--max-user-connections=1000"]
    pair.start()
    pair.primary.execute(
        f"CREATE USER guarded@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL",
        f"CREATE USER signing@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}') REQUIRE SSL",
        f"CREATE USER shown@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE X509",
        *(f"GRANT ALL ON demo.* TO {user}@'%'" for user in _USERS),
    )
    pair.catch_up()
    yield pair
    pair.stop()
    for path in (pem, directory):
        path.unlink() if path.is_file() else path.rmdir()


def tls() -> ClientTls:
    return ClientTls(context=_CERTIFICATE.context())


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_account_that_requires_tls_has_it_on_both_connections(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads, tls=tls()) as proxy:

        def client() -> None:
            with proxy.connect(user="guarded") as connection:
                for _ in range(3):
                    assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")
                for sql in ("SHOW SESSION STATUS LIKE 'ssl_cipher'",):
                    assert rows(connection, sql)[0][1]
                trio.from_thread.run_sync(lambda: proxy.change(term=2))
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")
                assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]

        await proxy.run(client)
        assert proxy.listener.statistics.relayed_statements > 0


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_account_that_requires_tls_and_a_signature_logs_in(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads, tls=tls()) as proxy:
        answer = await command_line(proxy, "signing", "SELECT v FROM t WHERE id = 2", "--ssl")
        assert answer.split() == ["two"]


async def test_client_without_tls_is_refused_by_mariadb(servers: Pair) -> None:
    async with cluster(servers, tls=tls()) as proxy:
        assert (await refusal(proxy, user="guarded", ssl_disabled=True))[0] == 1045


async def test_account_that_requires_a_certificate_is_refused(servers: Pair) -> None:
    """The client's certificate ends at the proxy."""
    async with cluster(servers, tls=tls()) as proxy:
        assert (await refusal(proxy, user="shown"))[0] == 1045


async def test_limit_of_every_accounts_connections_is_the_servers(servers: Pair) -> None:
    servers.replica.execute("SET GLOBAL max_user_connections = 1")
    try:
        async with cluster(servers, tls=tls()) as proxy:

            def client() -> None:
                with (
                    proxy.connect(user="guarded"),
                    pytest.raises(pymysql.err.OperationalError) as caught,
                ):
                    proxy.connect(user="guarded")
                assert caught.value.args[0] == 1203

            await proxy.run(client)
    finally:
        servers.replica.execute("SET GLOBAL max_user_connections = 1000")


async def test_address_that_is_blocked_for_its_errors_is_alone_with_that(servers: Pair) -> None:
    """MariaDB counts a client's broken log-ins by the client's address, and never the proxy's own."""
    servers.replica.execute("SET GLOBAL max_connect_errors = 2", "FLUSH HOSTS")
    try:
        async with cluster(servers) as proxy:

            def from_address(address: str) -> None:
                with proxy.connect(bind_address=address) as connection:
                    assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]

            await proxy.run(from_address, "127.0.0.2")
            for _ in range(5):
                sock = trio.socket.socket()
                await sock.bind(("127.0.0.2", 0))
                await sock.connect(proxy.address)
                async with trio.SocketStream(sock) as stream:
                    assert await stream.receive_some()
            with trio.fail_after(60):
                while proxy.listener.statistics.sessions:
                    await trio.sleep(0.005)
            number, message = await refusal(proxy, bind_address="127.0.0.2")
            assert number == 1129
            assert "is blocked because of many connection errors" in message
            await proxy.run(from_address, "127.0.0.1")
    finally:
        servers.replica.execute("FLUSH HOSTS", "SET GLOBAL max_connect_errors = 100")
