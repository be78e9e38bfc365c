"""The relay engine over real servers: what it carries, in what order, and what ends it."""

import contextlib
import os
import socket
import struct
from typing import Any

import pymysql
import pytest
import trio
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, RawClient, execution, raw_client

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import parse_error
from wolfscale.node import Credentials
from wolfscale.node.tls import HOSTNAME
from wolfscale.proxy.engine import Engine
from wolfscale.sockets import NonblockingStream, start_tls

servers = shared_servers
pytestmark = pytest.mark.mariadb

EACH_CLIENT = pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
READ = "SELECT v FROM t WHERE id = {}"
PING = bytes((Command.PING,))
QUIT = bytes((Command.QUIT,))
BIG = "SELECT REPEAT('x', 1000000) FROM seq_1_to_1000 LIMIT {}"
"""A result of so many megabytes, made as it is sent."""


async def _until(condition: Any) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.005)


def query(sql: str) -> bytes:
    return packet(bytes((Command.QUERY,)) + sql.encode(), 0)


async def known(client: RawClient, *texts: str) -> None:
    """Have each text classified, and the connections open that it needs."""
    for text in texts:
        await client.query(text)


@EACH_CLIENT
async def test_reads_are_carried_without_the_task(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statistics = proxy.listener.statistics
        first = await client.query(READ.format(1))
        assert statistics.relayed_statements == 0
        for number in range(1, 21):
            packets = await client.query(READ.format(number))
            assert (packets == first) is (number == 1)
        assert statistics.relayed_statements == 20
        assert statistics.local_statements == 21


@EACH_CLIENT
async def test_prepared_reads_are_carried_without_the_task(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statistics = proxy.listener.statistics
        for _ in range(3):  # the client's numbers and the server's differ from the second on
            statement = await client.prepare("SELECT v FROM t WHERE id = ?")
            before = statistics.relayed_statements
            for number, value in ((1, b"one"), (2, b"two"), (3, b"three")):
                packets = await client.execute(statement, [str(number).encode()], types=number == 1)
                assert client.first_value(packets) == value
            assert statistics.relayed_statements == before + 3
            await client.send(struct.pack("<BI", Command.STMT_CLOSE, statement))
        other = await client.prepare("SELECT v FROM t WHERE id = ?")
        assert parse_error((await client.execute(statement, [b"1"]))[0]).errno == 1243
        assert client.first_value(await client.execute(other, [b"1"])) == b"one"


@EACH_CLIENT
async def test_transactions_are_carried_without_the_task(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statistics = proxy.listener.statistics
        texts = ("BEGIN", "UPDATE t SET v = 'one' WHERE id = 1", READ.format(1), "COMMIT")
        await known(client, *texts)
        before = statistics.relayed_statements
        for _ in range(5):
            for text in texts:
                assert (await client.query(text))[0][0] != 0xFF
        assert statistics.relayed_statements == before + 20
        assert await client.query(READ.format(1))


@EACH_CLIENT
async def test_own_write_is_seen_by_the_next_read(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statistics = proxy.listener.statistics
        insert, count = "INSERT INTO t (v) VALUES ('own {}')", "SELECT COUNT(*) FROM t WHERE v LIKE 'own %'"
        await known(client, insert.format(0), count)
        relayed = statistics.relayed_statements
        for number in range(1, 50):
            await client.query(insert.format(number))
            (row,) = [p for p in await client.query(count) if p[1:] == str(number + 1).encode()]
            assert row
        assert statistics.relayed_statements - relayed >= 49  # each insert; reads that had to wait are not
        await client.query("DELETE FROM t WHERE id > 3")


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_no_ok_of_a_carried_write_leaves_before_the_log_has_it(
    servers: Pair, capabilities: int
) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statistics = proxy.listener.statistics
        await known(client, "INSERT INTO t (v) VALUES ('x')")
        relayed = statistics.relayed_statements
        proxy.hold_commits = True
        before = servers.primary.execute("SELECT @@gtid_binlog_pos")
        await client.send(b"\x03INSERT INTO t (v) VALUES ('y')")
        await _until(lambda: servers.primary.execute("SELECT @@gtid_binlog_pos") != before)
        with trio.move_on_after(0.3):
            await client.answer(3)
        assert not client.tracker.done
        assert statistics.relayed_statements == relayed
        proxy.hold_commits = False
        with trio.fail_after(60):
            while not client.tracker.done:
                client.tracker.packet(await client.packets.read())
        assert client.tracker.error is None
        assert statistics.relayed_statements == relayed + 1, "the session's task was needed"
        await client.query("DELETE FROM t WHERE id > 3")


async def test_pipelined_commands_are_answered_in_order(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1), "UPDATE t SET v = 'one' WHERE id = 1")
        relayed = proxy.listener.statistics.relayed_statements
        commands, expected = bytearray(), []
        for number in range(60):
            commands += query(READ.format(number % 3 + 1))
            expected.append((b"one", b"two", b"three")[number % 3])
            commands += packet(PING, 0)
        await client.packets.send_raw(bytes(commands))
        for value in expected:
            packets = await client.answer(Command.QUERY)
            assert packets[-2][1:] == value
            assert (await client.answer(Command.PING))[0][0] == 0
        assert (await client.query(READ.format(1)))[-2][1:] == b"one", "the session goes on"
        # The first may have to wait until the replica has what the session saw on the leader.
        assert proxy.listener.statistics.relayed_statements >= relayed + 60


async def test_thousands_of_pings_in_one_piece_are_answered(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.packets.send_raw, packet(PING, 0) * 20_000)
            for _ in range(20_000):
                assert (await client.answer(Command.PING))[0][0] == 0
        assert (await client.query(READ.format(1)))[0] == b"\x01"


async def test_pipelined_command_of_the_task_among_others_keeps_its_place(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1))
        texts = [
            READ.format(1),
            "SET @a = 41",
            "SELECT @a + 1",
            READ.format(2),
            "SHOW WARNINGS",
            READ.format(3),
        ]
        await client.packets.send_raw(b"".join(query(text) for text in texts))
        answers = [await client.answer(Command.QUERY) for _ in texts]
        assert [a[-2][1:] for a in (answers[0], answers[2], answers[3], answers[5])] == [
            b"one",
            b"42",
            b"two",
            b"three",
        ]


async def test_command_that_comes_byte_by_byte_is_carried(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1))
        for byte in query(READ.format(2)) + packet(PING, 0):
            await client.packets.send_raw(bytes((byte,)))
            await trio.sleep(0.001)  # so that each comes by itself
        assert (await client.answer(Command.QUERY))[-2][1:] == b"two"
        assert (await client.answer(Command.PING))[0][0] == 0
        assert proxy.listener.statistics.relayed_statements == 1


async def test_large_command_is_the_tasks_and_the_next_is_not(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1))
        statistics = proxy.listener.statistics
        for size, carried in ((40_000, True), (100_000, False), (900_000, False)):
            text = f"SELECT LENGTH('{'x' * size}')"
            await client.query(text)
            relayed = statistics.relayed_statements
            packets = await client.query(text)
            assert packets[-2][1:] == str(size).encode()
            assert (statistics.relayed_statements == relayed + 1) is carried
            relayed = statistics.relayed_statements
            await client.query(READ.format(1))
            assert statistics.relayed_statements == relayed + 1
        # So long a text is the leader's.
        assert (await client.query(f"SELECT LENGTH('{'x' * 3_000_000}')"))[-2][1:] == b"3000000"
        assert (await client.query(READ.format(1)))[-2][1:] == b"one"


