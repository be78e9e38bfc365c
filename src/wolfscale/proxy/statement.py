"""What the proxy knows of a statement before it is sent."""

from dataclasses import dataclass, field
from enum import Enum, IntFlag, auto

from wolfscale.mysql.tracker import ResultHead
from wolfscale.proxy.global_variables import sets_globals
from wolfscale.proxy.refused import Refusal
from wolfscale.proxy.settings import Assignment
from wolfscale.proxy.written_tables import WrittenTables


class Kind(Enum):
    """What a statement is, as far as routing goes."""

    READ = auto()
    """Known to be a plain read: the only kind that may leave the leader."""
    DIAGNOSTICS = auto()
    """About the session's previous statement, so it runs where that one ran."""
    SETTINGS = auto()
    """Changes what both of the session's connections share: SET of session variables, USE."""
    TRANSACTION = auto()
    """Begins or ends a transaction, or sets a savepoint."""
    WRITE = auto()
    """Plain DML."""
    OTHER = auto()
    """Anything else, known or not: the leader's."""


_PLAIN = frozenset({Kind.READ, Kind.WRITE, Kind.TRANSACTION, Kind.OTHER})


class Effect(IntFlag):
    """What a statement leaves behind in the session that ran it."""

    NONE = 0
    TEMPORARY_TABLES = 1
    """It makes a temporary table."""
    TABLE_LOCKS = 2
    UNLOCKS_TABLES = 4
    USER_LOCKS = 8
    USER_VARIABLES = 16
    """It may give user variables other values."""
    NAMED_STATEMENTS = 32
    """PREPARE in SQL."""
    HANDLERS = 64
    TRACKING = 128
    """It changes session_track_system_variables, on which the proxy relies."""
    PERHAPS_TEMPORARY_TABLES = 256
    """It runs what the proxy does not see, which may make a temporary table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A text's classification.

    Attributes:
        reason: why it is of this kind, for people.
        intent: whether the node's intent mark must be on disk before it is sent to the leader: it is not
            known to be plain DML, so its effect may outlive a crash without its log entry.
        effects: what it leaves behind.
        refusal: why it is not let through, if it is not.
        assignments: of a SET.
        schema: whether it changes the default schema (USE).
        may_write: whether it may have written although its response carries no GTID (rows, functions).
        one_result: whether it answers with one result only.
        cacheable: whether statements that differ in literals only are classified alike.
        rollback: whether it is a plain ROLLBACK.
        begins: whether it begins a transaction, ending one that is open.
        read_only_start: whether it begins one that only reads.
        kill: whether it is a KILL, which the proxy carries out itself.
        user_variables: those that it may give other values; None where its text does not tell.
        tables: the tables that it makes and MariaDB may log in other words; None: none.
        sets_globals: whether it sets global variables, which the other nodes must be told.
        plain: whether it needs nothing on the leader but to be sent, and leaves nothing behind.
        head: what its results began with last; of no meaning to what it is.
        passing: variables, in lower case, that it sets for itself only (SET STATEMENT). MariaDB tells the
            passing value in its answer, and not that it has been taken back.
        source: of PREPARE and EXECUTE IMMEDIATE: where in the text the expression that gives the statement
            begins and ends, where that is more than a literal and so not known yet.
    """

    kind: Kind
    reason: str
    intent: bool = False
    effects: Effect = Effect.NONE
    refusal: Refusal | None = None
    assignments: tuple[Assignment, ...] = ()
    schema: bool = False
    may_write: bool = False
    one_result: bool = True
    cacheable: bool = True
    rollback: bool = False
    source: tuple[int, int] | None = None
    begins: bool = False
    read_only_start: bool = False
    kill: bool = False
    user_variables: frozenset[str] | None = None
    tables: WrittenTables | None = None
    passing: frozenset[bytes] = frozenset()
    sets_globals: bool = field(init=False)
    plain: bool = field(init=False)
    head: ResultHead = field(init=False, repr=False, compare=False, default_factory=ResultHead)

    def __post_init__(self) -> None:
        plain = (
            self.kind in _PLAIN
            and not self.intent
            and not self.effects
            and self.refusal is None
            and not self.assignments
            and self.source is None
            and not self.kill
            and not self.read_only_start
        )
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "sets_globals", sets_globals(self.assignments))
