"""What statements leave behind in a session, noted as they end: for routing, and for other connections."""

import re

from wolfscale.mysql.constants import Command, Status
from wolfscale.mysql.errors import ServerError
from wolfscale.proxy.backend import KEEP_TRACKING, BackendConnection
from wolfscale.proxy.known import SYSTEM_SCHEMAS
from wolfscale.proxy.lexer import LexerMode, is_multibyte_unsafe
from wolfscale.proxy.refused import WATCHED_VARIABLES
from wolfscale.proxy.router import SessionFacts
from wolfscale.proxy.settings import Assignment, Scope
from wolfscale.proxy.state import SessionState, names_of
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.table_engines import REPLICAS_ENGINE
from wolfscale.proxy.user_variables import literal_variables
from wolfscale.proxy.variable_values import KEPT_BYTES
from wolfscale.proxy.written_tables import LOSSY_MODES

LONGEST_LITERALS_BYTES = 2 * KEPT_BYTES
"""A longer SET gives variables more than is kept of them, which their server tells without the values."""
_AUTOCOMMIT = int(Status.AUTOCOMMIT)
_NO_BACKSLASH_ESCAPES = int(Status.NO_BACKSLASH_ESCAPES)
_OWN_VARIABLES = frozenset(
    {
        b"sql_mode",
        b"character_set_client",
        b"sql_auto_is_null",
        b"default_storage_engine",
        b"storage_engine",
    }
)
_NO_STATE = Effect.UNLOCKS_TABLES | Effect.TRACKING | Effect.USER_VARIABLES


