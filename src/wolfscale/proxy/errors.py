"""What goes wrong between a client and the cluster, and what the client is told."""

from wolfscale.errors import WolfScaleError
from wolfscale.mysql.errors import ServerError

ER_NO_MAJORITY = 1105
ER_ERROR_DURING_COMMIT = 1180
ER_READ_ONLY_SERVER = 1290


def is_of_demoted(error: ServerError) -> bool:
    """Whether a leader refused a statement since it is about to stop being one.

    A user's own read-only transaction gives 1792, and is nobody's business.
    """
    return error.errno == ER_READ_ONLY_SERVER and "read-only" in error.message


class ProxyError(WolfScaleError):
    """An error that the client is answered with.

    Attributes:
        errno: the error number in the ERR packet.
        sqlstate: five characters.
        fatal: whether the session ends with it.
    """

    def __init__(self, errno: int, sqlstate: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.errno = errno
        self.sqlstate = sqlstate
        self.fatal = fatal


class RefusedStatement(ProxyError):
    """The statement would cut one server loose from the cluster, or cannot be carried out on all of it."""


class OutcomeUnknown(ProxyError):
    """The connection to the leader broke while a statement was on its way (1180, 08007).

    08007 is the standard's "transaction resolution unknown".
    """

    def __init__(self, message: str) -> None:
        # 1180 is the server's "error during COMMIT". 2013, "lost connection during query", is a client's own
        # number: MariaDB's library takes an error with such a one for a malformed packet.
        super().__init__(ER_ERROR_DURING_COMMIT, "08007", message)


class TransactionLost(ProxyError):
    """The leader's connection was lost under an open transaction, which is rolled back (1213, 40001)."""

    def __init__(self) -> None:
        super().__init__(
            1213,
            "40001",
            "The cluster's leader changed, or MariaDB ended its connection (idle_transaction_timeout, KILL); "
            "the transaction was rolled back: try it again",
        )


class NoLeader(ProxyError):
    """No leader took the statement within the bound; nothing was executed."""

    def __init__(self, waited_seconds: float, last_failure: str = "") -> None:
        why = f" ({last_failure})" if last_failure else ""
        super().__init__(
            1290,
            "HY000",
            f"The cluster has had no writable leader for {waited_seconds:.0f} s{why}, so the statement "
            "was not executed; is a majority of the nodes up? See `wolfscale status`, then try again",
        )


class SessionLost(ProxyError):
    """What the session kept on the leader only (temporary tables, locks, user variables) died with it."""

    def __init__(self, what: str) -> None:
        super().__init__(
            1927,
            "70100",
            "The cluster's leader changed, or MariaDB ended its connection (a timeout, KILL), and this "
            f"session's {what} went with it; connect again",
            fatal=True,
        )


class ProgramCutLoose(ProxyError):
    """A stored program of the session has set what no session may, and was carried out (1227)."""

    def __init__(self, names: str) -> None:
        super().__init__(
            1227,
            "42000",
            f"A stored program that this session ran has set {names}, which WolfScale allows for nobody, and "
            "the session ends. The program was carried out, and what it changed may differ from server to "
            'server: take the SET out of it, and see "Inside a stored program" in docs/routing.md',
            fatal=True,
        )


class LogInNotRepeatable(ProxyError):
    """The session's log-in was good for one connection, which is lost or is not the leader's (1927)."""

    def __init__(self) -> None:
        super().__init__(
            1927,
            "70100",
            "The session needs a new connection to the cluster's leader, and by this account's plugin only "
            "the client itself can log in: connect again",
            fatal=True,
        )


class ConnectionKilled(ProxyError):
    """Somebody has killed the session; told only to a session that has killed itself, as MariaDB does."""

    def __init__(self) -> None:
        super().__init__(1927, "70100", "Connection was killed", fatal=True)


class QueryInterrupted(ProxyError):
    """Somebody has killed the statement."""

    def __init__(self) -> None:
        super().__init__(1317, "70100", "Query execution was interrupted")


class BackendUnavailable(ProxyError):
    """No MariaDB could be reached for the session."""

    def __init__(self, message: str) -> None:
        super().__init__(1053, "08S01", message, fatal=True)


class ControlLost(WolfScaleError):
    """The node at the other end of the control stream is gone or did not answer."""
