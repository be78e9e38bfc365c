"""A session's user variables as the proxy knows them, to be told to another leader (pure)."""

from collections.abc import Iterable, Sequence, Set

from wolfscale.proxy.user_variables import UserVariable
from wolfscale.proxy.variable_values import BYTES_A_VARIABLE, KEPT_BYTES, MAX_VARIABLES


class KeptVariables:
    """What is known of them, and what has still to be read.

    Attributes:
        unread: variables that may have got a value that nobody has read.
        all_unread: so may any variable have, by a routine or a text that the proxy has not seen.
        warned: the newest statement has left warnings, or is an error.
    """

    __slots__ = ("_bytes", "_known", "_too_large", "_too_many", "all_unread", "unread", "warned")

    def __init__(self) -> None:
        self._known: dict[str, UserVariable] = {}
        self._bytes = 0
        self._too_large: set[str] = set()
        self._too_many = False
        self.unread: set[str] = set()
        self.all_unread = False
        self.warned = False

    def __len__(self) -> int:
        """How many variables are known, or have a value that is to be read."""
        return len(self._known.keys() | self.unread)

    @property
    def is_unread(self) -> bool:
        """Whether any has to be read."""
        return self.all_unread or bool(self.unread)

    @property
    def is_complete(self) -> bool:
        """Whether another leader can be told all."""
        return not (self.all_unread or self.unread or self.is_too_large)

    @property
    def is_too_large(self) -> bool:
        """Whether there are more than are kept."""
        return bool(self._too_large) or self._too_many

    def has_room(self, name: str, value_bytes: int) -> bool:
        """Whether a variable with a value of so many bytes is kept."""
        known = self._known.get(name)
        rest = self._bytes - (_size(known) if known is not None else 0)
        return rest + BYTES_A_VARIABLE + len(name) + value_bytes <= KEPT_BYTES

    def keep(self, variables: Iterable[UserVariable]) -> None:
        """These have these values now."""
        if self._too_many:
            return
        for variable in variables:
            name = variable.name
            self._forget(name)
            self.unread.discard(name)
            if self._bytes + _size(variable) > KEPT_BYTES:
                self._too_large.add(name)
            else:
                self._known[name] = variable
                self._bytes += _size(variable)
        self._check_number()

    def assign(self, names: Set[str] | None) -> None:
        """These may have got other values; None: any may."""
        if names is None:
            self.all_unread = True
        elif not self._too_many:
            self.unread |= names
            self._check_number()

    def on_character_set(self) -> None:
        """What was set to text has a character set that is no longer the connection's."""
        self.unread |= {name for name, variable in self._known.items() if variable.is_text}

    def on_read(self, names: Sequence[str], variables: Sequence[UserVariable | None]) -> None:
        """These were read; None in a variable's place: its value is too long."""
        self.unread.difference_update(names)
        self.keep(variable for variable in variables if variable is not None)
        for name, variable in zip(names, variables, strict=True):
            if variable is None:
                self._forget(name)
                self._too_large.add(name)

    def on_listed(self, names: Sequence[str]) -> None:
        """The session has these variables and no others."""
        self.all_unread = False
        self._too_many = len(names) > MAX_VARIABLES
        self.unread = set() if self._too_many else set(names)
        for gone in (self._known.keys() | self._too_large) - set(names):
            self._forget(gone)
        if self._too_many:
            self._clear()

    def on_unlisted(self) -> None:
        """The server cannot list them: what the proxy has not seen is lost with it, if there are any."""
        self.all_unread = False
        self._too_many = self._too_many or len(self) > 0

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None:
            self._bytes -= _size(known)
        self._too_large.discard(name)

    def _check_number(self) -> None:
        if len(self._known) + len(self.unread) + len(self._too_large) > MAX_VARIABLES and (
            len(self._known.keys() | self.unread | self._too_large) > MAX_VARIABLES
        ):
            self._too_many = True
            self._clear()

    def _clear(self) -> None:
        self._known.clear()
        self._bytes = 0
        self._too_large.clear()
        self.unread.clear()

    def assignments(self) -> list[bytes]:
        """The statements that give a session those with ASCII names, one each."""
        return [variable.assignment for variable in self._known.values() if variable.name.isascii()]

    def assignments_in_utf8(self) -> list[bytes]:
        """The statements that give a session the others."""
        return [variable.assignment for variable in self._known.values() if not variable.name.isascii()]


def _size(variable: UserVariable) -> int:
    return BYTES_A_VARIABLE + variable.size
