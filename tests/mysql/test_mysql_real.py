"""Our client, log-in and headers against a real MariaDB."""

from collections.abc import Iterator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from wolfscale.mysql.auth import (
    double_sha1,
    parse_stored_hash,
    proof_from_answer,
    scramble,
    sha1_of_password,
)
from wolfscale.mysql.client import DEFAULT_CAPABILITIES
from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Command, Status
from wolfscale.mysql.errors import ConnectionLost, LocalProtocolError, ServerError
from wolfscale.mysql.handshake import parse_auth_switch
from wolfscale.mysql.literals import identifier, literal
from wolfscale.mysql.proxy_protocol import build_local, build_v1, build_v2
from wolfscale.mysql.tracker import ResponseTracker
from wolfscale.testing.mariadb import ScratchMariaDB, ScratchMariaDBError

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    arguments = [
        "--log-bin=bin",
        "--server-id=7",
        "--session-track-system-variables=last_gtid",
        "--max-allowed-packet=128M",
    ]
    with ScratchMariaDB(arguments=arguments, tcp=True) as server:
        server.execute(
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGBLOB)",
            "CREATE USER app IDENTIFIED BY 'secret'",
            "CREATE USER other IDENTIFIED BY 'hidden'",
            "GRANT ALL ON app.* TO app, other",
            "CREATE PROCEDURE app.p() BEGIN SELECT 1; INSERT INTO app.t (v) VALUES ('p'); SELECT 2; END",
        )
        yield server


async def test_query_gives_every_kind_of_value(server: ScratchMariaDB) -> None:
    async with await server.connect() as connection:
        result = await connection.query("SELECT 1 AS a, NULL AS b, '' AS c, x'ff41' AS d, 'ü€😀' AS e, 1.50")
        assert result.columns == ("a", "b", "c", "d", "e", "1.50")
        assert result.rows == [("1", None, "", "\udcffA", "ü€😀", "1.50")]
        assert await connection.value("SELECT 1 FROM DUAL WHERE FALSE") is None
        assert connection.server_version.startswith("10.")
        assert await connection.value("SELECT CONNECTION_ID()") == str(connection.connection_id)


async def test_query_tells_gtids_and_counts(server: ScratchMariaDB) -> None:
    async with await server.connect(database="app") as connection:
        result = await connection.query("INSERT INTO t (v) VALUES ('a'), ('b')")
        assert result.affected_rows == 2
        assert result.last_insert_id > 0
        assert result.info == "Records: 2  Duplicates: 0  Warnings: 0"
        assert result.gtid == await connection.value("SELECT @@last_gtid")
        assert (await connection.query("SELECT 1")).gtid is None
        assert (await connection.query("CALL p()")).gtid == await connection.value("SELECT @@last_gtid")
        results = await connection.query_all("CALL p()")
        assert [bool(result.columns) for result in results] == [True, True, False]
        assert (await connection.query("BEGIN")).status & Status.IN_TRANS


async def test_server_error_leaves_the_connection_usable(server: ScratchMariaDB) -> None:
    async with await server.connect(database="app") as connection:
        for sql, errno, sqlstate in (
            ("SELCT", 1064, "42000"),
            ("SELECT * FROM nope", 1146, "42S02"),
            ("INSERT INTO t (id) VALUES (1), (1)", 1062, "23000"),
            ("SELECT (SELECT 1 UNION SELECT 2)", 1242, "21000"),
        ):
            with pytest.raises(ServerError) as caught:
                await connection.query(sql)
            assert (caught.value.errno, caught.value.sqlstate) == (errno, sqlstate)
        await connection.ping()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_packets_of_16_mib_pass_both_ways(server: ScratchMariaDB, times: int, extra: int) -> None:
    length = times * MAX_PACKET_PAYLOAD + extra  # bytes of payload, of the command and of the row
    sent = length - len("\3SELECT LENGTH('')")
    read = length - (4 if times == 1 else 9)
    async with await server.connect() as connection:
        assert await connection.value(f"SELECT LENGTH('{'x' * sent}')") == str(sent)
        value = await connection.value(f"SELECT REPEAT('y', {read})")
        assert value is not None
        assert len(value) == read
        assert await connection.value("SELECT 1") == "1"


