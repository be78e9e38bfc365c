"""What a table looks like: its columns, what they hold, and its unique keys, as the server tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from wolfscale.mysql.binary import Value
from wolfscale.mysql.client import Connection
from wolfscale.mysql.literals import identifier
from wolfscale.mysql.prepared_client import execute
from wolfscale.mysql.results import Column

_COLUMNS = (
    "SELECT column_name, data_type, column_type, is_nullable, column_default, extra, is_generated "
    "FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position"
)
_KEYS = (
    "SELECT index_name, column_name, sub_part FROM information_schema.statistics "
    "WHERE table_schema = ? AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index"
)
PRIMARY = "PRIMARY"
_JSON_FORMAT = b"\x01\x04json"
"""In MariaDB's extended metadata: the format (1), its length, its name."""


class Holds(Enum):
    """What kind of values a column holds, as far as JSON and binding are concerned."""

    INTEGER = auto()
    BITS = auto()
    DECIMAL = auto()
    SINGLE = auto()
    DOUBLE = auto()
    TEXT = auto()
    BINARY = auto()
    DATE = auto()
    DATETIME = auto()
    TIMESTAMP = auto()
    TIME = auto()
    YEAR = auto()
    JSON = auto()


_HOLDS = {
    "tinyint": Holds.INTEGER,
    "smallint": Holds.INTEGER,
    "mediumint": Holds.INTEGER,
    "int": Holds.INTEGER,
    "bigint": Holds.INTEGER,
    "bit": Holds.BITS,
    "decimal": Holds.DECIMAL,
    "float": Holds.SINGLE,
    "double": Holds.DOUBLE,
    "binary": Holds.BINARY,
    "varbinary": Holds.BINARY,
    "tinyblob": Holds.BINARY,
    "blob": Holds.BINARY,
    "mediumblob": Holds.BINARY,
    "longblob": Holds.BINARY,
    "geometry": Holds.BINARY,
    "point": Holds.BINARY,
    "linestring": Holds.BINARY,
    "polygon": Holds.BINARY,
    "multipoint": Holds.BINARY,
    "multilinestring": Holds.BINARY,
    "multipolygon": Holds.BINARY,
    "geometrycollection": Holds.BINARY,
    "date": Holds.DATE,
    "datetime": Holds.DATETIME,
    "timestamp": Holds.TIMESTAMP,
    "time": Holds.TIME,
    "year": Holds.YEAR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """One column.

    Attributes:
        name: as it was defined.
        type: e.g. `bigint(20) unsigned`.
        holds: what kind of values.
        nullable: it takes NULL.
        optional: an insert may leave it out.
        automatic: AUTO_INCREMENT.
        generated: the server computes it.
    """

    name: str
    type: str
    holds: Holds
    nullable: bool = True
    optional: bool = True
    automatic: bool = False
    generated: bool = False

    @property
    def takes_snowflake(self) -> bool:
        """Whether a missing value may be a new id: it is wide enough and nobody else gives one."""
        return self.type.startswith("bigint") and not (self.automatic or self.generated or self.optional)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """A unique key, the primary one among them; its columns in order."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table or view; columns by their names in lower case, the primary key first."""

    database: str
    name: str
    columns: Mapping[str, TableColumn]
    keys: tuple[UniqueKey, ...] = ()

    @property
    def quoted(self) -> str:
        """Its name for a statement."""
        return f"{identifier(self.database)}.{identifier(self.name)}"

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.database}.{self.name}"

    def column(self, name: str) -> TableColumn | None:
        """A column by its name, whose case does not matter to MariaDB."""
        return self.columns.get(name.lower())

    @property
    def primary(self) -> UniqueKey | None:
        """The primary key."""
        return next((key for key in self.keys if key.name == PRIMARY), None)


async def read_table(connection: Connection, database: str, name: str) -> Table:
    """Ask the server for a table, inside a transaction that goes on to use it.

    The first statement holds the table's definition for as long as the transaction lasts, so what is read is
    what the following statements will meet.

    Raises:
        ServerError: there is no such table (1146), or the account may not read it.
        ConnectionLost: the connection broke.
    """
    quoted = f"{identifier(database)}.{identifier(name)}"
    probe = await execute(connection, f"SELECT * FROM {quoted} LIMIT 0")
    columns = await execute(connection, _COLUMNS, [database, name])
    keys = await execute(connection, _KEYS, [database, name])
    return build_table(database, name, probe.columns, columns.rows, keys.rows)


def build_table(
    database: str,
    name: str,
    probed: Sequence[Column],
    columns: Sequence[Sequence[Value]],
    keys: Sequence[Sequence[Value]],
) -> Table:
    """Put a table together from the server's answers."""
    documents = {column.name.decode() for column in probed if column.extended == _JSON_FORMAT}
    found = [_column([_text(value) for value in row], documents) for row in columns]
    grouped: dict[str, list[str]] = {}
    partial: set[str] = set()
    for row in keys:
        key, column, prefix = _text(row[0]), _text(row[1]), row[2]
        grouped.setdefault(key, []).append(column)
        if prefix is not None:
            partial.add(key)  # a unique prefix names no single row by the whole value
    unique = [UniqueKey(name=key, columns=tuple(names)) for key, names in grouped.items()]
    unique.sort(key=lambda key: (key.name != PRIMARY, key.name))
    return Table(
        database=database,
        name=name,
        columns={column.name.lower(): column for column in found},
        keys=tuple(key for key in unique if key.name not in partial),
    )


def _column(row: Sequence[str], documents: set[str]) -> TableColumn:
    name, data_type, column_type, is_nullable, default, extra, is_generated = row
    extra = extra.lower()
    nullable = is_nullable == "YES"
    automatic = "auto_increment" in extra
    holds = Holds.JSON if name in documents else _HOLDS.get(data_type.lower(), Holds.TEXT)
    return TableColumn(
        name=name,
        type=column_type,
        holds=holds,
        nullable=nullable,
        optional=nullable or bool(default) or automatic or is_generated == "ALWAYS",
        automatic=automatic,
        generated=is_generated == "ALWAYS",
    )


def _text(value: Value) -> str:
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
