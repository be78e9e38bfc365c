"""What a database's lifecycle counts, since the node's start: plain numbers, for whoever shows them."""

from dataclasses import dataclass, field

from wolfscale.replication.captured import CaptureStatistics


@dataclass(slots=True, kw_only=True)
class LifecycleStatistics:
    """What happened to the MariaDB beside a node.

    Attributes:
        recoveries: boots that ended as a replica at a known position.
        recovery_seconds: what they took together.
        promotions: times that it became primary.
        promotion_seconds: what that took together.
        demotions_planned: times that it was drained and became a replica again.
        demotions_forced: times that it was killed while it was primary, or about to be.
        clones: times that its data was replaced by a peer's.
        clone_bytes: what was received for them.
        clone_seconds: what they took together.
        clones_failed: attempts that came to nothing.
        clones_given: copies that were sent to peers whole.
        failures: times that its role ended by an error.
        capture: what was captured, over all tenures.
    """

    recoveries: int = 0
    recovery_seconds: float = 0.0
    promotions: int = 0
    promotion_seconds: float = 0.0
    demotions_planned: int = 0
    demotions_forced: int = 0
    clones: int = 0
    clone_bytes: int = 0
    clone_seconds: float = 0.0
    clones_failed: int = 0
    clones_given: int = 0
    failures: int = 0
    capture: CaptureStatistics = field(default_factory=CaptureStatistics)
