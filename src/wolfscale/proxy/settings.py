"""SET statements, taken apart: which variables, in which scope, from what kind of value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from wolfscale.proxy.lexer import Token, TokenKind


class Scope(Enum):
    """Where a SET writes to."""

    SESSION = auto()
    GLOBAL = auto()
    USER = auto()
    """A user variable (`@x`)."""
    CHARACTER_SET = auto()
    """SET NAMES and SET CHARACTER SET: several session variables at once."""
    ROLE = auto()
    ACCOUNT = auto()
    """SET PASSWORD and SET DEFAULT ROLE, which are account statements."""
    NEXT_TRANSACTION = auto()
    """SET TRANSACTION without a scope: the next transaction's properties only."""
    TRANSACTION = auto()
    """SET SESSION TRANSACTION."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One item of a SET list.

    Attributes:
        scope: where it writes to.
        name: the variable, upper case; several words for a transaction's properties.
        constant: whether the value means the same on every server and at every time: literals, keywords.
        tokens: the value's.
    """

    scope: Scope
    name: str
    constant: bool
    tokens: tuple[Token, ...] = ()


NAMES_VARIABLES = frozenset(
    {
        "CHARACTER_SET_CLIENT",
        "CHARACTER_SET_CONNECTION",
        "CHARACTER_SET_RESULTS",
        "COLLATION_CONNECTION",
    }
)
"""What SET NAMES sets."""

_SCOPES = {"GLOBAL": Scope.GLOBAL, "SESSION": Scope.SESSION, "LOCAL": Scope.SESSION}


def split_list(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """The parts between commas that are in no parentheses."""
    depth, first = 0, 0
    for number, token in enumerate(tokens):
        if token.kind is not TokenKind.SYMBOL:
            continue
        if token.word == "(":
            depth += 1
        elif token.word == ")":
            depth -= 1
        elif token.word == "," and depth <= 0:
            yield tuple(tokens[first:number])
            first = number + 1
    yield tuple(tokens[first:])


def parse_assignments(tokens: Sequence[Token]) -> list[Assignment] | None:
    """The items of a SET list, given the tokens behind SET; None where they make no sense.

    A scope word holds for the items behind it that have none of their own, as in MariaDB's grammar.
    """
    assignments: list[Assignment] = []
    sticky = Scope.SESSION
    for item in split_list(tokens):
        if not item:
            return None
        words = [token.name for token in item]
        first = item[0].kind
        if first is TokenKind.WORD and words[0] in _SCOPES and len(item) > 1:
            sticky = _SCOPES[words[0]]
            item, words = item[1:], words[1:]
            if words[0] == "TRANSACTION":
                scope = Scope.TRANSACTION if sticky is Scope.SESSION else Scope.GLOBAL
                # The rest of the list belongs to the same clause: ISOLATION LEVEL x, READ ONLY.
                rest = tuple(tokens[tokens.index(item[0]) + 1 :])
                name = "TRANSACTION " + " ".join(token.word for token in rest)
                assignments.append(Assignment(scope, name, True, rest))
                return assignments
        elif first is TokenKind.WORD and (special := _special(item, words, tokens)) is not None:
            assignments.append(special)
            if special.scope is Scope.NEXT_TRANSACTION:
                return assignments
            continue
        assignment = _assignment(item, words, sticky)
        if assignment is None:
            return None
        assignments.append(assignment)
    return assignments


def _special(item: tuple[Token, ...], words: list[str], tokens: Sequence[Token]) -> Assignment | None:
    following = words[1] if len(words) > 1 else ""
    if following in ("=", ":=") and words[0] != "PASSWORD":
        return None  # `names = 1` sets a variable (of a stored program) by that name
    match words[0]:
        case "NAMES" | "CHARSET":
            return Assignment(Scope.CHARACTER_SET, words[0], _is_constant(item[1:]), item[1:])
        case "CHARACTER" | "CHAR" if following == "SET":
            return Assignment(Scope.CHARACTER_SET, "CHARSET", _is_constant(item[2:]), item[2:])
        case "PASSWORD":
            return Assignment(Scope.ACCOUNT, "PASSWORD", False, item[1:])
        case "DEFAULT" if following == "ROLE":
            return Assignment(Scope.ACCOUNT, "DEFAULT ROLE", False, item[2:])
        case "ROLE":
            return Assignment(Scope.ROLE, "ROLE", _is_constant(item[1:]), item[1:])
        case "TRANSACTION":
            return Assignment(Scope.NEXT_TRANSACTION, "TRANSACTION", True, tuple(tokens[1:]))
    return None


def _assignment(item: tuple[Token, ...], words: list[str], scope: Scope) -> Assignment | None:
    operator = next(
        (
            number
            for number, token in enumerate(item)
            if token.kind is TokenKind.SYMBOL and token.word in ("=", ":=")
        ),
        None,
    )
    if operator is None or operator == 0 or operator == len(item) - 1:
        return None
    target, value = list(words[:operator]), item[operator + 1 :]
    if target[0] == "@":
        return Assignment(Scope.USER, "".join(target[1:]), _is_constant(value), value)
    if target[0] == "@@":
        target = target[1:]
        if len(target) > 2 and target[0] in _SCOPES and target[1] == ".":
            scope, target = _SCOPES[target[0]], target[2:]
        else:
            scope = Scope.SESSION
    if not target:
        return None
    return Assignment(scope, "".join(target), _is_constant(value), value)


def _is_constant(tokens: Sequence[Token]) -> bool:
    """Literals and keywords only: no function, variable, subquery or parameter."""
    return all(
        token.kind in (TokenKind.STRING, TokenKind.NUMBER, TokenKind.WORD)
        or (token.kind is TokenKind.QUOTED)
        or (token.kind is TokenKind.SYMBOL and token.word in "+-")
        for token in tokens
    )
