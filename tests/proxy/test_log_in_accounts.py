"""Accounts of every kind log in through the proxy as they do at MariaDB, or are told why not."""

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers

from wolfscale.certificates import ServerCertificate
from wolfscale.proxy.client_tls import ClientTls

servers = shared_servers
pytestmark = pytest.mark.mariadb

_CERTIFICATE = ServerCertificate.from_secret(b"a secret of sixteen", "n", ("127.0.0.1",))
_OS_USER = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")

_ACCOUNTS = (
    f"CREATE USER signer@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')",
    "GRANT ALL ON demo.* TO signer@'%'",
    f"CREATE USER either@'%' IDENTIFIED VIA unix_socket AS '{_OS_USER}' OR mysql_native_password "
    f"USING PASSWORD('{PASSWORD}')",
    "GRANT ALL ON demo.* TO either@'%'",
    f"CREATE USER peer@'%' IDENTIFIED VIA unix_socket AS '{_OS_USER}'",
    f"CREATE USER peer@'10.%' IDENTIFIED BY '{PASSWORD}'",
    f"CREATE USER anybody@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}') "
    f"OR unix_socket AS '{_OS_USER}'",
    "CREATE ROLE r",
    f"CREATE USER locked@'%' IDENTIFIED BY '{PASSWORD}' ACCOUNT LOCK",
    f"CREATE USER elsewhere@'10.%' IDENTIFIED BY '{PASSWORD}'",
    f"CREATE USER here@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
    "CREATE USER here@'10.%' IDENTIFIED BY 'another'",
    f"CREATE USER few@'%' IDENTIFIED BY '{PASSWORD}' WITH MAX_USER_CONNECTIONS 1",
)
_NAMES = ", ".join(item.split()[2] for item in _ACCOUNTS if item.startswith("CREATE USER"))


@pytest.fixture(autouse=True, scope="module")
def _accounts(shared_servers: Pair) -> Iterator[None]:
    shared_servers.primary.execute(*_ACCOUNTS)
    shared_servers.catch_up()
    yield
    shared_servers.primary.execute(f"DROP USER {_NAMES}", "DROP ROLE r")
    shared_servers.catch_up()


def tls() -> ClientTls:
    return ClientTls(context=_CERTIFICATE.context())


async def command_line(proxy: Cluster, user: str, sql: str, *options: str, password: str = PASSWORD) -> str:
    """What MariaDB's own client prints, errors included: it knows all of MariaDB's plugins."""
    command = ["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{proxy.address[1]}", f"-u{user}"]
    command += [f"-p{password}", "-N", "-B", "-f", *options, "demo"]

    def run() -> str:
        done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    return str(await proxy.run(run))


async def refusal(proxy: Cluster, **options: Any) -> tuple[int, str]:
    def client() -> tuple[int, str]:
        with pytest.raises(pymysql.err.OperationalError) as caught:
            proxy.connect(**options)
        number, message = caught.value.args
        return number, message

    answer: tuple[int, str] = await proxy.run(client)
    return answer


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
@pytest.mark.parametrize("options", [(), ("--ssl",)], ids=["plain", "tls"])
async def test_ed25519_account_works_wholly_on_the_leader(
    servers: Pair, leads: bool, options: tuple[str, ...]
) -> None:
    async with cluster(servers, leads=leads, tls=tls()) as proxy:
        sql = "SELECT v, @@server_id FROM t WHERE id = 2; UPDATE t SET v = 'two' WHERE id = 2; SELECT USER();"
        answer = await command_line(proxy, "signer", sql, *options)
        assert answer.split() == ["two", "1", "signer@127.0.0.1"]
        assert proxy.listener.statistics.local_statements == 0
        assert "ERROR 1045" in await command_line(proxy, "signer", sql, password="wrong")


