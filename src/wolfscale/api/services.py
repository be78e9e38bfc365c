"""What the HTTP side needs of the node that it stands in: one narrow interface for each group of routes."""

from dataclasses import dataclass
from typing import Protocol

from wolfscale.api.models import NodeStatus


class StatusSource(Protocol):
    """The node's state, at any time, at once."""

    def status(self) -> NodeStatus:
        """The node as it is now; called once a request, must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that the routes may ask for; the composition root fills it.

    Attributes:
        status: the node as it sees itself.
    """

    status: StatusSource
