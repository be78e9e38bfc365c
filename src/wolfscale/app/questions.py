"""What a node's proxies ask it on behalf of their clients: what is committed for sure, and who is there."""

from collections.abc import Awaitable, Callable

from wolfscale.api.health import cluster_summary
from wolfscale.api.models import NodeStatus


class NodeQuestions:
    """Answers from the node's own parts.

    Args:
        status: the node as it is now.
        confirmed_sequence: waits for a majority to confirm the leader; the GTID sequence committed then.
    """

    def __init__(
        self, status: Callable[[], NodeStatus], confirmed_sequence: Callable[[], Awaitable[int]]
    ) -> None:
        self._status = status
        self._confirmed_sequence = confirmed_sequence

    async def read_position(self) -> int:
        """The GTID sequence that a strong read must have seen.

        Raises:
            WolfScaleError: no majority confirms it.
        """
        return await self._confirmed_sequence()

    def members(self) -> list[dict[str, str]]:
        """The members as this node knows them, one row each, all values text."""
        summary = cluster_summary(self._status())
        leader = summary.leader.id if summary.leader else None
        return [
            {
                "Name": member.name,
                "Role": "leader" if member.id == leader else member.suffrage.replace("voter", "follower"),
                "Address": member.address,
                "Alive": "yes" if member.alive else "no",
                "Writable": "yes" if member.writable and member.alive else "no",
                "MariaDB": member.database.state.value,
                "Applied": str(member.applied.sequence),
                "Lag": str(member.applied.lag_groups),
            }
            for member in summary.members
        ]
