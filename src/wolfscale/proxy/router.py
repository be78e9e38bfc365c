"""Where a statement runs: a pure function of what it is and what its session has open."""

from dataclasses import dataclass
from enum import Enum, auto

from wolfscale.proxy.statement import Effect, Kind, Statement


class Target(Enum):
    """Which of a session's two connections takes a statement."""

    LOCAL = auto()
    """The node's own MariaDB, once it has applied what the session must see."""
    LEADER = auto()
    PREVIOUS = auto()
    """Whichever ran the statement before."""
    EITHER = auto()
    """The leader's if it is open, else the local one: session settings, which the other one learns later."""


@dataclass(frozen=True, slots=True)
class Route:
    """A target and why."""

    target: Target
    reason: str


@dataclass(slots=True, kw_only=True)
class SessionFacts:
    """What of a session forbids reads beside the leader.

    Attributes:
        autocommit: whether each statement is its own transaction.
        in_transaction: whether one is open.
        begun: the command that has begun the open transaction while nothing else has run in it, so that it
            can be begun again elsewhere; None: nothing or more has run in it.
        local_transaction: whether one that only reads is open on the local connection. One that is open on
            the leader's then belongs to it.
        next_transaction: the session has said what the next transaction shall be like, on the leader.
        effects: what earlier statements left on the leader.
        system_schema: whether the default schema is a system schema, whose tables need no qualifying then.
        log_in: why the log-in holds on the leader only, or "".
        foreign_syntax: why the session's text is not read as usual (Oracle mode, a character set,
            sql_auto_is_null), or "".
    """

    autocommit: bool = True
    in_transaction: bool = False
    begun: bytes | None = None
    local_transaction: bool = False
    next_transaction: bool = False
    effects: Effect = Effect.NONE
    system_schema: bool = False
    log_in: str = ""
    foreign_syntax: str = ""

    def note_transaction(self, is_open: bool, begins: bytes | None) -> None:
        """The leader has answered a statement.

        Args:
            is_open: a transaction is open now.
            begins: the statement's command if it may begin one.
        """
        self.begun = begins if is_open and not self.in_transaction else None
        self.in_transaction = is_open

    @property
    def is_bound(self) -> bool:
        """Whether a transaction is open that only the connection can end on which it has run."""
        return self.in_transaction and self.begun is None

    @property
    def restarts(self) -> bytes | None:
        """The command that begins the open transaction again; None where there is none, or too late."""
        return self.begun if self.in_transaction else None


def beginning(statement: Statement, payload: bytes) -> bytes | None:
    """The command, if it may begin a transaction that can as well begin later.

    A consistent snapshot is one of its moment.
    """
    if statement.kind is not Kind.TRANSACTION or not statement.one_result or b"SNAPSHOT" in payload.upper():
        return None
    return payload


_PINNED = int(Effect.TEMPORARY_TABLES | Effect.PERHAPS_TEMPORARY_TABLES | Effect.TABLE_LOCKS)
_LEADER = Route(Target.LEADER, "only plain reads leave the leader")
_LOCAL = Route(Target.LOCAL, "a plain read outside a transaction")
_OWN = Route(Target.LOCAL, "a read-only transaction is open on this node")
_PREVIOUS = Route(Target.PREVIOUS, "asks about the session's previous statement")
_EITHER = Route(Target.EITHER, "session settings hold on both connections")


def route(statement: Statement, facts: SessionFacts) -> Route:
    """Decide where a statement runs."""
    kind = statement.kind
    if kind is Kind.READ and facts.local_transaction:
        return _OWN
    if kind is Kind.READ or (statement.read_only_start and not facts.next_transaction):
        if not facts.in_transaction and facts.autocommit:
            if not (
                int(facts.effects) & _PINNED or facts.system_schema or facts.foreign_syntax or facts.log_in
            ):
                return _LOCAL
            return Route(Target.LEADER, _why_pinned(facts))
        return Route(Target.LEADER, "a transaction is open" if facts.in_transaction else "autocommit is off")
    if kind is Kind.DIAGNOSTICS:
        return _PREVIOUS
    if kind is Kind.SETTINGS:
        return _EITHER
    return _LEADER


def _why_pinned(facts: SessionFacts) -> str:
    if facts.effects & (Effect.TEMPORARY_TABLES | Effect.PERHAPS_TEMPORARY_TABLES):
        return "the session has made, or may have made, a temporary table"
    if facts.effects & Effect.TABLE_LOCKS:
        return "the session has locked tables"
    if facts.system_schema:
        return "the default schema is a system schema"
    return facts.foreign_syntax or facts.log_in
