"""What a node is told at its start."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wolfscale.node.dialer import format_address, parse_address
from wolfscale.node.identity import ClusterSecret
from wolfscale.node.tls import CertificateFiles
from wolfscale.raft.types import Suffrage

TICKS_PER_HEARTBEAT = 5
"""Fine enough for elections, and an idle node wakes ten times a second at the default interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a node is told at its start.

    Attributes:
        name: unique in the cluster.
        data_dir: holds the identity; exists.
        bind_address: `host:port` of the peer port; port 0 takes any.
        secret: proves membership to the peers.
        advertise_address: where peers reach it; None derives it from `bind_address`.
        peers: addresses of other nodes, to find the cluster.
        bootstrap: make a new cluster of one if there is no state yet.
        suffrage: what it becomes when it is promoted: a voter or a witness.
        heartbeat_interval: seconds.
        election_timeout: seconds.
        join_patience: seconds for which a joining node waits for a member of its name that may be dying.
        certificates: used on the links instead of those that the secret makes.
    """

    name: str
    data_dir: Path
    bind_address: str
    secret: ClusterSecret
    advertise_address: str | None = None
    peers: tuple[str, ...] = ()
    bootstrap: bool = False
    suffrage: Suffrage = Suffrage.VOTER
    heartbeat_interval: float = 0.5
    election_timeout: float = 2.0
    join_patience: float = 20.0
    certificates: CertificateFiles | None = None

    @property
    def tick_interval(self) -> float:
        """Seconds between two of Raft's ticks."""
        return self.heartbeat_interval / TICKS_PER_HEARTBEAT

    @property
    def election_ticks(self) -> int:
        """The election timeout in ticks."""
        return max(TICKS_PER_HEARTBEAT + 1, round(self.election_timeout / self.tick_interval))


def advertised_address(bound: str, peers: Iterable[str]) -> str:
    """Where peers reach a port that is bound: this host's address on the way to them for a wildcard."""
    host, port = parse_address(bound)
    if host not in {"0.0.0.0", "::"}:
        return bound
    for peer in peers:
        try:
            for family, _, _, _, target in socket.getaddrinfo(*parse_address(peer), type=socket.SOCK_DGRAM):
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.connect(target)  # sends nothing: it only chooses the source address
                    return format_address(probe.getsockname()[0], port)
        except (OSError, ValueError):
            continue
    return format_address("127.0.0.1", port)
