"""CREATE TRIGGER and the like as MariaDB must get them so that it logs a text that can be read (pure).

MariaDB takes the marks of executable comments out of a stored program without putting a space in their place
(tried with 10.11): `INSERT/*!INTO*/t` is kept and logged as `INSERTINTOt`. And of a procedure that ends, in
sql_mode ORACLE, with `END d.p` it keeps and logs all but the last name: `END d.`. No server can read either,
and the one that was sent it says OK all the same.
"""

import itertools
import re

from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize

_PROGRAMS = frozenset({"EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER"})
_HEAD_TOKENS = 20
_MARKS = re.compile(r"(?:/\*M?!\d*|\*/)+")
_PROCEDURE = re.compile(rb"\bPROCEDURE\b", re.IGNORECASE)
_HEAD_BYTES = 1000
_UNLESS = ["IF", "NOT", "EXISTS"]
_WORDS = frozenset({TokenKind.WORD, TokenKind.NUMBER})


def may_be_unreadable(sql: bytes) -> bool:
    """Whether a text may have executable comments, or makes a procedure."""
    return b"/*!" in sql or b"/*M!" in sql or _PROCEDURE.search(sql, 0, _HEAD_BYTES) is not None


def readable(sql: bytes, mode: LexerMode) -> bytes:
    """The text with spaces between words of a program that only marks keep apart, and a short END."""
    text = sql.decode("latin-1")
    tokens = tokenize(text, mode).tokens
    if not _defines_program(tokens):
        return sql
    edits = [
        (right.start, right.start, " ")
        for left, right in itertools.pairwise(tokens)
        if {left.kind, right.kind} <= _WORDS and _MARKS.fullmatch(text, left.end, right.start)
    ]
    schema = _schema_behind_end(tokens)
    if schema is not None:
        edits.append((*schema, ""))
    parts: list[str] = []
    done = 0
    for start, end, new in edits:
        parts += text[done:start], new
        done = end
    return "".join([*parts, text[done:]]).encode("latin-1")


def _schema_behind_end(tokens: tuple[Token, ...]) -> tuple[int, int] | None:
    """Where `d.` of a procedure's last `END d.p` begins and ends; None where the server would not take it."""
    last = tokens[:-1] if tokens[-1].word == ";" else tokens
    match last[-4:]:
        case [Token(word="END"), schema, Token(word="."), name] if _makes_procedure_in(tokens, schema.value):
            return schema.start, name.start
    return None


def _makes_procedure_in(tokens: tuple[Token, ...], schema: str) -> bool:
    for number, token in enumerate(tokens[:_HEAD_TOKENS]):
        if token.word == "PROCEDURE":
            name = (
                number + 4
                if [other.word for other in tokens[number + 1 : number + 4]] == _UNLESS
                else number + 1
            )
            qualified = len(tokens) > name + 1 and tokens[name + 1].word == "."
            return not qualified or tokens[name].value.lower() == schema.lower()
        if token.word in _PROGRAMS:
            break
    return False


def _defines_program(tokens: tuple[Token, ...]) -> bool:
    if not tokens or tokens[0].word not in ("CREATE", "ALTER"):
        return False
    return any(token.word in _PROGRAMS for token in tokens[1:_HEAD_TOKENS])
