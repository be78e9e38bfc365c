"""Stored programs that MariaDB would keep and log as texts that no server can read."""

import pytest
from proxy_pair import Pair, cluster, rows, shared_servers
from raw_client import raw_client

from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.program_texts import may_be_unreadable, readable

servers = shared_servers
DUMPED = (
    "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ "
    "/*!50003 TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a = 1 */"
)


@pytest.mark.parametrize(
    ("sql", "spaced"),
    [
        (
            "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW INSERT/*!INTO*/u VALUES (1)",
            "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW INSERT/*! INTO*/ u VALUES (1)",
        ),
        (
            "CREATE PROCEDURE p() SELECT/*!50000 1*//*M! AS*/a",
            "CREATE PROCEDURE p() SELECT/*!50000 1*//*M! AS*/ a",
        ),
        ("CREATE PROCEDURE p() SELECT/*!50000'a'*/", "CREATE PROCEDURE p() SELECT/*!50000'a'*/"),
        (DUMPED, DUMPED),
        ("SELECT/*!1*/a", "SELECT/*!1*/a"),
        ("CREATE TABLE t/*!LIKE*/u", "CREATE TABLE t/*!LIKE*/u"),
        ("CREATE PROCEDURE p() SELECT/*!999999 1*/2", "CREATE PROCEDURE p() SELECT/*!999999 1*/2"),
    ],
)
def test_words_stay_apart(sql: str, spaced: str) -> None:
    assert readable(sql.encode(), LexerMode()).decode() == spaced
    assert may_be_unreadable(sql.encode())


@pytest.mark.parametrize(
    ("sql", "short"),
    [
        ("CREATE PROCEDURE d.p AS BEGIN NULL; END d.p", "CREATE PROCEDURE d.p AS BEGIN NULL; END p"),
        ("create procedure p as begin null; end `d`.`p` ;", "create procedure p as begin null; end `p` ;"),
        (
            "CREATE PROCEDURE IF NOT EXISTS D.p IS BEGIN NULL; END d.p",
            "CREATE PROCEDURE IF NOT EXISTS D.p IS BEGIN NULL; END p",
        ),
        ("CREATE PROCEDURE d.p AS BEGIN NULL; END p;", "CREATE PROCEDURE d.p AS BEGIN NULL; END p;"),
        (
            "CREATE PROCEDURE d.p AS BEGIN NULL; END other.p",
            "CREATE PROCEDURE d.p AS BEGIN NULL; END other.p",
        ),
        ("CREATE PACKAGE d.k AS PROCEDURE p; END d.k", "CREATE PACKAGE d.k AS PROCEDURE p; END d.k"),
        (
            "CREATE PROCEDURE d.p() SELECT 1 AS end FROM d.p",
            "CREATE PROCEDURE d.p() SELECT 1 AS end FROM d.p",
        ),
        ("DROP PROCEDURE d.p", "DROP PROCEDURE d.p"),
    ],
)
def test_end_has_no_schema(sql: str, short: str) -> None:
    assert readable(sql.encode(), LexerMode()).decode() == short
    assert may_be_unreadable(sql.encode())


@pytest.mark.mariadb
def test_fact_31_mariadb_keeps_the_end_of_an_oracle_procedure_without_its_last_name(servers: Pair) -> None:
    kept = servers.primary.execute(
        "SET sql_log_bin = 0",  # the replica would stop
        "SET sql_mode = ORACLE",
        "CREATE OR REPLACE PROCEDURE demo.named AS BEGIN NULL; END demo.named",
        "SET sql_mode = ''",
        "SELECT CONVERT(body USING utf8mb4) FROM mysql.proc WHERE db = 'demo' AND name = 'named'",
    )
    servers.primary.execute("SET sql_log_bin = 0", "DROP PROCEDURE demo.named")
    assert kept == (("AS BEGIN NULL; END demo.",),)


@pytest.mark.mariadb
@pytest.mark.parametrize("prepared", [False, True])
async def test_oracle_procedure_is_the_same_on_a_replica(servers: Pair, prepared: bool) -> None:
    sql = "CREATE OR REPLACE PROCEDURE demo.ends AS BEGIN NULL; END demo.ends"
    async with cluster(servers) as proxy, raw_client(proxy) as client:
        await client.query("SET sql_mode = ORACLE")
        answer = await client.execute(await client.prepare(sql)) if prepared else await client.query(sql)
        assert answer[-1][0] == 0
        servers.catch_up()
        for server in (servers.primary, servers.replica):
            kept = server.execute(
                "SELECT CONVERT(body USING utf8mb4) FROM mysql.proc WHERE db = 'demo' AND name = 'ends'"
            )
            assert kept == (("AS BEGIN NULL; END ends",),)


@pytest.mark.mariadb
async def test_trigger_is_the_same_on_a_replica(servers: Pair) -> None:
    async with cluster(servers) as proxy:

        def client() -> None:
            with proxy.connect() as connection:
                rows(connection, "CREATE OR REPLACE TABLE fires (i INT)")
                rows(connection, "CREATE OR REPLACE TABLE hit (i INT)")
                rows(
                    connection,
                    "CREATE TRIGGER spaced BEFORE INSERT ON fires FOR EACH ROW INSERT/*!INTO*/hit VALUES (1)",
                )
                rows(connection, "INSERT INTO fires VALUES (5)")
                assert rows(connection, "SELECT i FROM hit") == [(1,)]
            servers.catch_up()
            assert len(servers.replica.execute("SHOW CREATE TRIGGER demo.spaced")) == 1

        await proxy.run(client)
