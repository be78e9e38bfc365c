"""CREATE TABLE statements that MariaDB puts into its binary log in words of its own (pure).

`CREATE TABLE ... SELECT`, and `CREATE TABLE ... LIKE` a temporary table, are not logged as they were sent but
as the table that was made (MariaDB sql/sql_table.cc, sql/sql_insert.cc). Two things may be missing from that
text, and each of them is a difference between the servers that nobody reports:

* of LIKE, the character set: replicas take their database's default;
* what `SHOW CREATE TABLE` leaves out under the session's sql_mode: engine, character set, comments, and
  under some modes AUTO_INCREMENT.

Others are logged as they were sent, and mean another thing on replicas: those that name no engine (see
`table_engines`), those that number rows in the order in which a server has them (see `filled_columns`), and
RENAME TABLE of a temporary table, which replicas do not have.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wolfscale.proxy.filled_columns import depends_on_order, numbered_column
from wolfscale.proxy.lexer import Token, TokenKind
from wolfscale.proxy.refused import starts_with
from wolfscale.proxy.table_engines import engine_place
from wolfscale.proxy.versioned_cascades import cascades, is_versioned

LOSSY_MODES = (
    "ANSI",
    "DB2",
    "MAXDB",
    "MSSQL",
    "MYSQL323",
    "MYSQL40",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "ORACLE",
    "POSTGRESQL",
)
"""Parts of sql_mode under which SHOW CREATE TABLE does not show everything."""

EXPRESSION_SETTINGS = ("DEFAULT_REGEX_FLAGS", "DEFAULT_WEEK_FORMAT", "DIV_PRECISION_INCREMENT")
"""Variables that MariaDB does not log, and that ALTER TABLE computes defaults and generated columns by."""


def _lossless_prefix() -> bytes:
    expression = "CONCAT(',',@@sql_mode,',')"
    for mode in LOSSY_MODES:
        expression = f"REPLACE({expression},',{mode},',',')"
    return f"SET STATEMENT sql_mode={expression} FOR ".encode()


LOSSLESS = _lossless_prefix()
"""Goes before a statement, which is still parsed in the session's sql_mode but carried out without these."""


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A CREATE TABLE ... LIKE.

    Attributes:
        schema: where the new table will be; None: in the default schema.
        name: its name.
        source_schema: where the table is that it is like; None: in the default schema.
        source: that table's name.
    """

    schema: str | None
    name: str
    source_schema: str | None
    source: str

    @property
    def source_sql(self) -> str:
        """The table that it is like, as SQL."""
        return qualified(self.source_schema, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTables:
    """What of a text may be logged in other words.

    Attributes:
        copies: its CREATE TABLE ... LIKE.
        from_query: whether it has a CREATE TABLE ... SELECT.
        alone: whether the one statement is all of the text.
        temporary: the temporary tables that it makes, without their schemas.
        changes_schema: whether it may change the default schema, or a schema's character set.
        changes_mode: whether it may change sql_mode, to anything but a value without `LOSSY_MODES`.
        renamed: the tables that its RENAME TABLE give other names, each with its schema or None.
        altered: whether it has an ALTER TABLE.
        numbered: the tables whose rows its ALTER TABLE number, or keep some of, as they come, each with the
            column that has numbers already, or None.
        versioned: the tables that its ALTER TABLE give system versioning.
        cascading: those that they give a foreign key that changes rows.
        default_engine: whether it makes a table or sequence in the session's default engine.
        engine_at: where in the text that engine has to be named, if the one statement is all of it.
        changes_engine: whether it may change the session's default engine.
        changes_expressions: whether it may change one of `EXPRESSION_SETTINGS`.
    """

    copies: tuple[TableCopy, ...] = ()
    from_query: bool = False
    alone: bool = False
    temporary: frozenset[str] = frozenset()
    changes_schema: bool = False
    changes_mode: bool = False
    renamed: tuple[tuple[str | None, str], ...] = ()
    altered: bool = False
    numbered: tuple[tuple[str | None, str, str | None], ...] = ()
    versioned: tuple[tuple[str | None, str], ...] = ()
    cascading: tuple[tuple[str | None, str], ...] = ()
    default_engine: bool = False
    engine_at: int | None = None
    changes_engine: bool = False
    changes_expressions: bool = False

    def __or__(self, other: "WrittenTables") -> "WrittenTables":
        """Those of a text that holds both."""
        return WrittenTables(
            copies=self.copies + other.copies,
            from_query=self.from_query or other.from_query,
            temporary=self.temporary | other.temporary,
            changes_schema=self.changes_schema or other.changes_schema,
            changes_mode=self.changes_mode or other.changes_mode,
            renamed=self.renamed + other.renamed,
            altered=self.altered or other.altered,
            numbered=self.numbered + other.numbered,
            versioned=self.versioned + other.versioned,
            cascading=self.cascading + other.cascading,
            default_engine=self.default_engine or other.default_engine,
            changes_engine=self.changes_engine or other.changes_engine,
            changes_expressions=self.changes_expressions or other.changes_expressions,
        )


def qualified(schema: str | None, name: str) -> str:
    """A table in SQL, whatever its name."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in (schema, name) if part is not None)


