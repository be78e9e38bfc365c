"""CREATE TABLE and CREATE SEQUENCE that leave their engine to the session (pure).

MariaDB logs such a statement as it was sent, and replicas take their own default, whatever the session's
`default_storage_engine` was: another engine, without an error.
"""

from collections.abc import Sequence

from wolfscale.proxy.lexer import Token, TokenKind

REPLICAS_ENGINE = "InnoDB"
"""What a server makes that was not told otherwise when it was started."""

_ENGINE_WORDS = frozenset({"ENGINE", "TYPE"})


def engine_place(tokens: Sequence[Token], behind_name: int, *, sequence: bool) -> int | None:
    """Where in the text ENGINE = ... has to be added; None where the statement names one.

    Args:
        tokens: of the text.
        behind_name: the number of the token behind the name of the table that is made.
        sequence: it is a sequence.
    """
    place = tokens[behind_name - 1].end
    depth = 0
    for number in range(behind_name, len(tokens)):
        token = tokens[number]
        if token.kind is TokenKind.SYMBOL:
            if not depth and (token.word == ";" or (token.word == "(" and _begins_query(tokens, number + 1))):
                break
            depth += (token.word == "(") - (token.word == ")")
            if token.word == ")" and not depth and place == tokens[behind_name - 1].end:
                place = token.end
        elif token.kind is TokenKind.WORD and not depth:
            if token.word in _ENGINE_WORDS:
                return None
            if not sequence and (token.word == "AS" or _begins_query(tokens, number)):
                break
        if sequence:
            place = token.end  # its options stand before those of a table
    return place


def _begins_query(tokens: Sequence[Token], number: int) -> bool:
    match tokens[number : number + 2]:
        case [Token(word="SELECT" | "VALUES" | "("), *_]:
            return True
        case [Token(word="WITH"), Token(word=following)]:
            return following != "SYSTEM"  # WITH SYSTEM VERSIONING is an option
    return False


def with_engine(sql: bytes, place: int, engine: str) -> bytes:
    """The text with the engine added."""
    return sql[:place] + f" ENGINE={engine} ".encode("ascii") + sql[place:]
