"""What a cluster makes for the application that will use it: a database, and an account to begin with."""

from dataclasses import dataclass, field

from wolfscale import logs
from wolfscale.mysql.auth import double_sha1, sha1_of_password, stored_hash
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import identifier, literal
from wolfscale.replication.database import Database
from wolfscale.replication.open_intents import OpenIntents

log = logs.logger(__name__)

# A grant on one schema beats a grant on a pattern, whatever it allows (MariaDB's acl_get takes the most
# specific row of mysql.db alone). So these rows take the pattern's rights away where they apply.
_SHIELDED = ("mysql", "wolfscale", "sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What the configuration wants to be there.

    Attributes:
        database: created by a primary when it does not exist.
        user: an account with all rights on that database, for clients from any address; created by a primary
            while the cluster has no account but its own, so that it is never made again once it was dropped
            or given another password beside others.
        password: the account's.
        cluster_accounts: names of accounts that the cluster itself has beside the node's.
    """

    database: str | None = None
    user: str | None = None
    password: str = field(default="", repr=False)
    cluster_accounts: tuple[str, ...] = ()


async def create_missing(database: Database, intents: OpenIntents, application: Application) -> None:
    """Create on the primary what is not there yet; leaves no trace when everything is.

    What the server refuses (a name that it does not like) is said in the log: the cluster serves without.

    Raises:
        ConnectionLost: the server is gone.
        OSError: the intent mark cannot be written.
    """
    statements = []
    if application.database is not None and not await _has_database(database, application.database):
        statements.append(database_statement(application.database))
    user = application.user
    if (
        user is not None
        and application.database is not None
        and not await _has_accounts(database, application.cluster_accounts)
    ):
        statements.append(owner_statement(user, password_hash(application.password), application.database))
        log.info("creating the first account", user=user, database=application.database)
    if not statements:
        return
    async with await database.connect() as connection:
        await intents.begin(connection.connection_id)
        finished = False
        try:
            for statement in statements:
                await connection.query(statement)
            finished = True
        except ServerError as error:
            finished = True
            log.warning("MariaDB refuses what the configuration wants created", reason=str(error))
        finally:
            intents.end(connection.connection_id, finished=finished)


def password_hash(password: str) -> str:
    """A password as mysql_native_password stores it, so that it stands in no statement and no log."""
    return stored_hash(double_sha1(sha1_of_password(password)))


def database_statement(database: str) -> str:
    """The statement that creates a database; harmless when it is there."""
    return f"CREATE DATABASE IF NOT EXISTS {identifier(database)}"


def owner_statement(user: str, native_hash: str, database: str) -> str:
    """The statement that creates an account with all rights on one database: one, so that it is whole."""
    # In a GRANT the name is a pattern: without these a database my_app would open myXapp too.
    pattern = database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return f"GRANT ALL PRIVILEGES ON {identifier(pattern)}.* TO {_account(user)} {_identified(native_hash)}"


def administrator_statements(user: str, native_hash: str) -> list[str]:
    """The statements that create an account with all rights outside the system schemas.

    It may make databases and accounts and hand its rights on, so it could give another account what it has
    not itself, rights inside the system schemas: it is for whoever owns the cluster.
    """
    account = _account(user)
    return [
        f"GRANT CREATE USER, PROCESS, RELOAD, SHOW DATABASES ON *.* TO {account} {_identified(native_hash)}",
        *(f"GRANT SELECT ON {identifier(schema)}.* TO {account}" for schema in _SHIELDED),
        f"GRANT ALL PRIVILEGES ON `%`.* TO {account} WITH GRANT OPTION",
    ]


def password_statement(user: str, native_hash: str) -> str:
    """The statement that gives an account another password."""
    return f"ALTER USER {_account(user)} {_identified(native_hash)}"


def _account(user: str) -> str:
    return f"{literal(user)}@'%'"


def _identified(native_hash: str) -> str:
    return f"IDENTIFIED VIA mysql_native_password USING {literal(native_hash)}"


async def _has_database(database: Database, name: str) -> bool:
    count = await database.value(
        f"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name={literal(name)}"
    )
    return count != "0"


async def _has_accounts(database: Database, cluster_accounts: tuple[str, ...]) -> bool:
    own = ", ".join(literal(name) for name in (database.account.user, *cluster_accounts))
    count = await database.value(
        f"SELECT COUNT(*) FROM mysql.global_priv WHERE User NOT IN ('', 'mariadb.sys', {own})"
    )
    return count != "0"