def written_tables(tokens: Sequence[Token]) -> WrittenTables | None:
    """What a text makes; None where nothing needs a look."""
    words = {token.word for token in tokens if token.kind is TokenKind.WORD}
    renamed = tuple(_renamed(tokens)) if "RENAME" in words else ()
    altered = words >= {"ALTER", "TABLE"}
    if not renamed and not altered and not ("CREATE" in words and words & {"TABLE", "SEQUENCE"}):
        return None
    alone = tokens[0].word == "CREATE"
    copies: list[TableCopy] = []
    temporary: set[str] = set()
    from_query = default_engine = False
    engine_at = None
    for start in _creations(tokens):
        creation = _creation(tokens, start)
        target = _table_name(tokens, creation.place)
        if target is None:
            continue
        schema, name, place = target
        if creation.temporary:
            temporary.add(name)
            continue
        behind_name = place
        if place < len(tokens) and tokens[place].word == "(":
            place += 1
        if place < len(tokens) and tokens[place].word == "LIKE":
            source = _table_name(tokens, place + 1)
            if source is not None:
                copies.append(TableCopy(schema, name, source[0], source[1]))
            continue
        from_query |= not creation.sequence and _has_query(tokens[place:])
        engine_at = engine_place(tokens, behind_name, sequence=creation.sequence)
        default_engine |= engine_at is not None
    alterations = list(_alterations(tokens)) if altered else []
    return replace(
        what_changes(tokens),
        copies=tuple(copies),
        from_query=from_query,
        alone=alone,
        temporary=frozenset(temporary),
        renamed=renamed,
        altered=altered,
        numbered=tuple(
            (*table, numbered_column(statement))
            for table, statement in alterations
            if depends_on_order(statement)
        ),
        versioned=tuple(table for table, statement in alterations if is_versioned(statement)),
        cascading=tuple(table for table, statement in alterations if cascades(statement)),
        default_engine=default_engine,
        engine_at=engine_at if alone else None,
    )


def what_changes(tokens: Sequence[Token]) -> WrittenTables:
    """What a text may change that tables depend on, by the words in it; nothing of what it makes."""
    words = {token.word for token in tokens if token.kind is TokenKind.WORD}
    return WrittenTables(
        changes_schema=bool(words & {"USE", "DATABASE", "SCHEMA"}),
        changes_mode=_may_lose_options(tokens),
        changes_engine=bool(words & {"DEFAULT_STORAGE_ENGINE", "STORAGE_ENGINE"}),
        changes_expressions=not words.isdisjoint(EXPRESSION_SETTINGS),
    )


