"""Other people's clients and unusual traffic, through the proxy before real servers."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy
import trio
from proxy_pair import PASSWORD, Pair, cluster, rows, shared_servers
from raw_client import MODERN_CLIENT, OLD_CLIENT, RawClient, raw_client

from wolfscale.mysql.client import Connection
from wolfscale.mysql.commands import ChangeUser
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.results import parse_error, parse_ok
from wolfscale.proxy import refresh

servers = shared_servers
pytestmark = pytest.mark.mariadb
both_roles = pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])


def _command_line(port: int, *arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            "--host=127.0.0.1",
            f"--port={port}",
            "--user=app",
            f"--password={PASSWORD}",
            "--skip-ssl",
            "--local-infile=1",
            *arguments,
            "demo",
        ],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


@both_roles
async def test_command_line_client_runs_a_script(servers: Pair, leads: bool, tmp_path: Path) -> None:
    async with cluster(servers, leads=leads) as proxy:
        lines = tmp_path / "lines"
        lines.write_text("".join(f"{number}\tline {number}\n" for number in range(1000)))
        script = f"""
            CREATE TABLE loaded (id INT PRIMARY KEY, v VARCHAR(20));
            LOAD DATA LOCAL INFILE '{lines}' INTO TABLE loaded;
            SELECT COUNT(*), MAX(v) FROM loaded;
            DELIMITER //
            CREATE PROCEDURE both_results()
            BEGIN SELECT 1; UPDATE loaded SET v = 'x' WHERE id = 1; SELECT 2; END//
            DELIMITER ;
            CALL both_results();
            SELECT v FROM loaded WHERE id = 1;
            SHOW WARNINGS;
            DROP TABLE loaded;
            DROP PROCEDURE both_results;
            SELECT * FROM loaded;
        """
        port = servers.primary.port
        assert port is not None
        direct = await proxy.run(lambda: _command_line(port, text=script))
        assert "1000\tline 999" in direct
        assert "ERROR 1146" in direct
        assert await proxy.run(lambda: _command_line(proxy.address[1], text=script)) == direct


@both_roles
async def test_multiple_statements_in_one_text(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:

        def client() -> None:
            flag = pymysql.constants.CLIENT.MULTI_STATEMENTS
            with proxy.connect(client_flag=flag) as connection, connection.cursor() as cursor:
                cursor.execute("UPDATE t SET v = 'one' WHERE id = 1; SELECT 5; USE mysql; SELECT DATABASE()")
                assert cursor.nextset()
                assert cursor.fetchall() == ((5,),)
                assert cursor.nextset()
                assert cursor.nextset()
                assert cursor.fetchall() == (("mysql",),)
                assert not cursor.nextset()
                cursor.execute("SELECT DATABASE()")
                assert cursor.fetchall() == (("mysql",),)

        await proxy.run(client)


@both_roles
async def test_sqlalchemy_session_round_trip(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:

        def client() -> None:
            url = f"mysql+pymysql://app:{PASSWORD}@127.0.0.1:{proxy.address[1]}/demo"
            engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
            metadata = sqlalchemy.MetaData()
            table = sqlalchemy.Table(
                "alchemy",
                metadata,
                sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
                sqlalchemy.Column("name", sqlalchemy.String(50), nullable=False),
            )
            metadata.create_all(engine)
            with engine.begin() as connection:
                result = connection.execute(table.insert().values(name="first"))
                assert result.inserted_primary_key == (1,)
            with engine.connect() as connection:
                assert connection.execute(sqlalchemy.select(table.c.name)).scalars().all() == ["first"]
            assert sqlalchemy.inspect(engine).get_columns("alchemy")[1]["name"] == "name"
            options = {"isolation_level": "AUTOCOMMIT"}
            with engine.connect().execution_options(**options) as connection:
                assert connection.execute(sqlalchemy.select(table.c.id)).scalar() == 1
            metadata.drop_all(engine)
            engine.dispose()

        await proxy.run(client)


async def test_sysbench_read_write_with_prepared_statements(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def sysbench(*arguments: str) -> str:
            done = subprocess.run(
                [
                    "sysbench",
                    "--db-driver=mysql",
                    "--mysql-host=127.0.0.1",
                    f"--mysql-port={proxy.address[1]}",
                    "--mysql-user=app",
                    f"--mysql-password={PASSWORD}",
                    "--mysql-db=demo",
                    "--table-size=200",
                    "--tables=1",
                    "--threads=4",
                    "--time=0",
                    "--events=200",
                    *arguments,
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env=os.environ,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        await proxy.run(lambda: sysbench("oltp_read_write", "prepare"))
        await proxy.run(lambda: sysbench("oltp_read_write", "run"))
        before = proxy.listener.statistics.local_statements
        await proxy.run(lambda: sysbench("oltp_point_select", "run"))
        assert proxy.listener.statistics.local_statements - before >= 200
        await proxy.run(lambda: sysbench("oltp_read_write", "cleanup"))


@pytest.mark.parametrize("size", [(1 << 24) - 2, (1 << 24) - 1, 1 << 24, 20 << 20])
async def test_large_packets_pass_both_ways(servers: Pair, size: int) -> None:
    servers.primary.execute("SET GLOBAL max_allowed_packet = 64 << 20")
    servers.replica.execute("SET GLOBAL max_allowed_packet = 64 << 20")
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect(max_allowed_packet=1 << 30) as connection:
                rows(connection, "CREATE TABLE big (b LONGBLOB)")
                # "INSERT INTO big VALUES ('...')" with its command byte is exactly `size` bytes long.
                value = "x" * (size - len("?INSERT INTO big VALUES ('')"))
                connection.query(f"INSERT INTO big VALUES ('{value}')")
                assert rows(connection, "SELECT LENGTH(b), b = REPEAT('x', LENGTH(b)) FROM big") == [
                    (len(value), 1)
                ]
                assert rows(connection, "SELECT b FROM big") == [(value.encode(),)]
                rows(connection, "DROP TABLE big")

        await proxy.run(client)


@both_roles
async def test_temporary_table_is_read_where_it_is(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE TEMPORARY TABLE t (id INT)")
                assert rows(connection, "SELECT COUNT(*) FROM t") == [(0,)]

        await proxy.run(client)


async def test_temporary_table_made_by_a_procedure_is_read_where_it_is(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE PROCEDURE hides() CREATE TEMPORARY TABLE t (id INT)")
                rows(connection, "CALL hides()")
                assert rows(connection, "SELECT COUNT(*) FROM t") == [(0,)]
                rows(connection, "DROP PROCEDURE hides")

        await proxy.run(client)


async def test_function_that_writes_runs_on_the_leader_and_a_view_that_hides_it_is_misjudged(
    servers: Pair,
) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE TABLE log (a INT)")
                rows(
                    connection,
                    "CREATE FUNCTION writes() RETURNS INT BEGIN INSERT INTO log VALUES (1); RETURN 7; END",
                )
                assert rows(connection, "SELECT writes()") == [(7,)]
                assert rows(connection, "SELECT COUNT(*) FROM log") == [(1,)]
                assert proxy.listener.statistics.misjudged_reads == 0
                rows(connection, "CREATE VIEW hidden AS SELECT writes() AS w")
                assert rows(connection, "SELECT w FROM hidden") == [(7,)]
                assert rows(connection, "SELECT COUNT(*) FROM log") == [(2,)]
                assert proxy.listener.statistics.misjudged_reads == 1
                for sql in ("DROP VIEW hidden", "DROP FUNCTION writes", "DROP TABLE log"):
                    rows(connection, sql)

        await proxy.run(client)


async def test_diagnostics_speak_of_the_previous_statement(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SELECT id FROM t WHERE id <= 2")
                assert rows(connection, "SELECT FOUND_ROWS()") == [(2,)]
                rows(connection, "SELECT 1 / 0, CAST('x' AS INT)")
                assert len(rows(connection, "SHOW WARNINGS")) >= 1
                rows(connection, "UPDATE t SET v = 'one' WHERE id = 1")
                rows(connection, "INSERT INTO t (v) VALUES ('a'), ('b')")
                assert rows(connection, "SELECT ROW_COUNT()") == [(2,)]
                rows(connection, "SELECT 1")
                assert rows(connection, "SELECT LAST_INSERT_ID() > 3") == [(1,)]
                rows(connection, "DELETE FROM t WHERE id > 3")

        await proxy.run(client)


async def test_sql_mode_changes_how_text_is_read(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
                assert rows(connection, 'SELECT "v" FROM "t" WHERE "id" = 1') == [("one",)]
                assert rows(connection, "SELECT '\\'") == [("\\",)]
                with pytest.raises(pymysql.err.MySQLError, match="WolfScale"):
                    rows(connection, "SELECT '\\' /* ' */ ; KILL 1")
                rows(connection, "SET sql_mode = ORACLE")
                before = proxy.listener.statistics.local_statements
                assert rows(connection, "SELECT 1") == [(1,)]
                assert proxy.listener.statistics.local_statements == before

        await proxy.run(client)


async def test_tracking_survives_a_client_that_sets_it(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, MODERN_CLIENT) as client:
        await client.query("SET session_track_system_variables = 'time_zone'")
        await client.query("INSERT INTO t (v) VALUES ('x')")
        assert client.tracker.gtid is not None
        await client.query("DELETE FROM t WHERE id > 3")


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
@both_roles
async def test_change_user_relays_the_log_in(servers: Pair, capabilities: int, leads: bool) -> None:
    servers.primary.execute("GRANT ALL ON demo.* TO nopassword@'%'")
    servers.catch_up()
    async with cluster(servers, leads=leads) as proxy, raw_client(proxy, capabilities) as client:
        await client.query("SET @a = 1, time_zone = '+09:00'")
        command = ChangeUser(
            user=b"nopassword", answer=b"", database=b"demo", collation=45, plugin=b"mysql_native_password"
        )
        await client.send(command.build())
        answer = await client.packets.read()
        if answer[0] == 0xFE:
            await client.packets.write(b"")
            answer = await client.packets.read()
        assert answer[0] == 0, answer
        packets = await client.query("SELECT CONCAT(CURRENT_USER(), @@time_zone)")
        assert b"nopassword@%SYSTEM" in b"".join(packets)
        packets = await client.query("SELECT CONCAT(CURRENT_USER(), @@time_zone) FOR UPDATE")
        assert b"nopassword@%SYSTEM" in b"".join(packets)


async def test_simple_commands_are_answered(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy, OLD_CLIENT) as client:
        (ok,) = await client.command(bytes((Command.PING,)))
        assert parse_ok(ok, client.connection.capabilities).status == 2
        (text,) = await client.command(bytes((Command.STATISTICS,)))
        assert text.startswith(b"Uptime")
        assert len(await client.command(bytes((Command.FIELD_LIST,)) + b"t\0%")) == 3
        await client.command(bytes((Command.INIT_DB,)) + b"mysql")
        assert b"\x05mysql" in await client.query("SELECT DATABASE()")
        (error,) = await client.command(bytes((Command.PROCESS_KILL,)) + b"\1\0\0\0")
        assert parse_error(error).errno == 1094
        (error,) = await client.command(bytes((Command.SHUTDOWN,)))
        assert parse_error(error).errno == 1047
        await client.command(bytes((Command.SET_OPTION,)) + b"\0\0")
        await client.query("DO 1; DO 2")
        assert client.tracker.error is None
        await client.command(bytes((Command.SET_OPTION,)) + b"\1\0")
        await client.query("DO 1; DO 2")
        assert client.tracker.error is not None


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_debug_has_the_leader_write_into_its_log(servers: Pair, capabilities: int) -> None:
    servers.primary.execute("GRANT ALL ON demo.* TO nopassword@'%'")
    servers.catch_up()
    async with cluster(servers) as proxy:
        async with raw_client(proxy, capabilities) as client:
            before = servers.primary.error_log.read_text().count("Status information:")
            (end,) = await client.command(bytes((Command.DEBUG,)))
            assert end[0] == 0xFE
            assert b"\x011" in await client.query("SELECT 1")
            assert servers.primary.error_log.read_text().count("Status information:") == before + 1
        async with raw_client(proxy, capabilities, user="nopassword", password="") as client:
            (error,) = await client.command(bytes((Command.DEBUG,)))
            assert parse_error(error).errno == 1227


@pytest.mark.parametrize("capabilities", [OLD_CLIENT, MODERN_CLIENT], ids=["old", "modern"])
async def test_refresh_is_what_flush_is_and_never_a_reset(servers: Pair, capabilities: int) -> None:
    servers.primary.execute("GRANT ALL ON demo.* TO nopassword@'%'")
    servers.catch_up()
    async with cluster(servers) as proxy:
        async with raw_client(proxy, capabilities) as client:
            for bits in (refresh.STATUS, refresh.TABLES | refresh.HOSTS | refresh.THREADS, refresh.GRANT, 0):
                (ok,) = await client.command(bytes((Command.REFRESH, bits)))
                assert parse_ok(ok, client.connection.capabilities).status & 2
            before = servers.primary.execute("SELECT @@gtid_binlog_state")
            for bits in (refresh.MASTER, refresh.SLAVE, 0xFF):
                (error,) = await client.command(bytes((Command.REFRESH, bits)))
                assert parse_error(error).errno == 1227
            assert servers.primary.execute("SELECT @@gtid_binlog_state") == before
            await client.command(bytes((Command.REFRESH, refresh.GRANT)))
            servers.catch_up()
            assert servers.replica.execute("SELECT @@gtid_slave_pos") > before
        async with raw_client(proxy, capabilities, user="nopassword", password="") as client:
            for bits in (refresh.TABLES, refresh.GRANT):
                (error,) = await client.command(bytes((Command.REFRESH, bits)))
                assert parse_error(error).errno == 1227


@both_roles
async def test_ok_packets_are_the_servers_own_to_the_byte(servers: Pair, leads: bool) -> None:
    statements = (
        "CREATE TEMPORARY TABLE counted (i INT)",
        "INSERT INTO counted VALUES (1), (2)",
        "UPDATE counted SET i = 3",
        "ALTER TABLE counted ADD j INT",
        "USE demo",
        "DO 1",
    )

    async def answers(connection: Connection) -> list[list[bytes]]:
        client = RawClient(connection)
        return [await client.query(sql) for sql in statements]

    for capabilities in (OLD_CLIENT, OLD_CLIENT | Capability.DEPRECATE_EOF, MODERN_CLIENT):
        direct = await servers.primary.connect(tcp=True, database="demo", capabilities=capabilities)
        async with (
            direct,
            cluster(servers, leads=leads) as proxy,
            raw_client(proxy, capabilities) as client,
        ):
            assert await answers(client.connection) == await answers(direct)


async def test_pipelined_queries_are_answered_in_order(servers: Pair) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        statements = ["SELECT 10", "UPDATE t SET v = 'one' WHERE id = 1", "SELECT 20", "SELECT 30 FOR UPDATE"]
        for sql in statements * 10:
            await client.send(b"\x03" + sql.encode())
        for _ in range(10):
            assert b"\x0210" in await client.answer(Command.QUERY)
            assert len(await client.answer(Command.QUERY)) == 1
            assert b"\x0220" in await client.answer(Command.QUERY)
            assert b"\x0230" in await client.answer(Command.QUERY)


async def test_more_clients_than_allowed_are_turned_away(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        proxy.listener._max_sessions = 1
        first = await proxy.run(proxy.connect)

        def second() -> None:
            with pytest.raises(pymysql.err.OperationalError) as refused:
                proxy.connect()
            assert refused.value.args[0] == 1040

        await proxy.run(second)
        first.close()


async def test_node_account_cannot_log_in(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with pytest.raises(pymysql.err.OperationalError) as refused:
                proxy.connect(user="wolfscale")
            assert refused.value.args[0] == 1045

        await proxy.run(client)


async def test_client_that_asks_for_tls_is_told(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        stream = await trio.open_tcp_stream(*proxy.address)
        async with stream:
            await stream.receive_some()
            flags = int(Capability.PROTOCOL_41 | Capability.SSL | Capability.SECURE_CONNECTION)
            await stream.send_all(b"\x20\0\0\1" + flags.to_bytes(4, "little") + bytes(28))
            answer = b""
            with trio.fail_after(60):
                while data := await stream.receive_some():
                    answer += data
        assert b"TLS" in answer


async def _connection_counts(pair: Pair) -> Any:
    return pair.primary.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'")


async def test_connections_of_departed_clients_are_closed(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            for _ in range(20):
                with proxy.connect() as connection:
                    rows(connection, "SELECT 1 FOR UPDATE")

        await proxy.run(client)
        with trio.fail_after(60):
            while proxy.listener.statistics.sessions or await _connection_counts(servers) != ((0,),):
                await trio.sleep(0.01)
