"""Who among the other members can lead, or give a copy of its data. Pure."""

from collections.abc import Iterable

from wolfscale.replication.cluster import Peer
from wolfscale.replication.roles import DatabaseState

_GIVES_DATA = frozenset({DatabaseState.REPLICA, DatabaseState.PRIMARY})


def successor(peers: Iterable[Peer], wanted: str | None = None) -> Peer | None:
    """The voter that is best placed to lead: a healthy replica, the most advanced one.

    Args:
        peers: the members heard from.
        wanted: only the one with this id will do.
    """
    able = [
        peer
        for peer in peers
        if peer.votes and peer.notice.state is DatabaseState.REPLICA and wanted in (None, peer.id)
    ]
    return max(able, key=lambda peer: peer.notice.applied_sequence, default=None)


def donor(peers: Iterable[Peer]) -> Peer | None:
    """Whose data to copy: a replica's rather than the primary's, which has clients to serve."""
    able = [peer for peer in peers if peer.notice.state in _GIVES_DATA]
    return max(
        able,
        key=lambda peer: (peer.notice.state is DatabaseState.REPLICA, peer.notice.applied_sequence),
        default=None,
    )
