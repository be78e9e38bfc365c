"""The layout of an id: a zero bit, 41 bits of milliseconds since the epoch, 10 of node, 12 of sequence."""

from dataclasses import dataclass
from datetime import UTC, datetime

from wolfscale.ids.errors import IdTimeOverflow

EPOCH_MS = 1_767_225_600_000
"""2026-01-01 00:00:00 UTC in milliseconds since 1970: the time 0 of an id. Never to be changed."""

TIME_BITS, NODE_BITS, SEQUENCE_BITS = 41, 10, 12
NODE_NUMBERS = 1 << NODE_BITS
SEQUENCE_NUMBERS = 1 << SEQUENCE_BITS
POSITIONS = 1 << (TIME_BITS + SEQUENCE_BITS)
MAX_ID = (1 << (TIME_BITS + NODE_BITS + SEQUENCE_BITS)) - 1

END_MS = EPOCH_MS + (1 << TIME_BITS) - 1
"""The last millisecond that fits into 41 bits; no id is given in it."""

MAX_COUNT = SEQUENCE_NUMBERS
"""The most ids that one request gets: a millisecond's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdParts:
    """What an id holds.

    Attributes:
        time_ms: milliseconds since 1970, as the node's clock had it, or later.
        node: the member's number modulo 1024.
        sequence: 0 to 4095, within that millisecond of that node.
    """

    time_ms: int
    node: int
    sequence: int

    @property
    def time(self) -> datetime:
        """The time as a date, in UTC."""
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)


def build_id(parts: IdParts) -> int:
    """The id that holds these parts.

    Raises:
        IdTimeOverflow: the time is before 2026 or beyond 41 bits.
        ValueError: another part is out of its range.
    """
    if not 0 <= parts.node < NODE_NUMBERS or not 0 <= parts.sequence < SEQUENCE_NUMBERS:
        raise ValueError(f"no id holds the node {parts.node} and the sequence number {parts.sequence}")
    return id_at(position_of(parts.time_ms) + parts.sequence, parts.node)


def parse_id(id: int) -> IdParts:
    """Take an id apart.

    Raises:
        ValueError: it is none: negative, or longer than 63 bits.
    """
    if not 0 <= id <= MAX_ID:
        raise ValueError(f"{id} is no id: ids are positive and have 63 bits at most")
    return IdParts(
        time_ms=EPOCH_MS + (id >> (NODE_BITS + SEQUENCE_BITS)),
        node=id >> SEQUENCE_BITS & NODE_NUMBERS - 1,
        sequence=id & SEQUENCE_NUMBERS - 1,
    )


def position_of(time_ms: int) -> int:
    """The first position of a millisecond.

    Raises:
        IdTimeOverflow: it is before 2026 or beyond 41 bits.
    """
    position = time_ms - EPOCH_MS << SEQUENCE_BITS
    if not 0 <= position < POSITIONS:
        raise IdTimeOverflow(time_ms)
    return position


def time_of(position: int) -> int:
    """The millisecond of a position, since 1970."""
    return EPOCH_MS + (position >> SEQUENCE_BITS)


def id_at(position: int, node: int) -> int:
    """A node's id at a position."""
    time, sequence = position >> SEQUENCE_BITS, position & SEQUENCE_NUMBERS - 1
    return time << (NODE_BITS + SEQUENCE_BITS) | node << SEQUENCE_BITS | sequence
