"""ALTER TABLE that goes by the order of a table's rows, which may be another one on each server."""

from typing import Any

import pymysql
import pytest
from proxy_pair import PASSWORD, Cluster, Pair, cluster, rows, shared_servers

from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.lexer import LexerMode

servers = shared_servers


def _insert_across(pair: Pair, table: str) -> None:
    """Two transactions: that which began first is committed last."""

    def session() -> Any:
        return pymysql.connect(
            unix_socket=pair.primary.socket_path, user="app", password=PASSWORD, database="demo"
        )

    with session() as first, session() as second:
        rows(first, f"INSERT INTO {table} VALUES (1, 1)")
        rows(second, f"INSERT INTO {table} VALUES (1, 2)")
        second.commit()
        first.commit()


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE demo.unkeyed ADD id INT AUTO_INCREMENT PRIMARY KEY",
        "ALTER IGNORE TABLE demo.unkeyed ADD UNIQUE (i)",
    ],
)
def test_fact_31_servers_have_the_rows_of_a_table_without_a_key_in_different_orders(
    servers: Pair, change: str
) -> None:
    servers.primary.execute("CREATE OR REPLACE TABLE demo.unkeyed (i INT, j INT) ENGINE=InnoDB")
    _insert_across(servers, "unkeyed")
    servers.primary.execute(change)
    servers.catch_up()
    found = {
        server.execute("SELECT * FROM demo.unkeyed ORDER BY j")
        for server in (servers.primary, servers.replica)
    }
    assert len(found) == 2
    servers.primary.execute("DROP TABLE demo.unkeyed")


@pytest.mark.mariadb
async def test_what_goes_by_the_order_of_rows_is_refused_without_a_key(servers: Pair) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:
            for columns, refused in (
                ("i INT, j INT", True),
                ("i INT, j INT, UNIQUE (i, j)", True),
                ("i INT, j INT, KEY (j)", True),
                ("i INT NOT NULL, j INT NOT NULL, UNIQUE (j)", False),
                ("i INT, j INT PRIMARY KEY", False),
            ):
                rows(connection, f"CREATE OR REPLACE TABLE ordered ({columns}) ENGINE=InnoDB")
                _insert_across(servers, "ordered")
                for sql in (
                    "ALTER TABLE demo.`ordered` ADD COLUMN id INT NOT NULL AUTO_INCREMENT, ADD UNIQUE (id)",
                    "EXECUTE IMMEDIATE 'ALTER IGNORE TABLE ordered ADD CONSTRAINT one UNIQUE (i)'",
                ):
                    if refused:
                        with pytest.raises(pymysql.err.MySQLError) as error:
                            rows(connection, sql)
                        assert error.value.args[0] == 1235
                    else:
                        rows(connection, sql)
                servers.catch_up()
                values = [
                    server.execute("SELECT * FROM demo.ordered")
                    for server in (servers.primary, servers.replica)
                ]
                assert sorted(values[0]) == sorted(values[1])
            for sql in (
                "CREATE OR REPLACE TABLE ordered (i INT)",
                "CREATE OR REPLACE TABLE ordered (i INT) SELECT 7 AS i",
            ):
                rows(connection, sql)
                rows(connection, "ALTER TABLE ordered ADD id INT AUTO_INCREMENT PRIMARY KEY")
            rows(connection, "CREATE TEMPORARY TABLE passing (i INT)")
            rows(connection, "INSERT INTO passing VALUES (1)")
            rows(connection, "ALTER TABLE passing ADD id INT AUTO_INCREMENT PRIMARY KEY")
            rows(connection, "DROP TABLE ordered")

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


@pytest.mark.parametrize(
    "values", ["(5), (NULL)", "(NULL), (NULL)", "(0), (3)", "(-4), (3)", "(0.2), (3)", "(5), (3)"]
)
@pytest.mark.mariadb
async def test_a_column_that_has_all_its_numbers_may_become_the_key(servers: Pair, values: str) -> None:
    def client(proxy: Cluster) -> None:
        with proxy.connect() as connection:
            rows(connection, "CREATE OR REPLACE TABLE ordered (`no``x` DECIMAL(9, 1)) ENGINE=InnoDB")
            rows(connection, f"INSERT INTO ordered VALUES {values}")
            sql = "ALTER TABLE ordered CHANGE COLUMN `no``x` id INT AUTO_INCREMENT PRIMARY KEY"
            if values == "(5), (3)":
                rows(connection, sql)
                rows(connection, "INSERT INTO ordered VALUES (NULL)")
                servers.catch_up()
                for server in (servers.primary, servers.replica):
                    assert server.execute("SELECT id FROM demo.ordered ORDER BY id") == ((3,), (5,), (6,))
            else:
                with pytest.raises(pymysql.err.MySQLError) as error:
                    rows(connection, sql)
                assert error.value.args[0] == 1235
            rows(connection, "DROP TABLE ordered")

    async with cluster(servers) as proxy:
        await proxy.run(client, proxy)


@pytest.mark.parametrize(
    ("sql", "numbered"),
    [
        ("ALTER TABLE t ADD id INT AUTO_INCREMENT KEY", ((None, "t", None),)),
        ("SELECT 1; ALTER ONLINE IGNORE TABLE IF EXISTS d.t ADD PRIMARY KEY (i)", (("d", "t", None),)),
        ("ALTER TABLE t ADD (id SERIAL)", ((None, "t", None),)),
        ("ALTER TABLE t MODIFY id INT NOT NULL AUTO_INCREMENT", ((None, "t", "id"),)),
        ("ALTER TABLE `change` ADD j INT, CHANGE IF EXISTS `a``b` c SERIAL", ((None, "change", "a`b"),)),
        ("ALTER TABLE modify ADD (change_no INT AUTO_INCREMENT)", ((None, "modify", None),)),
        ("ALTER IGNORE TABLE t MODIFY id INT AUTO_INCREMENT KEY", ((None, "t", None),)),
        ("ALTER TABLE t AUTO_INCREMENT = 5", ()),
        ("ALTER TABLE t ADD i INT, AUTO_INCREMENT 5", ()),
        ("ALTER IGNORE TABLE t CONVERT TO CHARACTER SET latin1", ((None, "t", None),)),
        ("ALTER TABLE t ADD UNIQUE (i)", ()),
        ("ALTER TABLE t ADD i INT; CREATE TABLE u (i INT AUTO_INCREMENT KEY)", ()),
    ],
)
def test_which_statements_need_a_look(
    sql: str, numbered: tuple[tuple[str | None, str, str | None], ...]
) -> None:
    tables = Classifier().classify(sql.encode(), LexerMode()).tables
    assert (tables.numbered if tables is not None else ()) == numbered
