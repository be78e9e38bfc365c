"""Reading user variables behind the statements that may have given them values, while their server lives.

A statement is answered first; then one query on the same connection reads the variables that its text names,
before the session's next command. What it disturbs is FOUND_ROWS() and ROW_COUNT(), whose values go into the
text that asks for them (`statement_counts`). After a procedure or a text that was not seen all variables are
listed first. A list clears the warnings of the statement; where there are any, it waits for a command that
does not ask about them, and a leader that is lost meanwhile takes the variables with it.
"""

from typing import TYPE_CHECKING

from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ConnectionLost, RemoteProtocolError, ServerError
from wolfscale.mysql.results import Column
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.statement import Effect
from wolfscale.proxy.statement_counts import (
    StatementCounts,
    asks_about_warnings,
    leaves_found_rows,
    with_counts,
)
from wolfscale.proxy.untold_settings import NEEDED
from wolfscale.proxy.user_variables import name_of, utf8_around
from wolfscale.proxy.variable_values import (
    KEPT_BYTES,
    VARIABLES_A_QUERY,
    length_query,
    list_query,
    read_values,
    values_query,
)

if TYPE_CHECKING:
    from wolfscale.proxy.execution import Executor

ER_UNKNOWN_TABLE = 1109
_QUERY = bytes((Command.QUERY,))
_TELL = "SET " + ", ".join(f"{name.lower()}=@@{name.lower()}" for name in sorted(NEEDED))
_LOST_ANYWAY = (
    Effect.TEMPORARY_TABLES
    | Effect.TABLE_LOCKS
    | Effect.USER_LOCKS
    | Effect.NAMED_STATEMENTS
    | Effect.HANDLERS
)


class VariableReads:
    """One session's."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._counts: StatementCounts | None = None
        self._waits = False

    @property
    def is_active(self) -> bool:
        """Whether the next command needs a look: `before` is to be called with its text."""
        return self._counts is not None or self._waits

    def clear(self) -> None:
        """The session begins anew."""
        self._counts = None
        self._waits = False

    async def after_command(self) -> None:
        """Read what the command that was answered may have assigned."""
        if self._executor.state.user_variables.is_unread:
            await self._read(may_clear_warnings=False)

    async def before(self, sql: bytes) -> bytes:
        """The text to run in a statement's place; read before it what has waited for it."""
        if self._waits and not asks_about_warnings(sql):
            await self._read(may_clear_warnings=True)
        counts, self._counts = self._counts, None
        if counts is None:
            return sql
        if leaves_found_rows(sql):
            self._counts = StatementCounts(found_rows=counts.found_rows, row_count=None)
        return with_counts(sql, self._executor.memory.mode, counts)

    async def _read(self, *, may_clear_warnings: bool) -> None:
        """Read what is unread; what cannot be read stays so, and is lost with its leader."""
        executor = self._executor
        writer, variables = executor.connections.writer, executor.state.user_variables
        self._waits = False
        if (
            writer is None
            or writer.closed
            or writer.term != executor.views.current.term
            or executor.state.effects & _LOST_ANYWAY
        ):
            return
        if variables.all_unread and variables.warned and not may_clear_warnings:
            self._waits = True
            return
        status = writer.tracker.status
        try:
            await self._read_from(writer)
        except (ConnectionLost, RemoteProtocolError, ServerError):
            variables.assign(None)
            return
        finally:
            writer.tracker.status = status
        writer.known_entries = executor.state.note_user_variables(writer.known_entries)

    async def _read_from(self, writer: BackendConnection) -> None:
        variables = self._executor.state.user_variables
        has_counts = False
        if variables.all_unread:
            has_counts = await self._list(writer)
        names = sorted(variables.unread)
        for first in range(0, len(names), VARIABLES_A_QUERY):
            some = names[first : first + VARIABLES_A_QUERY]
            columns: list[Column] = []
            [row] = await self._ask(writer, some, values_query(some), columns)
            if not has_counts:
                self._note_counts(row[0], row[1])
                has_counts = True
            found = read_values(some, columns, row)
            short = [name for name, variable in zip(some, found, strict=True) if variable is not None]
            variables.on_read(short, [variable for variable in found if variable is not None])
            for name in sorted(set(some) - set(short)):
                await self._read_long(writer, name)

    async def _read_long(self, writer: BackendConnection, name: str) -> None:
        """Read a long value if there is room for it."""
        variables = self._executor.state.user_variables
        [[length]] = await self._ask(writer, [name], length_query(name))
        if length is None or not variables.has_room(name, int(length)):
            variables.on_read([name], [None])
            return
        columns: list[Column] = []
        [row] = await self._ask(writer, [name], values_query([name], KEPT_BYTES), columns)
        variables.on_read([name], read_values([name], columns, row, KEPT_BYTES))

    async def _ask(
        self, writer: BackendConnection, names: list[str], query: bytes, columns: list[Column] | None = None
    ) -> list[tuple[bytes | None, ...]]:
        """Run a query that names these variables."""
        if all(name.isascii() for name in names):
            return await writer.run((_QUERY + query,), columns)
        # The counts are known by now, which SET changes: only a list tells such names.
        to_utf8, back = utf8_around(writer.variables.get(b"character_set_client", b""))
        try:
            return await writer.run((to_utf8, _QUERY + query), columns)
        finally:
            if not writer.closed:
                await writer.run((back,))

    async def _list(self, writer: BackendConnection) -> bool:
        """List all variables; whether that told the counts as well."""
        variables = self._executor.state.user_variables
        try:
            [counts, *rows] = await writer.run((_QUERY + list_query(),))
        except ServerError as error:
            if error.errno != ER_UNKNOWN_TABLE:
                raise
            variables.on_unlisted()
            return False
        self._note_counts(counts[1], counts[2])
        await self._have_settings_told(writer)
        variables.on_listed([name_of(row[0] or b"") for row in rows])
        return True

    async def _have_settings_told(self, writer: BackendConnection) -> None:
        """Learn what a program has set as SET @@name, or before an error: no answer has told that."""
        before = dict(writer.variables)
        await writer.run((_QUERY + _TELL.encode(),))
        changed = {name: value for name, value in writer.variables.items() if before.get(name) != value}
        if changed:
            self._executor.memory.on_hidden_changes(writer, changed)

    def _note_counts(self, found_rows: bytes | None, row_count: bytes | None) -> None:
        if found_rows is None or row_count is None:
            raise RemoteProtocolError("FOUND_ROWS() or ROW_COUNT() is NULL")
        standing = self._counts
        self._counts = StatementCounts(
            found_rows=int(found_rows) if standing is None else standing.found_rows,
            row_count=int(row_count),
        )