async def test_cancelled_query_closes_the_connection(server: ScratchMariaDB) -> None:
    async with await server.connect() as watcher:
        connection = await server.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.query, "SELECT SLEEP(100)")
            running = (
                f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection.connection_id}"
            )
            with trio.fail_after(60):
                while await watcher.value(running + " AND state = 'User sleep'") != "1":
                    pass
            nursery.cancel_scope.cancel()
        assert connection.closed
        with pytest.raises(ConnectionLost):
            await connection.query("SELECT 1")
        await watcher.query(f"KILL {connection.connection_id}")


async def test_killed_connection_is_lost(server: ScratchMariaDB) -> None:
    async with await server.connect() as watcher:
        connection = await server.connect()
        await watcher.query(f"KILL {connection.connection_id}")
        with pytest.raises((ConnectionLost, ServerError)):
            await connection.query("SELECT 1")
        with pytest.raises(ConnectionLost):
            await connection.query("SELECT 1")


async def test_log_in_by_password_and_by_its_hash(server: ScratchMariaDB) -> None:
    for options in ({"password": "secret"}, {"sha1_password": sha1_of_password("secret")}):
        async with await server.connect(user="app", tcp=True, database="app", **options) as connection:
            assert await connection.value("SELECT CONCAT(CURRENT_USER(), DATABASE())") == "app@%app"
    for options in ({"password": "wrong"}, {"sha1_password": sha1_of_password("x")}, {}):
        with pytest.raises(ServerError) as caught:
            await server.connect(user="app", tcp=True, **options)
        assert (caught.value.errno, caught.value.sqlstate) == (1045, "28000")
    with pytest.raises(ServerError) as caught:
        await server.connect(user="app", password="secret", database="nope")
    assert caught.value.errno in (1044, 1049)


async def test_stored_hash_proves_an_answer_as_the_server_does(server: ScratchMariaDB) -> None:
    async with await server.connect() as connection:
        text = await connection.value("SELECT authentication_string FROM mysql.user WHERE user = 'app'")
    double_hash = parse_stored_hash(text or "")
    assert double_hash == double_sha1(sha1_of_password("secret"))
    salt = b"0123456789abcdefghij"
    proof = proof_from_answer(scramble(sha1_of_password("secret"), salt), salt, double_hash)
    assert proof is not None
    async with await server.connect(user="app", sha1_password=proof) as connection:
        await connection.ping()


async def test_account_by_unix_socket_needs_no_password(server: ScratchMariaDB) -> None:
    server.execute("CREATE OR REPLACE USER daemon@localhost IDENTIFIED VIA unix_socket AS 'root'")
    try:
        async with await server.connect(user="daemon") as connection:
            await connection.ping()
    except ServerError as error:  # who runs the tests is not root
        assert error.errno in (1045, 1698)  # noqa: PT017


async def test_account_of_another_plugin_is_refused_with_the_reason(server: ScratchMariaDB) -> None:
    server.execute(
        "INSTALL SONAME 'auth_ed25519'", "CREATE USER ed IDENTIFIED VIA ed25519 USING PASSWORD('secret')"
    )
    with pytest.raises(LocalProtocolError, match="client_ed25519"):
        await server.connect(user="ed", password="secret")