async def test_client_that_closes_its_side_gets_its_answers_first(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1), "SELECT SLEEP(0.2)")
        await client.packets.send_raw(query("SELECT SLEEP(0.1)") + query(READ.format(2)))
        stream = client.packets.stream
        assert isinstance(stream, trio.SocketStream)
        await stream.send_eof()
        await client.answer(Command.QUERY)
        assert (await client.answer(Command.QUERY))[-2][1:] == b"two"
        with pytest.raises(ConnectionLost):
            await client.packets.read()
        await _until(lambda: proxy.listener.statistics.sessions == 0)


async def test_client_that_stops_reading_stops_its_server_and_goes_on(servers: Pair) -> None:
    """Bounded memory: what nobody takes stays at the server."""
    async with cluster(servers) as proxy, raw_client(proxy) as slow, raw_client(proxy) as other:
        await known(slow, BIG.format(1))
        await known(other, READ.format(1))
        await slow.send(query(BIG.format(300))[4:])
        await _until(
            lambda: (
                servers.replica.execute(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'Writing to net'"
                )[0][0]
                == 1
            )
        )
        for number in (1, 2, 3) * 20:
            await other.query(READ.format(number))
        relayed = proxy.listener.statistics.relayed_statements
        packets = await slow.answer(Command.QUERY)
        assert sum(len(item) for item in packets) > 300_000_000
        assert proxy.listener.statistics.relayed_statements == relayed + 1


async def test_large_result_does_not_starve_small_ones(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as greedy, raw_client(proxy) as modest:
        await known(greedy, BIG.format(1))
        await known(modest, READ.format(1))
        received = 0
        answered: list[int] = []

        async def read_all(scope: trio.CancelScope) -> None:
            nonlocal received
            await greedy.send(query(BIG.format(400))[4:])
            stream = greedy.packets.stream
            with trio.fail_after(60):
                while received < 400_000_000:
                    received += len(await stream.receive_some(1 << 20))
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, nursery.cancel_scope)
            while True:
                await modest.query(READ.format(1))
                answered.append(received)
        between = [amount for amount in answered if 0 < amount < 400_000_000]
        assert len(between) > 50, "a select came through for every few megabytes of the other session"


