"""The root of every error that WolfScale raises on purpose.

Each package adds its own errors under `WolfScaleError` in its `errors` module. A message says what
happened, to what, and what to do next.
"""


class WolfScaleError(Exception):
    """The root of every error of ours; never raised itself."""


class InvariantError(WolfScaleError):
    """A rule that must hold did not: a bug of ours. The node stops rather than go on."""
