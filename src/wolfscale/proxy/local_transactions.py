"""START TRANSACTION READ ONLY on the MariaDB beside the node.

It begins there when a read could run there: the session has nothing that only the leader has, and the server
has applied what the session must see. From then on the reads of the transaction are that server's, of one
snapshot. A change of rows is refused as MariaDB refuses it (1792). What is no plain read (user variables,
stored functions, SHOW PROCESSLIST) runs on the leader, in a transaction that is begun there when it is first
needed and only reads as well, so that MariaDB refuses whatever such a statement does behind the proxy's
back. What it reads is at least as new as what the local reads saw. What ends a transaction in MariaDB, as
CREATE TABLE does, ends both.

A transaction keeps the tables that it has read from being redefined, here by the log that is applied. So one
that stands in the way of that is rolled back (`Listener`), and its client told to begin again.
"""

from typing import TYPE_CHECKING

from wolfscale.mysql.constants import Command, Status
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.consistency import Level
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.state import is_leader_only
from wolfscale.proxy.statement import Kind, Statement

if TYPE_CHECKING:
    from wolfscale.proxy.execution import Executor
    from wolfscale.proxy.requests import Request

ER_READ_ONLY_TRANSACTION = 1792
_IN_TRANS = int(Status.IN_TRANS)
_BEGIN = b"START TRANSACTION READ ONLY"
_COMMIT = bytes((Command.QUERY,)) + b"COMMIT"


class LocalTransactionLost(ProxyError):
    """The local MariaDB went away in the middle, or the transaction stood in its way: run it again."""

    def __init__(self) -> None:
        super().__init__(
            1213,
            "40001",
            "This read-only transaction was rolled back, since the MariaDB that it ran on is gone or had to "
            "apply a change of a table that it had read: try it again",
        )


class LocalTransactions:
    """Carries out what one session does inside such a transaction."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor

    async def begin(self, statement: Statement, request: "Request", sql: bytes) -> bool:
        """Begin one, answering the client; false when it has to be the leader's.

        Raises: see `Executor.execute`.
        """
        executor = self._executor
        if not await executor.run_locally(statement, request, sql):
            return False
        reader = executor.connections.reader
        executor.facts.local_transaction = reader is not None and bool(reader.tracker.status & _IN_TRANS)
        return True

    async def run(self, statement: Statement, request: "Request", sql: bytes) -> bool:
        """Run a statement inside the open one, answering the client; false when that is over before it.

        Raises: see `Executor.execute`.
        """
        executor = self._executor
        reader = executor.connections.reader
        if reader is None or reader.closed:
            await self.end()
            if statement.rollback:
                return False
            raise LocalTransactionLost
        kind = statement.kind
        if kind is Kind.WRITE:
            raise ProxyError(
                ER_READ_ONLY_TRANSACTION, "25006", "Cannot execute statement in a READ ONLY transaction"
            )
        if kind is Kind.TRANSACTION:
            return await self._run_control(reader, statement, request, sql)
        if kind is Kind.DIAGNOSTICS and executor.last is reader:
            await self._run_here(reader, statement, request, sql)
            return True
        if kind is Kind.SETTINGS and not is_leader_only(statement.assignments):
            await self._run_here(reader, statement, request, sql)
            return True
        level = executor.consistency.now
        if (
            kind is Kind.READ
            and level is not Level.LEADER
            and await self._run_here(reader, statement, request, sql, may_decline=True)
        ):
            return True
        await self._run_beside(statement, request, sql)
        return True

    async def end(self) -> None:
        """End it on both servers, as far as they are there; nothing was changed in it."""
        executor, facts = self._executor, self._executor.facts
        connections = executor.connections
        open_on = [connections.reader] if facts.local_transaction else []
        if facts.in_transaction:
            open_on.append(connections.writer)
        facts.local_transaction = False
        facts.note_transaction(False, None)
        for connection in open_on:
            if connection is None or connection.closed:
                continue
            try:
                await connection.run((_COMMIT,))
            except (ConnectionLost, ServerError):
                await connections.drop(connection)

    async def _run_control(
        self, reader: BackendConnection, statement: Statement, request: "Request", sql: bytes
    ) -> bool:
        if statement.begins:
            await self.end()
            return False
        await self._run_here(reader, statement, request, sql)
        return True

    async def _run_here(
        self,
        reader: BackendConnection,
        statement: Statement,
        request: "Request",
        sql: bytes,
        *,
        may_decline: bool = False,
    ) -> bool:
        executor = self._executor
        try:
            if reader.known_entries != executor.state.last_number:
                await executor.connections.bring_up_to_date(reader)
            done = await executor.run_on(reader, statement, request, sql, may_decline=may_decline)
        except (ConnectionLost, RemoteProtocolError) as error:
            await executor.connections.drop(reader)
            await self.end()
            raise LocalTransactionLost from error
        except ServerError:
            if may_decline:
                return False  # it does not prepare here
            raise
        if done and not reader.tracker.status & _IN_TRANS:
            executor.facts.local_transaction = False
            await self.end()
        return done

    async def _run_beside(self, statement: Statement, request: "Request", sql: bytes) -> None:
        """Run it on the leader, in a transaction there that only reads as well."""
        executor, facts = self._executor, self._executor.facts
        if not facts.in_transaction:
            await executor.ask_leader(_BEGIN)
            facts.note_transaction(True, None)
        try:
            await executor.run_on_leader(statement, request, sql)
        finally:
            # It has ended the transaction there (LOCK TABLES), or the leader was lost with it.
            if not facts.in_transaction:
                await self.end()
