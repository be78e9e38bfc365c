"""Why there is no id."""

from wolfscale.errors import WolfScaleError


class IdError(WolfScaleError):
    """The root of this package's errors."""


class IdsUnavailable(IdError):
    """This node gives no ids now; another may.

    Attributes:
        reason: why, and what to do.
        retry_ms: when to try again, as far as that is known; 0 when it is not.
    """

    def __init__(self, reason: str, *, retry_ms: int = 0) -> None:
        self.reason = reason
        self.retry_ms = retry_ms
        super().__init__(f"this node gives no ids now: {reason}")


class IdTimeOverflow(IdError, OverflowError):
    """The time does not fit into 41 bits of milliseconds: ids of this layout have come to their end."""

    def __init__(self, time_ms: int) -> None:
        super().__init__(
            f"{time_ms} ms after 1970 does not fit into an id, whose 41 bits of milliseconds reach from 2026 "
            "to September 2095: is this node's clock right?"
        )
