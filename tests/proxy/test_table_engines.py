"""Tables in the session's default engine, and renamed temporary tables, are the same on a replica."""

from collections.abc import Callable
from typing import Any

import pymysql
import pytest
from proxy_pair import Cluster, Pair, cluster, rows, shared_servers
from pymysql.constants import CLIENT
from raw_client import raw_client

from wolfscale.proxy.classify import Classifier
from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.table_engines import with_engine

servers = shared_servers
REFUSED = 1235


@pytest.fixture
def database(servers: Pair) -> None:
    servers.primary.execute("CREATE OR REPLACE DATABASE engines")
    servers.catch_up()


def _definitions(pair: Pair, kind: str, table: str) -> list[str]:
    pair.catch_up()
    return [
        server.execute(f"SHOW CREATE {kind} engines.{table}")[0][1] for server in (pair.primary, pair.replica)
    ]


def _engines(pair: Pair, table: str = "t") -> list[str]:
    return [text.partition("ENGINE=")[2].split()[0].upper() for text in _definitions(pair, "TABLE", table)]


def _refusal(connection: Any, sql: str) -> str:
    with pytest.raises(pymysql.err.MySQLError) as failure:
        rows(connection, sql)
    assert failure.value.args[0] == REFUSED, failure.value
    return str(failure.value.args[1])


async def _try(servers: Pair, work: Callable[[Cluster], None]) -> None:
    async with cluster(servers) as proxy:
        await proxy.run(work, proxy)


@pytest.mark.mariadb
def test_fact_31_mariadb_logs_a_table_without_the_session_s_engine(servers: Pair, database: None) -> None:
    servers.primary.execute("USE engines", "SET default_storage_engine = 'Aria'", "CREATE TABLE t (i INT)")
    assert _engines(servers) == ["ARIA", "INNODB"]


@pytest.mark.mariadb
def test_fact_31_mariadb_logs_the_renaming_of_a_temporary_table(servers: Pair, database: None) -> None:
    servers.primary.execute(
        "USE engines",
        "CREATE TABLE t (lasting INT)",
        "CREATE TEMPORARY TABLE t (passing INT)",
        "RENAME TABLE t TO u",
    )
    servers.catch_up()
    tables = [server.execute("SHOW TABLES FROM engines") for server in (servers.primary, servers.replica)]
    assert tables == [(("t",),), (("u",),)]


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (i INT)",
        "CREATE TABLE IF NOT EXISTS engines.t (i INT DEFAULT (1 + (2)), KEY (i)) COMMENT 'ENGINE=x'",
        "CREATE TABLE t (`engine` INT, type INT) PARTITION BY HASH (type) (PARTITION a, PARTITION b);",
        "CREATE TABLE t (i INT) ENGINE = MyISAM",
        "CREATE TABLE t (i INT) SELECT 1 AS i",
        "CREATE TABLE t SELECT 1 AS i",
        "CREATE TABLE t AS VALUES (1), (2)",
        "CREATE TABLE t IGNORE (SELECT 1 AS type)",
        "CREATE TABLE t (i INT) WITH SYSTEM VERSIONING",
        "CREATE SEQUENCE t",
        "CREATE SEQUENCE t START WITH 5 CACHE 7;",
        "CREATE SEQUENCE t ENGINE=InnoDB",
        "CREATE TABLE t (i INT) /* a comment */ -- and another",
    ],
)
async def test_they_are_in_the_session_s_engine_on_every_server(
    servers: Pair, database: None, sql: str
) -> None:
    def work(proxy: Cluster) -> None:
        with proxy.connect(database="engines") as connection:
            rows(connection, "SET default_storage_engine = 'Aria'")
            rows(connection, sql)
        first, second = _engines(servers)
        assert first == second
        assert first == ("MYISAM" if "MyISAM" in sql else "INNODB" if "InnoDB" in sql else "ARIA")

    await _try(servers, work)


@pytest.mark.mariadb
async def test_an_engine_that_a_procedure_or_another_name_sets_is_known(
    servers: Pair, database: None
) -> None:
    def work(proxy: Cluster) -> None:
        with proxy.connect(database="engines") as connection:
            rows(connection, "CREATE PROCEDURE p() SET storage_engine = 'MyISAM'")
            rows(connection, "CALL p()")
            rows(connection, "CREATE TABLE t (i INT)")
            assert _engines(servers) == ["MYISAM", "MYISAM"]
            rows(connection, "SET @@session.storage_engine = InnoDB")
            rows(connection, "CREATE OR REPLACE TABLE t (i INT)")
            assert _engines(servers) == ["INNODB", "INNODB"]

    await _try(servers, work)


