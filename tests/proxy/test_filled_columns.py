"""New columns whose default is another value on each server."""

import pymysql
import pytest
from proxy_pair import Pair, cluster, rows, shared_servers

from wolfscale.proxy.filled_columns import counts_transactions, fills_differently
from wolfscale.proxy.lexer import LexerMode, tokenize

servers = shared_servers

DEFAULTS = (
    "UUID()",
    "(UUID_SHORT())",
    "(1 + RAND())",
    "SYSDATE()",
    "(NEXTVAL(s))",
    "(NEXT VALUE FOR s)",
    "(USER())",
    "CURRENT_USER",
    "(CONNECTION_ID())",
    "(@mine)",
    "(CONCAT(@@server_id))",
    "(WEEK(NOW()))",
)


@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t ADD a INT DEFAULT {}",
        "ALTER ONLINE TABLE d.`t` DROP x, ADD COLUMN IF NOT EXISTS a INT NOT NULL DEFAULT {} COMMENT 'c'",
        "ALTER TABLE t ADD (a INT, b INT DEFAULT {})",
    ],
)
def test_what_differs_is_found(statement: str, default: str) -> None:
    assert fills_differently(tokenize(statement.format(default), LexerMode()).tokens)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE t ADD a DATE DEFAULT NOW(), ADD b INT DEFAULT 'UUID()' COMMENT 'DEFAULT RAND()'",
        "ALTER TABLE t ADD `uuid` INT DEFAULT 5, ADD rand INT",
        "ALTER TABLE t ADD a INT DEFAULT 5, ALTER b SET DEFAULT UUID()",
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT (UUID())",
        "ALTER TABLE t MODIFY a INT DEFAULT (RAND())",
        "ALTER VIEW v AS SELECT RAND()",
        "CREATE TABLE t (a INT DEFAULT (RAND()))",
        "INSERT INTO t VALUES (UUID())",
    ],
)
def test_what_is_the_same_everywhere_passes(sql: str) -> None:
    assert not fills_differently(tokenize(sql, LexerMode()).tokens)


VERSIONED = (
    "CREATE OR REPLACE TABLE demo.versioned (i INT, s {0} GENERATED ALWAYS AS ROW START, "
    "e {0} AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING"
)


@pytest.mark.parametrize(
    ("sql", "own"),
    [
        (VERSIONED.format("BIGINT UNSIGNED"), True),
        (VERSIONED.format("bigint(20) unsigned"), True),
        ("ALTER TABLE t ADD a INT, ADD COLUMN (s BIGINT UNSIGNED AS ROW START INVISIBLE)", True),
        (VERSIONED.format("TIMESTAMP(6)"), False),
        ("CREATE TABLE t (a BIGINT, s TIMESTAMP(6) AS ROW START)", False),
        ("CREATE TABLE t (a BIGINT) WITH SYSTEM VERSIONING", False),
        ("CREATE TABLE t (a BIGINT, b BIGINT AS (a + 1)) ROW_FORMAT = COMPACT", False),
        ("SELECT 1", False),
    ],
)
def test_versioning_by_transactions_is_found(sql: str, own: bool) -> None:
    assert counts_transactions(tokenize(sql, LexerMode()).tokens) == own


@pytest.mark.mariadb
def test_fact_31_each_server_counts_transactions_itself(servers: Pair) -> None:
    servers.primary.execute(VERSIONED.format("BIGINT UNSIGNED"))
    servers.catch_up()
    # The replica writes its position in each as well, so that its numbers are others after some.
    servers.primary.execute(*["INSERT INTO demo.versioned (i) VALUES (1)"] * 5)
    servers.catch_up()
    numbers = [
        server.execute("SELECT s FROM demo.versioned ORDER BY s")
        for server in (servers.primary, servers.replica)
    ]
    assert numbers[0] != numbers[1]
    servers.primary.execute("DROP TABLE demo.versioned")


@pytest.mark.mariadb
async def test_versioning_by_transactions_is_refused(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                statement = VERSIONED.format("BIGINT UNSIGNED")
                for sql in (
                    statement,
                    f"EXECUTE IMMEDIATE '{statement}'",
                    f"BEGIN NOT ATOMIC {statement}; END",
                ):
                    with pytest.raises(pymysql.err.MySQLError, match=r"TIMESTAMP\(6\)") as refused:
                        rows(connection, sql)
                    assert refused.value.args[0] == 1235
                rows(connection, VERSIONED.format("TIMESTAMP(6)"))
                rows(connection, "INSERT INTO versioned (i) VALUES (1), (2)")
                rows(connection, "UPDATE versioned SET i = 3 WHERE i = 1")
                rows(connection, "DELETE FROM versioned WHERE i = 2")
            servers.catch_up()
            query = "SELECT i, s, e FROM demo.versioned FOR SYSTEM_TIME ALL ORDER BY i, e"
            kept = [server.execute(query) for server in (servers.primary, servers.replica)]
            assert len(kept[0]) == 3
            assert kept[0] == kept[1]

        await proxy.run(client)


@pytest.mark.mariadb
def test_fact_31_each_server_fills_a_new_column_itself(servers: Pair) -> None:
    servers.primary.execute(
        "CREATE OR REPLACE TABLE demo.filled (i INT)",
        "INSERT INTO demo.filled VALUES (1)",
        "ALTER TABLE demo.filled ADD u VARCHAR(36) DEFAULT UUID()",
    )
    servers.catch_up()
    values = {server.execute("SELECT u FROM demo.filled") for server in (servers.primary, servers.replica)}
    assert len(values) == 2
    servers.primary.execute("DROP TABLE demo.filled")


@pytest.mark.mariadb
async def test_the_way_that_the_error_names_gives_the_same_values(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE OR REPLACE TABLE filled (i INT)")
                rows(connection, "INSERT INTO filled VALUES (1), (2)")
                for sql in (
                    "ALTER TABLE filled ADD u VARCHAR(36) DEFAULT UUID()",
                    "EXECUTE IMMEDIATE 'ALTER TABLE filled ADD u VARCHAR(36) DEFAULT UUID()'",
                    "CREATE PROCEDURE fills() ALTER TABLE filled ADD u VARCHAR(36) DEFAULT UUID()",
                ):
                    with pytest.raises(pymysql.err.MySQLError) as refused:
                        rows(connection, sql)
                    assert refused.value.args[0] == 1235
                rows(connection, "ALTER TABLE filled ADD u VARCHAR(36)")
                rows(connection, "UPDATE filled SET u = UUID()")
                rows(connection, "ALTER TABLE filled ALTER COLUMN u SET DEFAULT UUID()")
                rows(connection, "INSERT INTO filled (i) VALUES (3)")
            servers.catch_up()
            values = [
                server.execute("SELECT i, u FROM demo.filled ORDER BY i")
                for server in (servers.primary, servers.replica)
            ]
            assert values[0] == values[1]
            assert len({u for _, u in values[0]}) == 3

        await proxy.run(client)