async def test_ed25519_session_is_told_after_a_failover(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        command = ["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{proxy.address[1]}", "-usigner", "-N"]
        command += [f"-p{PASSWORD}", "-n", "--unbuffered", "-f", "demo"]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with trio.fail_after(60):
            await process.stdin.send_all(b"SELECT 'ready';\n")
            assert b"ready" in await process.stdout.receive_some()
            proxy.change(term=2)
            await process.stdin.send_all(b"SELECT 'again';\n")
            answer = b""
            while b"connect again" not in answer:
                more = await process.stdout.receive_some()
                assert more, answer
                answer += more
            assert b"ERROR 1927" in answer
            await process.stdin.aclose()
            await process.wait()


async def test_ed25519_account_reads_while_there_is_no_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.change(writable=False)
        answer = await command_line(proxy, "signer", "SELECT v FROM t WHERE id = 2")
        assert answer.split() == ["two"]
        assert proxy.listener.statistics.local_statements == 1
        answer = await command_line(proxy, "signer", "DELETE FROM t")
        assert "ERROR 1927" in answer
        assert "connect again" in answer


async def test_socket_account_is_refused_and_told_why(servers: Pair) -> None:
    async with cluster(servers, tls=tls()) as proxy:
        for user in ("socketeer", "peer"):
            for password in (PASSWORD, ""):
                number, message = await refusal(proxy, user=user, password=password, database=None)
                assert number == 1698
                assert "unix_socket log in at MariaDB's own socket only" in message


async def test_account_with_a_socket_or_a_password_needs_the_password(servers: Pair) -> None:
    """MariaDB sees the proxy's own operating system user at its socket, and would take any client for it."""
    async with cluster(servers) as proxy:
        for password in ("", "wrong"):
            number, _ = await refusal(proxy, user="either", password=password)
            assert number in (1045, 1698)

        def client() -> None:
            with proxy.connect(user="either") as connection:
                assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")

        await proxy.run(client)


async def test_password_of_another_account_of_the_name_does_not_count(servers: Pair) -> None:
    """peer@'%' is matched, whose socket method accepts the proxy; the password is peer@'10.%' 's."""
    async with cluster(servers) as proxy:
        assert (await refusal(proxy, user="peer", database=None))[0] == 1698


async def test_signature_that_is_wrong_does_not_count_where_the_socket_does(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        answer = await command_line(proxy, "anybody", "SELECT 1", password="wrong")
        assert "ERROR 1698" in answer or "ERROR 1045" in answer
        answer = await command_line(proxy, "anybody", "SELECT CURRENT_USER()", "-A")
        assert "ERROR 1044" in answer  # it has no rights on demo, and has logged in


async def test_role_is_no_account(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        assert (await refusal(proxy, user="r", password="", database=None))[0] in (1045, 1698)


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_refusals_carry_mariadbs_own_numbers(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:
        cases: list[tuple[int, dict[str, Any]]] = [
            (1045, {"password": "wrong"}),
            (1049, {"database": "nowhere"}),
            (1044, {"user": "here"}),
            (4151, {"user": "locked", "database": None}),
        ]
        for number, options in cases:
            direct = await _direct(servers, **options)
            assert (await refusal(proxy, **options)) == direct
            assert direct[0] == number
        # For a name that nobody has MariaDB asks by any plugin there is; its own client knows them all.
        for user in ("unknown", "elsewhere"):
            assert "ERROR 1045 (28000)" in await command_line(proxy, user, "SELECT 1")


async def _direct(pair: Pair, **options: Any) -> tuple[int, str]:
    defaults: dict[str, Any] = {"user": "app", "password": PASSWORD, "database": "demo"}

    def client() -> tuple[int, str]:
        with pytest.raises(pymysql.err.OperationalError) as caught:
            pymysql.connect(host="127.0.0.1", port=pair.primary.port or 0, **(defaults | options))
        return caught.value.args

    return await trio.to_thread.run_sync(client)


async def test_host_in_a_grant_chooses_the_account(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect(user="here", database=None) as connection:
                assert rows(connection, "SELECT USER(), CURRENT_USER()") == [
                    ("here@127.0.0.1", "here@127.0.0.1")
                ]
                # and the same on the leader
                assert rows(connection, "SELECT USER(), CURRENT_USER() FOR UPDATE") == [
                    ("here@127.0.0.1", "here@127.0.0.1")
                ]

        await proxy.run(client)
        assert (await refusal(proxy, user="here", password="another", database=None))[0] == 1045


async def test_limit_of_an_accounts_connections_is_mariadbs(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect(user="few", database=None) as connection:
                assert rows(connection, "SELECT 1") == [(1,)]
                with pytest.raises(pymysql.err.OperationalError) as caught:
                    proxy.connect(user="few", database=None)
                assert caught.value.args[0] == 1226
                rows(connection, "DO 1")

        await proxy.run(client)


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
@pytest.mark.parametrize("database", ["demo", None])
async def test_expired_password_is_changed_through_the_proxy(
    servers: Pair, leads: bool, database: str | None
) -> None:
    servers.primary.execute(
        f"CREATE OR REPLACE USER expired@'%' IDENTIFIED BY '{PASSWORD}' PASSWORD EXPIRE",
        "GRANT ALL ON demo.* TO expired@'%'",
    )
    servers.catch_up()
    async with cluster(servers, leads=leads) as proxy:

        def client() -> None:
            with proxy.connect(user="expired", database=database) as connection:
                for _ in range(2):
                    with pytest.raises(pymysql.err.OperationalError) as caught:
                        rows(connection, "SELECT v FROM demo.t WHERE id = 2")
                    assert caught.value.args[0] == 1820
                rows(connection, "SET PASSWORD = PASSWORD('fresh')")
                for _ in range(3):
                    assert rows(connection, "SELECT v FROM demo.t WHERE id = 2") == [("two",)]
                rows(connection, "UPDATE demo.t SET v = 'two' WHERE id = 2")
            with proxy.connect(user="expired", password="fresh") as connection:
                assert rows(connection, "SELECT v FROM demo.t WHERE id = 2") == [("two",)]

        await proxy.run(client)
        assert (await refusal(proxy, user="expired"))[0] == 1045
    servers.primary.execute("DROP USER expired@'%'")


async def test_server_that_takes_no_expired_passwords_says_so(servers: Pair) -> None:
    servers.primary.execute(f"CREATE OR REPLACE USER expired@'%' IDENTIFIED BY '{PASSWORD}' PASSWORD EXPIRE")
    servers.catch_up()
    servers.replica.execute("SET GLOBAL disconnect_on_expired_password = 1")
    try:
        async with cluster(servers) as proxy:
            assert (await refusal(proxy, user="expired", database=None))[0] == 1862
    finally:
        servers.replica.execute("SET GLOBAL disconnect_on_expired_password = 0")
        servers.primary.execute("DROP USER expired@'%'")


async def test_password_changed_by_its_own_session_ends_it_at_a_failover(servers: Pair) -> None:
    servers.primary.execute(
        f"CREATE OR REPLACE USER changer@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON demo.* TO changer@'%'"
    )
    servers.catch_up()
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect(user="changer") as connection:
                rows(connection, "SET PASSWORD = PASSWORD('fresh')")
                assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
                trio.from_thread.run_sync(lambda: proxy.change(term=2))
                with pytest.raises(pymysql.err.OperationalError) as caught:
                    rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")
                assert caught.value.args[0] == 1045
                with pytest.raises(pymysql.err.Error):
                    rows(connection, "SELECT 1 FOR UPDATE")

        await proxy.run(client)
    servers.primary.execute("DROP USER changer@'%'")


async def test_server_with_too_many_connections_says_so_itself(servers: Pair) -> None:
    servers.replica.execute("SET GLOBAL max_connections = 10")
    try:
        async with cluster(servers) as proxy:

            def client() -> None:
                open_ones = []

                def open_many() -> None:
                    for _ in range(20):
                        open_ones.append(proxy.connect())

                with pytest.raises(pymysql.err.OperationalError) as caught:
                    open_many()
                assert caught.value.args[0] == 1040
                for connection in open_ones:
                    connection.close()

            await proxy.run(client)
    finally:
        with trio.fail_after(60):
            while True:
                try:
                    servers.replica.execute("SET GLOBAL max_connections = 151")
                    break
                except pymysql.err.OperationalError:
                    await trio.sleep(0.05)
