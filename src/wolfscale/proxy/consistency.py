"""What a session's local reads must have seen: its own writes, and nothing older than it saw before."""


def sequence_of(gtid: str) -> int:
    """The sequence number of a GTID like "0-7-42"; 0 when the text is anything else."""
    _, _, last = gtid.rpartition("-")
    return int(last) if last.isdecimal() else 0


class SessionConsistency:
    """The session's lower bound for local reads.

    Attributes:
        required: the GTID sequence that the local MariaDB must have applied.
        leader_was_read: a leader-side statement may have shown commits newer than `required`, whose numbers
            are not known; the next local read asks the leader for its position first.
    """

    __slots__ = ("leader_was_read", "required")

    def __init__(self) -> None:
        self.required = 0
        self.leader_was_read = False

    def on_written(self, sequence: int) -> None:
        """The session's own write got this sequence; all that it saw before came earlier in the log."""
        self.required = max(self.required, sequence)
        self.leader_was_read = False

    def on_leader_read(self, committed_sequence: int) -> None:
        """A leader-side statement ended without a GTID of its own.

        Args:
            committed_sequence: what the log had committed as far as this node knows: the least it showed.
        """
        self.required = max(self.required, committed_sequence)
        self.leader_was_read = True

    def on_position(self, sequence: int) -> None:
        """The leader told its position, or nobody can any more and this is the best that is known."""
        self.required = max(self.required, sequence)
        self.leader_was_read = False
