"""ALTER TABLE under session variables that MariaDB does not log, and that expressions depend on."""

import pymysql
import pytest
from proxy_pair import Pair, cluster, rows, shared_servers

servers = shared_servers
pytestmark = pytest.mark.mariadb

SETTINGS = (
    ("div_precision_increment", "12", "VARCHAR(40) AS (i / 3) PERSISTENT"),
    ("default_week_format", "3", "INT DEFAULT (WEEK('2021-01-01') + 0)"),
    ("default_regex_flags", "'EXTENDED'", "INT AS ('xy' RLIKE 'x y') PERSISTENT"),
)


@pytest.mark.parametrize(("name", "value", "column"), SETTINGS)
def test_fact_31_servers_fill_columns_by_settings_of_their_own(
    servers: Pair, name: str, value: str, column: str
) -> None:
    servers.primary.execute(
        "CREATE OR REPLACE TABLE demo.altered (i INT)",
        "INSERT INTO demo.altered VALUES (1)",
        f"SET {name} = {value}",
        f"ALTER TABLE demo.altered ADD c {column}",
    )
    servers.catch_up()
    values = {server.execute("SELECT c FROM demo.altered") for server in (servers.primary, servers.replica)}
    assert len(values) == 2
    servers.primary.execute("DROP TABLE demo.altered")


@pytest.mark.parametrize(("name", "value", "column"), SETTINGS)
async def test_alter_table_is_refused_while_they_differ(
    servers: Pair, name: str, value: str, column: str
) -> None:
    column = column.replace("DEFAULT (WEEK('2021-01-01') + 0)", "AS (WEEK('2021-01-01', 3)) PERSISTENT")
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE OR REPLACE TABLE altered (i INT)")
                rows(connection, "INSERT INTO altered VALUES (1)")
                rows(connection, f"SET {name} = {value}")
                for sql in (
                    f"ALTER TABLE altered ADD c {column}",
                    "ALTER TABLE altered ADD d INT",
                    "EXECUTE IMMEDIATE 'ALTER TABLE altered ADD d INT'",
                ):
                    with pytest.raises(pymysql.err.MySQLError) as refused:
                        rows(connection, sql)
                    assert refused.value.args[0] == 1235, sql
                    assert name in refused.value.args[1]
                rows(connection, f"SET {name} = DEFAULT")
                with pytest.raises(pymysql.err.MySQLError) as refused:
                    rows(connection, f"SET STATEMENT {name} = {value} FOR ALTER TABLE altered ADD d INT")
                assert refused.value.args[0] == 1235
                rows(connection, f"ALTER TABLE altered ADD c {column}")
            servers.catch_up()
            values = [
                server.execute("SELECT * FROM demo.altered") for server in (servers.primary, servers.replica)
            ]
            assert values[0] == values[1]

        await proxy.run(client)


async def test_tables_that_replicas_would_not_take_are_refused_by_the_leader_too(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                for value in ("OFF", "0", "FALSE", "NOT 1", "@@autocommit - 1"):
                    with pytest.raises(pymysql.err.MySQLError) as refused:
                        rows(connection, f"SET innodb_strict_mode = {value}")
                    assert refused.value.args[0] == 1227
                for value in ("ON", "1", "TRUE", "DEFAULT"):
                    rows(connection, f"SET SESSION innodb_strict_mode = {value}")
                with pytest.raises(pymysql.err.MySQLError) as wrong:
                    rows(connection, "CREATE OR REPLACE TABLE altered (i INT) KEY_BLOCK_SIZE=32")
                assert wrong.value.args[0] == 1005

        await proxy.run(client)