@pytest.mark.mariadb
async def test_where_the_engine_cannot_be_added_it_is_asked_for(servers: Pair, database: None) -> None:
    def work(proxy: Cluster) -> None:
        with proxy.connect(database="engines", client_flag=CLIENT.MULTI_STATEMENTS) as connection:
            rows(connection, "PREPARE s FROM 'CREATE TABLE t (i INT)'")
            for sql in (
                "SET STATEMENT default_storage_engine = Aria FOR CREATE TABLE t (i INT)",
                "SET storage_engine = Aria; CREATE TABLE t (i INT)",
            ):
                assert "ENGINE" in _refusal(connection, sql)
            rows(connection, "SET default_storage_engine = 'Aria'")
            for sql in (
                "EXECUTE IMMEDIATE 'CREATE TABLE t (i INT)'",
                "SELECT 1; CREATE TABLE t (i INT)",
                "BEGIN NOT ATOMIC CREATE TABLE t (i INT); END",
                "EXECUTE s",
            ):
                assert "ENGINE" in _refusal(connection, sql)
            rows(connection, "EXECUTE IMMEDIATE 'CREATE TABLE t (i INT) ENGINE=Aria'")
            assert _engines(servers) == ["ARIA", "ARIA"]
            rows(connection, "CREATE TEMPORARY TABLE passing (i INT)")

    await _try(servers, work)


@pytest.mark.mariadb
async def test_a_statement_of_the_binary_protocol_names_its_engine(servers: Pair, database: None) -> None:
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("USE engines")
        await client.query("SET default_storage_engine = 'Aria'")
        statement = await client.prepare("CREATE OR REPLACE TABLE t (i INT)")
        assert (await client.execute(statement))[-1][0] == 0
        assert _engines(servers) == ["ARIA", "ARIA"]


@pytest.mark.mariadb
async def test_renaming_a_temporary_table_is_refused(servers: Pair, database: None) -> None:
    def work(proxy: Cluster) -> None:
        with proxy.connect(database="engines", client_flag=CLIENT.MULTI_STATEMENTS) as connection:
            rows(connection, "CREATE TABLE t (lasting INT)")
            rows(connection, "CREATE TABLE other (lasting INT)")
            rows(connection, "PREPARE s FROM 'RENAME TABLE t TO u'")
            rows(connection, "CREATE TEMPORARY TABLE t (passing INT)")
            for sql in (
                "RENAME TABLE t TO u",
                "RENAME TABLES IF EXISTS engines.t NOWAIT TO u",
                "RENAME TABLE other TO v, `t` WAIT 5 TO u",
                "SELECT 1; RENAME TABLE t TO u",
                "EXECUTE IMMEDIATE 'RENAME TABLE t TO u'",
                "EXECUTE s",
                "BEGIN NOT ATOMIC CREATE TEMPORARY TABLE x (i INT); RENAME TABLE x TO y; END",
            ):
                assert "ALTER TABLE" in _refusal(connection, sql)
            rows(connection, "ALTER TABLE t RENAME TO u")
            rows(connection, "RENAME TABLE t TO w, other TO t")
            assert _definitions(servers, "TABLE", "w")[0] == _definitions(servers, "TABLE", "w")[1]
            with pytest.raises(pymysql.err.MySQLError) as unknown:
                rows(connection, "RENAME TABLE nowhere TO u")
            assert unknown.value.args[0] == 1146

    await _try(servers, work)


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("CREATE TABLE t (i INT) COMMENT 'a'", "CREATE TABLE t (i INT) ENGINE=Aria  COMMENT 'a'"),
        ("CREATE SEQUENCE s;", "CREATE SEQUENCE s ENGINE=Aria ;"),
        ("CREATE SEQUENCE s CACHE 5", "CREATE SEQUENCE s CACHE 5 ENGINE=Aria "),
        ("CREATE TABLE t (i INT) ENGINE Aria", None),
        ("CREATE TABLE t AS SELECT engine FROM u", "CREATE TABLE t ENGINE=Aria  AS SELECT engine FROM u"),
        ("CREATE TABLE t (SELECT 1)", "CREATE TABLE t ENGINE=Aria  (SELECT 1)"),
        ("CREATE TABLE t ((SELECT 1))", "CREATE TABLE t ENGINE=Aria  ((SELECT 1))"),
        ("CREATE TABLE t (i INT) (SELECT 1)", "CREATE TABLE t (i INT) ENGINE=Aria  (SELECT 1)"),
        (
            "CREATE TABLE t WITH a AS (SELECT 1) SELECT 2",
            "CREATE TABLE t ENGINE=Aria  WITH a AS (SELECT 1) SELECT 2",
        ),
        ("CREATE TABLE t (i INT) WITH SYSTEM VERSIONING ENGINE=Aria", None),
        ("CREATE TABLE t (i INT) ENGINE=Aria SELECT 1", None),
        ("CREATE TABLE t LIKE u", None),
        ("CREATE TABLE t (LIKE u)", None),
        ("CREATE TABLE t (i INT); SELECT 1", None),
        ("CREATE TEMPORARY TABLE t (i INT)", None),
        ("CREATE VIEW v AS SELECT (1)", None),
        ("CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a = (1)", None),
    ],
)
def test_where_an_engine_belongs(sql: str, written: str | None) -> None:
    tables = Classifier().classify(sql.encode(), LexerMode()).tables
    place = tables.engine_at if tables is not None and tables.alone else None
    found = None if place is None else with_engine(sql.encode(), place, "Aria").decode()
    assert found == written
