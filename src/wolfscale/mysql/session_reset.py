"""A used connection made as good as new: everything that its last user left is gone."""

from collections.abc import Sequence

from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.results import ERROR_HEADER, OK_HEADER, parse_error


async def reset_session(
    connection: Connection, statements: Sequence[str] = (), *, database: str | None = None
) -> None:
    """Reset a connection, and run statements without rows on it, all sent at once.

    Transactions, locks, temporary tables, user and session variables are dropped; the default database stays
    as it was where none is given. Serves as a test whether the connection is still there, too.

    Args:
        connection: idle.
        statements: such as SET.
        database: the default database from here on.

    Raises:
        ServerError: the first error that a step gave; those behind it may have been done.
        ConnectionLost: it is gone, and closed now.
    """
    commands = [bytes((Command.RESET_CONNECTION,))]
    commands += [bytes((Command.QUERY,)) + statement.encode() for statement in statements]
    if database is not None:
        commands.append(bytes((Command.INIT_DB,)) + database.encode(errors="surrogateescape"))
    failure = None
    async with connection.exchange() as exchange:
        for command in commands:
            connection.packets.queue(command, sequence=0)
        await connection.packets.flush()
        for _ in commands:
            payload = await connection.packets.read()
            if payload[:1] == bytes((ERROR_HEADER,)):
                failure = failure or parse_error(payload)
            elif payload[:1] != bytes((OK_HEADER,)):
                raise RemoteProtocolError("a statement of a session's reset gave rows")
        exchange.over = True
    if failure is not None:
        raise failure
