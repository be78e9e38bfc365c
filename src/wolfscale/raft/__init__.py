"""Raft without clock, socket or disk: one member as a state machine that its owner drives.

Knows: terms, votes, the order of the log, what is committed, who belongs to the cluster. Does not know: what
an entry's data means, how it becomes durable, how a message travels, how long a tick is.

The owner calls `Raft.tick`, `step`, `propose` and the other inputs, takes `ready` until it is None, and does
what each `Ready` says, in the order it says. `DESIGN.md` beside this file tells why.
"""

from wolfscale.raft.codec import decode_membership, decode_message, encode_membership, encode_message
from wolfscale.raft.core import Raft
from wolfscale.raft.errors import (
    BadMessage,
    LogCompacted,
    MembershipRefused,
    NotLeader,
    ProposalDropped,
    ProposalUncertain,
    RaftError,
    TransferRefused,
)
from wolfscale.raft.log import LogReader
from wolfscale.raft.messages import Message
from wolfscale.raft.ready import PeerStatus, RaftStatus, Ready
from wolfscale.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Index,
    LogBase,
    Member,
    Membership,
    NodeId,
    RaftConfig,
    Role,
    Suffrage,
    Term,
)

__all__ = [
    "BadMessage",
    "Entry",
    "EntryKind",
    "HardState",
    "Index",
    "LogBase",
    "LogCompacted",
    "LogReader",
    "Member",
    "Membership",
    "MembershipRefused",
    "Message",
    "NodeId",
    "NotLeader",
    "PeerStatus",
    "ProposalDropped",
    "ProposalUncertain",
    "Raft",
    "RaftConfig",
    "RaftError",
    "RaftStatus",
    "Ready",
    "Role",
    "Suffrage",
    "Term",
    "TransferRefused",
    "decode_membership",
    "decode_message",
    "encode_membership",
    "encode_message",
]