async def test_local_server_that_dies_while_idle_is_replaced_unnoticed(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1))
        await client.query(READ.format(1))
        for row in servers.replica.execute(
            "SELECT id FROM information_schema.processlist WHERE user = 'app'"
        ):
            servers.replica.execute(f"KILL {row[0]}")
        for number, value in ((1, b"one"), (2, b"two")):
            assert (await client.query(READ.format(number)))[-2][1:] == value
        assert proxy.listener.statistics.local_statements == 4
        assert proxy.listener.statistics.leader_connections == 0


async def test_read_in_flight_when_its_server_dies_is_answered_by_another_connection(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        text = "SELECT COUNT(*) FROM t WHERE SLEEP({}) = 0"
        await known(client, text.format(0))
        before = proxy.listener.statistics.relayed_statements
        await client.send(query(text.format(0.5))[4:])
        running = (
            "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT COUNT(*) FROM t WHERE%'"
        )
        await _until(lambda: servers.replica.execute(running))
        for row in servers.replica.execute(running):
            servers.replica.execute(f"KILL {row[0]}")
        answer = await client.answer(Command.QUERY)
        # MariaDB answers what was killed with 1317, or its connection just ends: then the read runs again.
        assert answer[0][0] != 0xFF or parse_error(answer[0]).errno in (1317, 1927)
        assert proxy.listener.statistics.relayed_statements <= before + 1
        assert (await client.query(READ.format(2)))[-2][1:] == b"two"


async def test_write_in_flight_when_the_leader_dies_has_an_unknown_outcome(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        text = "UPDATE t SET v = 'one' WHERE id = 1 AND SLEEP({}) = 0"
        await known(client, text.format(0))
        await client.send(query(text.format(60))[4:])
        running = "SELECT id FROM information_schema.processlist WHERE info LIKE 'UPDATE%SLEEP(60)%'"
        await _until(lambda: servers.primary.execute(running))
        for stream in proxy.leader_streams:
            await trio.aclose_forcefully(stream)
        (answer,) = await client.answer(Command.QUERY)
        assert parse_error(answer).sqlstate == "08007"
        servers.primary.execute(f"KILL {servers.primary.execute(running)[0][0]}")
        assert (await client.query("UPDATE t SET v = 'one' WHERE id = 1"))[0][0] == 0


async def test_transaction_in_flight_when_its_leader_is_cut_off_is_to_be_tried_again(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        text = "UPDATE t SET v = 'lost' WHERE id = 1 AND SLEEP({}) = 0"
        await known(client, "BEGIN", text.format(0), "ROLLBACK")
        await client.query("BEGIN")
        await client.send(query(text.format(60))[4:])
        running = "SELECT id FROM information_schema.processlist WHERE info LIKE 'UPDATE%SLEEP(60)%'"
        await _until(lambda: servers.primary.execute(running))
        proxy.change(term=2)
        (answer,) = await client.answer(Command.QUERY)
        assert (parse_error(answer).errno, parse_error(answer).sqlstate) == (1213, "40001")
        servers.primary.execute(f"KILL {servers.primary.execute(running)[0][0]}")
        assert (await client.query(READ.format(1)))[-2][1:] == b"one"


async def test_load_data_local_is_handed_to_the_task_in_the_middle(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect(local_infile=True) as connection, connection.cursor() as cursor:
                for _ in range(2):
                    with pytest.raises(pymysql.err.OperationalError) as missing:
                        cursor.execute("LOAD DATA LOCAL INFILE '/nowhere/at/all' INTO TABLE t (v)")
                    assert missing.value.args[0] == 1017
                assert rows(connection, READ.format(1)) == [("one",)]

        await proxy.run(client)


def _descriptors() -> set[str]:
    return {
        target
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
        for target in [os.readlink(f"/proc/self/fd/{name}")]
        if target.startswith(("socket:", "anon_inode:[eventpoll]"))
    }


async def test_proxy_that_is_stopped_closes_everything(servers: Pair) -> None:
    before = _descriptors()
    clients: list[trio.SocketStream] = []
    async with cluster(servers) as proxy:
        for sql in (None, "SELECT SLEEP(60)", BIG.format(100), "UPDATE t SET v = 'x' WHERE SLEEP(60)"):
            async with raw_client(proxy) as warm:
                await known(
                    warm, "SELECT SLEEP(0)", BIG.format(1), "UPDATE t SET v = 'x' WHERE SLEEP(0) AND 0"
                )
            stream = await _logged_in(proxy, sql)
            clients.append(stream)
        await _until(
            lambda: (
                servers.replica.execute(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(60)'"
                )[0][0]
                == 1
            )
        )
    for stream in clients:
        with trio.fail_after(60):
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await stream.aclose()
    with trio.fail_after(60):
        while _descriptors() - before:
            await trio.sleep(0.01)
    for sql in ("SELECT SLEEP(60)", "UPDATE t SET v = 'x' WHERE SLEEP(60)"):
        for server in (servers.replica, servers.primary):
            for row in server.execute(
                f"SELECT id FROM information_schema.processlist WHERE info = \"{sql}\" AND user = 'app'"
            ):
                server.execute(f"KILL {row[0]}")


async def _logged_in(proxy: Cluster, sql: str | None) -> trio.SocketStream:
    """A client's bare stream, its log-in done and a statement sent."""
    connection = await Connection.connect(
        user="app", password="secret", host=proxy.address[0], port=proxy.address[1], database="demo"
    )
    if sql is not None:
        await connection.packets.send_raw(query(sql))
    stream = connection.packets.stream
    assert isinstance(stream, trio.SocketStream)
    return stream


async def test_client_that_vanishes_with_a_command_under_way_leaves_nothing(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        async with raw_client(proxy) as warm:
            await known(warm, BIG.format(1))
        stream = await _logged_in(proxy, BIG.format(500))
        await stream.receive_some(100_000)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await _until(lambda: proxy.listener.statistics.sessions == 0)
        assert proxy.listener.statistics.sessions_failed == 0


async def test_busy_sessions_all_make_progress(servers: Pair) -> None:
    """200 at once, each with as many commands to do: none waits until the others have done."""
    sessions, commands = 200, 50
    done = [0] * sessions
    least_when_first_ended: list[int] = []

    async def work(proxy: Cluster, number: int, start: trio.Event) -> None:
        async with raw_client(proxy) as client:
            ready.append(number)
            await start.wait()
            for count in range(commands):
                await client.query(READ.format(count % 3 + 1))
                done[number] += 1
            if not least_when_first_ended:
                least_when_first_ended.append(min(done))

    ready: list[int] = []
    servers.replica.execute("SET GLOBAL max_connections = 1000")
    async with cluster(servers) as proxy:
        async with raw_client(proxy) as first:
            await known(first, READ.format(1))
        start = trio.Event()
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(sessions):
                    nursery.start_soon(work, proxy, number, start)
                await _until(lambda: len(ready) == sessions)
                start.set()
        assert done == [commands] * sessions
        assert least_when_first_ended[0] > commands // 4
        assert proxy.listener.statistics.relayed_statements == sessions * commands


async def test_execution_in_the_text_of_a_pipelined_prepare_is_answered(servers: Pair) -> None:
    """MariaDB's connectors send prepare and execute together."""
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await known(client, READ.format(1))
        prepare = packet(bytes((Command.STMT_PREPARE,)) + b"SELECT v FROM t WHERE id = ?", 0)
        execute = packet(execution(0xFFFFFFFF, [b"2"]), 0)
        for _ in range(3):
            await client.packets.send_raw(prepare + execute)
            await client.answer(Command.STMT_PREPARE)
            assert client.first_value(await client.answer(Command.STMT_EXECUTE)) == b"two"


async def test_session_under_tls_is_carried_like_a_plain_one(servers: Pair) -> None:
    """The engine's seam: whatever has `recv`, `send` and `fileno`, and raises as an `ssl.SSLSocket` does."""
    credentials = Credentials.from_secret(b"a secret for two", "test")
    near, far = (NonblockingStream(item) for item in socket.socketpair())
    async with cluster(servers) as proxy, raw_client(proxy) as warm:
        await known(warm, READ.format(1), BIG.format(1))
        engine = Engine(proxy.views)

        async def serve() -> None:
            secured = await start_tls(far, credentials.server, server_side=True)
            await proxy.listener._on_client(secured, engine)

        with contextlib.closing(engine):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                nursery.start_soon(engine.run)
                secured = await start_tls(
                    near, credentials.client, server_side=False, server_hostname=HOSTNAME
                )
                client = RawClient(
                    await Connection.connect(
                        stream=secured,
                        user="app",
                        password=PASSWORD,
                        database="demo",
                        capabilities=MODERN_CLIENT,
                    )
                )
                relayed = proxy.listener.statistics.relayed_statements
                for _ in range(3):
                    assert (await client.query(READ.format(1)))[-2][1:] == b"one"
                    assert sum(map(len, await client.query(BIG.format(20)))) > 20_000_000
                await client.packets.send_raw(query(READ.format(2)) * 500)
                for _ in range(500):
                    assert (await client.answer(Command.QUERY))[-2][1:] == b"two"
                assert proxy.listener.statistics.relayed_statements == relayed + 506
                await client.send(QUIT)
                await _until(lambda: proxy.listener.statistics.sessions == 1)
                await secured.aclose()
                nursery.cancel_scope.cancel()
