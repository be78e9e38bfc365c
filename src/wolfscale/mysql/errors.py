"""What can go wrong on a MariaDB connection, and whose fault it was.

`LocalProtocolError` is a mistake of the calling code, `RemoteProtocolError` one of the peer (it carries
what to answer), `ConnectionLost` nobody's, and `ServerError` is the server's own answer, passed on
unchanged.
"""

from wolfscale.errors import WolfScaleError

ER_HANDSHAKE_ERROR = 1043
ER_NET_PACKET_TOO_LARGE = 1153
ER_MALFORMED_PACKET = 1835


class ProtocolError(WolfScaleError):
    """The root of the errors about the wire protocol."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something that the protocol, or the state of the connection, forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that mean nothing, or more of them than it may.

    Attributes:
        errno: the error number to answer with before closing (1835, malformed packet, unless said otherwise).
        sqlstate: the SQLSTATE that belongs to it.
    """

    def __init__(self, message: str, *, errno: int = ER_MALFORMED_PACKET, sqlstate: str = "HY000") -> None:
        super().__init__(message)
        self.errno = errno
        self.sqlstate = sqlstate


class ConnectionLost(ProtocolError):
    """The connection broke or was closed; the outcome of a statement in flight is unknown."""


class ServerError(WolfScaleError):
    """An error that a MariaDB server answered.

    Attributes:
        errno: the server's error number, e.g. 1062.
        sqlstate: five characters, "HY000" where the server gave none.
        message: the server's text, unchanged.
    """

    def __init__(self, errno: int, sqlstate: str, message: str) -> None:
        super().__init__(f"{errno} ({sqlstate}): {message}")
        self.errno = errno
        self.sqlstate = sqlstate
        self.message = message
