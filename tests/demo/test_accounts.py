"""The demo's account on a real server: all rights outside the system schemas, none to change them."""

from collections.abc import Callable, Iterator

import pymysql
import pytest

from wolfscale.demo.accounts import account_statements, database_statement
from wolfscale.demo.servers import run_statements
from wolfscale.testing.mariadb import ScratchMariaDB

pytestmark = pytest.mark.mariadb
Run = Callable[..., object]


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchMariaDB]:
    with ScratchMariaDB() as server:
        # Twice: the statements must be harmless when the account is there already.
        for _ in range(2):
            server.execute(
                *account_statements(),
                database_statement(),
                "CREATE DATABASE IF NOT EXISTS wolfscale",
                "CREATE TABLE IF NOT EXISTS wolfscale.term (term INT)",
            )
        yield server


@pytest.fixture
def run(server: ScratchMariaDB) -> Run:
    def work(*statements: str, user: str = "app", password: str = "secret") -> object:
        return run_statements((server.socket_path, user, password), statements)[-1]

    return work


def test_account_outside_system_schemas_may_do_everything(run: Run) -> None:
    assert run("CREATE TABLE demo.t (a INT)", "INSERT INTO demo.t VALUES (1)", "SELECT a FROM demo.t") == (
        (1,),
    )
    run("CREATE DATABASE of_its_own", "CREATE TABLE of_its_own.t (a INT)", "DROP DATABASE of_its_own")
    run(
        "CREATE PROCEDURE demo.p() SELECT 1",
        "CREATE VIEW demo.v AS SELECT a FROM demo.t",
        "CREATE EVENT demo.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "CREATE TRIGGER demo.g BEFORE INSERT ON demo.t FOR EACH ROW SET NEW.a = 2",
        "CREATE SEQUENCE demo.s",
        "DROP TABLE demo.t",
    )


def test_account_may_create_users_and_hand_rights_on(run: Run) -> None:
    run(
        "CREATE OR REPLACE USER other@'%' IDENTIFIED BY 'word'",
        "GRANT SELECT, INSERT ON demo.* TO other@'%'",
        "CREATE TABLE demo.shared (a INT)",
    )
    run("INSERT INTO demo.shared VALUES (1)", user="other", password="word")
    run("DROP USER other@'%'", "FLUSH PRIVILEGES", "SHOW PROCESSLIST", "SHOW DATABASES")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO mysql.global_priv (Host, User, Priv) VALUES ('%', 'thief', '{}')",
        "UPDATE mysql.global_priv SET Priv = '{\"access\":18446744073709551615}' WHERE User = 'app'",
        "DELETE FROM mysql.db",
        "CREATE TABLE mysql.mine (a INT)",
        "DROP TABLE mysql.proc",
        "GRANT ALL ON mysql.* TO 'app'@'%'",
        "INSERT INTO wolfscale.term VALUES (9)",
        "DROP TABLE wolfscale.term",
        "DROP DATABASE wolfscale",
        "CREATE TABLE sys.mine (a INT)",
        "GRANT ALL ON *.* TO 'app'@'%'",
        "SET GLOBAL read_only = 0",
        "SHUTDOWN",
    ],
)
def test_account_inside_system_schemas_is_refused(run: Run, statement: str) -> None:
    with pytest.raises(pymysql.err.MySQLError) as refused:
        run(statement)
    assert refused.value.args[0] in {1044, 1045, 1142, 1227}


def test_account_may_read_system_schemas(run: Run) -> None:
    assert run("SELECT COUNT(*) FROM wolfscale.term") == ((0,),)
    run("SELECT User FROM mysql.global_priv")
