"""What keeps a container from starting."""

from wolfscale.errors import WolfScaleError


class ContainerError(WolfScaleError):
    """The variables, or what is mounted, cannot be used: says which and what to write instead."""
