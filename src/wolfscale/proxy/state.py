"""What a session has set, so that a new back-end connection can be told.

Entries are commands (COM_INIT_DB, or COM_QUERY with a SET) in the order in which they were given. Each
connection remembers the number of the last entry that it knows. Temporary tables and locks are no entries:
they live on the leader's connection only, and die with it. User variables live there too, and a new leader's
connection is told the values that are known.
"""

from dataclasses import dataclass, field

from wolfscale.mysql.constants import Command
from wolfscale.proxy.errors import ProxyError
from wolfscale.proxy.kept_variables import KeptVariables
from wolfscale.proxy.settings import NAMES_VARIABLES, Assignment, Scope
from wolfscale.proxy.statement import Effect
from wolfscale.proxy.variable_values import KEPT_BYTES

MAX_ENTRIES = 500
_SCHEMA = "SCHEMA"

LEADER_ONLY_VARIABLES = frozenset({"TX_READ_ONLY", "TRANSACTION_READ_ONLY", "COMPLETION_TYPE"})
"""The local connection is read-only, always; a session that says otherwise means the leader's."""
ONE_SHOT_VARIABLES = frozenset({"INSERT_ID", "LAST_INSERT_ID", "IDENTITY"})
"""They are about the session's next or last insert, so only the leader's connection of now has them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command to repeat on a new connection."""

    number: int
    names: frozenset[str]
    payload: bytes
    leader_only: bool


@dataclass(slots=True)
class SessionState:
    """The session's settings.

    Attributes:
        effects: what lives on the leader's connection only.
        last_number: the newest entry's number.
        user_variables: what is known of them.
    """

    effects: Effect = Effect.NONE
    last_number: int = 0
    user_variables: KeptVariables = field(default_factory=KeptVariables)
    _entries: dict[frozenset[str], Entry] = field(default_factory=dict)
    _has_variables_from: int = 0

    def add_schema(self, schema: bytes) -> None:
        """The default schema is this now."""
        self._add(frozenset({_SCHEMA}), bytes((Command.INIT_DB,)) + schema, leader_only=False)

    @property
    def schema(self) -> bytes:
        """The default schema, if there is one."""
        entry = self._entries.get(frozenset({_SCHEMA}))
        return entry.payload[1:] if entry is not None else b""

    def add_settings(self, assignments: tuple[Assignment, ...], sql: bytes) -> None:
        """A SET of session variables to constants was carried out."""
        names = names_of(assignments)
        if names & NAMES_VARIABLES:
            self.user_variables.on_character_set()
        if names:
            self._add(names, bytes((Command.QUERY,)) + sql, leader_only=is_leader_only(assignments))

    def note_user_variables(self, connection_knows: int) -> int:
        """The leader's connection has user variables, perhaps the session's first.

        Args:
            connection_knows: the number of the last entry that it knows.

        Returns:
            That number from now on.
        """
        if self._has_variables_from or not len(self.user_variables):
            return connection_knows
        # Whoever knows less is a new connection, which has to be told them.
        is_current = connection_knows == self.last_number
        self.last_number += 1
        self._has_variables_from = self.last_number
        return self.last_number if is_current else connection_knows

    def add_command(self, name: str, payload: bytes) -> None:
        """A command that is to be repeated, by a name under which a later one replaces it."""
        self._add(frozenset({name}), payload, leader_only=False)

    def _add(self, names: frozenset[str], payload: bytes, *, leader_only: bool) -> None:
        for older in [key for key, entry in self._entries.items() if key <= names]:
            # What only the leader got does not replace what both know.
            if self._entries[older].leader_only or not leader_only:
                del self._entries[older]
        if len(self._entries) >= MAX_ENTRIES:
            raise ProxyError(
                1226,
                "42000",
                f"More than {MAX_ENTRIES} combinations of variables are set in this session; reset it",
            )
        self.last_number += 1
        key = names | {"LEADER ONLY"} if leader_only else names
        self._entries[key] = Entry(self.last_number, names, payload, leader_only)

    def pending(self, known: int, *, leader: bool) -> list[bytes]:
        """The commands that a connection which knows the entries up to `known` lacks, in order."""
        commands = [
            entry.payload
            for entry in self._entries.values()
            if entry.number > known and (leader or not entry.leader_only)
        ]
        if leader and known < self._has_variables_from:
            # Behind the settings, which hold for them.
            query = bytes((Command.QUERY,))
            commands += [query + assignment for assignment in self.user_variables.assignments()]
        return commands

    def pending_in_utf8(self, known: int, *, leader: bool) -> list[bytes]:
        """Those that have to be sent in UTF-8, behind the others."""
        if not leader or known >= self._has_variables_from:
            return []
        query = bytes((Command.QUERY,))
        return [query + assignment for assignment in self.user_variables.assignments_in_utf8()]

    def clear(self, *, keep_schema: bool) -> None:
        """Nothing is set any more, but for the default schema after COM_RESET_CONNECTION."""
        schema = self._entries.get(frozenset({_SCHEMA})) if keep_schema else None
        self._entries.clear()
        self.user_variables = KeptVariables()
        self._has_variables_from = 0
        if schema is not None:
            self._entries[schema.names] = schema
        self.effects = Effect.NONE

    def lost_with_leader(self) -> str:
        """What would be lost with the leader's connection, for people; "" when nothing would."""
        names = (
            (Effect.TEMPORARY_TABLES, "temporary tables"),
            (Effect.TABLE_LOCKS, "table locks"),
            (Effect.USER_LOCKS, "named locks"),
            (Effect.NAMED_STATEMENTS, "statements prepared in SQL"),
            (Effect.HANDLERS, "open handlers"),
        )
        lost = [text for effect, text in names if self.effects & effect]
        if not self.user_variables.is_complete:
            bound = f" of more than {KEPT_BYTES >> 10} KiB" if self.user_variables.is_too_large else ""
            lost.append(f"user variables{bound}")
        return ", ".join(lost)


def names_of(assignments: tuple[Assignment, ...]) -> frozenset[str]:
    """The session variables that a SET touches and that outlast it."""
    names: set[str] = set()
    for assignment in assignments:
        if assignment.scope is Scope.CHARACTER_SET:
            names |= NAMES_VARIABLES
        elif assignment.scope is Scope.ROLE:
            names.add("ROLE")
        elif assignment.scope is Scope.TRANSACTION:
            names.add(" ".join(assignment.name.split()[:2]))
        elif assignment.scope is Scope.SESSION and assignment.name not in ONE_SHOT_VARIABLES:
            names.add(assignment.name)
    return frozenset(names)


def is_leader_only(assignments: tuple[Assignment, ...]) -> bool:
    """Whether the local connection must not be told."""
    return any(
        (assignment.scope is Scope.SESSION and assignment.name in LEADER_ONLY_VARIABLES)
        or (assignment.scope is Scope.TRANSACTION and "READ" in assignment.name.split()[1:2])
        or (assignment.scope is Scope.TRANSACTION and ", READ" in assignment.name.replace(" ,", ","))
        for assignment in assignments
    )
