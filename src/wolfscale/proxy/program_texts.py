"""CREATE TRIGGER and the like as MariaDB must get them so that it logs a text that can be read (pure).

MariaDB takes the marks of executable comments out of a stored program without putting a space in their place
(tried with 10.11): `INSERT/*!INTO*/t` is kept and logged as `INSERTINTOt`, which no server can read. The
server that was sent it says OK all the same.
"""

import itertools
import re

from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize

_PROGRAMS = frozenset({"EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER"})
_HEAD_TOKENS = 20
_MARKS = re.compile(r"(?:/\*M?!\d*|\*/)+")
_WORDS = frozenset({TokenKind.WORD, TokenKind.NUMBER})


def has_marks(sql: bytes) -> bool:
    """Whether a text may have executable comments."""
    return b"/*!" in sql or b"/*M!" in sql


def with_spaces(sql: bytes, mode: LexerMode) -> bytes:
    """The text with spaces where a stored program has nothing but the marks between two words."""
    text = sql.decode("latin-1")
    tokens = tokenize(text, mode).tokens
    if not _defines_program(tokens):
        return sql
    parts: list[str] = []
    done = 0
    for left, right in itertools.pairwise(tokens):
        if {left.kind, right.kind} <= _WORDS and _MARKS.fullmatch(text, left.end, right.start):
            parts += text[done : right.start], " "
            done = right.start
    return "".join([*parts, text[done:]]).encode("latin-1")


def _defines_program(tokens: tuple[Token, ...]) -> bool:
    if not tokens or tokens[0].word not in ("CREATE", "ALTER"):
        return False
    return any(token.word in _PROGRAMS for token in tokens[1:_HEAD_TOKENS])
