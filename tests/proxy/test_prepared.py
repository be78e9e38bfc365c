"""The binary protocol through the proxy, with clients that track sessions and clients that do not."""

import struct

import pytest
from proxy_pair import PASSWORD, Pair, cluster, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, RawClient, execution, raw_client

from wolfscale.mysql.client import Connection
from wolfscale.mysql.commands import LAST_PREPARED_STATEMENT
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import parse_error, parse_ok

servers = shared_servers
pytestmark = pytest.mark.mariadb
clients = pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])


@clients
async def test_prepared_read_runs_locally_and_in_a_transaction_on_the_leader(
    servers: Pair, capabilities: int
) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statement = await client.prepare("SELECT v FROM t WHERE id = ?")
        assert client.first_value(await client.execute(statement, [b"1"])) == b"one"
        assert proxy.listener.statistics.leader_statements == 0
        await client.query("BEGIN")
        before = proxy.listener.statistics.leader_statements
        # The leader's connection has never heard the types: the proxy adds them.
        assert client.first_value(await client.execute(statement, [b"2"], types=False)) == b"two"
        assert proxy.listener.statistics.leader_statements == before + 1
        await client.query("COMMIT")
        assert client.first_value(await client.execute(statement, [b"3"], types=False)) == b"three"


@clients
async def test_prepared_write_is_read_at_once(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        write = await client.prepare("UPDATE t SET v = ? WHERE id = ?")
        read = await client.prepare("SELECT v FROM t WHERE id = ?")
        for number in range(20):
            text = b"three %d" % number
            (ok,) = await client.execute(write, [text, b"3"], types=number == 0)
            assert parse_ok(ok, client.connection.capabilities).affected_rows == 1
            assert client.first_value(await client.execute(read, [b"3"])) == text
        await client.execute(write, [b"three", b"3"])
        assert proxy.listener.statistics.stale_reads == 0


@clients
async def test_pipelined_prepare_and_execute_of_the_last_statement(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        await client.send(b"\x16SELECT v FROM t WHERE id = ?")
        await client.send(execution(LAST_PREPARED_STATEMENT, [b"2"]))
        await client.send(b"\x0e")
        await client.answer(Command.STMT_PREPARE)
        assert client.first_value(await client.answer(Command.STMT_EXECUTE)) == b"two"
        await client.answer(Command.PING)


MISSING = {
    "nothing": execution(LAST_PREPARED_STATEMENT, []),
    "what says that types follow": execution(LAST_PREPARED_STATEMENT, []) + b"\x01",
    "no types": execution(LAST_PREPARED_STATEMENT, [b"2"], types=False),
    "no value": execution(LAST_PREPARED_STATEMENT, [b"2"])[:-2],
    "another flag": execution(LAST_PREPARED_STATEMENT, [b"2"]).replace(b"\x00\x01", b"\x00\x02"),
    "all": execution(LAST_PREPARED_STATEMENT, [b"2"]),
}


@pytest.mark.parametrize("sql", ["SELECT v FROM t WHERE id = ?", "UPDATE t SET v = v WHERE id = ?"])
@pytest.mark.parametrize("command", MISSING.values(), ids=MISSING)
async def test_last_statement_is_executed_without_its_parameters_as_by_mariadb(
    servers: Pair, command: bytes, sql: str
) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        port = servers.primary.port
        async with await Connection.connect(
            user="app",
            password=PASSWORD,
            host="127.0.0.1",
            port=port,
            database="demo",
            capabilities=MODERN_CLIENT,
        ) as connection:
            outcomes = []
            for other in (RawClient(connection), client):
                await other.prepare(sql)
                outcomes.append([packet for packet in await other.command(command) if packet[0] == 0xFF])
                await other.command(b"\x0e")
            assert outcomes[0] == outcomes[1]


async def test_execute_of_the_last_statement_after_a_failed_prepare_is_an_error(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        with pytest.raises(ServerError, match="1064"):
            await client.prepare("SELEC 1")
        (answer,) = await client.execute(LAST_PREPARED_STATEMENT)
        assert parse_error(answer).errno == 1243


async def test_unknown_and_closed_statements_are_errors(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SELECT 1")
        await client.send(struct.pack("<BI", Command.STMT_CLOSE, statement))
        (answer,) = await client.execute(statement)
        assert parse_error(answer).errno == 1243
        assert parse_error(answer).message.endswith("given to mysqld_stmt_execute")
        (answer,) = await client.command(struct.pack("<BI", Command.STMT_RESET, 99))
        assert parse_error(answer).errno == 1243


async def test_long_data_goes_to_the_leader_with_its_execution(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SELECT CONCAT(?, '!')")
        for part in (b"a" * 1000, b"b" * 1000):
            await client.send(struct.pack("<BIH", Command.STMT_SEND_LONG_DATA, statement, 0) + part)
        payload = struct.pack("<BIBI", Command.STMT_EXECUTE, statement, 0, 1) + b"\x00\x01\xfc\x00"
        answer = await client.command(payload)
        assert client.first_value(answer) == b"a" * 1000 + b"b" * 1000 + b"!"
        # The statement is an ordinary one again.
        assert client.first_value(await client.execute(statement, [b"x"])) == b"x!"


@clients
async def test_cursor_is_fetched_from_where_it_was_opened(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statement = await client.prepare("SELECT v FROM t WHERE id <= 3 ORDER BY id")
        await client.execute(statement, flags=1)
        rows = await client.command(struct.pack("<BII", Command.STMT_FETCH, statement, 2))
        assert len(rows) == 3
        rows = await client.command(struct.pack("<BII", Command.STMT_FETCH, statement, 2))
        assert len(rows) == 2
        (answer,) = await client.command(struct.pack("<BI", Command.STMT_RESET, statement))
        assert answer[0] == 0
        (answer,) = await client.command(struct.pack("<BII", Command.STMT_FETCH, statement, 2))
        assert parse_error(answer).errno == 1421


async def test_refused_statement_does_not_prepare(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        with pytest.raises(ServerError, match="WolfScale"):
            await client.prepare("SET sql_log_bin = ?")
        with pytest.raises(ServerError, match="1295"):
            await client.prepare("EXECUTE IMMEDIATE ?")


@clients
async def test_prepared_setting_holds_on_both_connections(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        setting = await client.prepare("SET time_zone = ?")
        await client.execute(setting, [b"+04:00"])
        local = await client.prepare("SELECT @@time_zone")
        leader = await client.prepare("SELECT @@time_zone FOR UPDATE")
        assert client.first_value(await client.execute(local)) == b"+04:00"
        assert client.first_value(await client.execute(leader)) == b"+04:00"


@clients
async def test_reset_connection_clears_state_and_keeps_the_schema(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statement = await client.prepare("SELECT CONCAT(@@time_zone, DATABASE())")
        await client.query("SET time_zone = '+05:00', @a = 1")
        assert client.first_value(await client.execute(statement)) == b"+05:00demo"
        (ok,) = await client.command(bytes((Command.RESET_CONNECTION,)))
        assert ok[0] == 0
        (answer,) = await client.execute(statement)
        assert parse_error(answer).errno == 1243
        statement = await client.prepare("SELECT CONCAT(@@time_zone, DATABASE())")
        assert client.first_value(await client.execute(statement)) == b"SYSTEMdemo"
        leader = await client.prepare("SELECT CONCAT(@@time_zone, DATABASE(), IFNULL(@a, '-')) FOR UPDATE")
        assert client.first_value(await client.execute(leader)) == b"SYSTEMdemo-"
        await client.query("INSERT INTO t (v) VALUES ('reset')")
        await client.query("DELETE FROM t WHERE id > 3")
        (ok,) = await client.query("UPDATE t SET v = 'one' WHERE id = 1")
        assert ok[0] == 0
