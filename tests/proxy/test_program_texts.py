"""Executable comments inside stored programs, which MariaDB cuts out without a space."""

import pytest
from proxy_pair import Pair, cluster, rows, shared_servers

from wolfscale.proxy.lexer import LexerMode
from wolfscale.proxy.program_texts import has_marks, with_spaces

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
    assert with_spaces(sql.encode(), LexerMode()).decode() == spaced
    assert has_marks(sql.encode())


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
