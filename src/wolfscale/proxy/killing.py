"""KILL by a client: whom it means, whether it may, and the node's word to carry it out.

MariaDB's own KILL knows the sessions of one server, and commits what waits for its majority. So the proxy
looks for the session in the whole cluster, and its worker has the statement interrupted where it runs; one
that commits is not interrupted but waited for.
"""

import msgspec

from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, ServerError
from wolfscale.proxy.backend import Backends
from wolfscale.proxy.errors import ConnectionKilled, ControlLost, ProxyError, QueryInterrupted
from wolfscale.proxy.execution import Executor
from wolfscale.proxy.kill_calls import KillCall, Killed
from wolfscale.proxy.kill_statement import Kill, parse_kill
from wolfscale.proxy.session_ids import FIRST_ID, with_session_id
from wolfscale.proxy.statement_expressions import answer, error_in, value_question

ER_PARSE_ERROR = 1064
ER_NO_SUCH_THREAD = 1094
ER_KILL_DENIED = 1095
ER_UNKNOWN_ERROR = 1105
ER_ACCESS_DENIED = 1227
ER_NO_SUCH_QUERY = 1957


class Killing:
    """Carries out one session's KILL statements."""

    def __init__(self, *, executor: Executor, backends: Backends, session_id: int) -> None:
        self._executor = executor
        self._backends = backends
        self._session_id = session_id

    async def run(self, sql: bytes) -> int:
        """Carry out a KILL; how many sessions were killed, where it named a user.

        Raises:
            ProxyError: to be told to the client: there is none, it may not, or it has killed itself.
        """
        mode = self._executor.memory.mode
        kill = parse_kill(with_session_id(sql, mode, self._session_id), mode)
        if kill is None:
            raise ProxyError(
                ER_PARSE_ERROR,
                "42000",
                "You have an error in your SQL syntax: KILL [CONNECTION | QUERY [ID]] number, or KILL "
                "[CONNECTION | QUERY] USER name",
            )
        if kill.user is not None:
            return await self._kill_user(kill, kill.user)
        number = kill.id if kill.id is not None else await self._evaluate(kill.expression or b"")
        if kill.by_query_id:
            await self._kill_on_leader(kill, await self._running(number), number)
        else:
            await self.kill(number, connection=kill.connection)
        return 0

    async def kill(self, number: int, *, connection: bool) -> None:
        """Kill a session, by the id that its client knows or by that of its connection on the leader.

        Raises:
            ProxyError: as `run`.
        """
        if number == self._session_id:
            self._end_itself(connection=connection)
        if number >= FIRST_ID:
            killed = await self._ask(KillCall(connection=connection, by=self._user, id=number))
            if killed.found:
                self._check(killed, number)
                return
        await self._kill_on_leader(Kill(connection=connection), number, number)

    @property
    def _user(self) -> str:
        return self._executor.connections.credentials.response.user.decode("utf-8", "replace")

    def _end_itself(self, *, connection: bool) -> None:
        if connection:
            raise ConnectionKilled
        raise QueryInterrupted

    async def _kill_on_leader(self, kill: Kill, leader_id: int, number: int) -> None:
        writer = self._executor.connections.writer
        if writer is not None and not writer.closed and writer.connection_id == leader_id:
            self._end_itself(connection=kill.connection)
        killed = await self._ask(KillCall(connection=kill.connection, by=self._user, leader_id=leader_id))
        if not killed.found:
            raise ProxyError(
                ER_NO_SUCH_THREAD,
                "HY000",
                f"Unknown thread id: {number}. KILL takes what SELECT CONNECTION_ID() gives, or the Id of "
                "SHOW PROCESSLIST, of sessions that go through a proxy of the cluster",
            )
        self._check(killed, number)

    def _check(self, killed: Killed, number: int) -> None:
        if killed.denied:
            raise ProxyError(ER_KILL_DENIED, "HY000", f"You are not owner of thread {number}")
        if killed.waiting:
            raise ProxyError(
                ER_UNKNOWN_ERROR,
                "HY000",
                f"Session {number} commits, or waits for a majority to hold its commit, which cannot be "
                "interrupted: try again",
            )

    async def _kill_user(self, kill: Kill, user: str) -> int:
        killed = await self._ask(
            KillCall(connection=kill.connection, by=self._user, user=user, but=self._session_id)
        )
        if killed.denied:
            raise ProxyError(ER_KILL_DENIED, "HY000", f"You are not owner of the sessions of {user}")
        if user == self._user and kill.connection:
            self._end_itself(connection=True)
        return killed.done

    async def _ask(self, call: KillCall) -> Killed:
        """Kill; with the caller's privilege only where that is needed, since the leader has to be asked."""
        killed = await self._backends_kill(call)
        if killed.denied and await may_kill_others(self._executor):
            killed += await self._backends_kill(msgspec.structs.replace(call, privileged=True))
            killed = msgspec.structs.replace(killed, denied=0)
        return killed

    async def _backends_kill(self, call: KillCall) -> Killed:
        try:
            return await self._backends.kill(call)
        except ControlLost as error:
            raise ProxyError(
                ER_UNKNOWN_ERROR, "HY000", f"KILL was perhaps not carried out ({error}): try again"
            ) from error

    async def _evaluate(self, expression: bytes) -> int:
        # KILL takes no subqueries and no stored functions either.
        try:
            rows = await self._executor.ask_leader(value_question(expression))
        except ServerError as error:
            raise error_in("KILL", error) from error
        return _number([(answer(rows),)])

    async def _running(self, query_id: int) -> int:
        rows = await self._executor.ask_leader(
            b"SELECT ID FROM information_schema.PROCESSLIST WHERE QUERY_ID = %d" % query_id
        )
        if not rows:
            raise ProxyError(ER_NO_SUCH_QUERY, "HY000", f"Unknown query id: {query_id}")
        return _number(rows)


def _number(rows: list[tuple[bytes | None, ...]]) -> int:
    value = rows[0][0] if rows and rows[0] else None
    if value is None or not value.isdigit():
        shown = "NULL" if value is None else value.decode("utf-8", "replace")
        raise ProxyError(ER_NO_SUCH_THREAD, "HY000", f"Unknown thread id: {shown}")
    return int(value)


async def may_kill_others(executor: Executor) -> bool:
    """Whether the client has the privilege that MariaDB asks for (CONNECTION ADMIN, of old SUPER).

    MariaDB looks at the privilege before it looks at the value, which no variable of this one's type takes.

    Raises:
        ProxyError: no server can be asked.
    """
    return await _error_of(executor, b"SET GLOBAL slow_launch_time = 'x'") != ER_ACCESS_DENIED


async def may_see_others(executor: Executor) -> bool:
    """Whether the client has the privilege PROCESS, without which this table is empty.

    Raises:
        ProxyError: no server can be asked.
    """
    try:
        return bool(await _ask(executor, b"SELECT 1 FROM information_schema.INNODB_CMP LIMIT 1"))
    except ServerError:
        return False


async def _error_of(executor: Executor, query: bytes) -> int:
    try:
        await _ask(executor, query)
    except ServerError as error:
        return error.errno
    return 0


async def _ask(executor: Executor, query: bytes) -> list[tuple[bytes | None, ...]]:
    """Ask the server beside the node if it can be: accounts are the same there, and it needs no leader."""
    connections = executor.connections
    reader = await connections.local()
    if reader is not None:
        try:
            await connections.bring_up_to_date(reader)
            return await reader.run((bytes((Command.QUERY,)) + query,))
        except ConnectionLost:
            await connections.drop(reader)
    return await executor.ask_leader(query)
