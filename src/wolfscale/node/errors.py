"""What can go wrong between the nodes, and what to do about it."""

from pathlib import Path

from wolfscale.errors import InvariantError, WolfScaleError


class NodeError(WolfScaleError):
    """The root of the node's errors."""


class IdentityError(NodeError):
    """A file that says who this node is cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class FrameError(NodeError):
    """Bytes from a peer that are no frame of ours: the stream is closed."""


class LinkError(NodeError):
    """A stream to another node could not be opened; `reason` says why, the message to whom."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


class Unreachable(LinkError):
    """Nobody answers at the address, or not in time."""


class SecretMismatch(LinkError):
    """A node answers at the address, but one of another cluster secret."""


class StreamRefused(LinkError):
    """The node at the address knows the secret but does not take this stream."""


class RpcError(NodeError):
    """A call to another node failed; the subclasses say whether it can have run."""


class RpcUnavailable(RpcError):
    """The call certainly did not run: nobody to run it could be reached in time."""


class RpcUncertain(RpcError):
    """The call was sent and no answer came: it may have run."""


class RpcFailed(RpcError):
    """The other node ran the call's handler, and it raised.

    Attributes:
        name: the call.
        kind: the class name of the error that was raised over there.
    """

    def __init__(self, name: str, kind: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if message else f"{name}: {kind}")
        self.name = name
        self.kind = kind


class JoinRefused(NodeError):
    """The cluster does not take this node as a member; the message says why and what to do."""


class BootstrapRefused(NodeError):
    """A new cluster would stand beside a living one."""


class NodeStopped(NodeError):
    """The node has stopped, or stops now; the message says why."""


def only_error(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    """The one error that stopped a node; None when something else than errors of ours is in the group."""
    ours, others = group.split((WolfScaleError, OSError))
    if ours is None or others is not None:
        return None
    leaves: list[BaseException] = [ours]
    while isinstance(leaves[0], BaseExceptionGroup):
        leaves = list(leaves[0].exceptions)
    error = leaves[0]
    if isinstance(error, InvariantError):
        return NodeStopped(f"the node stopped: {error}")
    return error if isinstance(error, Exception) else None
