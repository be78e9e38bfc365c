"""Clients that ask for the compressed protocol, through the proxy before real servers."""

import subprocess
import zlib
from pathlib import Path

import pytest
from compressed_client import CompressedClient, compressed_client
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, raw_client
from test_client_tls import offered

from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.compression import ER_NET_UNCOMPRESS_ERROR, CompressedReader
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.results import parse_error

servers = shared_servers
pytestmark = pytest.mark.mariadb
both_roles = pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
MEBIBYTE = 1 << 20


def _command_line(proxy: Cluster, text: str, *options: str) -> str:
    done = subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            "--compress",
            "--host=127.0.0.1",
            f"--port={proxy.address[1]}",
            "--user=app",
            f"--password={PASSWORD}",
            "--local-infile=1",
            "--max-allowed-packet=64M",
            "--skip-column-names",
            *options,
            "demo",
        ],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@both_roles
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_command_line_client_loads_and_reads_mebibytes(
    servers: Pair, tmp_path: Path, leads: bool, tls: bool
) -> None:
    # Neither all alike nor noise: some compressed packets are shorter than what they hold, some are not.
    lines = "".join(f"{n}\t{zlib.crc32(str(n).encode()):x}{'y' * (n % 60)}\n" for n in range(100_000))
    file = tmp_path / "lines"
    file.write_text(lines)
    value = "".join(f"{n * n:x}" for n in range(500_000))
    script = f"""
        CREATE OR REPLACE TABLE squeezed (id INT PRIMARY KEY, v LONGTEXT);
        LOAD DATA LOCAL INFILE '{file}' INTO TABLE squeezed;
        INSERT INTO squeezed VALUES (-1, '{value}');
        PREPARE p FROM 'SELECT LENGTH(v), CRC32(v) FROM squeezed WHERE id = ?';
        SET @id = -1;
        EXECUTE p USING @id;
        EXECUTE p USING @id;
        SELECT * FROM squeezed ORDER BY id;
        SELECT REPEAT('z', 20000000);
        status
        DROP TABLE squeezed;
    """
    for server in (servers.primary, servers.replica):
        server.execute("SET GLOBAL max_allowed_packet = 64 << 20")
    async with cluster(servers, leads=leads, tls=offered() if tls else None) as proxy:
        said = await proxy.run(lambda: _command_line(proxy, script, "--ssl" if tls else "--skip-ssl"))
    length, rest = f"{len(value)}\t{zlib.crc32(value.encode())}\n", said
    for expected in (length, length, f"-1\t{value}\n", lines, "z" * 20_000_000 + "\n"):
        assert rest.startswith(expected)
        rest = rest[len(expected) :]
    assert "Protocol:\t\tCompressed" in rest
    assert ("Cipher in use is" in rest) is tls


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_answers_follow_each_commands_numbers(servers: Pair, capabilities: int) -> None:
    async with (
        cluster(servers) as proxy,
        compressed_client(proxy.address[1], capabilities=capabilities) as client,
    ):
        statements = ["SELECT 10", "UPDATE t SET v = 'one' WHERE id = 1", "SELECT 20 FOR UPDATE"]
        for sql in statements * 3:
            await client.send(b"\x03" + sql.encode())
        await client.send(bytes((Command.PING,)))
        reader, inner = CompressedReader(), client.stream.inner
        numbers: list[int] = []
        while len(numbers) < 10:
            reader.feed(await inner.receive_some())
            while (piece := reader.next(1 << 20)) is not None:
                assert piece[3] == 1  # of the first packet inside
                numbers.append(reader.sequence)
        assert numbers == [1] * 10


