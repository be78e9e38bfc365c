"""Where statements begin and end in a text, and which of them may hold others (pure)."""

from collections.abc import Sequence

from wolfscale.proxy.lexer import Token, TokenKind
from wolfscale.proxy.refused import starts_with

_COMPOUND_WORDS = frozenset({"IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR", "DECLARE"})
_STORED_PROGRAMS = frozenset({"PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"})


def split_statements(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Statements between semicolons; a compound one takes all that follows it."""
    parts: list[Sequence[Token]] = []
    first = 0
    for number, token in enumerate(tokens):
        if token.kind is TokenKind.SYMBOL and token.word == ";":
            if first < number:
                if is_compound(tokens[first:number]):
                    break
                parts.append(tokens[first:number])
            first = number + 1
    if first < len(tokens):
        parts.append(tokens[first:])
    return parts


def is_compound(tokens: Sequence[Token]) -> bool:
    """Whether a statement may hold others: a stored program, or SQL/PSM outside of one."""
    first = tokens[0].word
    if first in ("CREATE", "ALTER"):
        head = {token.word for token in tokens[:16] if token.kind is TokenKind.WORD}
        return bool(head & _STORED_PROGRAMS)
    if first == "BEGIN":
        # BEGIN NOT ATOMIC, or in sql_mode ORACLE a block; anything else would be a syntax error.
        return len(tokens) > 1 and tokens[1].word != "WORK"
    if first == "SET" and starts_with(tokens, ("SET", "STATEMENT")):
        position = next((number for number, token in enumerate(tokens) if token.word == "FOR"), None)
        return position is not None and position + 1 < len(tokens) and is_compound(tokens[position + 1 :])
    label = len(tokens) > 1 and tokens[1].word == ":"
    return first in _COMPOUND_WORDS or label
