"""What MariaDB refuses, as an HTTP answer: its own number and text, a fitting status, the field. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wolfscale.api.problems import Problem
from wolfscale.api.tables import Table
from wolfscale.mysql.errors import ServerError

RETRY_SECONDS = 1
"""What `Retry-After` says where the same request may well succeed."""

READ_ONLY_SERVER = frozenset({1290, 1836})
CONFLICTS = frozenset({1213, 1412, 1615})
"""A deadlock, or a definition that changed meanwhile: the transaction is to be made again."""
LOCK_WAIT = 1205
SERVER_GOES = frozenset({1053, 1317, 1927})
"""The session was ended from outside: what it had not committed is rolled back."""
NO_SUCH_TABLE = 1146
DUPLICATE = 1062
UNKNOWN_DATABASE = 1049


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    error: str


_KINDS: dict[int, _Kind] = {}


def _kind(status: int, error: str, *errnos: int) -> None:
    for errno in errnos:
        _KINDS[errno] = _Kind(status, error)


# Numbers: MariaDB include/mysqld_error.h, "MariaDB Error Code Reference".
_kind(409, "duplicate_key", 1022, 1062, 1169, 1586, 1859)
_kind(409, "foreign_key", 1216, 1217, 1451, 1452, 1701, 1834)
_kind(404, "unknown_table", 1051, 1109, 1146)
_kind(404, "unknown_database", 1008, 1049)
_kind(404, "unknown_object", 1305, 1360, 1091, 1539, 1082, 4089)
_kind(409, "exists_already", 1007, 1050, 1060, 1061, 1304, 1359, 1537, 1826)
_kind(422, "unknown_column", 1054, 1072)
_kind(422, "null_in_column", 1048, 1121, 1263)
_kind(422, "missing_column", 1364, 1423)
_kind(422, "too_long", 1406, 1162)
_kind(422, "out_of_range", 1264, 1690, 167, 1441, 1916)
_kind(
    422,
    "wrong_value",
    1265,
    1292,
    1366,
    1411,
    1416,
    1525,
    3140,
    4038,
    1210,
    1267,
    1270,
    1271,
    1911,
    1918,
    1300,
)
_kind(422, "check_failed", 4025, 3819)
_kind(422, "no_partition", 1526, 1591, 1748)
_kind(422, "read_only_column", 1348, 1471, 1906, 1369, 1394, 1395, 1288)
_kind(422, "no_database", 1046)
_kind(422, "signalled", 1644)
_kind(400, "syntax", 1064, 1065, 1149)
_kind(403, "access_denied", 1044, 1045, 1142, 1143, 1227, 1370, 1698, 1419)
_kind(403, "read_only", 1792)
_kind(409, "locked", 1205, 1213, 1412, 1615, 1020, 1099)
_kind(503, "read_only_server", 1290, 1836)
_kind(503, "too_many_connections", 1040, 1203, 1226)
_kind(503, "connection_lost", 1927, 1317, 1053)
_kind(504, "too_slow", 1969, 3024)
_kind(413, "too_large", 1153, 1301)
_kind(507, "disk_full", 1021, 1114)
_WITH_RETRY = frozenset({1205, 1213, 1412, 1615, 1290, 1836, 1040, 1203, 1226, 1927, 1020, 1053})

_OF_OTHER_TABLES = frozenset({1217, 1451})
"""A row that others refer to: the column that the text names is theirs."""

_COLUMN_PATTERNS = (
    re.compile(r"for column `[^`]*`\.`[^`]*`\.`([^`]+)`"),
    re.compile(r"for column '([^']+)'"),
    re.compile(r"^Column '([^']+)'"),
    re.compile(r"^Field '([^']+)'"),
    re.compile(r"^Unknown column '([^']+)'"),
    re.compile(r"FOREIGN KEY \(`([^`]+)`\)"),
    re.compile(r"^CONSTRAINT `[^`.]+\.([^`]+)` failed"),
    re.compile(r"generated column '([^']+)'"),
)
_KEY = re.compile(r"for key '([^']+)'")


def problem_of(error: ServerError, *, field: str | None = None) -> Problem:
    """A server's error as the answer to a request.

    Args:
        error: passed on unchanged.
        field: the part of the request that it is about, where that is known.
    """
    kind = _KINDS.get(error.errno) or _kind_by_state(error.sqlstate)
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.errno in _WITH_RETRY else None
    return Problem(
        kind.status,
        kind.error,
        error.message,
        field=field,
        errno=error.errno,
        sqlstate=error.sqlstate,
        headers=headers,
    )


def _kind_by_state(sqlstate: str) -> _Kind:
    match sqlstate[:2]:
        case "22":
            return _Kind(422, "wrong_value")
        case "23":
            return _Kind(409, "constraint")
        case "28":
            return _Kind(403, "access_denied")
        case "40":
            return _Kind(409, "locked")
        case "45":
            return _Kind(422, "signalled")
        case "21" | "42" | "0A" | "25" | "44":
            return _Kind(400, "refused")
    return _Kind(500, "server_error")


def column_of(error: ServerError, table: Table) -> str | None:
    """The column that an error speaks of, where it names one."""
    for pattern in _COLUMN_PATTERNS:
        found = pattern.search(error.message)
        if found and (column := table.column(found[1].rpartition(".")[2])):
            return column.name
    found = _KEY.search(error.message)
    if found:
        # Newer servers put the table's name in front of the key's.
        wanted = found[1].rpartition(".")[2]
        for key in table.keys:
            if key.name == wanted:
                return key.columns[0]
    return None


def field_of(error: ServerError, table: Table, places: Mapping[str, Mapping[str, object]]) -> str | None:
    """The request's field that an error speaks of.

    Args:
        error: the server's.
        table: the one written to.
        places: the request's objects that hold columns, by their names in the request, e.g. `values`; the
            first is meant when the column stands in none.
    """
    column = None if error.errno in _OF_OTHER_TABLES else column_of(error, table)
    if column is None:
        return None
    for place, given in places.items():
        for name in given:
            if name.lower() == column.lower():
                return f"{place}.{name}"
    return f"{next(iter(places))}.{column}"
