"""Sessions over real servers: a primary and a replica of its own."""

import pymysql
import pytest
from proxy_pair import Pair, cluster, rows, shared_servers

servers = shared_servers
pytestmark = pytest.mark.mariadb


async def test_read_on_a_follower_runs_on_its_own_server(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                assert rows(connection, "SELECT v FROM t WHERE id = 1") == [("one",)]

        await proxy.run(client)
        assert proxy.listener.statistics.local_statements >= 1
        assert proxy.listener.statistics.leader_connections == 0


async def test_write_through_a_follower_is_read_at_once(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                for number in range(50):
                    rows(connection, "INSERT INTO t (v) VALUES (%s)", f"written {number}")
                    assert rows(connection, f"SELECT COUNT(*) FROM t WHERE v = 'written {number}'") == [(1,)]
                rows(connection, "DELETE FROM t WHERE id > 3")
                assert rows(connection, "SELECT COUNT(*) FROM t") == [(3,)]

        await proxy.run(client)
        assert proxy.listener.statistics.local_statements >= 51
        assert proxy.listener.statistics.stale_reads == 0


async def test_transaction_runs_wholly_on_the_leader(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                connection.begin()
                rows(connection, "INSERT INTO t (v) VALUES ('inside')")
                assert rows(connection, "SELECT COUNT(*) FROM t WHERE v = 'inside'") == [(1,)]
                connection.rollback()
                assert rows(connection, "SELECT COUNT(*) FROM t WHERE v = 'inside'") == [(0,)]

        await proxy.run(client)


async def test_errors_reach_the_client_unchanged(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                with pytest.raises(pymysql.err.IntegrityError) as duplicate:
                    rows(connection, "INSERT INTO t (id, v) VALUES (1, 'x')")
                assert duplicate.value.args == (1062, "Duplicate entry '1' for key 'PRIMARY'")
                with pytest.raises(pymysql.err.ProgrammingError) as missing:
                    rows(connection, "SELECT * FROM nowhere")
                assert missing.value.args == (1146, "Table 'demo.nowhere' doesn't exist")

        await proxy.run(client)


async def test_wrong_password_gives_mariadbs_own_error(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with pytest.raises(pymysql.err.OperationalError) as refused:
                proxy.connect(password="wrong")
            assert refused.value.args[0] == 1045
            with pytest.raises(pymysql.err.OperationalError) as unknown:
                proxy.connect(database="nowhere")
            assert unknown.value.args[0] == 1049

        await proxy.run(client)


async def test_account_without_password_reads_and_writes(servers: Pair) -> None:
    async with cluster(servers) as proxy:
        servers.primary.execute("GRANT ALL ON demo.* TO nopassword@'%'")
        servers.catch_up()

        def client() -> None:
            with proxy.connect(user="nopassword", password="") as connection:
                assert rows(connection, "SELECT v FROM t WHERE id = 2") == [("two",)]
                rows(connection, "UPDATE t SET v = 'two' WHERE id = 2")

        await proxy.run(client)


async def test_client_address_is_the_real_one_on_both_connections(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                local = rows(connection, "SELECT USER(), CURRENT_USER()")
                leader = rows(connection, "SELECT USER(), CURRENT_USER() FOR UPDATE")
                assert local == leader == [("app@localhost", "app@%")] or local == leader

        await proxy.run(client)


async def test_ddl_is_surrounded_by_intent_marks_and_dml_is_not(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "UPDATE t SET v = 'one' WHERE id = 1")
                assert proxy.intents == []
                rows(connection, "CREATE TABLE made (a INT)")
                rows(connection, "DROP TABLE made")

        await proxy.run(client)
        assert [name for name, _ in proxy.intents] == ["begin", "end", "begin", "end"]


async def test_schema_made_through_the_proxy_is_used_at_once(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE DATABASE fresh")
                connection.select_db("fresh")
                rows(connection, "CREATE TABLE x (a INT)")
                assert rows(connection, "SELECT COUNT(*) FROM x") == [(0,)]
                assert rows(connection, "SELECT DATABASE()") == [("fresh",)]
                rows(connection, "DROP DATABASE fresh")

        await proxy.run(client)


async def test_settings_hold_on_both_connections(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "SET time_zone = '+03:00', group_concat_max_len = 77")
                local = "SELECT @@time_zone, @@group_concat_max_len"
                assert rows(connection, local) == [("+03:00", 77)]
                assert rows(connection, local + " FOR UPDATE") == [("+03:00", 77)]
                rows(connection, "SET @z = '-05:00'")
                rows(connection, "SET time_zone = @z")
                assert rows(connection, local) == [("-05:00", 77)]
                assert rows(connection, local + " FOR UPDATE") == [("-05:00", 77)]

        await proxy.run(client)


@pytest.mark.parametrize("leads", [False, True])
async def test_refused_statements_never_reach_a_server(servers: Pair, leads: bool) -> None:
    async with cluster(servers, leads=leads) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                for sql in (
                    "SET sql_log_bin = 0",
                    "SET /*!50000 @@session.*/sql_log_bin = 0",
                    "STOP SLAVE",
                    "EXECUTE IMMEDIATE 'KILL 1'",
                    "SET GLOBAL event_scheduler = OFF",
                    "PREPARE s FROM 'RESET MASTER'",
                ):
                    with pytest.raises(pymysql.err.MySQLError) as refused:
                        rows(connection, sql)
                    assert "WolfScale" in str(refused.value)
                rows(connection, "SET @q = 'SET sql_log_bin = 0'")
                for sql in (
                    "PREPARE s FROM @q",
                    "EXECUTE IMMEDIATE CONCAT('RESET ', 'MASTER')",
                    "EXECUTE IMMEDIATE CONCAT('SET GLOBAL ', 'long_query_time = 1')",
                ):
                    with pytest.raises(pymysql.err.MySQLError) as refused:
                        rows(connection, sql)
                    assert "WolfScale" in str(refused.value)
                rows(connection, "SET @q = 'SELECT 41 + ?'")
                rows(connection, "PREPARE s FROM @q")
                rows(connection, "SET @one = 1")
                assert rows(connection, "EXECUTE s USING @one") == [(42,)]
                assert rows(connection, "EXECUTE IMMEDIATE CONCAT('SELECT ', '5')") == [(5,)]

        await proxy.run(client)


@pytest.mark.parametrize("prepared", [False, True], ids=["set", "procedure"])
async def test_is_null_finds_the_last_insert_id_where_the_session_asks_for_that(
    servers: Pair, prepared: bool
) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                if prepared:
                    rows(connection, "CREATE OR REPLACE PROCEDURE looks_back() SET sql_auto_is_null = 1")
                    rows(connection, "CALL looks_back()")
                else:
                    rows(connection, "SET sql_auto_is_null = 1")
                rows(connection, "INSERT INTO t (v) VALUES ('inserted')")
                servers.catch_up()
                assert rows(connection, "SELECT v FROM t WHERE id IS NULL") == [("inserted",)]
                rows(connection, "SET sql_auto_is_null = 0")
                assert rows(connection, "SELECT v FROM t WHERE id IS NULL") == []
                rows(connection, "DELETE FROM t WHERE id > 3")

        await proxy.run(client)
