"""Commands of several packets, which pass the proxy without standing in its memory, before real servers."""

import contextlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from compressed_client import compressed_client
from proxy_pair import BOUNDS, Cluster, Pair, cluster, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, RawClient, execution, raw_client

from wolfscale.mysql.constants import MAX_PACKET_PAYLOAD, Capability, Command
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import pieces
from wolfscale.mysql.results import parse_error
from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.upload import MAX_COMMAND_BYTES
from wolfscale.proxy.waits import RECEIVING

servers = shared_servers
pytestmark = pytest.mark.mariadb
both_roles = pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
MEBIBYTE = 1 << 20
ALLOWED_BYTES = 96 * MEBIBYTE
QUERY = bytes((Command.QUERY,))
FILE_CLIENT = int(MODERN_CLIENT | Capability.LOCAL_FILES)


@pytest.fixture
def allowing(servers: Pair) -> Pair:
    for server in (servers.primary, servers.replica):
        server.execute(f"SET GLOBAL max_allowed_packet = {ALLOWED_BYTES}")
    servers.primary.execute(
        "CREATE OR REPLACE TABLE demo.long_ones (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)"
    )
    servers.catch_up()
    return servers


@asynccontextmanager
async def client_of(
    pair: Pair, *, leads: bool = False, capabilities: int = FILE_CLIENT, bounds: Bounds = BOUNDS
) -> AsyncIterator[tuple[Cluster, RawClient]]:
    with trio.fail_after(120):
        async with (
            cluster(pair, leads=leads, bounds=bounds) as proxy,
            raw_client(proxy, capabilities) as client,
        ):
            yield proxy, client


async def stored(client: RawClient) -> list[bytes]:
    """What the table holds: length and checksum of each value."""
    packets = await client.query(
        "SELECT CONCAT_WS(',', LENGTH(v), CRC32(v)) FROM long_ones ORDER BY id FOR UPDATE"
    )
    return [packet[1:] for packet in packets[2:-1] if packet[0] != 0xFE]


def told(value: bytes) -> bytes:
    return b"%d,%d" % (len(value), zlib.crc32(value))


