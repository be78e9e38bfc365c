"""What we answer as a server, read by PyMySQL as the independent client."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest
import trio
import trio.testing
from test_mysql_transport import make_contexts

from wolfscale.mysql import mimic
from wolfscale.mysql.auth import double_sha1, sha1_of_password
from wolfscale.mysql.client import Connection
from wolfscale.mysql.commands import Query, Simple, parse_command
from wolfscale.mysql.constants import Capability, ColumnType, Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.framing import packet
from wolfscale.mysql.handshake import HandshakeResponse, build_handshake_response, parse_greeting
from wolfscale.mysql.results import Column, Ok, build_error, build_ok, build_text_result
from wolfscale.mysql.server import SERVER_CAPABILITIES, LoggedIn, accept_log_in
from wolfscale.mysql.transport import PacketStream

HASHES = {b"app": [double_sha1(sha1_of_password("secret"))], b"open": [b""]}


async def hashes_of(user: bytes) -> Sequence[bytes]:
    return HASHES.get(user, [])


def answer(sql: bytes, capabilities: int) -> list[bytes]:
    if sql == b"SELECT 1":
        return build_text_result([Column(name=b"1")], [[b"1"], [None]], capabilities)
    if sql == b"SELECT long":
        return build_text_result(
            [Column(name=b"v", type=ColumnType.BLOB)], [[b"x" * 20_000_000]], capabilities
        )
    if sql == b"SELECT typed":
        return mimic.build_typed_result(
            [mimic.TypedColumn("n", ColumnType.LONGLONG), mimic.TypedColumn("s")], [(5, "fünf")], capabilities
        )
    if sql.startswith(b"SELECT LENGTH"):
        return build_text_result([Column(name=b"l")], [[str(len(sql)).encode()]], capabilities)
    if sql == b"INSERT":
        return [build_ok(Ok(affected_rows=3, last_insert_id=300, warnings=0), capabilities)]
    if sql.startswith(b"SET"):
        return [build_ok(Ok(), capabilities)]
    return [build_error(1064, "42000", "what?")]


class SmallServer:
    def __init__(self) -> None:
        self.clients: list[LoggedIn] = []
        self.refusals: list[str] = []
        self.tls: Any = None
        self.capabilities = SERVER_CAPABILITIES

    async def serve(self, stream: trio.abc.Stream) -> None:
        packets = PacketStream(stream)
        async with stream:
            try:
                client = await accept_log_in(
                    packets,
                    double_hashes=hashes_of,
                    server_version="5.5.5-10.11.0-MariaDB",
                    connection_id=7,
                    capabilities=self.capabilities,
                    tls=self.tls,
                )
                self.clients.append(client)
                while True:
                    command = parse_command(await packets.read(), client.capabilities)
                    if isinstance(command, Query):
                        for payload in answer(command.sql, client.capabilities):
                            packets.queue(payload)
                        await packets.flush()
                    elif command == Simple(Command.QUIT):
                        return
                    else:
                        await packets.write(build_ok(Ok(), client.capabilities))
            except RemoteProtocolError as error:
                self.refusals.append(str(error))
            except ConnectionLost:
                pass


@contextlib.asynccontextmanager
async def small_server() -> AsyncIterator[tuple[SmallServer, int]]:
    server = SmallServer()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(lambda task_status: serve(server, task_status))
        yield server, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def serve(server: SmallServer, task_status: Any) -> None:
    await trio.serve_tcp(server.serve, 0, host="127.0.0.1", task_status=task_status)


async def with_pymysql(port: int, use: Callable[[Any], Any], **options: Any) -> Any:
    def run() -> Any:
        connection = pymysql.connect(
            port=port,
            **{"host": "127.0.0.1", "user": "app", "password": "secret", "autocommit": None, **options},
        )
        try:
            return use(connection)
        finally:
            connection.close()

    return await trio.to_thread.run_sync(run)


def rows(sql: str) -> Callable[[Any], Any]:
    def use(connection: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return use


async def test_pymysql_logs_in_and_gives_away_its_proof() -> None:
    async with small_server() as (server, port):
        assert await with_pymysql(port, rows("SELECT 1"), database="demo") == (("1",), (None,))
    client = server.clients[0]
    assert client.sha1_password == sha1_of_password("secret")
    assert (client.user, client.database) == (b"app", b"demo")
    assert client.attributes[b"_client_name"] == b"pymysql"


async def test_pymysql_reads_results_of_every_kind() -> None:
    def use(connection: Any) -> None:
        connection.ping()
        assert rows("SELECT typed")(connection) == ((5, "fünf"),)
        assert len(rows("SELECT long")(connection)[0][0]) == 20_000_000
        with connection.cursor() as cursor:
            assert cursor.execute("INSERT") == 3
            assert cursor.lastrowid == 300
            with pytest.raises(pymysql.err.ProgrammingError) as caught:
                cursor.execute("nonsense")
            assert caught.value.args == (1064, "what?")

    async with small_server() as (_, port):
        await with_pymysql(port, use)


async def test_pymysql_may_send_statements_of_more_than_16_mib() -> None:
    sql = "SELECT LENGTH('" + "x" * 17_000_000 + "')"
    async with small_server() as (_, port):
        assert await with_pymysql(port, rows(sql)) == ((str(len(sql)),),)


async def test_wrong_password_is_refused_as_mariadb_does() -> None:
    async with small_server() as (server, port):
        for options in ({"password": "wrong"}, {"user": "nobody"}, {"password": ""}):
            with pytest.raises(pymysql.err.OperationalError) as caught:
                await with_pymysql(port, rows("SELECT 1"), **options)
            assert caught.value.args[0] == 1045
    assert server.clients == []
    assert "(using password: NO)" in server.refusals[-1]


async def test_account_without_a_password_gives_no_proof() -> None:
    async with small_server() as (server, port):
        await with_pymysql(port, rows("SELECT 1"), user="open", password="")
        with pytest.raises(pymysql.err.OperationalError):
            await with_pymysql(port, rows("SELECT 1"), user="open", password="x")
    assert [client.sha1_password for client in server.clients] == [None]


async def test_our_client_reads_our_server() -> None:
    async with small_server() as (server, port):
        for capabilities in (SERVER_CAPABILITIES, SERVER_CAPABILITIES & ~Capability.DEPRECATE_EOF):
            server.capabilities = int(capabilities)
            async with await Connection.connect(
                user="app", sha1_password=sha1_of_password("secret"), host="127.0.0.1", port=port
            ) as connection:
                assert connection.connection_id == 7
                assert connection.server_version == "10.11.0-MariaDB"
                result = await connection.query("SELECT 1")
                assert result.rows == [("1",), (None,)]
                assert len(await connection.value("SELECT long") or "") == 20_000_000
                with pytest.raises(ServerError) as caught:
                    await connection.query("nonsense")
                assert (caught.value.errno, caught.value.sqlstate) == (1064, "42000")
                await connection.ping()
        with pytest.raises(ServerError) as caught:
            await Connection.connect(user="app", password="no", host="127.0.0.1", port=port)
        assert caught.value.errno == 1045


async def test_client_of_another_plugin_is_switched() -> None:
    near, far = trio.testing.memory_stream_pair()
    client = PacketStream(far)
    accepted: list[LoggedIn] = []

    async def accept() -> None:
        accepted.append(
            await accept_log_in(
                PacketStream(near), double_hashes=hashes_of, server_version="10.11", connection_id=1
            )
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        connection = await Connection.connect(user="app", password="secret", stream=SwitchingStream(far))
    assert accepted[0].sha1_password == sha1_of_password("secret")
    assert connection.greeting.plugin == "mysql_native_password"
    assert client.buffered_bytes == 0


class SwitchingStream(trio.abc.Stream):
    """Changes the plugin that the client's response names, so that the server must ask for a switch."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(bytes(data).replace(b"mysql_native_password", b"caching_sha2_password"))

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.0\r\n\r\n",
        packet(b"", 1),
        packet(bytes(31), 1),
        packet(b"\x00\x8a\x08\x00" + bytes(28), 1),
        packet(b"\x00\x82\x08\x00" + bytes(28) + b"no end of the name", 1),
        b"\xff\xff\xff\x01",
    ],
    ids=["nothing", "http", "empty", "short", "tls", "name without an end", "endless"],
)
async def test_hostile_log_in_is_refused_and_never_more(sent: bytes) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def attack() -> None:
        await far.send_all(sent)
        await far.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attack)
        with pytest.raises((RemoteProtocolError, ConnectionLost)):
            await accept_log_in(
                PacketStream(near), double_hashes=hashes_of, server_version="10.11", connection_id=1
            )


async def test_log_in_under_tls(tmp_path: Path) -> None:
    server_context, client_context = make_contexts(tmp_path)
    async with small_server() as (server, port):
        server.tls = server_context
        with socket.create_connection(("127.0.0.1", port)):
            pass
        assert await with_pymysql(port, rows("SELECT 1"), host="localhost", ssl=client_context) == (
            ("1",),
            (None,),
        )
    assert server.clients[0].capabilities & Capability.SSL


async def test_response_that_names_no_plugin_is_taken_as_native() -> None:
    near, far = trio.testing.memory_stream_pair()
    client = PacketStream(far)
    async with trio.open_nursery() as nursery:

        async def log_in() -> None:
            greeting = parse_greeting(await client.read())
            assert greeting.connection_id == 1
            capabilities = int(Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION)
            response = HandshakeResponse(capabilities=capabilities, user=b"open")
            await client.write(build_handshake_response(response))
            assert (await client.read())[0] == 0

        nursery.start_soon(log_in)
        accepted = await accept_log_in(
            PacketStream(near), double_hashes=hashes_of, server_version="10.11", connection_id=1
        )
    assert accepted.sha1_password is None
