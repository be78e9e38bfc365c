"""What can be wrong with a binary log."""

from wolfscale.errors import WolfScaleError


class BinlogError(WolfScaleError):
    """Bytes that are no binary log event, or events in an order that makes no sense."""


class ChecksumMismatch(BinlogError):
    """An event's CRC32 is not that of its bytes: they were damaged on the way or on disk.

    Attributes:
        event_type: the type byte of the event.
        end_position: where the event ends in its binlog file, according to its header.
    """

    def __init__(self, event_type: int, end_position: int) -> None:
        super().__init__(
            f"the binlog event of type {event_type} that ends at {end_position} does not match its checksum: "
            "check the disk and memory of the machine, and that binlog_checksum is CRC32"
        )
        self.event_type = event_type
        self.end_position = end_position
