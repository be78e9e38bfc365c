"""Foreign keys that change rows of a table with system versioning: its history would differ."""

from typing import Any

import pymysql
import pytest
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers

from wolfscale.proxy.lexer import LexerMode, tokenize
from wolfscale.proxy.versioned_cascades import cascades, cascades_in_history, is_versioned

servers = shared_servers
CHILD = (
    "CREATE OR REPLACE TABLE demo.child (id INT PRIMARY KEY, p INT, "
    "FOREIGN KEY (p) REFERENCES demo.parent (id){rule}) ENGINE=InnoDB{versioning}"
)
CASCADE = " ON DELETE CASCADE"
VERSIONING = " WITH SYSTEM VERSIONING"


@pytest.mark.parametrize(
    ("sql", "versioned", "changing"),
    [
        (CHILD.format(rule=CASCADE, versioning=VERSIONING), True, True),
        (CHILD.format(rule=" ON UPDATE RESTRICT ON DELETE SET NULL", versioning=""), False, True),
        (CHILD.format(rule=" ON UPDATE NO ACTION", versioning=VERSIONING), True, False),
        ("CREATE TABLE c (a INT, b INT WITHOUT SYSTEM VERSIONING)", False, False),
        ("CREATE TABLE c (a INT, s TIMESTAMP(6) AS ROW START)", True, False),
        ("CREATE TABLE c (a DATETIME ON UPDATE NOW(), b INT DEFAULT (1) )", False, False),
        ("ALTER TABLE c ADD SYSTEM VERSIONING", True, False),
        ("ALTER TABLE c DROP SYSTEM VERSIONING", False, False),
        ("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON UPDATE CASCADE", False, True),
    ],
)
def test_both_are_found(sql: str, versioned: bool, changing: bool) -> None:
    tokens = tokenize(sql, LexerMode()).tokens
    assert (is_versioned(tokens), cascades(tokens)) == (versioned, changing)
    assert cascades_in_history(tokens) == (versioned and changing)


def test_only_definitions_are_meant() -> None:
    sql = "INSERT INTO t VALUES (1) /* */; SELECT 1 WITH SYSTEM VERSIONING ON DELETE CASCADE"
    assert not cascades_in_history(tokenize(sql, LexerMode()).tokens)


def _history(pair: Pair) -> list[Any]:
    pair.catch_up()
    query = "SELECT id, p, ROW_START, ROW_END FROM demo.child FOR SYSTEM_TIME ALL ORDER BY id, ROW_END"
    return [server.execute(query) for server in (pair.primary, pair.replica)]


def _parent(pair: Pair) -> None:
    pair.primary.execute(
        "DROP TABLE IF EXISTS demo.child",
        "CREATE OR REPLACE TABLE demo.parent (id INT PRIMARY KEY) ENGINE=InnoDB",
        "INSERT INTO demo.parent VALUES (1), (2)",
    )


@pytest.mark.mariadb
def test_fact_31_each_server_writes_the_history_of_what_foreign_keys_change(servers: Pair) -> None:
    _parent(servers)
    servers.primary.execute(
        CHILD.format(rule=CASCADE, versioning=VERSIONING),
        "INSERT INTO demo.child VALUES (1, 1), (2, 2)",
        "DELETE FROM demo.parent WHERE id = 1",
    )
    there, elsewhere = _history(servers)
    assert len(there) == len(elsewhere) == 2
    assert there != elsewhere
    servers.primary.execute("DROP TABLE demo.child")


@pytest.mark.mariadb
async def test_the_two_together_are_refused(servers: Pair) -> None:
    _parent(servers)
    servers.catch_up()

    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:

            def refused(sql: str) -> None:
                with pytest.raises(pymysql.err.MySQLError, match="history of its own") as error:
                    rows(connection, sql)
                assert error.value.args[0] == 1235

            both = CHILD.format(rule=CASCADE, versioning=VERSIONING)
            add_key = (
                "ALTER TABLE demo.child ADD FOREIGN KEY (p) REFERENCES demo.parent (id) ON UPDATE SET NULL"
            )
            for sql in (both, f"EXECUTE IMMEDIATE '{both}'", f"BEGIN NOT ATOMIC {both}; END"):
                refused(sql)
            rows(connection, CHILD.format(rule=CASCADE, versioning=""))
            refused("ALTER TABLE child ADD SYSTEM VERSIONING")
            refused("EXECUTE IMMEDIATE 'ALTER TABLE child ADD SYSTEM VERSIONING'")
            rows(connection, CHILD.format(rule="", versioning=VERSIONING))
            rows(connection, "SET system_versioning_alter_history = KEEP")
            refused(add_key)
            rows(connection, "ALTER TABLE child ADD c INT")
            rows(connection, "DROP TABLE child")
            rows(connection, CHILD.format(rule="", versioning=""))
            rows(connection, add_key)

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


@pytest.mark.mariadb
async def test_trigger_of_the_other_table_gives_the_same_history(servers: Pair) -> None:
    _parent(servers)
    servers.catch_up()

    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:
            rows(connection, CHILD.format(rule="", versioning=VERSIONING))
            rows(
                connection,
                "CREATE TRIGGER with_children BEFORE DELETE ON parent FOR EACH ROW "
                "DELETE FROM child WHERE p = OLD.id",
            )
            rows(connection, "INSERT INTO child VALUES (1, 1), (2, 2)")
            rows(connection, "DELETE FROM parent WHERE id = 1")
        there, elsewhere = _history(servers)
        assert len(there) == 2
        assert there == elsewhere

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)
