"""What can go wrong between a MariaDB server and the log."""

from pathlib import Path

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.binlog.gtid import Gtid


class ReplicationError(WolfScaleError):
    """The root of the errors between MariaDB and the log."""


class Diverged(ReplicationError):
    """A server has a transaction that the log does not have, and never will.

    Attributes:
        gtid: that transaction.
    """

    def __init__(self, gtid: Gtid, why: str) -> None:
        super().__init__(
            f"MariaDB has transaction {gtid}, which is not the cluster's: {why}. Its data must be replaced "
            "by a clone of a peer's"
        )
        self.gtid = gtid


class BinlogGap(ReplicationError):
    """The primary's binlog does not continue where the log ends.

    Attributes:
        after: the last transaction that the log has.
    """

    def __init__(self, after: Gtid | None, why: str) -> None:
        place = f"after {after}" if after is not None else "from its beginning"
        super().__init__(
            f"the primary's binlog does not go on {place} ({why}): the node must recover its MariaDB before "
            "it can lead"
        )
        self.after = after


class LeadershipLost(ReplicationError):
    """The log takes nothing from this node's MariaDB any more: the term is over.

    Attributes:
        term: the term in which the MariaDB was primary.
    """

    def __init__(self, term: int, why: str) -> None:
        super().__init__(
            f"this node no longer leads term {term} ({why}): its MariaDB may hold commits that nobody "
            "acknowledged, and is to be killed and recovered"
        )
        self.term = term


class DatabaseUnavailable(ReplicationError):
    """The MariaDB beside the node does not do what is asked of it.

    Attributes:
        state: what it is doing instead, in words.
    """

    def __init__(self, state: str) -> None:
        super().__init__(f"MariaDB is not available: {state}")
        self.state = state


class FragmentDamaged(ReplicationError):
    """An entry of the log is no fragment of an event group; all nodes must run compatible versions."""


class WritebackLost(ReplicationError):
    """The disk lost writes of MariaDB's data: nothing that is in it can be vouched for.

    The kernel tells of it once, drops what was lost, and later syncs succeed as if nothing had been.

    Attributes:
        directory: MariaDB's data directory.
    """

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(
            f"the disk under {directory} failed to take MariaDB's writes ({why}), so that its data is to be "
            "replaced by a copy of a peer's: check the disk"
        )
        self.directory = directory
