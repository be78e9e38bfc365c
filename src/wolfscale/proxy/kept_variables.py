"""A session's user variables as the proxy knows them, to be told to another leader (pure)."""

from collections.abc import Iterable, Sequence, Set

from wolfscale.proxy.user_variables import UserVariable, is_plain_name
from wolfscale.proxy.variable_values import MAX_VARIABLES


class KeptVariables:
    """What is known of them, and what has still to be read.

    Attributes:
        unread: variables that may have got a value that nobody has read.
        all_unread: so may any variable have, by a routine or a text that the proxy has not seen.
        warned: the newest statement has left warnings, or is an error.
    """

    __slots__ = ("_known", "_texts", "_too_long", "_too_many", "all_unread", "unread", "warned")

    def __init__(self) -> None:
        self._known: dict[str, UserVariable] = {}
        self._texts: set[str] = set()
        self._too_long: set[str] = set()
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
        return not (self.all_unread or self.unread or self._too_long or self._too_many)

    def keep(self, variables: Iterable[UserVariable]) -> None:
        """These have these values now."""
        if self._too_many:
            return
        for variable in variables:
            name = variable.name
            self.unread.discard(name)
            self._too_long.discard(name)
            self._texts.discard(name)
            self._known[name] = variable
            if variable.is_text:
                self._texts.add(name)
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
        self.unread |= self._texts

    def on_read(self, names: Sequence[str], variables: Sequence[UserVariable | None]) -> None:
        """These were read; None in a variable's place: its value is too long."""
        self.unread.difference_update(names)
        self.keep(variable for variable in variables if variable is not None)
        for name, variable in zip(names, variables, strict=True):
            if variable is None:
                self._known.pop(name, None)
                self._too_long.add(name)

    def on_listed(self, names: Sequence[str]) -> None:
        """The session has these variables and no others."""
        self.all_unread = False
        self._too_many = len(names) > MAX_VARIABLES or not all(map(is_plain_name, names))
        self.unread = set() if self._too_many else set(names)
        for known in (self._known.keys() - set(names), self._too_long - set(names)):
            self._forget(known)

    def on_unlisted(self) -> None:
        """The server cannot list them: what the proxy has not seen is lost with it, if there are any."""
        self.all_unread = False
        self._too_many = self._too_many or len(self) > 0

    def _forget(self, names: Set[str]) -> None:
        for name in tuple(names):
            self._known.pop(name, None)
            self._texts.discard(name)
            self._too_long.discard(name)

    def _check_number(self) -> None:
        if len(self) > MAX_VARIABLES:
            self._too_many = True
            self._known.clear()
            self._texts.clear()
            self.unread.clear()

    def assignments(self) -> list[bytes]:
        """The statements that give them to a session, one each."""
        return [variable.assignment for variable in self._known.values()]
