"""The adapter to mysql-mimic, and the only module that imports it.

What it is used for: typed result sets (Python values to text and binary rows with their column definitions),
and the character set of a collation. Importing it takes 0.1 s and 40 MiB (it pulls in sqlglot), so only
processes that answer statements themselves, or parse SQL anyway, import this module.

What is not used: its parsers and its server. They loop for ever on a string without a NUL, read past the end
silently, paste prepared parameters unescaped, do not split rows of 16 MiB, and answer 1062 with SQLSTATE
HY000.
"""

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet, Collation
from mysql_mimic.results import ResultColumn
from mysql_mimic.types import Capabilities, ServerStatus
from mysql_mimic.types import ColumnType as MimicColumnType

from wolfscale.mysql.buffer import lenenc_int
from wolfscale.mysql.constants import Capability, ColumnType, Status

# Where MariaDB and Python call a character set differently, or mean different things by its name: MariaDB's
# latin1 is Windows' and its UTF-16 has no byte order mark.
_CODECS = {
    "utf8mb4": "utf-8",
    "utf8": "utf-8",
    "latin1": "cp1252",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "hp8": "hp-roman8",
    "macce": "mac-latin2",
    "eucjpms": "euc-jp",
}


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column of a result set that we make ourselves."""

    name: str
    type: ColumnType = ColumnType.VAR_STRING


def build_typed_result(
    columns: Sequence[TypedColumn],
    rows: Iterable[Sequence[Any]],
    capabilities: int,
    *,
    status: int = int(Status.AUTOCOMMIT),
    binary: bool = False,
) -> list[bytes]:
    """The payloads of a whole result set of Python values, in order.

    Args:
        columns: names and types.
        rows: values: int, float, Decimal, str, bytes, date, datetime, timedelta, bool or None.
        capabilities: those that hold with the client.
        status: server status flags of its end.
        binary: rows for a prepared statement rather than for a text.
    """
    theirs = _capabilities(capabilities)
    made = [ResultColumn(column.name, MimicColumnType(column.type)) for column in columns]
    count = lenenc_int(len(made))
    if not capabilities & Capability.MYSQL and capabilities & Capability.MARIADB_CACHE_METADATA:
        count += b"\x01"  # the definitions follow
    payloads = [count]
    extended = not capabilities & Capability.MYSQL and capabilities & Capability.MARIADB_EXTENDED_METADATA
    for column in made:
        definition: bytes = packets.make_column_definition_41(
            server_charset=CharacterSet.utf8mb4,
            name=column.name,
            character_set=column.character_set,
            column_type=column.type,
        )
        if extended:
            definition = definition[:-13] + b"\0" + definition[-13:]
        payloads.append(definition)
    flags = ServerStatus(status)
    if not capabilities & Capability.DEPRECATE_EOF:
        payloads.append(packets.make_eof(theirs, flags))
    for row in rows:
        if binary:
            payloads.append(packets.make_binary_resultrow(row, made))
        else:
            payloads.append(packets.make_text_resultset_row(row, made))
    if capabilities & Capability.DEPRECATE_EOF:
        payloads.append(packets.make_ok(theirs, flags, eof=True))
    else:
        payloads.append(packets.make_eof(theirs, flags))
    return payloads


def codec_of_collation(collation: int) -> str:
    """The Python codec for text in a collation's character set.

    UTF-8 for ids that are not known: MariaDB's newer collations (uca1400 and the like) are nearly all of
    Unicode sets. Latin-1, which keeps every byte, for sets that Python does not have, and for binary.
    """
    try:
        name = Collation(collation).charset.name
    except ValueError:
        return "utf-8"
    codec = _CODECS.get(name, name)
    try:
        return codecs.lookup(codec).name
    except LookupError:
        return "iso8859-1"


def _capabilities(capabilities: int) -> Capabilities:
    # Whoever lacks this bit is refused at log-in; without it EOF packets would have no status.
    return Capabilities(capabilities & 0xFFFFFFFF | Capability.PROTOCOL_41)
