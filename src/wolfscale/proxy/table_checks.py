"""Before a CREATE, ALTER or RENAME TABLE: would the replicas make the same of what MariaDB logs?

Asked of the leader on the session's own connection, where its temporary tables are. What would make another
table elsewhere is refused, since nothing would report the difference afterwards.
"""

import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from wolfscale.mysql.constants import Command
from wolfscale.mysql.errors import ServerError
from wolfscale.proxy.backend import BackendConnection
from wolfscale.proxy.errors import RefusedStatement
from wolfscale.proxy.filled_columns import order_question
from wolfscale.proxy.lexer import LexerMode, TokenKind, encode_sql, tokenize
from wolfscale.proxy.refused import CASCADES_IN_HISTORY, ER_NOT_SUPPORTED_YET
from wolfscale.proxy.statement import Effect, Statement
from wolfscale.proxy.versioned_cascades import cascades_question, versioned_question
from wolfscale.proxy.written_tables import EXPRESSION_SETTINGS, TableCopy, WrittenTables, qualified

if TYPE_CHECKING:
    from wolfscale.proxy.execution import Executor

_QUERY = bytes((Command.QUERY,))
_PLAIN_MODE = LexerMode()
# The session's own settings would change what is shown, and how it is written.
_SETTINGS = "SET STATEMENT sql_mode='',character_set_results=utf8mb4,max_statement_time=0 FOR "
_EXPRESSIONS_DIFFER = "SELECT 1 FROM DUAL WHERE " + " OR ".join(
    f"@@{name}<>@@GLOBAL.{name}" for name in EXPRESSION_SETTINGS
)
_TEMPORARY = re.compile(rb"CREATE TEMPORARY (TABLE|SEQUENCE)\b")


