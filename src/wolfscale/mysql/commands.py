"""What a client asks: the commands, parsed from hostile bytes and built.

Texts and names stay bytes, in the connection's character set. The bound values of a prepared statement are
kept as they are; to read them one needs the types, which a client sends only with the first execution.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes
from wolfscale.mysql.constants import Capability, Command
from wolfscale.mysql.errors import LocalProtocolError, RemoteProtocolError
from wolfscale.mysql.handshake import build_attributes, parse_attributes

ER_UNKNOWN_COMMAND = 1047
LAST_PREPARED_STATEMENT = 0xFFFFFFFF
"""As a statement id: the one prepared last (MariaDB; lets a client prepare and execute in one go)."""

BULK_SEND_TYPES = 0x80


@dataclass(frozen=True, slots=True)
class Simple:
    """A command that is a byte alone, such as PING, QUIT, STATISTICS, RESET_CONNECTION."""

    command: Command

    def build(self) -> bytes:
        """The payload."""
        return bytes((self.command,))


@dataclass(frozen=True, slots=True)
class Query:
    """COM_QUERY: run a text."""

    sql: bytes
    command: ClassVar[Command] = Command.QUERY

    def build(self) -> bytes:
        """The payload."""
        return bytes((self.command,)) + self.sql


@dataclass(frozen=True, slots=True)
class InitDatabase:
    """COM_INIT_DB: change the default schema."""

    schema: bytes
    command: ClassVar[Command] = Command.INIT_DB

    def build(self) -> bytes:
        """The payload."""
        return bytes((self.command,)) + self.schema


@dataclass(frozen=True, slots=True)
class FieldList:
    """COM_FIELD_LIST: a table's columns, whose names match a pattern."""

    table: bytes
    wildcard: bytes = b""
    command: ClassVar[Command] = Command.FIELD_LIST

    def build(self) -> bytes:
        """The payload."""
        return bytes((self.command,)) + self.table + b"\0" + self.wildcard


@dataclass(frozen=True, slots=True)
class ProcessKill:
    """COM_PROCESS_KILL: end a connection."""

    connection_id: int
    command: ClassVar[Command] = Command.PROCESS_KILL

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BI", self.command, self.connection_id)


@dataclass(frozen=True, slots=True)
class SetOption:
    """COM_SET_OPTION: several statements in one text, 0 = on, 1 = off."""

    option: int
    command: ClassVar[Command] = Command.SET_OPTION

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BH", self.command, self.option)


@dataclass(frozen=True, slots=True)
class StatementPrepare:
    """COM_STMT_PREPARE."""

    sql: bytes
    command: ClassVar[Command] = Command.STMT_PREPARE

    def build(self) -> bytes:
        """The payload."""
        return bytes((self.command,)) + self.sql


