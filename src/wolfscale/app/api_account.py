"""The account that the HTTP side uses on MariaDB, and its table: made by the primary, replicated to the rest.

It may do with the applications' databases what an application may, and nothing in the system's and the
cluster's: an HTTP request can never do more than that, whatever it holds.
"""

import hashlib
import hmac

import trio

from wolfscale import logs
from wolfscale.api import idempotency
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.auth import double_sha1, sha1_of_password, stored_hash
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import identifier, literal
from wolfscale.replication.database import Database
from wolfscale.replication.lifecycle import Lifecycle
from wolfscale.replication.server import Account, open_connection

log = logs.logger(__name__)

USER = "wolfscale_api"
_PURPOSE = b"wolfscale api account"
_VERSION = "WolfScale's HTTP requests, 1"
"""The table's comment, written last: account, rights and table are as this version wants them."""

PURGE_SECONDS = 600.0
RETRY_SECONDS = 1.0

# A grant on one schema beats a grant on a pattern, whatever it allows (MariaDB's acl_get takes the most
# specific row of mysql.db alone). So these rows take the pattern's rights away where they apply.
_SHIELDED = ("mysql", "wolfscale", "sys")
_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, EXECUTE, CREATE VIEW, "
    "SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER, DELETE HISTORY"
)


def api_account(secret: bytes) -> Account:
    """The account, with a password that every node of the cluster derives alike."""
    return Account(user=USER, password=hmac.new(secret, _PURPOSE, hashlib.sha256).hexdigest())


def account_statements(account: Account) -> list[str]:
    """The statements that make table, account and rights; running them again changes nothing."""
    name = f"{identifier(account.user)}@localhost"
    identified = f"IDENTIFIED VIA mysql_native_password USING {literal(_hash(account))}"
    return [
        idempotency.table_statement(),
        f"CREATE USER IF NOT EXISTS {name} {identified}",
        f"ALTER USER {name} {identified}",
        *(f"GRANT SHOW VIEW ON {identifier(schema)}.* TO {name}" for schema in _SHIELDED),
        f"GRANT {_RIGHTS} ON `%`.* TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {idempotency.TABLE} TO {name}",
        f"ALTER TABLE {idempotency.TABLE} COMMENT={literal(_VERSION)}",
    ]


def _hash(account: Account) -> str:
    return stored_hash(double_sha1(sha1_of_password(account.password)))


async def keep_account(database: Database, lifecycle: Lifecycle, account: Account) -> None:
    """Until cancelled: whenever this node is the primary, have the account there and old keys removed."""
    reported = ""
    while True:
        await lifecycle.changes.wait_until(lambda: lifecycle.writable)
        try:
            await _make_account(database, lifecycle, account)
            reported = ""
            with trio.move_on_after(PURGE_SECONDS):
                await lifecycle.changes.wait_until(lambda: not lifecycle.writable)
            if lifecycle.writable:
                await _purge(database, account)
        except (WolfScaleError, OSError) as error:
            if str(error) != reported:
                reported = str(error)
                log.info("the HTTP side's account is not ready", reason=reported)
            await trio.sleep(RETRY_SECONDS)


async def _make_account(database: Database, lifecycle: Lifecycle, account: Account) -> None:
    if await _is_there(database, account):
        return
    async with await database.connect() as connection:
        number = connection.connection_id
        await lifecycle.open_intents.begin(number)
        finished = False
        try:
            await _run(connection, account_statements(account))
            finished = True
        except ServerError:
            finished = True
            raise
        finally:
            lifecycle.open_intents.end(number, finished=finished)
    log.info("made the account of the HTTP side", user=account.user)


async def _run(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        await connection.query(statement)


async def _is_there(database: Database, account: Account) -> bool:
    schema, _, table = idempotency.TABLE.partition(".")
    comment = await database.value(
        "SELECT table_comment FROM information_schema.tables "
        f"WHERE table_schema={literal(schema)} AND table_name={literal(table)}"
    )
    return comment == _VERSION and _hash(account) in await database.native_password_hashes(account.user)


async def _purge(database: Database, account: Account) -> None:
    """Remove old keys in bounded transactions; as this account, which a server that is demoted stops."""
    async with await open_connection(database.socket_path, account) as connection:
        while await idempotency.purge(connection) == idempotency.PURGE_ROWS:
            pass
