"""What can go wrong with a cluster on one machine."""

from wolfscale.errors import WolfScaleError


class DemoError(WolfScaleError):
    """The root of this package's errors."""


class NodeEndedError(DemoError):
    """A node's process ended that nobody had stopped.

    Attributes:
        name: the node.
        exit_code: as the system reports it; negative for a signal.
    """

    def __init__(self, name: str, exit_code: int, log_tail: str) -> None:
        self.name = name
        self.exit_code = exit_code
        how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        super().__init__(f"{name} {how}; the end of its log:\n{log_tail}")


class WaitedInVainError(DemoError):
    """Something did not become true in time.

    Attributes:
        what: what was waited for.
        seconds: for how long.
    """

    def __init__(self, what: str, seconds: float, found: str) -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(f"after {seconds:g} s still waiting for {what}; found: {found}")


class StepFailedError(DemoError):
    """A step of the tour did not hold; the message says what was found instead."""