@pytest.mark.parametrize("without", [0, int(Capability.CONNECT_ATTRS)])
async def test_change_of_user_with_a_new_challenge(server: ScratchMariaDB, without: int) -> None:
    capabilities = int(DEFAULT_CAPABILITIES) & ~without
    async with await server.connect(user="app", password="secret", capabilities=capabilities) as connection:
        packets = connection.packets
        tracker = ResponseTracker(connection.capabilities)
        for password, accepted in (("hidden", True), ("wrong", False)):
            command = ChangeUser(user=b"other", database=b"app", collation=45, plugin=b"none_such")
            tracker.begin(Command.CHANGE_USER)
            await packets.command(command.build())
            payload = await packets.read()
            assert not tracker.packet(payload)
            assert tracker.awaiting_client
            switch = parse_auth_switch(payload)
            assert switch.plugin == "mysql_native_password"
            await packets.write(scramble(sha1_of_password(password), switch.salt))
            assert tracker.packet(await packets.read())
            assert (tracker.error is None) is accepted
            if accepted:
                assert await connection.value("SELECT CURRENT_USER()") == "other@%"


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("header", "host"),
    [
        (build_v1(("10.1.2.3", 4567), ("10.0.0.1", 3306)), "10.1.2.3"),
        (build_v1(("10.1.2.3", 4567)), "10.1.2.3"),
        (build_v2(("10.1.2.3", 4567)), "10.1.2.3"),
        (build_v1(("2001:db8::5", 4567)), "2001:db8::5"),
        (build_v2(("2001:db8::5", 4567)), "2001:db8::5"),
        (build_v1(("::ffff:10.1.2.3", 4567)), "10.1.2.3"),
        (build_v1(("10.1.2.3", 4567), ("::1", 3306)), "10.1.2.3"),
    ],
)
async def test_proxy_header_makes_the_clients_address_count(
    server: ScratchMariaDB, tcp: bool, header: bytes, host: str
) -> None:
    server.execute(f"CREATE OR REPLACE USER here@'{host}' IDENTIFIED BY 'pw'")
    async with await server.connect(user="here", password="pw", tcp=tcp, proxy_header=header) as connection:
        assert await connection.value("SELECT USER()") == f"here@{host}"
        listed = await connection.query("SHOW PROCESSLIST")
        assert f"{host}:4567" in {row["Host"] for row in listed.mappings()}
    with pytest.raises(ServerError) as caught:
        await server.connect(user="here", password="pw", tcp=tcp)
    # MariaDB asks an unknown user by the plugin of some account at random, and 1698 is unix_socket's refusal.
    assert caught.value.errno in (1045, 1698)


async def test_proxy_header_for_oneself_keeps_the_connections_own_address(server: ScratchMariaDB) -> None:
    async with await server.connect(proxy_header=build_local()) as connection:
        assert await connection.value("SELECT USER()") == "root@localhost"


async def test_too_many_connections_is_the_servers_error(server: ScratchMariaDB) -> None:
    async with await server.connect() as connection:
        before = await connection.value("SELECT @@max_connections")
        await connection.query("SET GLOBAL max_connections = 10")
        held = []

        async def connect_for_ever() -> None:
            while True:
                held.append(await server.connect(user="app", password="secret"))

        try:
            with pytest.raises(ServerError) as caught:
                await connect_for_ever()
            assert caught.value.errno == 1040
            assert 0 < len(held) <= 10
        finally:
            await connection.query(f"SET GLOBAL max_connections = {before}")
            for other in held:
                await other.aclose()


@settings(max_examples=30)
@given(
    st.text(st.characters(codec="utf-8"), max_size=30) | st.binary(max_size=30) | st.integers(-(2**60), 2**60)
)
def test_literal_comes_back_as_it_was(server: ScratchMariaDB, value: str | bytes | int) -> None:
    (answer,) = server.execute(f"SELECT {literal(value)}")[0]
    assert answer == value


def test_identifier_names_any_column(server: ScratchMariaDB) -> None:
    assert server.execute(f"SELECT 1 AS {identifier('a`b c')}") == ((1,),)


async def test_scratch_server_keeps_data_over_kills_and_stops() -> None:
    async with ScratchMariaDB(tcp=True) as server:
        server.execute("CREATE DATABASE a", "CREATE TABLE a.t (id INT)", "INSERT INTO a.t VALUES (1)")
        connection = await server.connect()
        for kill in (True, False):
            server.restart(kill=kill)
            with pytest.raises((ConnectionLost, ServerError)):
                await connection.ping()
            connection = await server.connect(tcp=True)
            assert await connection.value("SELECT COUNT(*) FROM a.t") == "1"
        await connection.aclose()
        server.pause()
        server.resume()
        with pytest.raises(ScratchMariaDBError):
            server.start()
        directory = server.directory
    assert not directory.exists()


def test_scratch_server_that_cannot_start_shows_its_log() -> None:
    server = ScratchMariaDB(arguments=["--innodb-page-size=7"])
    with pytest.raises(ScratchMariaDBError, match="innodb"), server:
        pass
    assert not server.directory.exists()
