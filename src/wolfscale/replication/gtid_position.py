"""A server's GTID position as one GTID: the log is one sequence, so there is one domain."""

from wolfscale.mysql.binlog.gtid import Gtid, parse_gtid_position
from wolfscale.replication.errors import ReplicationError


class ForeignDomain(ReplicationError):
    """A server has GTIDs that the log cannot hold.

    Attributes:
        text: the server's position.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            f"the server's GTID position {text!r} has a domain other than 0: it was written to by another "
            "replication. The node replaces its data by a clone; on the first node of a cluster, set "
            "gtid_slave_pos to '' and run RESET MASTER before the node is started."
        )
        self.text = text


def parse_position(text: str | None) -> Gtid | None:
    """Return the GTID that a position variable shows; None for an empty position.

    Raises:
        ForeignDomain: it names another domain than 0, or several.
    """
    position = parse_gtid_position(text or "")
    if not position:
        return None
    if len(position) > 1 or position[0].domain != 0:
        raise ForeignDomain(text or "")
    return position[0]