def insert(size: int) -> tuple[bytes, bytes]:
    """An INSERT that is, with its command byte, so long, and the value in it."""
    head, tail = b"INSERT INTO long_ones (v) VALUES ('", b"');"
    value = (b"it is; long \\\\ " * (size // 15 + 1))[: size - len(head) - len(tail) - 1]
    value = value.rstrip(b"\\").ljust(len(value), b"x")
    return QUERY + head + value + tail, value.replace(b"\\\\", b"\\")


async def error_of(client: RawClient, payload: bytes) -> tuple[int, str, str]:
    [packet] = await client.command(payload)
    error = parse_error(packet)
    return error.errno, error.sqlstate, error.message


@both_roles
@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_long_insert_arrives(allowing: Pair, leads: bool, capabilities: int) -> None:
    async with client_of(allowing, leads=leads, capabilities=capabilities) as (_, client):
        payload, value = insert(70 * MEBIBYTE)
        await client.command(payload)
        assert client.tracker.error is None
        assert client.tracker.gtid is not None or capabilities == OLD_CLIENT
        assert await stored(client) == [told(value)]


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("packets", [1, 2])
async def test_length_beside_full_packets_arrives(allowing: Pair, packets: int, more: int) -> None:
    async with client_of(allowing) as (_, client):
        payload, value = insert(packets * MAX_PACKET_PAYLOAD + more)
        await client.command(payload)
        assert await stored(client) == [told(value)]


async def test_long_executions_arrive_with_and_without_their_types(allowing: Pair) -> None:
    async with client_of(allowing) as (proxy, client):
        statement = await client.prepare("SELECT CONCAT_WS(',', LENGTH(?), CRC32(?))")
        short = await client.execute(statement, [b"a", b"b"])
        assert client.first_value(short) == b"1," + told(b"b")[2:]
        assert proxy.listener.statistics.leader_connections == 0
        # The leader has not heard the types, which makes the command longer than the client sent it.
        for less in (14, 18, 19, 20, 24):
            value = b"v" * (2 * MAX_PACKET_PAYLOAD - len(execution(statement, [b"", b""])) - less)
            packets = await client.execute(statement, [value, b"b"], types=False)
            assert client.first_value(packets) == b"%d,%d" % (len(value), zlib.crc32(b"b"))
            await client.command(bytes((Command.RESET_CONNECTION,)))
            statement = await client.prepare("SELECT CONCAT_WS(',', LENGTH(?), CRC32(?))")
            await client.execute(statement, [b"a", b"b"])


@pytest.mark.parametrize("part", [MEBIBYTE // 2, 3 * MEBIBYTE, 20 * MEBIBYTE])
async def test_long_data_arrives_in_parts_of_any_length(allowing: Pair, part: int) -> None:
    async with client_of(allowing) as (_, client):
        statement = await client.prepare("INSERT INTO long_ones (v) VALUES (?)")
        head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
        value = bytes(range(256)) * (60 * MEBIBYTE // 256)
        for start in range(0, len(value), part):
            await client.send(head + value[start : start + part])
        await client.execute(statement, [b""])
        assert client.tracker.error is None
        assert await stored(client) == [told(value)]


@pytest.mark.parametrize("size", [40 * MEBIBYTE, 200 * MEBIBYTE])
async def test_server_that_takes_less_says_so_through_the_proxy(allowing: Pair, size: int) -> None:
    allowing.primary.execute(f"SET GLOBAL max_allowed_packet = {32 * MEBIBYTE}")
    payload, _ = insert(size)
    async with client_of(allowing) as (_, client):
        errno, sqlstate, message = await error_of(client, payload)
        assert (errno, sqlstate) == (1153, "08S01")
        assert message == "Got a packet bigger than 'max_allowed_packet' bytes"
        # MariaDB closes the connection; the session gets another one.
        assert (await client.query("SELECT 5 FOR UPDATE"))[-2] == b"\x015"
        await client.query("BEGIN")
        await client.query("INSERT INTO long_ones (v) VALUES ('inside')")
        assert (await error_of(client, payload))[0] == 1153
        assert (await error_of(client, QUERY + b"COMMIT"))[0] == 1213
        assert await stored(client) == []


@pytest.mark.parametrize("behind", [b"; SET sql_log_bin = 0", b" /*! ; */"])
async def test_second_statement_at_the_end_is_refused_and_nothing_is_carried_out(
    allowing: Pair, behind: bytes
) -> None:
    async with client_of(allowing) as (proxy, client):
        payload, _ = insert(20 * MEBIBYTE)
        errno, sqlstate, message = await error_of(client, payload.rstrip(b";") + behind + b" " * 40_000)
        assert (errno, sqlstate) == (1235, "42000")
        assert "one statement only" in message
        with pytest.raises(ConnectionLost):
            await client.packets.read()
        async with raw_client(proxy) as other:
            assert await stored(other) == []


@pytest.mark.parametrize("names", ["utf8mb4", "gbk"])
@pytest.mark.parametrize("size", [2 * MEBIBYTE, 20 * MEBIBYTE])
async def test_second_statement_is_seen_whenever_the_client_may_send_several(
    allowing: Pair, names: str, size: int
) -> None:
    async with client_of(allowing, capabilities=OLD_CLIENT) as (proxy, client):
        await client.command(bytes((Command.SET_OPTION,)) + b"\0\0")
        await client.query(f"SET NAMES {names}")
        payload, _ = insert(size)
        assert (await error_of(client, payload + b" SET sql_log_bin = 0"))[0] in (1227, 1235)
        async with raw_client(proxy) as other:
            assert await stored(other) == []


async def test_compressed_command_arrives(allowing: Pair) -> None:
    async with client_of(allowing) as (proxy, other), compressed_client(proxy.address[1]) as client:
        payload, value = insert(40 * MEBIBYTE)
        await client.command(payload)
        assert client.tracker.error is None
        assert await stored(other) == [told(value)]


async def test_several_statements_that_begin_early_are_judged_whole(allowing: Pair) -> None:
    async with client_of(allowing) as (_, client):
        payload, value = insert(20 * MEBIBYTE)
        await client.command(QUERY + b"SET @a = 5; " + payload[1:])
        assert client.tracker.error is None
        assert await stored(client) == [told(value)]
        refused = QUERY + b"SET @a = 5; SET sql_log_bin = 0; " + payload[1:]
        assert (await error_of(client, refused))[0] == 1227
        assert await stored(client) == [told(value)]


async def test_what_needs_judging_whole_is_refused_beyond_a_bound(allowing: Pair) -> None:
    async with client_of(allowing) as (_, client):
        await client.command(QUERY + b"SET @a = '" + b"x" * (20 * MEBIBYTE) + b"'")
        assert b"20971520" in b"".join(await client.query("SELECT LENGTH(@a)"))
        errno, sqlstate, message = await error_of(
            client, QUERY + b"SET @a = '" + b"x" * MAX_COMMAND_BYTES + b"'"
        )
        assert (errno, sqlstate) == (1153, "08S01")
        assert "64 MiB" in message
        assert b"20971520" in b"".join(await client.query("SELECT LENGTH(@a)"))


def long_literal(inside: str, size: int = 3 * MEBIBYTE) -> bytes:
    """A text behind long data, as a literal without the quotes."""
    return ("SELECT ''" + "x" * size + "''; " + inside.replace("'", "''")).encode()


UNLOGGED = "SET sql_log_bin = 0"
LONG = b"x" * MEBIBYTE


@pytest.mark.parametrize(
    "text",
    [
        b"EXECUTE IMMEDIATE 'SET sql_log_bin = 0 /* " + LONG + b" */'",
        b"EXECUTE IMMEDIATE /*" + LONG + b"*/ _latin1 '" + long_literal(UNLOGGED) + b"'",
        b"PREPARE s FROM '" + long_literal(UNLOGGED) + b"'",
        b"SELECT 1; EXECUTE IMMEDIATE '" + long_literal(UNLOGGED) + b"'",
        b"BEGIN NOT ATOMIC EXECUTE IMMEDIATE '" + long_literal(UNLOGGED) + b"'; END",
        b"SET @a = '" + LONG + b"', sql_log_bin = 0",
        b"SET @a = '"
        + b"\\'" * MEBIBYTE
        + b"'; INSERT INTO t VALUES (1)"
        + b",(1)" * MEBIBYTE
        + b"; SHUTDOWN",
        # To the second statement the first one's literal has ended before.
        b"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; SET sql_log_bin = 0; -- " + LONG + b"'",
        b"CREATE PROCEDURE p() BEGIN SELECT '" + LONG + b"'; SET sql_log_bin = 0; END",
    ],
    ids=["immediate", "introducer", "prepare", "second", "compound", "set", "rows", "mode", "procedure"],
)
@pytest.mark.parametrize("names", ["utf8mb4", "gbk"])
async def test_what_is_refused_is_refused_behind_long_data(allowing: Pair, text: bytes, names: str) -> None:
    async with client_of(allowing) as (proxy, client):
        await client.query(f"SET NAMES {names}")
        errno, _, message = await error_of(client, QUERY + text)
        assert errno in (1227, 1235), message
        assert proxy.listener.statistics.refused_statements == 1
        assert await stored(client) == []


async def test_long_texts_that_are_judged_whole_do_what_they_say(allowing: Pair) -> None:
    value = b"it''s" + b"v" * (3 * MEBIBYTE)
    insert_it = b"INSERT INTO long_ones (v) VALUES ('" + value + b"')"
    inside = insert_it.replace(b"'", b"''")
    async with client_of(allowing) as (proxy, client):
        texts = [
            b"SET @b = 5; " + insert_it + b"; SET @c = 6",
            b"EXECUTE IMMEDIATE '" + inside + b"'",
            b"EXECUTE IMMEDIATE CONCAT('" + inside + b"', '')",
            b"SET @v = '" + value + b"'",
            b"SET STATEMENT max_statement_time = 60 FOR INSERT INTO long_ones (v) VALUES (@v)",
            b"/*!100000 " + insert_it + b" */; SET @c = @c + 1",
        ]
        for text in texts:
            packets = await client.command(QUERY + text)
            assert client.tracker.error is None, (text[:50], packets[0][:200])
        assert await stored(client) == [told(value.replace(b"''", b"'"))] * 5
        [*_, row, _] = await client.query("SELECT CONCAT_WS(',', @b, @c)")
        assert row[1:] == b"5,7"
        statement = await client.prepare(insert_it.decode())
        await client.execute(statement)
        assert len(await stored(client)) == 6
        assert proxy.listener.statistics.refused_statements == 0


async def test_statement_from_a_long_expression_is_refused_beyond_a_bound(allowing: Pair) -> None:
    async with client_of(allowing) as (_, client):
        text = b"PREPARE s FROM CONCAT('SELECT ''" + b"x" * (5 * MEBIBYTE) + b"''')"
        errno, _, message = await error_of(client, QUERY + text)
        assert errno == 1153
        assert "as one literal" in message


async def test_long_call_has_an_intent_mark(allowing: Pair) -> None:
    allowing.primary.execute(
        "CREATE OR REPLACE PROCEDURE demo.keep_long(IN v LONGBLOB) INSERT INTO demo.long_ones (v) VALUES (v)"
    )
    async with client_of(allowing) as (proxy, client):
        value = b"c" * (30 * MEBIBYTE)
        await client.command(QUERY + b"CALL keep_long('" + value + b"')")
        assert client.tracker.error is None
        assert [what for what, _ in proxy.intents] == ["begin", "end"]
        assert await stored(client) == [told(value)]


@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "transaction"])
async def test_leader_lost_in_the_middle_has_not_carried_it_out(allowing: Pair, inside: bool) -> None:
    async with client_of(allowing) as (proxy, client):
        await client.query("INSERT INTO long_ones (v) VALUES ('before')")
        if inside:
            await client.query("BEGIN")
            await client.query("INSERT INTO long_ones (v) VALUES ('inside')")
        payload, value = insert(60 * MEBIBYTE)
        wire = b"".join(pieces(payload, 0))
        middle = len(wire) // 2
        await client.packets.send_raw(wire[:middle])
        proxy.leader_streams[-1].close()
        await client.packets.send_raw(wire[middle:])
        [packet] = await client.answer(Command.QUERY)
        error = parse_error(packet)
        assert (error.errno, error.sqlstate) == (1213, "40001")
        assert "was not carried out" in error.message
        assert ("transaction is rolled back" in error.message) is inside
        assert await stored(client) == [told(b"before")]
        await client.command(payload)
        assert await stored(client) == [told(b"before"), told(value)]


async def test_long_data_whose_leader_is_lost_fails_at_the_execution(allowing: Pair) -> None:
    async with client_of(allowing) as (proxy, client):
        statement = await client.prepare("INSERT INTO long_ones (v) VALUES (?)")
        await client.execute(statement, [b"before"])
        head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
        wire = b"".join(pieces(head + b"x" * (40 * MEBIBYTE), 0))
        await client.packets.send_raw(wire[: len(wire) // 2])
        proxy.leader_streams[-1].close()
        await client.packets.send_raw(wire[len(wire) // 2 :])
        assert (await error_of(client, execution(statement, [b""])))[0] == 1158
        await client.execute(statement, [b"behind"])
        assert await stored(client) == [told(b"before"), told(b"behind")]


@pytest.mark.parametrize("size", [10, 20 * MEBIBYTE])
async def test_execution_whose_long_data_went_with_the_leader_fails(allowing: Pair, size: int) -> None:
    async with client_of(allowing) as (proxy, client):
        statement = await client.prepare("INSERT INTO long_ones (v) VALUES (?)")
        head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
        await client.send(head + b"x" * size)
        # A ping is answered behind it.
        await client.command(bytes((Command.PING,)))
        proxy.change(term=2)
        assert (await error_of(client, execution(statement, [b""])[:-1]))[0] == 1158
        assert await stored(client) == []
        await client.send(head + b"again")
        await client.command(execution(statement, [b""])[:-1])
        assert await stored(client) == [told(b"again")]


async def test_without_a_leader_the_answer_comes_behind_the_command(allowing: Pair) -> None:
    bounds = Bounds(leader_seconds=0.1, replica_seconds=20)
    async with client_of(allowing, bounds=bounds) as (proxy, client):
        proxy.change(writable=False)
        payload, value = insert(40 * MEBIBYTE)
        assert (await error_of(client, payload))[0] == 1290
        assert (await client.query("SELECT 5"))[-2] == b"\x015"
        proxy.change(writable=True)
        await client.command(payload)
        assert await stored(client) == [told(value)]


@pytest.mark.parametrize("part", [1000, 100_000, MAX_PACKET_PAYLOAD, 20 * MEBIBYTE])
async def test_file_of_the_clients_arrives_in_packets_of_any_length(allowing: Pair, part: int) -> None:
    allowing.primary.execute("CREATE OR REPLACE TABLE demo.lines_of (v VARCHAR(100))")
    lines = b"".join(b"line %d of a file\n" % number for number in range(min(part * 40, 24 * MEBIBYTE) // 20))
    async with client_of(allowing) as (_, client):
        assert await load(client, lines, part) is None
        [*_, row, _] = await client.query(
            "SELECT CONCAT_WS(',', COUNT(*), SUM(LENGTH(v) + 1)) FROM lines_of FOR UPDATE"
        )
        assert row[1:] == b"%d,%d" % (lines.count(b"\n"), len(lines))


async def load(client: RawClient, lines: bytes, part: int) -> bytes | None:
    """LOAD DATA LOCAL into `lines_of`; the error packet, if it failed."""
    await client.send(QUERY + b"LOAD DATA LOCAL INFILE 'x' INTO TABLE lines_of")
    assert (await client.packets.read())[:1] == b"\xfb"
    for start in range(0, len(lines), part):
        await client.packets.write(lines[start : start + part])
    await client.packets.write(b"")
    answer = await client.packets.read()
    return answer if answer[0] == 0xFF else None


async def test_rest_of_a_file_is_never_taken_for_commands(allowing: Pair) -> None:
    allowing.primary.execute("CREATE OR REPLACE TABLE demo.lines_of (v VARCHAR(100))")
    async with client_of(allowing) as (proxy, client):
        await client.query("INSERT INTO lines_of VALUES ('before')")
        await client.send(QUERY + b"LOAD DATA LOCAL INFILE 'x' INTO TABLE lines_of")
        assert (await client.packets.read())[:1] == b"\xfb"
        await client.packets.write(b"a line\n")
        proxy.leader_streams[-1].close()
        for _ in range(1000):
            await client.packets.write(b"\x03INSERT INTO lines_of VALUES ('from a file')")
        await client.packets.write(b"")
        assert parse_error(await client.packets.read()).errno == 1180
        assert b"\x06before" in await client.query("SELECT v FROM lines_of FOR UPDATE")
        [*_, row, _] = await client.query("SELECT COUNT(*) FROM lines_of FOR UPDATE")
        assert row == b"\x011"


@asynccontextmanager
async def half_sent(client: RawClient, payload: bytes) -> AsyncIterator[bytes]:
    """The half of a command that is not on its way yet."""
    wire = b"".join(pieces(payload, 0))
    middle = len(wire) // 2
    await client.packets.send_raw(wire[:middle])
    yield wire[middle:]


async def until_receiving(proxy: Cluster, id: int) -> None:
    while [row["State"] for row in await proxy.sessions() if row["Id"] == str(id)] != [RECEIVING]:
        await trio.sleep(0.01)


async def session_id(client: RawClient) -> int:
    [*_, row, _] = await client.query("SELECT CONNECTION_ID()")
    return int(row[1:])


@pytest.mark.parametrize("how", ["text", "execution", "judged whole"])
async def test_command_killed_while_it_is_received_is_not_carried_out_and_the_session_goes_on(
    allowing: Pair, how: str
) -> None:
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        id = await session_id(client)
        await client.query("SET @kept = 'this', SESSION group_concat_max_len = 4711")
        payload, value = insert(40 * MEBIBYTE)
        if how == "execution":
            statement = await client.prepare("INSERT INTO long_ones (v) VALUES (?)")
            payload = execution(statement, [value])
        elif how == "judged whole":
            payload = QUERY + b"SET @kept = '" + value.replace(b"\\", b"/").replace(b"'", b"") + b"'"
        async with half_sent(client, payload) as rest:
            await until_receiving(proxy, id)
            await killer.query(f"KILL QUERY {id}")
            assert killer.tracker.error is None
            await client.packets.send_raw(rest)
            [packet] = await client.answer(payload[0])
        assert parse_error(packet).errno == 1317
        assert await stored(client) == []
        [*_, row, _] = await client.query("SELECT CONCAT(@kept, @@group_concat_max_len)")
        assert row[1:] == b"this4711"
        await client.command(payload)
        assert client.tracker.error is None
        assert len(await stored(client)) == (how != "judged whole")
        assert proxy.intents == []


async def test_command_killed_in_a_transaction_while_it_is_received_is_interrupted_when_it_runs(
    allowing: Pair,
) -> None:
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        id = await session_id(client)
        await client.query("BEGIN")
        await client.query("INSERT INTO long_ones (v) VALUES ('inside')")
        # It runs long enough to be met.
        payload = QUERY + b"SELECT SLEEP(50), LENGTH('" + b"x" * (20 * MEBIBYTE) + b"')"
        async with half_sent(client, payload) as rest, trio.open_nursery() as nursery:
            await until_receiving(proxy, id)
            nursery.start_soon(killer.query, f"KILL QUERY {id}")
            while not proxy.interrupted:
                await client.packets.send_raw(rest)
                rest = b""
                await trio.sleep(0.01)
            packets = await client.answer(Command.QUERY)
        assert packets[0][:1] == b"\xff" or packets[-2][:2] == b"\x011"
        assert killer.tracker.error is None
        await client.query("COMMIT")
        assert await stored(client) == [told(b"inside")]


@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "transaction"])
@pytest.mark.parametrize("how", ["statement", "command"])
async def test_session_killed_while_it_sends_a_command_ends_and_nothing_is_carried_out(
    allowing: Pair, how: str, inside: bool
) -> None:
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        id = await session_id(client)
        leader_id = 0
        if inside:
            await client.query("BEGIN")
            await client.query("INSERT INTO long_ones (v) VALUES ('inside')")
            [leader_id] = [int(row["Leader_id"]) for row in await proxy.sessions() if row["Id"] == str(id)]
        payload, _ = insert(40 * MEBIBYTE)
        async with half_sent(client, payload):
            await until_receiving(proxy, id)
            if how == "statement":
                await killer.query(f"KILL {id}")
            else:
                # COM_PROCESS_KILL has four bytes for the id, which is the one on the leader's server then.
                number = leader_id or await leader_id_of(proxy, id)
                await killer.command(bytes((Command.PROCESS_KILL,)) + number.to_bytes(4, "little"))
            assert killer.tracker.error is None
            await until_closed(client)
        assert await stored(killer) == []
        assert [row["Id"] for row in await proxy.sessions()] == [str(await session_id(killer))]
        assert proxy.listener.statistics.sessions_failed == 0


async def until_closed(client: RawClient) -> None:
    """The connection ends; perhaps behind an error packet."""
    with contextlib.suppress(ConnectionLost):
        while True:
            assert (await client.packets.read())[:1] == b"\xff"


async def leader_id_of(proxy: Cluster, id: int) -> int:
    """The id of a session's connection on the leader, as soon as it has one."""
    while True:
        [text] = [row["Leader_id"] for row in await proxy.sessions() if row["Id"] == str(id)]
        if text:
            return int(text)
        await trio.sleep(0.01)


async def test_part_of_a_parameter_that_is_killed_fails_at_the_execution(allowing: Pair) -> None:
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        id = await session_id(client)
        statement = await client.prepare("INSERT INTO long_ones (v) VALUES (?)")
        head = bytes((Command.STMT_SEND_LONG_DATA,)) + statement.to_bytes(4, "little") + b"\0\0"
        async with half_sent(client, head + b"x" * (40 * MEBIBYTE)) as rest:
            await until_receiving(proxy, id)
            await killer.query(f"KILL QUERY {id}")
            await client.packets.send_raw(rest)
        assert (await error_of(client, execution(statement, [b""])))[0] == 1317
        await client.execute(statement, [b"behind"])
        assert await stored(client) == [told(b"behind")]


async def test_file_of_the_clients_that_is_killed_ends_with_an_error_and_the_session_goes_on(
    allowing: Pair,
) -> None:
    allowing.primary.execute("CREATE OR REPLACE TABLE demo.lines_of (v VARCHAR(100))")
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        id = await session_id(client)
        await client.send(QUERY + b"LOAD DATA LOCAL INFILE 'x' INTO TABLE lines_of")
        assert (await client.packets.read())[:1] == b"\xfb"
        await client.packets.write(b"a line\n" * 1000)
        await killer.query(f"KILL QUERY {id}")
        assert killer.tracker.error is None
        for _ in range(100):
            await client.packets.write(b"a line\n" * 10_000)
        await client.packets.write(b"")
        assert parse_error(await client.packets.read()).errno == 1317
        [*_, row, _] = await client.query("SELECT COUNT(*) FROM lines_of FOR UPDATE")
        assert row == b"\x010"


async def test_kill_of_an_idle_session_does_not_meet_its_next_long_command(allowing: Pair) -> None:
    async with client_of(allowing) as (proxy, client), raw_client(proxy) as killer:
        await killer.query(f"KILL QUERY {await session_id(client)}")
        payload, value = insert(20 * MEBIBYTE)
        await client.command(payload)
        assert client.tracker.error is None
        assert await stored(client) == [told(value)]


@pytest.mark.parametrize("end", ["client", "kill", "second statement"])
async def test_call_that_is_cut_short_leaves_no_intent_mark(allowing: Pair, end: str) -> None:
    allowing.primary.execute(
        "CREATE OR REPLACE PROCEDURE demo.keep_long(IN v LONGBLOB) INSERT INTO demo.long_ones (v) VALUES (v)"
    )
    payload = QUERY + b"CALL keep_long('" + b"c" * (30 * MEBIBYTE) + b"')"
    async with client_of(allowing) as (proxy, other):
        async with raw_client(proxy) as client:
            id = await session_id(client)
            if end == "second statement":
                await error_of(client, payload + b"; SELECT 1")
            else:
                async with half_sent(client, payload) as rest:
                    await until_receiving(proxy, id)
                    if end == "kill":
                        await other.query(f"KILL QUERY {id}")
                        await client.packets.send_raw(rest)
                        assert parse_error((await client.answer(Command.QUERY))[0]).errno == 1317
                    else:
                        await client.packets.aclose_forcefully()
        while len(proxy.intents) < 2:
            await trio.sleep(0.01)
        assert [what for what, _ in proxy.intents] == ["begin", "end"]
        assert await stored(other) == []


async def test_call_whose_last_byte_was_sent_keeps_its_intent_mark(allowing: Pair) -> None:
    allowing.primary.execute("CREATE OR REPLACE PROCEDURE demo.sleep_long(IN v LONGBLOB) DO SLEEP(50)")
    async with client_of(allowing) as (proxy, client):
        await client.send(QUERY + b"CALL sleep_long('" + b"c" * (20 * MEBIBYTE) + b"')")
        running = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'"
        while not (found := allowing.primary.execute(running)):
            await trio.sleep(0.01)
        proxy.leader_streams[-1].close()
        [packet] = await client.answer(Command.QUERY)
        assert parse_error(packet).sqlstate == "08007"
        assert [what for what, _ in proxy.intents] == ["begin", "unknown"]
    allowing.primary.execute(f"KILL {found[0][0]}")