@dataclass(frozen=True, slots=True)
class StatementExecute:
    """COM_STMT_EXECUTE.

    Attributes:
        flags: the cursor's type: 0 none, 1 read-only.
        iterations: always 1.
        parameters: everything behind, see `split_parameters`.
    """

    statement_id: int
    flags: int = 0
    iterations: int = 1
    parameters: bytes = b""
    command: ClassVar[Command] = Command.STMT_EXECUTE

    def build(self) -> bytes:
        """The payload."""
        head = struct.pack("<BIBI", self.command, self.statement_id, self.flags, self.iterations)
        return head + self.parameters

    def split_parameters(self, count: int) -> "BoundParameters":
        """Take the parameters apart, of a statement that has `count` of them.

        Raises:
            RemoteProtocolError: the packet is too short for so many.
        """
        if not count:
            return BoundParameters()
        buffer = PacketBuffer(self.parameters)
        nulls = buffer.take((count + 7) // 8)
        types = buffer.take(2 * count) if buffer.uint8() == 1 else None
        return BoundParameters(nulls=nulls, types=types, values=buffer.rest())


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundParameters:
    """The parts of an execution's parameters.

    Attributes:
        nulls: the bitmap of NULLs.
        types: two bytes for each (type, 0x80 = unsigned); None when the client relies on an earlier
            execution's. Whoever moves the statement to another connection must send them again.
        values: the values that are neither NULL nor were sent as long data.
    """

    nulls: bytes = b""
    types: bytes | None = None
    values: bytes = b""

    def build(self) -> bytes:
        """The bytes behind an execution's head."""
        if not self.nulls:
            return b""
        bound = b"\0" if self.types is None else b"\1" + self.types
        return self.nulls + bound + self.values


@dataclass(frozen=True, slots=True)
class StatementSendLongData:
    """COM_STMT_SEND_LONG_DATA: a piece of a parameter's value; has no response."""

    statement_id: int
    parameter: int
    data: bytes
    command: ClassVar[Command] = Command.STMT_SEND_LONG_DATA

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BIH", self.command, self.statement_id, self.parameter) + self.data


@dataclass(frozen=True, slots=True)
class StatementClose:
    """COM_STMT_CLOSE: forget a statement; has no response."""

    statement_id: int
    command: ClassVar[Command] = Command.STMT_CLOSE

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BI", self.command, self.statement_id)


@dataclass(frozen=True, slots=True)
class StatementReset:
    """COM_STMT_RESET: drop a statement's long data and cursor."""

    statement_id: int
    command: ClassVar[Command] = Command.STMT_RESET

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BI", self.command, self.statement_id)


@dataclass(frozen=True, slots=True)
class StatementFetch:
    """COM_STMT_FETCH: rows from a cursor."""

    statement_id: int
    rows: int
    command: ClassVar[Command] = Command.STMT_FETCH

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BII", self.command, self.statement_id, self.rows)


@dataclass(frozen=True, slots=True)
class StatementBulkExecute:
    """COM_STMT_BULK_EXECUTE: one statement with many rows of parameters.

    Attributes:
        flags: `BULK_SEND_TYPES` when types come first; 64 asks for each row's generated id.
        parameters: types and rows, as sent.
    """

    statement_id: int
    flags: int
    parameters: bytes = b""
    command: ClassVar[Command] = Command.STMT_BULK_EXECUTE

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BIH", self.command, self.statement_id, self.flags) + self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeUser:
    """COM_CHANGE_USER: log in anew on the same connection, made for `SECURE_CONNECTION`.

    Attributes:
        answer: to the greeting's challenge, or to the newest one that the server gave.
        collation: two bytes here, 0 when the packet ends before.
    """

    user: bytes
    answer: bytes = b""
    database: bytes = b""
    collation: int = 0
    plugin: bytes = b""
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)
    command: ClassVar[Command] = Command.CHANGE_USER

    def build(self) -> bytes:
        """The payload; with a plugin or attributes if there are any.

        A server with CONNECT_ATTRS wants a list of attributes behind a plugin, be it empty (else it answers
        1047), and one without does not read so far.
        """
        if len(self.answer) > 255:
            raise LocalProtocolError("the answer in COM_CHANGE_USER has at most 255 bytes")
        parts = [
            bytes((self.command,)),
            self.user + b"\0",
            bytes((len(self.answer),)) + self.answer,
            self.database + b"\0",
            struct.pack("<H", self.collation),
        ]
        if self.plugin or self.attributes:
            parts.append(self.plugin + b"\0" + build_attributes(self.attributes))
        return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSlave:
    """COM_REGISTER_SLAVE: a replica's introduction."""

    server_id: int
    host: bytes = b""
    user: bytes = b""
    password: bytes = b""
    port: int = 0
    rank: int = 0
    master_id: int = 0
    command: ClassVar[Command] = Command.REGISTER_SLAVE

    def build(self) -> bytes:
        """The payload."""
        return (
            struct.pack("<BI", self.command, self.server_id)
            + lenenc_bytes(self.host)
            + lenenc_bytes(self.user)
            + lenenc_bytes(self.password)
            + struct.pack("<HII", self.port, self.rank, self.master_id)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BinlogDump:
    """COM_BINLOG_DUMP: from now on, send events.

    Attributes:
        position: byte offset in the file, at least 4; ignored when the session has `@slave_connect_state`.
        flags: 1 = end instead of waiting for more.
        server_id: the replica's.
        file: name of the binlog file, empty for the first.
    """

    server_id: int
    position: int = 4
    flags: int = 0
    file: bytes = b""
    command: ClassVar[Command] = Command.BINLOG_DUMP

    def build(self) -> bytes:
        """The payload."""
        return struct.pack("<BIHI", self.command, self.position, self.flags, self.server_id) + self.file


AnyCommand: TypeAlias = (
    Simple
    | Query
    | InitDatabase
    | FieldList
    | ProcessKill
    | SetOption
    | StatementPrepare
    | StatementExecute
    | StatementSendLongData
    | StatementClose
    | StatementReset
    | StatementFetch
    | StatementBulkExecute
    | ChangeUser
    | RegisterSlave
    | BinlogDump
)

_SIMPLE = frozenset(
    (
        Command.QUIT,
        Command.STATISTICS,
        Command.PROCESS_INFO,
        Command.DEBUG,
        Command.PING,
        Command.RESET_CONNECTION,
    )
)


def parse_command(payload: bytes, capabilities: int) -> AnyCommand:
    """Read a command.

    Args:
        payload: the whole logical payload.
        capabilities: those that hold on the connection.

    Raises:
        RemoteProtocolError: malformed (1835), or a command that we do not know (1047).
    """
    buffer = PacketBuffer(payload)
    number = buffer.uint8()
    match number:
        case Command.QUERY:
            return Query(buffer.rest())
        case Command.STMT_EXECUTE:
            return StatementExecute(buffer.uint32(), buffer.uint8(), buffer.uint32(), buffer.rest())
        case Command.STMT_PREPARE:
            return StatementPrepare(buffer.rest())
        case Command.STMT_CLOSE:
            return StatementClose(buffer.uint32())
        case Command.STMT_RESET:
            return StatementReset(buffer.uint32())
        case Command.STMT_FETCH:
            return StatementFetch(buffer.uint32(), buffer.uint32())
        case Command.STMT_SEND_LONG_DATA:
            return StatementSendLongData(buffer.uint32(), buffer.uint16(), buffer.rest())
        case Command.STMT_BULK_EXECUTE:
            return StatementBulkExecute(buffer.uint32(), buffer.uint16(), buffer.rest())
        case Command.INIT_DB:
            return InitDatabase(buffer.rest())
        case Command.FIELD_LIST:
            return FieldList(buffer.null_terminated(), buffer.rest())
        case Command.PROCESS_KILL:
            return ProcessKill(buffer.uint32())
        case Command.SET_OPTION:
            return SetOption(buffer.uint16())
        case Command.CHANGE_USER:
            return _parse_change_user(buffer, capabilities)
        case Command.REGISTER_SLAVE:
            return _parse_register_slave(buffer)
        case Command.BINLOG_DUMP:
            position, flags, server_id = buffer.uint32(), buffer.uint16(), buffer.uint32()
            return BinlogDump(position=position, flags=flags, server_id=server_id, file=buffer.rest())
        case _ if number in _SIMPLE:
            return Simple(Command(number))
        case _:
            raise RemoteProtocolError(
                f"unknown command 0x{number:02x}", errno=ER_UNKNOWN_COMMAND, sqlstate="08S01"
            )


def _parse_change_user(buffer: PacketBuffer, capabilities: int) -> ChangeUser:
    user = buffer.null_terminated()
    answer = buffer.take(buffer.uint8())
    database = buffer.null_terminated()
    collation = buffer.uint16() if buffer.remaining >= 2 else 0
    plugin = b""
    attributes: dict[bytes, bytes] = {}
    if capabilities & Capability.PLUGIN_AUTH and buffer.remaining:
        plugin = buffer.null_terminated_or_rest()
    if capabilities & Capability.CONNECT_ATTRS and buffer.remaining:
        attributes = parse_attributes(buffer)
    return ChangeUser(
        user=user,
        answer=answer,
        database=database,
        collation=collation,
        plugin=plugin,
        attributes=attributes,
    )


def _parse_register_slave(buffer: PacketBuffer) -> RegisterSlave:
    server_id = buffer.uint32()
    host, user, password = (buffer.take(buffer.uint8()) for _ in range(3))
    port, rank, master_id = buffer.uint16(), buffer.uint32(), buffer.uint32()
    return RegisterSlave(
        server_id=server_id,
        host=host,
        user=user,
        password=password,
        port=port,
        rank=rank,
        master_id=master_id,
    )


def statement_id(payload: bytes | memoryview) -> int:
    """The statement id of an EXECUTE, FETCH, RESET, CLOSE, SEND_LONG_DATA or BULK_EXECUTE payload.

    Raises:
        RemoteProtocolError: the payload is too short to have one.
    """
    if len(payload) < 5:
        raise RemoteProtocolError("a prepared statement's command without a statement id")
    return int.from_bytes(payload[1:5], "little")


def opens_cursor(payload: bytes | memoryview) -> bool:
    """Whether a command is a COM_STMT_EXECUTE that asks for a cursor."""
    return len(payload) > 5 and payload[0] == Command.STMT_EXECUTE and payload[5] != 0


def with_statement_id(payload: bytes, number: int) -> bytes:
    """The same command for a statement that has another number on another connection."""
    return payload[:1] + number.to_bytes(4, "little") + payload[5:]