@pytest.mark.parametrize("size", [1, 49, 50, 70_000, (1 << 24) - 60, 20 << 20])
async def test_statements_of_any_size_arrive(servers: Pair, size: int) -> None:
    servers.primary.execute("SET GLOBAL max_allowed_packet = 64 << 20")
    async with cluster(servers) as proxy, compressed_client(proxy.address[1]) as client:
        value = "ab" * (size // 2) + "c" * (size % 2)
        says = f"{size},{zlib.crc32(value.encode())}".encode()
        for _ in range(2):
            sql = f"SELECT CONCAT_WS(',', LENGTH(v), CRC32(v)) FROM (SELECT '{value}' AS v) AS it FOR UPDATE"
            assert (await client.query(sql))[-2][1:] == says


async def test_binary_protocol_and_long_data_pass(servers: Pair) -> None:
    async with cluster(servers) as proxy, compressed_client(proxy.address[1]) as client:
        statement = await client.prepare("SELECT CONCAT(?, 'b')")
        assert client.first_value(await client.execute(statement, [b"a" * 100_000])) == b"a" * 100_000 + b"b"
        head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
        for _ in range(3):
            await client.send(head + b"long" * 50_000)
        assert client.first_value(await client.execute(statement, [b""])) == b"long" * 150_000 + b"b"


async def test_compression_stays_on_after_reset_and_change_of_user(servers: Pair) -> None:
    servers.primary.execute("GRANT ALL ON demo.* TO nopassword@'%'")
    servers.catch_up()
    async with cluster(servers) as proxy, compressed_client(proxy.address[1]) as client:
        await client.command(bytes((Command.RESET_CONNECTION,)))
        assert b"\x01\x31" in await client.query("SELECT 1")
        command = ChangeUser(
            user=b"nopassword", answer=b"", database=b"demo", collation=45, plugin=b"mysql_native_password"
        )
        await client.send(command.build())
        answer = await client.packets.read()
        if answer[0] == 0xFE:
            await client.packets.write(b"")
            answer = await client.packets.read()
        assert answer[0] == 0, answer
        assert b"nopassword@%" in b"".join(await client.query("SELECT CURRENT_USER()"))


async def test_server_itself_speaks_the_same_protocol(servers: Pair) -> None:
    assert servers.primary.port is not None
    async with compressed_client(servers.primary.port) as client:
        assert client.connection.capabilities & Capability.COMPRESS
        value = "xy" * 100_000
        assert (await client.query(f"SELECT '{value}'"))[-2].endswith(value.encode())
        assert b"Compression" in b"".join(await client.query("SHOW STATUS LIKE 'Compression'"))


async def test_client_is_told_that_it_compresses(servers: Pair) -> None:
    async with cluster(servers) as proxy, compressed_client(proxy.address[1]) as client:
        assert b"\x02ON" in b"".join(await client.query("SHOW STATUS LIKE 'Compression'"))
        # The connections to MariaDB are not compressed.
        assert b"\x03OFF" in b"".join(await client.query("SHOW STATUS LIKE 'Compressio_'"))


async def test_client_is_told_that_it_does_not_compress(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        assert b"\x03OFF" in b"".join(await client.query("SHOW STATUS LIKE 'Compression'"))


async def test_refused_log_in_is_told_before_compression(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        command = ["mariadb", "--no-defaults", "--compress", "--skip-ssl", "-h127.0.0.1", "-uapp", "-pwrong"]
        command.append(f"-P{proxy.address[1]}")

        def client() -> None:
            with pytest.raises(subprocess.CalledProcessError) as caught:
                subprocess.run(
                    command,
                    input=b"",
                    capture_output=True,
                    check=True,
                    timeout=60,
                )
            assert b"ERROR 1045 (28000): Access denied" in caught.value.stderr

        await proxy.run(client)


async def _said_after(client: CompressedClient, wire: bytes) -> int:
    """The error that the proxy answers these bytes with; it has closed then."""
    client.stream.next_sequence = 0
    await client.stream.inner.send_all(wire)
    error = parse_error(await client.packets.read())
    with pytest.raises(ConnectionLost):
        await client.packets.read()
    return error.errno


async def test_broken_compressed_packet_is_answered_and_ends_the_session(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        for body in (b"no zlib at all, whatever the header says", zlib.compress(b"x" * 99)):
            wire = len(body).to_bytes(3, "little") + b"\0" + (100).to_bytes(3, "little") + body
            async with compressed_client(proxy.address[1]) as client:
                assert await _said_after(client, wire) == ER_NET_UNCOMPRESS_ERROR
        assert await proxy.run(lambda: rows(proxy.connect(), "SELECT 1")) == [(1,)]


async def test_other_sessions_go_on_beside_compressed_ones(servers: Pair) -> None:
    async with (
        cluster(servers) as proxy,
        compressed_client(proxy.address[1]) as client,
        raw_client(proxy) as plain,
    ):
        for number in range(20):
            await client.send(b"\x03SELECT REPEAT('x', 1000000)")
            assert str(number).encode() in b"".join(await plain.query(f"SELECT {number}"))
            assert len((await client.answer(Command.QUERY))[-2]) > 1_000_000
