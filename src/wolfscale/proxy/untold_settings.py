"""SET @@name = value, in the words in which MariaDB tells the proxy of it (pure).

MariaDB's session tracking tells SET name and SET @@SESSION.name, and is silent about SET @@name (tried with
10.11), which sets the same. So the word is put in where the proxy has to know the value: it reads the next
text by the session's sql_mode and character set.
"""

import re

from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, decode_sql, encode_sql, tokenize

NEEDED = frozenset(
    {"SQL_MODE", "CHARACTER_SET_CLIENT", "SQL_AUTO_IS_NULL", "WAIT_TIMEOUT", "DEFAULT_STORAGE_ENGINE"}
)
"""The variables that the proxy has the server tell; those that nobody may set are refused in any words."""
NAMES = NEEDED | {"STORAGE_ENGINE"}
"""Those and other names of theirs."""

_MENTION = re.compile(rb"@@`?(?:" + "|".join(sorted(NAMES)).encode() + rb")\b", re.IGNORECASE)
_STORED = frozenset({"CREATE", "ALTER"})
_END_OF_LIST = frozenset({";", "FOR", "SELECT"})


def may_be_untold(sql: bytes) -> bool:
    """Whether a text names one of the variables in this way at all."""
    return _MENTION.search(sql) is not None


def with_scopes(sql: bytes, mode: LexerMode, character_set: str) -> bytes:
    """The text with SESSION where a SET leaves the scope of one of `NAMES` out.

    Stored programs stay as they are: they are kept, and shown, in the words of who wrote them.

    Args:
        sql: a text for which `may_be_untold` is true.
        mode: how the server reads it.
        character_set: character_set_client, if its bytes need care, else "".
    """
    text = decode_sql(sql, character_set)
    if encode_sql(text, character_set) != sql:
        return sql  # bytes that are no text of this character set: none is to be changed
    tokens = tokenize(text, mode).tokens
    if not tokens or tokens[0].word in _STORED:
        return sql
    places = _places(tokens)
    if not places:
        return sql
    parts = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    return encode_sql("SESSION.".join(parts), character_set)


def _places(tokens: tuple[Token, ...]) -> list[int]:
    """Where a scope is missing: before the names."""
    places: list[int] = []
    in_list, depth = False, 0
    for number, token in enumerate(tokens):
        if token.word == "SET" and token.kind is TokenKind.WORD:
            in_list, depth = True, 0
        elif in_list and not depth and token.word in _END_OF_LIST:
            in_list = False
        elif token.word in ("(", ")"):
            depth += 1 if token.word == "(" else -1
        elif in_list and not depth and token.word == "@@" and tokens[number - 1].word in ("SET", ","):
            match tokens[number + 1 : number + 3]:
                case [name, Token(word="=" | ":=")] if name.name in NAMES:
                    places.append(name.start)
    return places
