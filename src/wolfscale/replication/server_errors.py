"""What can go wrong with the MariaDB server beside a node."""

from collections.abc import Sequence
from pathlib import Path

from wolfscale.replication.errors import ReplicationError


class ServerUnsupported(ReplicationError):
    """The server's program is missing, is no MariaDB, or is too old."""


class ServerStartFailed(ReplicationError):
    """The server did not come up.

    Attributes:
        log: what it wrote to its error log since this start; may be empty.
    """

    def __init__(self, what: str, log: str = "") -> None:
        super().__init__(what)
        self.log = log


class SettingsRefused(ReplicationError):
    """An external server's configuration lacks lines that only a restart brings into effect.

    Attributes:
        missing: the lines to add, each with its reason.
    """

    def __init__(self, lines: Sequence[tuple[str, str]], where: str = "[mariadbd] in my.cnf") -> None:
        self.missing = tuple(lines)
        text = "".join(f"\n    {line}    # {reason}" for line, reason in lines)
        super().__init__(
            f"the MariaDB server cannot be used with its present configuration. Add to {where} and start the "
            f"node again:{text}"
        )


class ServerCommandFailed(ReplicationError):
    """A command that starts, stops or kills an external server failed."""


class DataDirectoryUnusable(ReplicationError):
    """The data directory cannot be created, reached or replaced."""


class RecordDamaged(ReplicationError):
    """The node's own record of its database cannot be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is damaged ({why}), so this node cannot know whether its data is whole. Delete it: "
            "the node then replaces its data by a clone of a peer's."
        )
        self.path = path


class CloneFailed(ReplicationError):
    """A copy of a peer's data did not come about; it may be tried again."""
