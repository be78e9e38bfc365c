"""Global variables that clients have set for the whole cluster (SET GLOBAL), kept as rows.

MariaDB does not replicate SET GLOBAL. The rows of `wolfscale.global_settings` do: they are written on the
primary as any row, so that a majority holds them before the client hears OK, every clone brings them, and a
server that was away finds them when it has caught up. Each node gives its server what the rows say: at its
start, before its promotion is announced, when the primary's node says that something has changed, and, in
case that word is lost, within a second of having applied more. A kind of log entry of its own would need all
of that once more, and a position of its own in each server's data.

What a server was configured with is kept from its start, so that a setting that is taken back is again what
it will be at the next start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from wolfscale import logs
from wolfscale.mysql.client import Connection
from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.literals import identifier, literal
from wolfscale.replication.database import Database
from wolfscale.replication.open_intents import OpenIntents
from wolfscale.replication.schema import GLOBAL_SETTINGS, SCHEMA

log = logs.logger(__name__)

_NUMBERS = frozenset({"BOOLEAN", "INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED", "DOUBLE"})
"""Types of variables whose values are no quoted text (information_schema.SYSTEM_VARIABLES)."""
_NO_VALUE = frozenset({"", "DEFAULT"})
"""What information_schema shows of a variable that has no value. Some of them cannot be set to that text."""
_NO_SUCH_TABLE = frozenset({1146, 1049})
_ALL = (
    "SELECT LOWER(variable_name), global_value, variable_type FROM information_schema.system_variables "
    "WHERE variable_scope <> 'SESSION ONLY' AND read_only = 'NO'"
)


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's value.

    Attributes:
        text: as SHOW GLOBAL VARIABLES shows it.
        quoted: whether it is written in quotes.
    """

    text: str | None
    quoted: bool

    @property
    def sql(self) -> str:
        """As it stands behind the sign of a SET."""
        return literal(self.text) if self.quoted or self.text is None else self.text


class GlobalSettings:
    """The settings of one node's server. Any task may use it; what it does, it does one after the other.

    Its operations raise `ServerError` and `ConnectionLost` as those of `Database` do.
    """

    def __init__(self, database: Database, intents: OpenIntents) -> None:
        """Begin with a server of which nothing is known.

        Args:
            database: the server.
            intents: says that the table is made, where the cluster's data are older than it.
        """
        self._database = database
        self._intents = intents
        self._lock = trio.Lock()
        self._started = True
        self._configured: dict[str, Value] = {}
        self._applied: dict[str, Value] = {}

    def on_start(self) -> None:
        """The server has been started: it has its configured values."""
        self._started = True

    async def apply(self) -> None:
        """Give the server what the rows say. What it refuses is said in the log, once."""
        async with self._lock:
            if self._started:
                self._configured = await self._values()
                self._applied = {}
                self._started = False
                await self._database.read_time_zone()
            rows = await self._rows()
            for name in sorted(self._applied.keys() - rows.keys()):
                await self._reset(name)
                del self._applied[name]
            for name, value in rows.items():
                if self._applied.get(name) != value:
                    await self._set(name, value)
                    self._applied[name] = value

    async def record(self, names: Sequence[str], defaults: Sequence[str], user: str) -> None:
        """Keep for the cluster what the primary's variables are now; only on the primary.

        Returns when a majority holds it.

        Args:
            names: variables that a client has set.
            defaults: those that shall be as configured again.
            user: who has set them.
        """
        async with self._lock:
            for name in defaults:
                await self._reset(name.lower())
            present = await self._values(names)
            try:
                await self._write(present, defaults, user)
            except ServerError as error:
                if error.errno not in _NO_SUCH_TABLE:
                    raise
                await self._create_table()
                await self._write(present, defaults, user)
            self._applied |= present
            if "time_zone" in present:
                await self._database.read_time_zone()
            for name in defaults:
                self._applied.pop(name.lower(), None)

    async def listed(self) -> list[dict[str, str]]:
        """The settings as rows of text, in order of their names."""
        try:
            result = await self._database.query(
                f"SELECT name, value, set_by, changed_at FROM {SCHEMA}.global_settings ORDER BY name"
            )
        except ServerError as error:
            if error.errno in _NO_SUCH_TABLE:
                return []
            raise
        columns = ("Name", "Value", "Set_by", "Changed_at")
        return [
            dict(zip(columns, (text or "" for text in row), strict=True)) | {"Value": _shown(row[1])}
            for row in result.rows
        ]

    async def _rows(self) -> dict[str, Value]:
        try:
            rows = (
                await self._database.query(f"SELECT name, value, quoted FROM {SCHEMA}.global_settings")
            ).rows
        except ServerError as error:
            if error.errno in _NO_SUCH_TABLE:
                return {}
            raise
        return {name or "": Value(text, quoted == "1") for name, text, quoted in rows}

    async def _values(self, names: Sequence[str] | None = None) -> dict[str, Value]:
        chosen = _ALL
        if names is not None:
            chosen += f" AND variable_name IN ({', '.join(map(literal, names)) or 'NULL'})"
        rows = (await self._database.query(chosen)).rows
        return {name or "": Value(text, (kind or "") not in _NUMBERS) for name, text, kind in rows}

    async def _set(self, name: str, value: Value | None) -> None:
        """Set a variable to a value; None: to MariaDB's own default."""
        sql = "DEFAULT" if value is None else value.sql
        try:
            await self._database.query(f"SET GLOBAL {identifier(name)} = {sql}")
        except ServerError as error:
            if value is not None and value.text in _NO_VALUE:
                await self._set(name, None)
                return
            log.warning(
                "MariaDB refuses a setting of the cluster", variable=name, value=sql, reason=str(error)
            )
        if name == "time_zone":
            await self._database.read_time_zone()

    async def _reset(self, name: str) -> None:
        await self._set(name, self._configured.get(name))

    async def _write(self, present: Mapping[str, Value], defaults: Sequence[str], user: str) -> None:
        async with await self._database.connect() as connection:
            await connection.query("BEGIN")
            for name, value in sorted(present.items()):
                await _write_row(connection, name, value, user)
            for name in defaults:
                await connection.query(
                    f"DELETE FROM {SCHEMA}.global_settings WHERE name={literal(name.lower())}"
                )
            await connection.query("COMMIT")

    async def _create_table(self) -> None:
        async with await self._database.connect() as connection:
            await self._intents.begin(connection.connection_id)
            finished = False
            try:
                await connection.query(GLOBAL_SETTINGS)
                finished = True
            finally:
                self._intents.end(connection.connection_id, finished=finished)


async def _write_row(connection: Connection, name: str, value: Value, user: str) -> None:
    columns = f"{literal(name)}, {literal(value.text)}, {int(value.quoted)}, {literal(user)}, UTC_TIMESTAMP()"
    await connection.query(f"REPLACE INTO {SCHEMA}.global_settings VALUES ({columns})")


def _shown(text: str | None) -> str:
    return "NULL" if text is None else text
