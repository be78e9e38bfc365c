"""One member of a cluster, running: Raft's core over a disk and over links to its peers.

Knows how entries become durable and committed, who belongs to the cluster, how nodes prove themselves to
each other and how they talk. Does not know what the entries mean: databases and clients are others'
business. The application makes a `Node` over an opened storage, registers handlers for streams and
calls, and runs it.

Public: `Node`, `NodeOptions`, `NodeStatus`, `MemberStatus`, `Notice`, `CommittedLog`, `RaftStorage`,
`Dialer`, `Credentials`, `CertificateFiles`, `ClusterSecret`, and the errors.
"""

from wolfscale.node.dialer import Dialer, parse_address
from wolfscale.node.errors import (
    BootstrapRefused,
    IdentityError,
    JoinRefused,
    LinkError,
    NodeError,
    NodeStopped,
    RpcError,
    RpcFailed,
    RpcUnavailable,
    RpcUncertain,
    SecretMismatch,
    StreamRefused,
    Unreachable,
)
from wolfscale.node.identity import ClusterSecret
from wolfscale.node.log import CommittedLog
from wolfscale.node.node import Node
from wolfscale.node.options import NodeOptions
from wolfscale.node.status import MemberStatus, NodeStatus, Notice
from wolfscale.node.storage import RaftStorage
from wolfscale.node.tls import CertificateFiles, Credentials

__all__ = [
    "BootstrapRefused",
    "CertificateFiles",
    "ClusterSecret",
    "CommittedLog",
    "Credentials",
    "Dialer",
    "IdentityError",
    "JoinRefused",
    "LinkError",
    "MemberStatus",
    "Node",
    "NodeError",
    "NodeOptions",
    "NodeStatus",
    "NodeStopped",
    "Notice",
    "RaftStorage",
    "RpcError",
    "RpcFailed",
    "RpcUnavailable",
    "RpcUncertain",
    "SecretMismatch",
    "StreamRefused",
    "Unreachable",
    "parse_address",
]
