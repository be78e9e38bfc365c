"""The values of user variables: the query that reads them, and what it answered as literals (pure).

A query without a table leaves warnings, LAST_INSERT_ID(), transactions and their snapshots alone (MariaDB
sql/sql_parse.cc, mysql_execute_command: only a statement with tables clears the warnings). It changes
ROW_COUNT() and FOUND_ROWS(), so it asks for those as well. A list of all variables needs a table,
information_schema.USER_VARIABLES, which tells neither collations nor values over 2048 bytes.
"""

from collections.abc import Sequence

from wolfscale.mysql.constants import ColumnType
from wolfscale.mysql.errors import RemoteProtocolError
from wolfscale.mysql.results import Column
from wolfscale.proxy.user_variables import UserVariable, quoted

KEPT_BYTES = 1 << 20
"""Of one session: names and values, and `BYTES_A_VARIABLE` for each."""
BYTES_A_VARIABLE = 512
"""What one costs beside its name and value."""
MAX_VARIABLES = KEPT_BYTES // BYTES_A_VARIABLE
"""More names are not read; then no variable is there again."""
SHORT_BYTES = 4096
"""Longer values are read each by itself."""
VARIABLES_A_QUERY = 256
"""A row of theirs has little more than 1 MiB."""

_COUNTS = "FOUND_ROWS(),ROW_COUNT()"
_COUNTED_COLUMNS = 2
_COLUMNS_A_VARIABLE = 3
_UNSIGNED = 32


def values_query(names: Sequence[str], max_bytes: int = SHORT_BYTES) -> bytes:
    """Ask for FOUND_ROWS(), ROW_COUNT() and, for each variable, its type, value and collation.

    Args:
        names: theirs. With one that is not ASCII the query is in UTF-8.
        max_bytes: of longer values one byte more comes.
    """
    columns = [_COUNTS]
    for name in names:
        variable = quoted(name)
        # The first column is NULL: its definition tells the type. A cast to BINARY gives numbers in ASCII and
        # a string's own bytes, whatever the session's character sets; a double's text is exact.
        columns.append(f"NULLIF({variable},{variable})")
        columns.append(f"LEFT(CAST({variable} AS BINARY),{max_bytes + 1})")
        columns.append(f"CAST(COLLATION({variable}) AS BINARY)")
    # A LIMIT of its own, since sql_select_limit may be 0.
    return f"SELECT {','.join(columns)} LIMIT 1".encode()


def length_query(name: str) -> bytes:
    """Ask for the number of bytes of a string."""
    return f"SELECT LENGTH(CAST({quoted(name)} AS BINARY)) LIMIT 1".encode()


def list_query() -> bytes:
    """Ask for the same two numbers, in a first row without a name, and for the names of all variables."""
    # The session's own bounds are for its own statements.
    return (
        f"SET STATEMENT sql_big_selects=1,max_statement_time=0 FOR SELECT NULL,{_COUNTS} UNION ALL "
        "SELECT CAST(VARIABLE_NAME AS BINARY),0,0 FROM information_schema.USER_VARIABLES "
        f"LIMIT {MAX_VARIABLES + 2}"
    ).encode()


def read_values(
    names: Sequence[str],
    columns: Sequence[Column],
    row: Sequence[bytes | None],
    max_bytes: int = SHORT_BYTES,
) -> list[UserVariable | None]:
    """The variables that a row of `values_query` tells, in the names' order; None where one is too long.

    Args:
        names: as given to it.
        columns: the row's definitions.
        row: its values.
        max_bytes: as given to it.

    Raises:
        RemoteProtocolError: the row is of another query.
    """
    if len(columns) != len(row) or len(row) != _COUNTED_COLUMNS + _COLUMNS_A_VARIABLE * len(names):
        raise RemoteProtocolError("the answer to a query of user variables has other columns")
    found: list[UserVariable | None] = []
    for number, name in enumerate(names):
        place = _COUNTED_COLUMNS + _COLUMNS_A_VARIABLE * number
        value, collation = row[place + 1], row[place + 2] or b"binary"
        if value is not None and len(value) > max_bytes:
            found.append(None)
        else:
            found.append(_variable(name, columns[place], value, collation.decode("ascii")))
    return found


def _variable(name: str, column: Column, value: bytes | None, collation: str) -> UserVariable:
    number = _number(column, value)
    if number is not None:
        return UserVariable(name, number)
    character_set = collation.partition("_")[0]
    if collation == "binary":
        if value is None:
            return UserVariable(name, "NULL")
        return UserVariable(name, "_binary ", value=value)
    if value is None:
        return UserVariable(name, f"CONVERT(NULL USING {character_set}) COLLATE {collation}")
    return UserVariable(name, f"_{character_set} ", value=value, collation=f" COLLATE {collation}")


def _number(column: Column, value: bytes | None) -> str | None:
    """A number as SQL; None for what is a string."""
    match column.type:
        case ColumnType.LONGLONG:
            text = "NULL" if value is None else value.decode("ascii")
            return f"CAST({text} AS {'UNSIGNED' if column.flags & _UNSIGNED else 'SIGNED'})"
        case ColumnType.NEWDECIMAL:
            if value is None:
                return "CAST(NULL AS DECIMAL)"
            text = value.decode("ascii")
            return text if "." in text else text + "."
        case ColumnType.DOUBLE:
            if value is None:
                return "CAST(NULL AS DOUBLE)"
            text = value.decode("ascii")
            return text if "e" in text else text + "e0"
    return None
