"""Whether a text that comes in pieces holds more than one statement (pure).

A long statement is judged by its beginning. Behind a semicolon another could begin that the beginning tells
nothing of, so what follows is read just far enough to know which semicolons are outside of quotes and
comments, as MariaDB's lexer does (see `lexer`).
"""

import functools
import re

from wolfscale.proxy.lexer import ELSE_NOTHING, LexerMode

_BLANKS = re.compile(rb"[\x09-\x0d\x20;]*+")
_LINE = b"\n"
_BLOCK = b"*/"
_AFTER_DASHES = frozenset(range(0x21)) | {0x7F}
"""Bytes that make a comment of two dashes before them."""


class StatementScan:
    """Reads one text.

    Its bytes must be such that all that means anything is ASCII, see `lexer.is_multibyte_unsafe`.

    Attributes:
        several: there is more than one statement, or an executable comment, whose inside may be anything.
    """

    __slots__ = ("_ended", "_inside", "_mode", "_rest", "several")

    def __init__(self, mode: LexerMode) -> None:
        """Begin a text.

        Args:
            mode: how its server reads it.
        """
        self.several = False
        self._mode = mode
        self._inside = b""
        """What ends the quotes or comment that the text read so far leaves open; empty: it leaves none."""
        self._ended = False
        """Whether a semicolon has been seen."""
        self._rest = b""
        """Up to three bytes that mean something only with those that follow."""

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        text, self._rest = self._rest + data, b""
        position, end = 0, len(text)
        while position < end and not self.several:
            position = self._outside(text, position) if not self._inside else self._to_end(text, position)

    def _outside(self, text: bytes, position: int) -> int:
        """Read on outside of quotes and comments; where to go on."""
        if self._ended:
            position = _at_end(_BLANKS, text, position)
        else:
            position = _at_end(_plain(self._mode), text, position)
        two, left = text[position : position + 2], len(text) - position
        match two[:1]:
            case b"":
                return position
            case b"#":
                self._inside = _LINE
                return position + 1
            case b"-" if left < 3 and two in (b"-", b"--"):
                self._rest = text[position:]
                return len(text)
            case b"-" if two == b"--" and text[position + 2] in _AFTER_DASHES:
                self._inside = _LINE
                return position + 2
            case b"/" if left < 4 and two in (b"/", b"/*"):
                self._rest = text[position:]
                return len(text)
            case b"/" if two == b"/*":
                self.several = text.startswith((b"!", b"M!"), position + 2)
                self._inside = _BLOCK
                return position + 2
            case b";":
                self._ended = True
            case _ if self._ended:
                self.several = True
            case b"'" | b'"' | b"`" as quote:
                self._inside = quote
        return position + 1

    def _to_end(self, text: bytes, position: int) -> int:
        """Read on inside quotes or a comment; where to go on."""
        closing = self._inside
        if closing not in (_LINE, _BLOCK):
            position = _at_end(_quoted(closing, self._mode), text, position)
            if text[position:] == b"\\":
                self._rest = b"\\"
                return len(text)
            found = position if position < len(text) else -1
        else:
            found = text.find(closing, position)
        if found < 0:
            if closing == _BLOCK and text.endswith(b"*"):
                self._rest = b"*"
            return len(text)
        self._inside = b""
        return found + len(closing)


def _at_end(pattern: re.Pattern[bytes], text: bytes, position: int) -> int:
    """Where the match of a pattern that matches anywhere ends."""
    found = pattern.match(text, position)
    assert found is not None
    return found.end()


def _inner(quote: bytes, mode: LexerMode) -> bytes:
    if mode.escapes_between(quote.decode()):
        return rb"(?:[^" + quote + rb"\\]++|\\.)*+"
    return b"[^" + quote + b"]*+"


@functools.lru_cache(maxsize=64)
def _quoted(quote: bytes, mode: LexerMode) -> re.Pattern[bytes]:
    """What may stand between quotes, up to the closing one, or a backslash that the text ends with."""
    return re.compile(_inner(quote, mode), re.DOTALL)


@functools.lru_cache(maxsize=16)
def _plain(mode: LexerMode) -> re.Pattern[bytes]:
    """As much as means nothing here: whole quoted strings, too, so that many short ones cost little."""
    strings = rb"|".join(quote + _inner(quote, mode) + quote for quote in (b"'", b'"', b"`"))
    plain = rb"[^'\"`;#/-]++|" + strings + rb"|-(?=[^-])|/(?=[^*])" + ELSE_NOTHING.encode()
    return re.compile(b"(?:" + plain + b")*+", re.DOTALL)
