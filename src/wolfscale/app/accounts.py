"""Runs an owner's statements on the leader's MariaDB, as the node's own account, from beside any node.

The cluster's secret opens a session on the leader's node as a proxy does, and gives the account's password.
So whoever may read a node's data directory can make the first account, and one that nobody can be without.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from wolfscale.app.followed_cluster import FollowedCluster
from wolfscale.app.identity import certificate_files, node_account
from wolfscale.config import Config, find_secret, parse_address
from wolfscale.errors import WolfScaleError
from wolfscale.mysql.client import Connection
from wolfscale.mysql.literals import literal
from wolfscale.mysql.proxy_protocol import build_local
from wolfscale.node.dialer import Dialer
from wolfscale.node.tls import Credentials
from wolfscale.replication.application import (
    administrator_statements,
    database_statement,
    owner_statement,
    password_hash,
    password_statement,
)

WAIT_SECONDS = 30.0
"""For an election, at most."""
NAME = "account"


class AccountError(WolfScaleError):
    """The account cannot be made as asked: says why."""


class NoLeader(WolfScaleError):
    """No node answers, or none takes writes."""


async def create_account(
    config: Config, user: str, password: str, *, database: str | None, administrator: bool
) -> None:
    """Create an account for clients from any address.

    Args:
        config: a node's; its secret is used.
        user: the account's name.
        password: its password.
        database: gets all rights on this one, which is created if it does not exist.
        administrator: gets all rights outside the system schemas, and may hand them on.

    Raises:
        AccountError: it exists, or is the node's own.
        NoLeader: no node takes writes now.
        ServerError: the leader's MariaDB refuses.
    """
    if user == config.database.user:
        raise AccountError(f"{user!r} is the node's own account: choose another name")
    statements: list[str] = []
    if database is not None:
        statements += [
            database_statement(database),
            owner_statement(user, password_hash(password), database),
        ]
    if administrator:
        statements += administrator_statements(user, password_hash(password))

    async def work(connection: Connection) -> Sequence[str]:
        if await _exists(connection, user):
            raise AccountError(
                f"there is an account {user!r} already; "
                f"`wolfscale account password {user}` changes its password"
            )
        return statements

    await _on_leader(config, work)


async def change_password(config: Config, user: str, password: str) -> None:
    """Give an account of clients from any address another password.

    Raises:
        AccountError: there is no such account.
        NoLeader, ServerError: as `create_account`.
    """

    async def work(connection: Connection) -> Sequence[str]:
        if not await _exists(connection, user):
            raise AccountError(f"there is no account {user!r} for clients from any address ('%')")
        return [password_statement(user, password_hash(password))]

    await _on_leader(config, work)


async def _exists(connection: Connection, user: str) -> bool:
    answer = await connection.query(
        f"SELECT COUNT(*) FROM mysql.global_priv WHERE User={literal(user)} AND Host='%'"
    )
    return answer.value != "0"


async def _on_leader(config: Config, work: Callable[[Connection], Awaitable[Sequence[str]]]) -> None:
    """Run the statements that `work` gives, with the leader's intent mark on its disk."""
    secret = find_secret(config)
    account = node_account(config, secret)
    files = certificate_files(config)
    dialer = Dialer(Credentials.from_files(files)) if files else Dialer.from_secret(secret, NAME)
    cluster = FollowedCluster(dialer, (_own_address(config), *config.cluster.peers), quiet=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.watch)
        leader = await _leader(cluster)
        stream = await dialer.open_stream(leader, "session", build_local())
        connection = await Connection.connect(user=account.user, password=account.password, stream=stream)
        async with connection:
            statements = await work(connection)
            await cluster.control.intent_begin(connection.connection_id)
            finished = False
            try:
                for statement in statements:
                    await connection.query(statement)
                finished = True
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + WAIT_SECONDS):
                    await cluster.control.intent_end(connection.connection_id, finished=finished)
        nursery.cancel_scope.cancel()


async def _leader(cluster: FollowedCluster) -> str:
    with trio.move_on_after(WAIT_SECONDS):
        while True:
            view = cluster.views.current
            if view.writable and view.leader_address is not None:
                return view.leader_address
            await cluster.views.changes.wait()
    raise NoLeader(
        f"no node took writes for {WAIT_SECONDS:.0f} s: is this node running, and a majority of the others?"
    )


def _own_address(config: Config) -> str:
    address = parse_address(config.node.bind_address)
    if not address.is_wildcard:
        return config.node.bind_address
    return f"[::1]:{address.port}" if address.host == "::" else f"127.0.0.1:{address.port}"