class TableChecks:
    """One session's."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._prepared: WrittenTables | None = None

    def clear(self) -> None:
        """The session begins anew."""
        self._prepared = None

    async def before(self, writer: BackendConnection, statement: Statement) -> None:
        """Look at what a statement would make, or what one may that was prepared in SQL.

        Args:
            writer: the leader's connection, up to date with the session.
            statement: about to be sent.

        Raises:
            RefusedStatement: a replica would make another table.
            ConnectionLost: the connection is gone.
        """
        tables = statement.tables
        if statement.effects & Effect.NAMED_STATEMENTS and tables is not None:
            # Looked at now, since the text may execute it as well, and at each execution.
            self._prepared = tables if self._prepared is None else self._prepared | tables
        if statement.effects & Effect.PERHAPS_TEMPORARY_TABLES and self._prepared is not None:
            tables = self._prepared if tables is None else self._prepared | tables
        if tables is None:
            return
        status = writer.tracker.status
        loses_options = self._executor.memory.loses_table_options or tables.changes_mode
        if tables.from_query and not tables.alone and loses_options:
            raise _refused("CREATE TABLE ... SELECT in this sql_mode", _BY_ITSELF)
        if tables.default_engine and (self._executor.memory.engine or tables.changes_engine):
            raise _refused("a CREATE without ENGINE under this default_storage_engine", "name the engine")
        for schema, name in tables.renamed:
            await self._check_renamed(writer, tables, schema, name)
        if tables.altered:
            await self._check_expressions(writer, tables)
        for schema, name, column in tables.numbered:
            await self._check_order(writer, schema, name, column)
        for schema, name in tables.versioned:
            await self._check_history(writer, schema, name, cascades_question)
        for schema, name in tables.cascading:
            await self._check_history(writer, schema, name, versioned_question)
        for copy in tables.copies:
            await self._check(writer, copy, tables, loses_options=loses_options)
        writer.tracker.status = status

    async def _check(
        self, writer: BackendConnection, copy: TableCopy, tables: WrittenTables, *, loses_options: bool
    ) -> None:
        what = f"CREATE TABLE {_shown(copy.schema, copy.name)} LIKE {_shown(copy.source_schema, copy.source)}"
        if not tables.alone and copy.source in tables.temporary:
            raise _refused(what, _BY_ITSELF)
        collation = await self._temporary_collation(writer, copy)
        if collation is None:
            return
        if not tables.alone and tables.changes_schema:
            raise _refused(what, _BY_ITSELF)
        if loses_options:
            raise _refused(what, "take ANSI, ORACLE and the like out of the session's sql_mode before it")
        default = await self._default_collation(writer, copy)
        if default is not None and default != collation:
            character_set = collation.partition("_")[0]
            raise _refused(
                what,
                f"{_shown(copy.source_schema, copy.source)} is a temporary table in {collation}, and the new "
                f"table's database has {default}, which the other servers would take: write the columns out, "
                f"with DEFAULT CHARACTER SET {character_set} COLLATE {collation} (SHOW CREATE TABLE shows "
                "them), or run ALTER DATABASE first",
            )

    async def _check_renamed(
        self, writer: BackendConnection, tables: WrittenTables, schema: str | None, name: str
    ) -> None:
        shown = _shown(schema, name)
        made_here = not tables.alone and name in tables.temporary
        if made_here or await self._temporary_definition(writer, qualified(schema, name)) is not None:
            raise RefusedStatement(
                ER_NOT_SUPPORTED_YET,
                "42000",
                f"WolfScale does not allow this: {shown} is a temporary table, and RENAME TABLE would rename "
                "a table of that name on the other servers, since MariaDB logs it; use ALTER TABLE "
                f"{shown} RENAME TO",
            )

    async def _check_expressions(self, writer: BackendConnection, tables: WrittenTables) -> None:
        # Without settings of its own, which the server would tell with the next answer: this is often asked.
        question = encode_sql(_EXPRESSIONS_DIFFER, self._executor.memory.character_set)
        if tables.changes_expressions or await writer.run((_QUERY + question,)):
            names = ", ".join(name.lower() for name in EXPRESSION_SETTINGS)
            raise _refused(
                f"ALTER TABLE under another {names} than the other servers have",
                "they are not logged, and columns would be filled differently; set them to DEFAULT before it",
            )

    async def _check_order(
        self, writer: BackendConnection, schema: str | None, name: str, column: str | None
    ) -> None:
        table = qualified(schema, name)
        if await self._temporary_definition(writer, table) is not None:
            return
        if not await self._ask(writer, order_question(self._literal(schema), self._literal(name))):
            return
        try:
            if len(await self._ask(writer, f"SELECT 1 FROM {table} LIMIT 2")) < 2:
                return
            if column is not None:
                # What is less than 1, or no number at all, may be as good as none in the new type.
                unnumbered = f"({qualified(None, column)}>=1) IS NOT TRUE"
                if not await self._ask(writer, f"SELECT 1 FROM {table} WHERE {unnumbered} LIMIT 1"):
                    return
        except ServerError:
            pass  # it is not to be read: there may be rows
        raise RefusedStatement(
            ER_NOT_SUPPORTED_YET,
            "42000",
            f"WolfScale does not allow this: {_shown(schema, name)} has no primary key, so its rows may be "
            "in another order on each server, which would number them or choose among them differently; make "
            "a new table with the key, INSERT INTO new SELECT ... FROM old, and RENAME TABLE",
        )

    async def _check_history(
        self, writer: BackendConnection, schema: str | None, name: str, question: Callable[[str, str], str]
    ) -> None:
        if await self._ask(writer, question(self._literal(schema), self._literal(name))):
            raise CASCADES_IN_HISTORY.error()

    def _literal(self, name: str | None) -> str:
        """A schema's or table's name as a literal; the default schema for None."""
        if name is None:
            return "DATABASE()"
        text = name.replace("'", "''")
        if self._executor.memory.mode.backslash_escapes:
            text = text.replace("\\", "\\\\")
        return f"'{text}'"

    async def _temporary_definition(self, writer: BackendConnection, table: str) -> bytes | None:
        """What SHOW CREATE TABLE shows of a table, if it is a temporary one."""
        try:
            rows = await self._ask(writer, f"SHOW CREATE TABLE {table}")
        except ServerError:
            # There is none, or it is not to be seen: the statement gets its own error.
            return None
        definition = rows[0][1] if rows and len(rows[0]) > 1 else None
        return definition if definition is not None and _TEMPORARY.match(definition) else None

    async def _temporary_collation(self, writer: BackendConnection, copy: TableCopy) -> str | None:
        """The collation of the table that is copied, if it is a temporary one."""
        definition = await self._temporary_definition(writer, copy.source_sql)
        if definition is None:
            return None
        options = _options(definition.decode("latin-1"))
        collation = options.get("COLLATE")
        if collation is None:
            # MariaDB before 10.6.11 does not tell a character set's own.
            rows = await self._ask(
                writer,
                "SELECT CAST(DEFAULT_COLLATE_NAME AS BINARY) FROM information_schema.CHARACTER_SETS "
                f"WHERE CHARACTER_SET_NAME='{options.get('CHARSET', '')}' LIMIT 1",
            )
            collation = (rows[0][0] or b"").decode("ascii") if rows else ""
        return collation

    async def _default_collation(self, writer: BackendConnection, copy: TableCopy) -> str | None:
        """What the new table's database gives to tables; None if there is no such database."""
        rows = await self._ask(
            writer,
            "SELECT CAST(DEFAULT_COLLATION_NAME AS BINARY) FROM information_schema.SCHEMATA "
            f"WHERE SCHEMA_NAME={self._literal(copy.schema)} LIMIT 1",
        )
        return rows[0][0].decode("ascii") if rows and rows[0][0] is not None else None

    async def _ask(self, writer: BackendConnection, sql: str) -> list[tuple[bytes | None, ...]]:
        text = encode_sql(_SETTINGS + sql, self._executor.memory.character_set)
        variables = dict(writer.variables)
        try:
            return await writer.run((_QUERY + text,))
        finally:
            # The answer tells the settings of this question, and not that they have been taken back.
            writer.variables = variables


_BY_ITSELF = "send it as a statement of its own, neither prepared in SQL nor together with others"


def _refused(what: str, instead: str) -> RefusedStatement:
    return RefusedStatement(
        ER_NOT_SUPPORTED_YET,
        "42000",
        f"WolfScale does not allow this: {what} could make another table on the other servers, since "
        f"MariaDB's log leaves out a part of it; {instead}",
    )


def _shown(schema: str | None, name: str) -> str:
    text = qualified(schema, name)
    try:
        return text.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text


def _options(definition: str) -> dict[str, str]:
    """The words that a SHOW CREATE TABLE has behind the columns, each with the word that follows it."""
    depth = 0
    words: list[str] = []
    for token in tokenize(definition, _PLAIN_MODE).tokens:
        depth += (token.word == "(") - (token.word == ")")
        if not depth and token.kind is TokenKind.WORD:
            words.append(token.value)
    return dict(itertools.pairwise(words))
