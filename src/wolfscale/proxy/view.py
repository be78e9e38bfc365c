"""What a proxy knows of the cluster: pushed by its node, newest wins."""

import msgspec

from wolfscale.changes import Changes

_TERMS_KEPT = 8


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster as one node sees it.

    Attributes:
        node: the node's id.
        number: its number among the members; 0: it is none.
        term: the Raft term.
        leader: the leader's id, if one is known.
        leader_address: its peer address.
        writable: whether the leader has announced itself a capturing, caught-up primary in `term`.
        is_leader: whether this node is that leader.
        committed_sequence: the newest GTID sequence that the log has committed, as this node knows.
        applied_sequence: the newest GTID sequence that this node's MariaDB has applied.
        database_ready: whether this node's MariaDB takes connections.
        database_socket: its unix socket.
        node_account: the name of the node's own account on it.
        peers: addresses of all members.
        readable: whether proxies without a MariaDB beside them may read from this node's: it serves, and the
            node is no learner.
        elsewhere: whether "this node" is one that such a proxy has chosen for a session, and its MariaDB the
            one there; `node` is empty while that is none but the leader.
        crowded: then also, whether it has so many more of the sessions than another that the next one that
            reads shall choose anew.
    """

    node: str = ""
    number: int = 0
    term: int = 0
    leader: str | None = None
    leader_address: str | None = None
    writable: bool = False
    is_leader: bool = False
    committed_sequence: int = 0
    applied_sequence: int = 0
    database_ready: bool = False
    database_socket: str | None = None
    node_account: str = ""
    peers: tuple[str, ...] = ()
    readable: bool = False
    elsewhere: bool = False
    crowded: bool = False


class Views:
    """The newest view, and a broadcast when it changes.

    Attributes:
        current: the newest view.
        changes: notified after each change of `current`.
        place: this worker's among those that follow the node.
        missed_sequence: a GTID sequence that a read has waited for in vain, and that this node's MariaDB had
            not applied when that ended; 0: none has.
    """

    __slots__ = ("_committed", "changes", "current", "missed_sequence", "place")

    def __init__(self, view: View | None = None) -> None:
        self.current = view or View()
        self.place = 0
        self.missed_sequence = 0
        self.changes = Changes()
        self._committed: dict[int, int] = {}

    def update(self, view: View) -> None:
        """Replace the view."""
        self.current = view
        if view.committed_sequence >= self._committed.get(view.term, -1):
            self._committed[view.term] = view.committed_sequence
            if len(self._committed) > _TERMS_KEPT:
                del self._committed[min(self._committed)]
        self.changes.notify()

    def is_committed(self, sequence: int, term: int) -> bool:
        """Whether a group that was written in this term is known to be committed.

        Only what was seen while the term lasted counts: a later leader may have given the same number to
        another group.
        """
        return self._committed.get(term, -1) >= sequence
