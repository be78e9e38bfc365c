"""The sessions of clients on a server: who has something open, who commits, and how they are ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wolfscale.mysql.client import Result
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import literal

_NO_SUCH_THREAD = 1094


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSession:
    """A session that is not the node's own.

    Attributes:
        connection_id: its id.
        idle: it executes nothing; it may hold an open transaction or locks.
        committing: it commits, or waits for its acknowledgement: KILL would commit it without a quorum.
        past_proxies: it came by the server's own socket; proxies give the address of their client.
    """

    connection_id: int
    idle: bool
    committing: bool
    past_proxies: bool


class ClientSessions:
    """The sessions on one server that are not the node's own. Raises what its queries raise.

    Args:
        query: runs a statement on the server.
        own_user: the user name of the node's account.
    """

    def __init__(self, query: Callable[[str], Awaitable[Result]], *, own_user: str) -> None:
        self._query = query
        self._own_user = own_user

    async def open_transactions(self) -> int:
        """Return how many sessions other than the node's have changed something and not committed."""
        return len(await self._open_transactions())

    async def kill_with_open_transactions(self) -> None:
        """End the sessions with open transactions, but none that is committing or waits for its ACK."""
        for connection_id in await self._open_transactions():
            await self.kill(connection_id)

    async def present(self) -> list[ClientSession]:
        """Return the sessions other than the node's own."""
        rows = (await self._query("SHOW PROCESSLIST")).mappings()
        own = {self._own_user, "system user", "event_scheduler"}
        return [
            ClientSession(
                connection_id=int(row["Id"] or 0),
                idle=row["Command"] == "Sleep",
                committing=_is_committing(row["State"] or ""),
                past_proxies=row["Host"] == "localhost",
            )
            for row in rows
            if row["User"] not in own
        ]

    async def interrupt(self, connection_id: int, *, connection: bool) -> bool:
        """Interrupt what a client's session runs (KILL QUERY), or end the session as well.

        Returns:
            Whether that was done, or nothing was there to be done; false for a session that commits or waits
            for its acknowledgement: KILL would commit it without a quorum. Between the look and the KILL a
            statement may have come to its end and begin to wait; then its commit stands on this server before
            a majority holds it. It still goes to the log, no client is told OK before the log holds it, and
            if the leader is lost in that moment, its data are no part of the log and are cloned.
        """
        sessions = {session.connection_id: session for session in await self.present()}
        session = sessions.get(connection_id)
        if session is not None and session.committing:
            return False
        if session is not None:
            await (self.kill if connection else self.kill_query)(connection_id)
        return True

    async def kill(self, connection_id: int) -> None:
        """End a session (KILL); harmless when it is gone."""
        await self._kill("CONNECTION", connection_id)

    async def kill_query(self, connection_id: int) -> None:
        """End what a session runs, not the session (KILL QUERY); harmless when it is gone."""
        await self._kill("QUERY", connection_id)

    async def _kill(self, what: str, connection_id: int) -> None:
        try:
            await self._query(f"KILL {what} {connection_id}")
        except ServerError as error:
            if error.errno != _NO_SUCH_THREAD:
                raise

    async def ids(self) -> set[int]:
        """Return the connection ids of all sessions."""
        rows = (await self._query("SELECT id FROM information_schema.processlist")).rows
        return {int(row[0] or 0) for row in rows}

    async def kill_all(self) -> None:
        """End every client's session but the node's own; nothing may wait for its ACK."""
        for session in await self.present():
            await self.kill(session.connection_id)

    async def _open_transactions(self) -> list[int]:
        rows = (
            await self._query(
                "SELECT p.id FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
                f"ON p.id = t.trx_mysql_thread_id WHERE p.user NOT IN ({literal(self._own_user)}, "
                "'system user', 'event_scheduler') AND COALESCE(p.state, '') NOT LIKE '%semi-sync%' "
                "AND COALESCE(p.state, '') NOT LIKE '%ommit%'"
            )
        ).rows
        return [int(row[0] or 0) for row in rows]


def _is_committing(state: str) -> bool:
    return "ommit" in state or "semi-sync" in state