def _alterations(tokens: Sequence[Token]) -> Iterator[tuple[tuple[str | None, str], Sequence[Token]]]:
    """Each ALTER TABLE of a text: the table, and the statement."""
    for start, token in enumerate(tokens):
        if token.word != "ALTER":
            continue
        place = start + 1
        while place < len(tokens) and tokens[place].word in ("ONLINE", "OFFLINE", "IGNORE"):
            place += 1
        if not starts_with(tokens[place:], ("TABLE",)):
            continue
        place += 3 if starts_with(tokens[place + 1 :], ("IF", "EXISTS")) else 1
        target = _table_name(tokens, place)
        if target is not None:
            yield target[:2], list(itertools.takewhile(lambda token: token.word != ";", tokens[start:]))


def _renamed(tokens: Sequence[Token]) -> Iterator[tuple[str | None, str]]:
    for number, token in enumerate(tokens[:-1]):
        if token.word != "RENAME" or tokens[number + 1].word not in ("TABLE", "TABLES"):
            continue
        place = number + 2
        if starts_with(tokens[place:], ("IF", "EXISTS")):
            place += 2
        while (source := _table_name(tokens, place)) is not None:
            yield source[:2]
            place = source[2]
            while place < len(tokens) and tokens[place].word not in (",", ";"):
                place += 1
            if place >= len(tokens) or tokens[place].word == ";":
                break
            place += 1


def _may_lose_options(tokens: Sequence[Token]) -> bool:
    """Whether a text names sql_mode, other than to set it to a literal without `LOSSY_MODES`."""
    for number, token in enumerate(tokens):
        if token.word != "SQL_MODE":
            continue
        match tokens[number + 1 : number + 4]:
            case [Token(word="=" | ":="), Token(kind=TokenKind.STRING) as value, *rest]:
                if rest and rest[0].word not in (",", ";", "FOR"):
                    return True
                if not {part.strip().upper() for part in value.value.split(",")}.isdisjoint(LOSSY_MODES):
                    return True
            case _:
                return True
    return False


def _creations(tokens: Sequence[Token]) -> Iterator[int]:
    return (
        number
        for number, token in enumerate(tokens)
        if token.kind is TokenKind.WORD
        and token.word == "CREATE"
        and not (number and tokens[number - 1].word == "SHOW")
    )


@dataclass(frozen=True, slots=True)
class _Creation:
    """A CREATE: the number of the token where the name stands, behind all if it makes no table."""

    place: int
    temporary: bool = False
    sequence: bool = False


def _creation(tokens: Sequence[Token], start: int) -> _Creation:
    """CREATE [OR REPLACE] [TEMPORARY] TABLE | SEQUENCE [IF NOT EXISTS]."""
    place, temporary = start + 1, False
    if starts_with(tokens[place:], ("OR", "REPLACE")):
        place += 2
    if starts_with(tokens[place:], ("TEMPORARY",)):
        place, temporary = place + 1, True
    sequence = starts_with(tokens[place:], ("SEQUENCE",))
    if not sequence and not starts_with(tokens[place:], ("TABLE",)):
        return _Creation(len(tokens))
    place += 1
    if starts_with(tokens[place:], ("IF", "NOT", "EXISTS")):
        place += 3
    return _Creation(place, temporary, sequence)


def _table_name(tokens: Sequence[Token], place: int) -> tuple[str | None, str, int] | None:
    """A table's schema and name, and where what follows begins; None where no name stands."""
    names: list[str] = []
    if place < len(tokens) and tokens[place].word == ".":
        place += 1  # ODBC's way to say: in the default schema
    while place < len(tokens) and tokens[place].kind in (TokenKind.WORD, TokenKind.QUOTED, TokenKind.NUMBER):
        names.append(tokens[place].value)
        place += 1
        if len(names) == 2 or place >= len(tokens) or tokens[place].word != ".":
            break
        place += 1
    match names:
        case [name]:
            return None, name, place
        case [schema, name]:
            return schema, name, place
    return None


def _has_query(tokens: Sequence[Token]) -> bool:
    for number, token in enumerate(tokens):
        if token.kind is TokenKind.SYMBOL and token.word == ";":
            return False
        if token.kind is TokenKind.WORD and (
            token.word == "SELECT"
            or (token.word == "VALUES" and number + 1 < len(tokens) and tokens[number + 1].word == "(")
        ):
            return True
    return False
