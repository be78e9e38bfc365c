"""What a MariaDB replica asks before it asks for the binlog, and what the feed answers. Pure.

Seen on the wire from 10.11 (sql/slave.cc, get_master_version_and_clock): UNIX_TIMESTAMP(), the server id,
the checksum and heartbeat handshakes, its GTID capability and domain, its position. mariadb-binlog asks for
VERSION() and for events without checksums.
"""

import re
import time
from collections.abc import Callable

from wolfscale.mysql.errors import ServerError
from wolfscale.mysql.results import Column, Ok, build_ok, build_text_result

UNKNOWN_STATEMENT_ERRNO = 1064

_SET = re.compile(r"\s*SET\s+@(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_SET_OTHER = re.compile(r"\s*SET\s", re.IGNORECASE)


class Questions:
    """Answers one connection's statements and remembers what it set.

    Attributes:
        position: the replica's `@slave_connect_state`; "" before it was set, and from the very beginning.
        heartbeat_seconds: `@master_heartbeat_period`; None where it was not set or is 0.
        takes_checksums: whether events may have their CRC32; tools that read binlogs say no.
    """

    def __init__(self, *, server_id: int, version: str) -> None:
        self.position = ""
        self.heartbeat_seconds: float | None = None
        self.takes_checksums = True
        self._server_id = server_id
        self._version = version
        self._selects: dict[str, Callable[[], str | None]] = {
            "UNIX_TIMESTAMP()": lambda: str(int(time.time())),
            "@@GLOBAL.SERVER_ID": lambda: str(self._server_id),
            "@@SERVER_ID": lambda: str(self._server_id),
            "@MASTER_BINLOG_CHECKSUM": lambda: "CRC32",
            "@@GLOBAL.BINLOG_CHECKSUM": lambda: "CRC32",
            "@@GLOBAL.GTID_DOMAIN_ID": lambda: "0",
            "VERSION()": lambda: self._version,
            "@@VERSION": lambda: self._version,
            "1": lambda: "1",
        }

    def answer(self, statement: str, capabilities: int) -> list[bytes]:
        """The payloads of the answer.

        Raises:
            ServerError: the statement is none that a replica asks; to be sent as the answer.
        """
        text = " ".join(statement.split()).rstrip("; ")
        upper = text.upper()
        assignment = _SET.fullmatch(statement)
        if assignment is not None:
            self._set(assignment["name"].lower(), assignment["value"])
            return [build_ok(Ok(), capabilities)]
        if _SET_OTHER.match(statement):
            return [build_ok(Ok(), capabilities)]
        if upper.startswith("SELECT "):
            value = self._selects.get(upper.removeprefix("SELECT ").strip())
            if value is not None:
                return _result(text.removeprefix(text[:7]), value(), capabilities)
        if upper == "SHOW VARIABLES LIKE 'SERVER_ID'":
            return _variable("server_id", str(self._server_id), capabilities)
        if upper == "SHOW VARIABLES LIKE 'RPL_SEMI_SYNC_MASTER_ENABLED'":
            # Any row at all, even OFF, makes a replica expect semi-synchronous headers (error 1593).
            return _variable("rpl_semi_sync_master_enabled", None, capabilities)
        raise ServerError(
            UNKNOWN_STATEMENT_ERRNO,
            "42000",
            "this is the feed of a WolfScale node, which serves replicas and runs no statements",
        )

    def _set(self, name: str, value: str) -> None:
        if name == "slave_connect_state":
            self.position = value.strip("'\" ")
        elif name == "master_binlog_checksum":
            self.takes_checksums = value.strip("'\" ").upper() != "NONE"
        elif name == "master_heartbeat_period":
            nanoseconds = int(value) if value.isascii() and value.isdigit() else 0
            self.heartbeat_seconds = nanoseconds / 1e9 or None


def _result(name: str, value: str | None, capabilities: int) -> list[bytes]:
    row = (None if value is None else value.encode(),)
    return build_text_result((Column(name=name.encode()),), (row,), capabilities)


def _variable(name: str, value: str | None, capabilities: int) -> list[bytes]:
    columns = (Column(name=b"Variable_name"), Column(name=b"Value"))
    rows = () if value is None else ((name.encode(), value.encode()),)
    return build_text_result(columns, rows, capabilities)
