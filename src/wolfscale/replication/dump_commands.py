"""What a replica says to its primary: how a dump is asked for, from both sides."""

import struct
from dataclasses import dataclass

from wolfscale.mysql.binlog.gtid import Gtid
from wolfscale.mysql.buffer import PacketBuffer
from wolfscale.mysql.client import Connection
from wolfscale.mysql.constants import Command
from wolfscale.mysql.framing import packet
from wolfscale.mysql.results import ERROR_HEADER, parse_error

HEARTBEAT_NANOSECONDS = 1_000_000_000
"""A primary notices a replica that is gone at its next heartbeat."""

MARIADB_CAPABILITY_GTID = 4
FIRST_POSITION = 4
NON_BLOCKING = 1
_ACK_MAGIC = 0xEF
_DUMP = struct.Struct("<IHI")


async def start_dump(connection: Connection, start: Gtid | None, *, server_id: int) -> None:
    """Ask a primary for its binlog as a semi-synchronous replica; packets of the dump follow.

    Args:
        connection: unused for anything else from here on.
        start: the last group that is not wanted; None: from the beginning of its binlog.
        server_id: the replica's server id.

    Raises:
        ServerError: the primary refused.
        ConnectionLost: it is gone.
    """
    for statement in (
        "SET @master_binlog_checksum='CRC32'",
        f"SET @mariadb_slave_capability={MARIADB_CAPABILITY_GTID}",
        f"SET @master_heartbeat_period={HEARTBEAT_NANOSECONDS}",
        f"SET @slave_connect_state='{start if start is not None else ''}'",
        "SET @slave_gtid_strict_mode=1",
        "SET @rpl_semi_sync_slave=1",
    ):
        await connection.query(statement)
    packets = connection.packets
    # Empty host, user and password, port 0, rank 0, primary id 0.
    await packets.command(bytes((Command.REGISTER_SLAVE,)) + struct.pack("<IBBBHII", server_id, *[0] * 6))
    answer = await packets.read()
    if answer[:1] == bytes((ERROR_HEADER,)):
        raise parse_error(answer)
    await packets.command(bytes((Command.BINLOG_DUMP,)) + _DUMP.pack(FIRST_POSITION, 0, server_id))


def acknowledgement(file: str, position: int) -> bytes:
    """The packet with which a replica acknowledges everything up to a position.

    Source: MariaDB sql/semisync_slave.cc, slave_reply.
    """
    payload = bytes((_ACK_MAGIC,)) + struct.pack("<Q", position) + file.encode(errors="surrogateescape")
    return packet(payload, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpRequest:
    """A COM_BINLOG_DUMP command.

    Attributes:
        position: offset in the file; without meaning for replicas that use GTIDs.
        flags: `NON_BLOCKING`: end the dump where the log ends.
        server_id: the replica's.
        file: binlog file; without meaning for replicas that use GTIDs.
    """

    position: int
    flags: int
    server_id: int
    file: str


def parse_dump_request(payload: bytes) -> DumpRequest:
    """Read a COM_BINLOG_DUMP command.

    Raises:
        RemoteProtocolError: it is cut short.
    """
    buffer = PacketBuffer(payload, 1)
    return DumpRequest(
        position=buffer.uint32(),
        flags=buffer.uint16(),
        server_id=buffer.uint32(),
        file=buffer.rest().decode(errors="surrogateescape"),
    )