class SessionMemory:
    """Keeps a session's state and facts true.

    Attributes:
        state: what it has set.
        facts: what routing asks.
        mode: how its server reads its text.
        character_set: its character_set_client, if that needs care, else "".
        loses_table_options: its sql_mode has SHOW CREATE TABLE leave something out.
        engine: its default_storage_engine, if replicas may have another one, else "".
    """

    def __init__(self, state: SessionState, facts: SessionFacts, first: BackendConnection) -> None:
        self.state = state
        self.facts = facts
        self.character_set = ""
        self.loses_table_options = False
        self.engine = ""
        self._first_engine = _engine_of(first)
        self.mode = LexerMode(server_version=version_number(first.server_version))
        self.on_variables(first)

    async def on_statement(self, connection: BackendConnection, statement: Statement, sql: bytes) -> None:
        """Remember what a statement left behind."""
        mode = self.mode  # as the statement was read
        changes = connection.tracker.changes
        if changes is not None:
            if changes.schema is not None:
                self._note_schema(connection, changes.schema)
            if variables := connection.note_changes(_passing(statement)):
                if _OWN_VARIABLES & variables.keys():
                    self.on_variables(connection)
                if not statement.assignments:
                    self._note_hidden_changes(connection, variables)
        status = connection.tracker.status
        if bool(status & _NO_BACKSLASH_ESCAPES) == self.mode.backslash_escapes:
            self.on_variables(connection)
        if connection.leader:
            self._note_user_variables(connection, statement, sql, mode)
        if statement.effects:
            self.state.effects |= statement.effects & ~_NO_STATE
            if statement.effects & Effect.UNLOCKS_TABLES:
                self.state.effects &= ~Effect.TABLE_LOCKS
            self.facts.effects = self.state.effects
        if statement.assignments:
            await self._note_assignments(connection, statement, sql)
        if connection.leader:
            self.facts.next_transaction = any(
                assignment.scope is Scope.NEXT_TRANSACTION for assignment in statement.assignments
            )

    def on_failed(self, connection: BackendConnection, statement: Statement) -> None:
        """Remember what a statement may have done before its error."""
        if statement.effects & Effect.USER_VARIABLES:
            self._note_user_variables(connection, statement, b"", self.mode)

    def on_hidden_changes(self, connection: BackendConnection, variables: dict[bytes, bytes]) -> None:
        """Take over variables that a procedure or the like was found to have set."""
        self.on_variables(connection)
        self._note_hidden_changes(connection, variables)

    def _note_user_variables(
        self, connection: BackendConnection, statement: Statement, sql: bytes, mode: LexerMode
    ) -> None:
        """Keep what they are set to, or that it has to be read."""
        variables, tracker = self.state.user_variables, connection.tracker
        if statement.kind is not Kind.DIAGNOSTICS:
            variables.warned = bool(tracker.warnings or tracker.error)
        literals = None
        if statement.effects & Effect.PERHAPS_TEMPORARY_TABLES:
            variables.assign(None)
        elif statement.effects & Effect.USER_VARIABLES:
            short = len(sql) <= LONGEST_LITERALS_BYTES
            if short and statement.assignments and not self.character_set and tracker.error is None:
                literals = literal_variables(sql, mode)
            if literals is None:
                # Of a statement that failed, a part may have been done.
                variables.assign(statement.user_variables)
            else:
                variables.keep(literals)
                connection.known_entries = self.state.note_user_variables(connection.known_entries)

    async def _note_assignments(
        self, connection: BackendConnection, statement: Statement, sql: bytes
    ) -> None:
        if not connection.leader:
            self.facts.autocommit = bool(connection.tracker.status & _AUTOCOMMIT)
        if statement.kind is Kind.SETTINGS:
            self.state.add_settings(statement.assignments, sql)
        elif names_of(statement.assignments):
            await self._note_values(connection, statement.assignments)
        connection.known_entries = self.state.last_number
        if statement.effects & Effect.TRACKING:
            # Our own entries follow the client's, so that this connection needs telling too.
            keep = bytes((Command.QUERY,)) + KEEP_TRACKING.encode()
            self.state.add_command("TRACKING", keep)
            await connection.run((keep,))
            connection.known_entries = self.state.last_number

    async def _note_values(self, connection: BackendConnection, assignments: tuple[Assignment, ...]) -> None:
        """A SET whose values only the leader knows: ask for them, so that others can be told."""
        names = sorted(_variable_name(name) for name in names_of(assignments) if name != "ROLE")
        if not names:
            return
        status = connection.tracker.status
        columns = ", ".join(f"@@SESSION.{name}" for name in names)
        try:
            rows = await connection.run((bytes((Command.QUERY,)) + f"SELECT {columns}".encode(),))
        except ServerError:
            # A name that has no session value; the statement would have failed if it mattered.
            return
        connection.tracker.status = status
        for name, value in zip(names, rows[0] if rows else (), strict=False):
            self._add_value(name, value)

    def _note_hidden_changes(self, connection: BackendConnection, variables: dict[bytes, bytes]) -> None:
        """Variables that a procedure or the like has set, as session tracking tells."""
        for name, value in variables.items():
            if name != b"session_track_system_variables" and name not in WATCHED_VARIABLES:
                self._add_value(name.decode("ascii", "replace").upper(), value)
        connection.known_entries = self.state.last_number

    def _add_value(self, name: str, value: bytes | None) -> None:
        assignment = Assignment(scope=Scope.SESSION, name=name, constant=True)
        self.state.add_settings((assignment,), f"SET {name}=".encode() + _value_literal(value))

    def _note_schema(self, connection: BackendConnection, schema: bytes) -> None:
        if schema:
            self.state.add_schema(schema)
        connection.known_entries = self.state.last_number
        self.facts.system_schema = schema.decode("latin-1").upper() in SYSTEM_SCHEMAS

    def on_variables(self, connection: BackendConnection) -> None:
        """Take over what decides how the session's text is read."""
        sql_mode = connection.variables.get(b"sql_mode", b"").decode("latin-1").upper().split(",")
        character_set = connection.variables.get(b"character_set_client", b"").decode("latin-1")
        self.character_set = character_set if is_multibyte_unsafe(character_set) else ""
        self.mode = LexerMode(
            backslash_escapes=not connection.tracker.status & _NO_BACKSLASH_ESCAPES
            and "NO_BACKSLASH_ESCAPES" not in sql_mode,
            ansi_quotes="ANSI_QUOTES" in sql_mode,
            server_version=self.mode.server_version,
        )
        self.loses_table_options = not set(LOSSY_MODES).isdisjoint(sql_mode)
        engine = _engine_of(connection)
        self.engine = "" if engine == self._first_engine == REPLICAS_ENGINE else engine
        if "ORACLE" in sql_mode:
            self.facts.foreign_syntax = "the session speaks Oracle's dialect"
        elif self.character_set:
            self.facts.foreign_syntax = f"the session's text is {self.character_set}"
        elif connection.variables.get(b"sql_auto_is_null") == b"ON":
            self.facts.foreign_syntax = "sql_auto_is_null is on: IS NULL asks for the last insert id"
        else:
            self.facts.foreign_syntax = ""


def _passing(statement: Statement) -> frozenset[bytes]:
    """The variables whose values held for a statement only."""
    tables = statement.tables
    if tables is not None and tables.from_query and tables.alone:
        return statement.passing | {b"sql_mode"}  # see `written_tables.LOSSLESS`
    return statement.passing


def _engine_of(connection: BackendConnection) -> str:
    return connection.variables.get(b"default_storage_engine", REPLICAS_ENGINE.encode()).decode("ascii")


def version_number(server_version: str) -> int:
    """A server's version as executable comments write it, e.g. 101119 for "5.5.5-10.11.19-MariaDB-log"."""
    found = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", server_version)
    if found is None:
        return 101100
    major, minor, patch = (int(part) for part in found.groups())
    return major * 10000 + minor * 100 + patch


def _variable_name(name: str) -> str:
    return {"TRANSACTION ISOLATION": "TX_ISOLATION", "TRANSACTION READ": "TX_READ_ONLY"}.get(name, name)


def _value_literal(value: bytes | None) -> bytes:
    if value is None:
        return b"NULL"
    if re.fullmatch(rb"-?\d+(\.\d+)?", value):
        return value
    # No backslash, no quote in any variable's value that is worth keeping; doubling the quote is right in
    # every sql_mode.
    return b"'" + value.replace(b"'", b"''") + b"'"
