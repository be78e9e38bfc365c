"""`wolfscale_id()` through the proxy before real servers: text and binary protocol, read and written."""

from typing import Any

import pymysql
import pytest
import sqlalchemy
from proxy_pair import FIRST_ID, PASSWORD, Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import FIELD_TYPE
from raw_client import MODERN_CLIENT, OLD_CLIENT, RawClient, raw_client

from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.constants import Capability, ColumnType, Command
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import parse_column, parse_error, parse_ok
from wolfscale.testing.mariadb import ScratchMariaDB

servers = shared_servers
pytestmark = pytest.mark.mariadb
both_roles = pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
clients = pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])


def _number(client: RawClient, packets: list[bytes]) -> int:
    """The first column of the first binary row, a BIGINT."""
    index = 2 if client.connection.capabilities & Capability.DEPRECATE_EOF else 3
    row = PacketBuffer(packets[index])
    row.take(1 + (1 + 2 + 7) // 8)
    return int.from_bytes(row.take(8), "little")


@both_roles
async def test_select_of_an_id_gives_an_int_under_the_name_of_the_call(servers: Pair, leads: bool) -> None:
    def use(proxy: Cluster) -> None:
        with proxy.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            for number in range(1, 6):  # over the ways that remember a statement
                cursor.execute("SELECT wolfscale_id()")
                assert cursor.description[0][1] == FIELD_TYPE.LONGLONG
                assert cursor.fetchall() == [{"wolfscale_id()": FIRST_ID + number}]
            cursor.execute("select WOLFSCALE_ID() AS id, WolfScale_id();")
            assert cursor.fetchall() == [{"id": FIRST_ID + 6, "WolfScale_id()": FIRST_ID + 7}]

    async with cluster(servers, leads=leads) as proxy:
        await proxy.run(use, proxy)
        assert leads or proxy.listener.statistics.leader_statements == 0, "an id alone needs no leader"


@both_roles
async def test_rows_are_written_with_an_id_of_each_call(servers: Pair, leads: bool) -> None:
    def use(proxy: Cluster) -> None:
        with proxy.connect(autocommit=True) as connection:
            rows(connection, "CREATE OR REPLACE TABLE named (id BIGINT PRIMARY KEY, v VARCHAR(40))")
            for _ in range(3):
                rows(connection, "INSERT INTO named VALUES (wolfscale_id(), 'a'), (wolfscale_id(), 'it''s')")
            rows(connection, "SET @id = wolfscale_id()")
            rows(connection, "INSERT INTO named VALUES (@id, 'wolfscale_id()')")
            rows(connection, "UPDATE named SET id = wolfscale_id() WHERE v = 'wolfscale_id()'")
            assert rows(connection, "SELECT id - %s, v FROM named ORDER BY id", FIRST_ID) == [
                *[(number, "a" if number % 2 else "it's") for number in range(1, 7)],
                (8, "wolfscale_id()"),
            ]
            rows(connection, "DROP TABLE named")

    async with cluster(servers, leads=leads) as proxy:
        await proxy.run(use, proxy)


@both_roles
@clients
async def test_prepared_statement_gets_a_new_id_at_each_execution(
    servers: Pair, leads: bool, capabilities: int
) -> None:
    async with cluster(servers, leads=leads) as proxy, raw_client(proxy, capabilities) as client:
        packets = await client.command(b"\x16SELECT wolfscale_id()")
        statement = int.from_bytes(packets[0][1:5], "little")
        column = parse_column(packets[1], client.connection.capabilities)
        assert (column.name, column.type) == (b"wolfscale_id()", ColumnType.LONGLONG)
        assert proxy.ids_given == 0
        for number in range(1, 6):
            assert _number(client, await client.execute(statement)) == FIRST_ID + number
        await client.send(b"\x19" + statement.to_bytes(4, "little"))
        (error,) = await client.execute(statement)
        assert parse_error(error).errno == 1243


@clients
async def test_prepared_insert_keeps_the_parameters_of_the_client(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        await client.query("CREATE OR REPLACE TABLE named (a VARCHAR(20), id BIGINT, b TEXT, other BIGINT)")
        write = await client.prepare("INSERT INTO named VALUES (?, wolfscale_id(), ?, wolfscale_id())")
        for number in range(4):
            # The types come once only; the statement that the server has is another each time.
            packets = await client.execute(write, [b"a%d" % number, b"b"], types=number == 0)
            assert parse_ok(packets[0], client.connection.capabilities).affected_rows == 1
        long_data = write.to_bytes(4, "little") + b"\1\0"
        await client.send(b"\x18" + long_data + b"long ")
        await client.send(b"\x18" + long_data + b"text")
        execution = (
            b"\x17" + write.to_bytes(4, "little") + b"\0\1\0\0\0" + b"\0\1" + b"\xfd\0\xfc\0" + b"\2a4"
        )
        (ok,) = await client.command(execution)
        assert parse_ok(ok, client.connection.capabilities).affected_rows == 1
        await client.execute(write, [b"a5", b"b"])
        sql = f"SELECT a, id - {FIRST_ID}, b, other - {FIRST_ID} FROM named ORDER BY id"
        found = await proxy.run(_rows, proxy, sql)
        assert found == [
            (f"a{number}", 2 * number + 1, "long text" if number == 4 else "b", 2 * number + 2)
            for number in range(6)
        ]
        await client.query("DROP TABLE named")


def _rows(proxy: Cluster, sql: str) -> list[tuple[Any, ...]]:
    with proxy.connect() as connection:
        return rows(connection, sql)


def _prepared_on(server: ScratchMariaDB) -> int:
    ((_, count),) = server.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
    return int(count)


async def test_executions_with_ids_leave_one_statement_on_the_server(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        before = await proxy.run(_prepared_on, servers.replica)
        statement = await client.prepare("SELECT wolfscale_id() FROM t WHERE id = ?")
        for number in range(50):
            assert _number(client, await client.execute(statement, [b"1"])) == FIRST_ID + number + 1
        assert await proxy.run(_prepared_on, servers.replica) == before + 1


@clients
async def test_cursor_over_ids_is_read_to_its_end(servers: Pair, capabilities: int) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, capabilities) as client:
        statement = await client.prepare("SELECT wolfscale_id() FROM t")
        for number in range(1, 4):
            await client.execute(statement, flags=1)
            fetched = await client.command(b"\x1c" + statement.to_bytes(4, "little") + b"\x02\0\0\0")
            row = PacketBuffer(fetched[0])
            row.take(2)
            assert int.from_bytes(row.take(8), "little") == FIRST_ID + number
        await client.command(b"\x1a" + statement.to_bytes(4, "little"))
        assert _number(client, await client.execute(statement)) == FIRST_ID + 4


async def test_bulk_execution_with_ids_is_refused(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statement = await client.prepare("SELECT wolfscale_id() + ?")
        head = bytes((Command.STMT_BULK_EXECUTE,)) + statement.to_bytes(4, "little")
        (error,) = await client.command(head + b"\x80\0\x03\0\0\1\0\0\0")
        assert "row by row" in parse_error(error).message
        assert proxy.ids_given == 0


async def test_call_that_would_be_kept_is_refused_in_both_protocols(servers: Pair) -> None:
    sql = "CREATE VIEW fixed AS SELECT wolfscale_id()"
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        (error,) = await client.query(sql)
        assert "the same for ever" in parse_error(error).message
        with pytest.raises(ServerError, match="the same for ever"):
            await client.prepare(sql)


async def test_statement_is_not_executed_when_there_are_no_ids(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        write = await client.prepare("UPDATE t SET v = wolfscale_id()")
        proxy.no_ids = "the clock is wrong"
        for packets in (await client.query("UPDATE t SET v = wolfscale_id()"), await client.execute(write)):
            error = parse_error(packets[0])
            assert (error.errno, error.sqlstate) == (1105, "HY000")
            assert "the clock is wrong" in error.message
        unchanged = await proxy.run(_rows, proxy, "SELECT v FROM t ORDER BY id LIMIT 1")
        assert unchanged == [("one",)]
        proxy.no_ids = ""
        assert _number(client, await client.execute(await client.prepare("SELECT wolfscale_id()")))


async def test_orm_writes_rows_with_ids(servers: Pair) -> None:
    def use(proxy: Cluster) -> None:
        host, port = proxy.address
        engine = sqlalchemy.create_engine(f"mysql+pymysql://app:{PASSWORD}@{host}:{port}/demo")
        table = sqlalchemy.Table(
            "orm_named",
            sqlalchemy.MetaData(),
            sqlalchemy.Column("id", sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column("v", sqlalchemy.String(20)),
        )
        new_id = sqlalchemy.func.wolfscale_id()
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(table.insert().values(id=new_id, v="one"))
            connection.execute(
                table.insert().values([{"id": new_id, "v": "two"}, {"id": new_id, "v": "three"}])
            )
            assert connection.execute(sqlalchemy.select(new_id)).scalar_one() == FIRST_ID + 4
            found = connection.execute(table.select().order_by(table.c.id)).all()
            assert [tuple(row) for row in found] == [
                (FIRST_ID + 1, "one"),
                (FIRST_ID + 2, "two"),
                (FIRST_ID + 3, "three"),
            ]
            table.drop(connection)
        engine.dispose()

    async with cluster(servers) as proxy:
        await proxy.run(use, proxy)
