"""What local reads must have seen: by default the writes of all of the node's sessions, and nothing older."""

from enum import StrEnum

from wolfscale.proxy.acknowledged import Acknowledged


class Level(StrEnum):
    """How much a read must have seen."""

    NODE = "node"
    """What any session of the same proxy was told is committed, and whatever this one has seen already."""
    SESSION = "session"
    """The session's own writes, and whatever it has seen already."""
    EVENTUAL = "eventual"
    """Whatever the local server has applied."""
    STRONG = "strong"
    """Everything that was committed anywhere when the read began, confirmed by a majority."""
    LEADER = "leader"
    """What the leader's own server shows: no read is local."""


def sequence_of(gtid: str) -> int:
    """The sequence number of a GTID like "0-7-42"; 0 when the text is anything else."""
    _, _, last = gtid.rpartition("-")
    return int(last) if last.isdecimal() else 0


class SessionConsistency:
    """The session's lower bound for local reads.

    Attributes:
        required: the GTID sequence that the local MariaDB must have applied for this session's sake.
        leader_was_read: a leader-side statement may have shown commits newer than `required`, whose numbers
            are not known; the next local read asks the leader for its position first.
        level: the session's.
        hint: one statement's own level; None where it has none.
    """

    __slots__ = ("_acknowledged", "_default", "hint", "leader_was_read", "level", "required")

    def __init__(self, default: Level = Level.NODE, acknowledged: Acknowledged | None = None) -> None:
        """Begin a session.

        Args:
            default: its level until it chooses another.
            acknowledged: the proxy's; None: this session is its only one.
        """
        self._acknowledged = acknowledged or Acknowledged()
        self.required = 0
        self.leader_was_read = False
        self._default = default
        self.level = default
        self.hint: Level | None = None

    @property
    def now(self) -> Level:
        """The level that holds for the statement under way."""
        return self.hint or self.level

    def choose(self, level: Level | None) -> None:
        """The session chooses a level; None goes back to the default."""
        self.level = level or self._default

    @property
    def bound(self) -> int:
        """The GTID sequence that the local MariaDB must have applied for a read that begins now."""
        if self.now is Level.NODE:
            return max(self.required, self._acknowledged.newest())
        return self.required

    def allows(self, applied_sequence: int) -> bool:
        """Whether a local read may run at once, nothing being asked of anybody.

        At the level NODE only until a session of the proxy is told of a newer commit: see `is_behind`.
        """
        level = self.now
        if level is Level.NODE or level is Level.SESSION:
            return not self.leader_was_read and applied_sequence >= self.required
        return level is Level.EVENTUAL

    def is_behind(self, applied_sequence: int) -> bool:
        """Whether a session of this proxy was told of a commit that a server has not applied."""
        return self._acknowledged.newest() > applied_sequence

    def on_written(self, sequence: int) -> None:
        """The session's own write got this sequence, and its client is told so from now on.

        All that the session saw before came earlier in the log.
        """
        self._acknowledged.note(sequence)
        self.required = max(self.required, sequence)
        self.leader_was_read = False

    def on_leader_read(self, committed_sequence: int) -> None:
        """A leader-side statement ended without a GTID of its own.

        Args:
            committed_sequence: what the log had committed as far as this node knows: the least it showed.
        """
        self.required = max(self.required, committed_sequence)
        self.leader_was_read = True

    def on_never_applied(self, committed_sequence: int) -> None:
        """A server has waited in vain for what the proxy has acknowledged.

        Args:
            committed_sequence: what the log has committed as far as this node knows: what is beyond that,
                after all the time, no log has, since the cluster was founded anew.
        """
        self._acknowledged.lower(committed_sequence)

    def on_position(self, sequence: int) -> None:
        """The leader told its position, or nobody can any more and this is the best that is known."""
        self.required = max(self.required, sequence)
        self.leader_was_read = False
