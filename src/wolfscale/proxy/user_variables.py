"""User variables in texts: which a statement names, and those that a SET gives a literal (pure).

What a literal means must not depend on what is set later, so only those count that every sql_mode reads
alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wolfscale.mysql.constants import Command
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize
from wolfscale.proxy.settings import Scope, parse_assignments

MAX_LITERAL_BYTES = 4096
_NAME = re.compile(r"[\x20-\x7e]{1,64}")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_WORDS = frozenset({"NULL", "TRUE", "FALSE"})


@dataclass(frozen=True, slots=True)
class UserVariable:
    """One of them.

    Attributes:
        name: of `name_of`.
        sql: its value as SQL, but for a string's bytes.
        is_text: whether the value takes its character set and collation from the connection.
        value: a string's bytes, which belong behind that; None: it has none.
        collation: what belongs behind these.
    """

    name: str
    sql: str
    is_text: bool = False
    value: bytes | None = None
    collation: str = ""

    @property
    def literal(self) -> str:
        """Its value as SQL."""
        return self.sql if self.value is None else f"{self.sql}X'{self.value.hex()}'{self.collation}"

    @property
    def size(self) -> int:
        """The bytes of its name and value."""
        return len(self.name) + len(self.sql) + len(self.value or b"")

    @property
    def assignment(self) -> bytes:
        """The SET that gives a session this variable; in UTF-8 if its name is not ASCII."""
        encoding = "latin-1" if self.name.isascii() else "utf-8"
        return f"SET {quoted(self.name)}={self.literal}".encode(encoding)


def name_of(listed: bytes) -> str:
    """The name of a variable that a server lists, in UTF-8: the same for the same variable.

    ASCII names are the same in any case. How others compare is the server's affair: it lists a variable as it
    was spelled first, for as long as the session lasts.
    """
    name = listed.decode("utf-8", "replace")
    return name.upper() if name.isascii() else name


def utf8_around(character_set_client: bytes) -> tuple[bytes, bytes]:
    """The commands that go before and behind texts of the proxy's own in UTF-8.

    Args:
        character_set_client: the session's.
    """
    query = bytes((Command.QUERY,)) + b"SET character_set_client="
    return query + b"utf8mb4", query + (character_set_client or b"DEFAULT")


def quoted(name: str) -> str:
    """A variable in SQL, whatever its name."""
    return "@`" + name.replace("`", "``") + "`"


def is_plain_name(name: str) -> bool:
    """Whether a name that stands in a text reads the same in every character set."""
    return _NAME.fullmatch(name) is not None


def variable_names(tokens: Sequence[Token]) -> frozenset[str] | None:
    """The variables that a statement names, upper case; None where one's name is not plain to see.

    A name in quotes that are a string's is such a one: texts that are classified alike may differ in it.
    """
    names = set()
    for number, token in enumerate(tokens):
        if token.kind is TokenKind.SYMBOL and token.word == "@":
            name = _name(tokens, number + 1)
            if not is_plain_name(name):
                return None
            names.add(name)
    return frozenset(names)


def _name(tokens: Sequence[Token], number: int) -> str:
    if number >= len(tokens):
        return ""
    first = tokens[number]
    if first.kind is not TokenKind.WORD:
        return first.name
    # A dot may stand in a name, and what follows it at once belongs to it.
    name, end = first.word, first.end
    for token in tokens[number + 1 :]:
        if token.start != end or (token.kind is TokenKind.SYMBOL and token.word != "."):
            break
        if token.kind not in (TokenKind.WORD, TokenKind.SYMBOL):
            return ""
        name += token.word
        end = token.end
    return name


def literal_variables(sql: bytes, mode: LexerMode) -> list[UserVariable] | None:
    """What a SET of nothing but user variables gives them; None where any value is more than a literal."""
    lexed = tokenize(sql.decode("latin-1"), mode)
    tokens = lexed.tokens[:-1] if lexed.tokens and lexed.tokens[-1].word == ";" else lexed.tokens
    if lexed.executable_comment or not lexed.complete or not tokens or tokens[0].word != "SET":
        return None
    found: list[UserVariable] = []
    for assignment in parse_assignments(tokens[1:]) or ():
        value = _literal(assignment.tokens, lexed.text)
        if assignment.scope is not Scope.USER or value is None or not is_plain_name(assignment.name):
            return None
        literal, is_text = value
        found.append(UserVariable(assignment.name, literal, is_text))
    return found or None


def _literal(tokens: tuple[Token, ...], text: str) -> tuple[str, bool] | None:
    sign = ""
    if len(tokens) == 2 and tokens[0].kind is TokenKind.SYMBOL and tokens[0].word in ("+", "-"):
        sign, tokens = tokens[0].word, tokens[1:]
        if tokens[0].kind is not TokenKind.NUMBER:
            return None
    if len(tokens) != 1:
        return None
    [token] = tokens
    raw = text[token.start : token.end]
    if len(raw) > MAX_LITERAL_BYTES:
        return None
    if token.kind is TokenKind.NUMBER and _NUMBER.fullmatch(raw):
        return sign + raw, False
    if token.kind is TokenKind.WORD and token.word in _WORDS:
        return token.word, False
    inside = raw[1:-1]
    plain = raw[:1] == raw[-1:] == "'" and not {"'", "\\"} & set(inside)
    return (raw, True) if token.kind is TokenKind.STRING and plain else None
