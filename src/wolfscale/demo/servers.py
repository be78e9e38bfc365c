"""SQL on a node's own MariaDB, beside the proxy: over its unix socket, with the node's account."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pymysql
import trio

DatabaseAccess = Callable[[Path], tuple[str, str, str]]
"""From a node's data directory to its MariaDB's unix socket, and the node's account and password there."""

Row = tuple[Any, ...]

# Longer than a commit may wait for a quorum during an election; a dead server closes its socket at once.
_READ_TIMEOUT_SECONDS = 60
_CONNECT_TIMEOUT_SECONDS = 10


def run_statements(
    access: tuple[str, str, str], statements: Sequence[str], database: str | None = None
) -> list[tuple[Row, ...]]:
    """Run statements in one connection and return the rows of each; blocks.

    Raises:
        pymysql.err.MySQLError: the server refused one, or cannot be reached.
    """
    socket_path, user, password = access
    connection = pymysql.connect(
        unix_socket=socket_path,
        user=user,
        password=password,
        database=database,
        autocommit=True,
        charset="utf8mb4",
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
    )
    try:
        results: list[tuple[Row, ...]] = []
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                results.append(tuple(cursor.fetchall()))
        return results
    finally:
        connection.close()


async def query_server(
    access: tuple[str, str, str], statements: Sequence[str], database: str | None = None
) -> list[tuple[Row, ...]]:
    """The same in a worker thread; a cancelled caller does not wait for the statement to end."""
    return await trio.to_thread.run_sync(run_statements, access, statements, database, abandon_on_cancel=True)
