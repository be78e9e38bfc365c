"""What a server says about the session's state inside an OK packet.

With CLIENT_SESSION_TRACK an OK packet ends in a list of changes: type (1 byte), length, data. MariaDB tracks
the variables named in `session_track_system_variables`; with `last_gtid` among them every OK of a statement
that wrote carries its GTID.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from wolfscale.mysql.buffer import PacketBuffer, lenenc_bytes

GTID_VARIABLE = b"last_gtid"


class TrackerType(IntEnum):
    """The kinds of change (enum_session_state_type in include/mysql_com.h)."""

    SYSTEM_VARIABLES = 0
    SCHEMA = 1
    STATE_CHANGE = 2
    GTIDS = 3
    TRANSACTION_CHARACTERISTICS = 4
    TRANSACTION_STATE = 5


@dataclass(slots=True, kw_only=True)
class SessionChanges:
    """The changes that one or more OK packets told.

    Attributes:
        gtid: the last statement's GTID, e.g. "0-7-42"; None when nothing was written.
        schema: the new default schema; None when it did not change.
        variables: other tracked variables, by name, in the server's bytes.
        state_changed: the server said that the session state as such changed.
        transaction_state: e.g. b"T_______"; None when it did not change.
        transaction_characteristics: SQL that starts such a transaction again; None likewise.
    """

    gtid: str | None = None
    schema: bytes | None = None
    variables: dict[bytes, bytes] = field(default_factory=dict)
    state_changed: bool = False
    transaction_state: bytes | None = None
    transaction_characteristics: bytes | None = None


def parse_session_changes(data: bytes, into: SessionChanges | None = None) -> SessionChanges:
    """Read the list of changes; unknown types are skipped.

    Args:
        data: the list, without the length in front of it.
        into: changes seen before, which newer ones override.

    Raises:
        RemoteProtocolError: the list is cut short.
    """
    changes = into if into is not None else SessionChanges()
    buffer = PacketBuffer(data)
    while buffer.remaining:
        kind = buffer.uint8()
        item = PacketBuffer(buffer.lenenc_bytes())
        if kind == TrackerType.SYSTEM_VARIABLES:
            # MariaDB puts one or several name/value pairs into one item.
            while item.remaining:
                name = item.lenenc_bytes()
                value = item.lenenc_bytes()
                if name == GTID_VARIABLE:
                    changes.gtid = value.decode("ascii", errors="replace") or None
                else:
                    changes.variables[name] = value
        elif kind == TrackerType.SCHEMA:
            changes.schema = item.lenenc_bytes() if item.remaining else b""
        elif kind == TrackerType.STATE_CHANGE:
            changes.state_changed = True
        elif kind == TrackerType.TRANSACTION_STATE:
            changes.transaction_state = item.lenenc_bytes()
        elif kind == TrackerType.TRANSACTION_CHARACTERISTICS:
            changes.transaction_characteristics = item.lenenc_bytes()
    return changes


def build_session_changes(changes: SessionChanges) -> bytes:
    """The list of changes, without the length in front of it."""
    parts = []

    def add(kind: TrackerType, data: bytes) -> None:
        parts.append(bytes((kind,)) + lenenc_bytes(data))

    variables = dict(changes.variables)
    if changes.gtid is not None:
        variables[GTID_VARIABLE] = changes.gtid.encode()
    for name, value in variables.items():
        add(TrackerType.SYSTEM_VARIABLES, lenenc_bytes(name) + lenenc_bytes(value))
    if changes.schema is not None:
        add(TrackerType.SCHEMA, lenenc_bytes(changes.schema))
    if changes.state_changed:
        add(TrackerType.STATE_CHANGE, lenenc_bytes(b"1"))
    if changes.transaction_state is not None:
        add(TrackerType.TRANSACTION_STATE, lenenc_bytes(changes.transaction_state))
    if changes.transaction_characteristics is not None:
        add(TrackerType.TRANSACTION_CHARACTERISTICS, lenenc_bytes(changes.transaction_characteristics))
    return b"".join(parts)
