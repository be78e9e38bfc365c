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

MAX_VARIABLE_BYTES = 64 << 10
"""A longer value is not kept."""
MAX_VARIABLES = 256
"""Of one session; with more, none is there again."""
VARIABLES_A_QUERY = 64
"""A row of theirs has at most 4 MiB."""

_COUNTS = "FOUND_ROWS(),ROW_COUNT()"
_COUNTED_COLUMNS = 2
_COLUMNS_A_VARIABLE = 3
_UNSIGNED = 32


def values_query(names: Sequence[str]) -> bytes:
    """Ask for FOUND_ROWS(), ROW_COUNT() and, for each variable, its type, value and collation."""
    columns = [_COUNTS]
    for name in names:
        variable = quoted(name)
        # The first column is NULL: its definition tells the type. A cast to BINARY gives numbers in ASCII and
        # a string's own bytes, whatever the session's character sets; a double's text is exact.
        columns.append(f"NULLIF({variable},{variable})")
        columns.append(f"LEFT(CAST({variable} AS BINARY),{MAX_VARIABLE_BYTES + 1})")
        columns.append(f"CAST(COLLATION({variable}) AS BINARY)")
    # A LIMIT of its own, since sql_select_limit may be 0.
    return f"SELECT {','.join(columns)} LIMIT 1".encode("latin-1")


def list_query() -> bytes:
    """Ask for the same two numbers, in a first row without a name, and for the names of all variables."""
    # The session's own bounds are for its own statements.
    return (
        f"SET STATEMENT sql_big_selects=1,max_statement_time=0 FOR SELECT NULL,{_COUNTS} UNION ALL "
        "SELECT CAST(VARIABLE_NAME AS BINARY),0,0 FROM information_schema.USER_VARIABLES "
        f"LIMIT {MAX_VARIABLES + 2}"
    ).encode()


def read_values(
    names: Sequence[str], columns: Sequence[Column], row: Sequence[bytes | None]
) -> list[UserVariable | None]:
    """The variables that a row of `values_query` tells, in the names' order; None where one is too long.

    Raises:
        RemoteProtocolError: the row is of another query.
    """
    if len(columns) != len(row) or len(row) != _COUNTED_COLUMNS + _COLUMNS_A_VARIABLE * len(names):
        raise RemoteProtocolError("the answer to a query of user variables has other columns")
    found: list[UserVariable | None] = []
    for number, name in enumerate(names):
        place = _COUNTED_COLUMNS + _COLUMNS_A_VARIABLE * number
        value, collation = row[place + 1], row[place + 2] or b"binary"
        if value is not None and len(value) > MAX_VARIABLE_BYTES:
            found.append(None)
        else:
            found.append(UserVariable(name, _literal(columns[place], value, collation.decode("ascii"))))
    return found


def _literal(column: Column, value: bytes | None, collation: str) -> str:
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
    if collation == "binary":
        return "NULL" if value is None else f"_binary X'{value.hex()}'"
    character_set = collation.partition("_")[0]
    if value is None:
        return f"CONVERT(NULL USING {character_set}) COLLATE {collation}"
    return f"_{character_set} X'{value.hex()}' COLLATE {collation}"
