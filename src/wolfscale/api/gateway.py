"""How the HTTP side reaches the data: what it needs of the node it stands in."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wolfscale.api.errors import ApiError
from wolfscale.mysql.client import Connection


class NoLeaderError(ApiError):
    """No node takes writes now, or none could be reached in time; nothing was done."""


class NoReplicaError(ApiError):
    """The MariaDB beside this node cannot be asked now; the leader's can."""


class LeaderSession(Protocol):
    """One logged-in connection to the leader's MariaDB, for one request."""

    @property
    def connection(self) -> Connection:
        """The connection; broken as soon as another term begins."""
        ...

    async def wait_committed(self, gtid: str) -> bool:
        """Wait until the log holds what this session wrote; false when that is not known in time.

        False also when the leader changed first: whether it is kept is unknown then.
        """
        ...

    def definition(self) -> AbstractAsyncContextManager[None]:
        """What is no plain change of rows runs inside: the leader's intent mark stands on its disk.

        Raises:
            NoLeaderError: it cannot be set; the statement must not be sent.
        """
        ...


class NamedPlace(Protocol):
    """Where `:name` stands in a text, in bytes of UTF-8."""

    @property
    def name(self) -> str:
        """Without the colon."""
        ...

    @property
    def start(self) -> int:
        """The colon's position."""
        ...

    @property
    def end(self) -> int:
        """The position behind it."""
        ...


class StatementOutline(Protocol):
    """What is known of a text without running it."""

    @property
    def statements(self) -> int:
        """How many it holds."""
        ...

    @property
    def complete(self) -> bool:
        """False when a quote or comment stays open."""
        ...

    @property
    def verb(self) -> str:
        """Its first word, upper case."""
        ...

    @property
    def is_query(self) -> bool:
        """It asks for rows."""
        ...

    @property
    def is_definition(self) -> bool:
        """It defines, changes or drops something other than accounts."""
        ...

    @property
    def is_temporary(self) -> bool:
        """What it defines is a temporary table."""
        ...

    @property
    def schemas(self) -> frozenset[str]:
        """Names of databases that it may speak of, lower case."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why the cluster lets no client run it."""
        ...

    @property
    def order_questions(self) -> Sequence[str]:
        """Queries; one that has a row says that each server would number or choose rows in its own order."""
        ...

    @property
    def parameters(self) -> Sequence[NamedPlace]:
        """Its named parameters, in order."""
        ...


class SqlGateway(Protocol):
    """Runs SQL on the leader's MariaDB from any node, and on the one beside this node."""

    @property
    def default_database(self) -> str | None:
        """Where a table is meant that is named without a database."""
        ...

    @property
    def write_wait_seconds(self) -> float:
        """How long a request waits for a leader."""
        ...

    @property
    def read_wait_seconds(self) -> float:
        """How long a read waits for the MariaDB beside this node before it asks the leader's."""
        ...

    def outline(self, sql: str) -> StatementOutline:
        """Look at a text."""
        ...

    def leader(
        self, *, until: float, database: str | None = None, read_only_seconds: float | None = None
    ) -> AbstractAsyncContextManager[LeaderSession]:
        """A session on the leader's MariaDB, fresh.

        Args:
            until: wait for a leader until then, on trio's clock.
            database: the default database.
            read_only_seconds: the server refuses changes, and ends statements after so long.

        Raises:
            NoLeaderError: there was none in time.
            ServerError: it does not know the database.
        """
        ...

    def replica(
        self, *, until: float, database: str | None = None, read_only_seconds: float
    ) -> AbstractAsyncContextManager[Connection]:
        """A session on the MariaDB beside this node, fresh, in which the server refuses changes.

        Args:
            until: wait for a free connection until then, on trio's clock.
            database: the default database.
            read_only_seconds: the server ends statements after so long.

        Raises:
            NoReplicaError: it takes no sessions now.
            ServerError: it does not know the database.
        """
        ...

    async def wait_applied(self, sequence: int, seconds: float) -> bool:
        """Wait until the MariaDB beside this node has applied a GTID's sequence; false: not in time."""
        ...

    async def confirmed_sequence(self) -> int:
        """The GTID sequence of the newest write that may have been acknowledged before this call.

        Raises:
            NoLeaderError: no leader could confirm with a majority that it still is one.
        """
        ...
