"""Long texts made short enough to be judged, piece by piece: the same statements without their data (pure).

What a statement is does not depend on what its long literals hold, nor on the rest of a long row change,
query or call. So a text of 60 MiB comes down to some KiB, which the lexer and the rules read as they would
read the whole of it. Comments become empty ones. What PREPARE or EXECUTE IMMEDIATE runs is a
statement inside a literal, and is condensed itself.

Nothing is left out any more behind what would take the lexer itself to read: an executable comment that is
more than words and short strings. Nor, in a literal that is a statement, behind a backslash or an executable
comment, since such a literal is read in several ways (`refused`).
"""

import functools
import re

from wolfscale.proxy.lexer import ELSE_NOTHING, LexerMode, string_value, tokenize

KEPT_CHARACTERS = 512
"""A literal up to this length stays as it is."""
PREFIX_CHARACTERS = 64 * 1024
"""So much of a row change, query or call is kept."""
PIECE_BYTES = 1 << 16
"""What is fed at a time: some hundred microseconds of work."""
_FAR_CHARACTERS = 64 * 1024
"""An executable comment's end is looked for so far."""
_DEEPEST = 8
_PLACEHOLDER = "long"
_DATA_WORDS = frozenset(
    {"INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "SELECT", "WITH", "VALUES", "(", "CALL"}
)
"""First words of statements that can be told by their beginning."""
_AFTER_DASHES = frozenset(map(chr, range(0x21))) | {"\x7f"}
_EMPTY_COMMENT = "/**/"
_BLANKS = re.compile(r"(?:[\x00-\x20]|/\*\*/)+")
_BEFORE_STATEMENT = re.compile(r"(?i)(?<![\w$])(?:FROM|IMMEDIATE(?: ?\(| \w+)?) ?\Z")
"""What stands before a literal that is a statement, blanks taken together."""
_LOCK = re.compile(r"(?i)get_lock")
_SIMPLE_EXECUTABLE = re.compile(
    r"/\*M?!(?:[^'\"`#/*\\-]++|'[^'\\]*+'|`[^`]*+`" + ELSE_NOTHING + r")*+\*/",
)
"""An executable comment that ends there, however it is read."""


class Condenser:
    """Reads one text and gives it back short.

    Its characters must be such that all that means anything is ASCII, see `lexer.decode_sql`.

    Attributes:
        dropped: the rest of a row change, query or call was left out.
        locks: it may have taken a named lock.
    """

    def __init__(self, mode: LexerMode, *, depth: int = 0) -> None:
        """Begin a text.

        Args:
            mode: how its server reads it.
            depth: of how many literals it is inside; those are read in both ways (see `refused`).
        """
        self.dropped = False
        self.locks = False
        self._mode = mode
        self._depth = depth
        self._out: list[str] = []
        self._size = 0
        self._first = (0, 0)
        """Where the statement under way begins: number of the piece in `_out`, and `_size`."""
        self._decided = False
        """Whether it is known if its rest is left out."""
        self._dropping = False
        self._executable = False
        self._verbatim = False
        """Whether all that follows is kept as it is."""
        self._rest = ""
        """Up to some characters that mean something only with those that follow."""
        self._inside = ""
        """What ends the quotes or comment that the text read so far leaves open; empty: it leaves none."""
        self._held: str | None = None
        """The beginning of the literal under way, as long as it is short."""
        self._child: Condenser | None = None
        """Condenses the literal under way, which is a statement."""

    def feed(self, text: str) -> None:
        """Read the next piece."""
        text, self._rest = self._rest + text, ""
        position, end = 0, len(text)
        if self._depth and not self._verbatim:
            # To both ways to read it the text is the same up to its first backslash.
            backslash = text.find("\\")
            end = end if backslash < 0 else backslash
        self._read(text[:end] if end < len(text) else text, position)
        if end < len(text):
            self._keep_all()
            self._emit(self._rest + text[end:])
            self._rest = ""

    def finish(self) -> str:
        """The text, when all of it was read; what its end leaves open is open in it too."""
        if self._inside and self._inside not in ("\n", "*/"):
            if self._rest == self._inside:
                self._rest = ""
                self._close()
            else:
                self._keep_all()
        elif self._inside == "*/":
            self._emit("/*")
        self._emit(self._rest)
        return "".join(self._out)

    def _read(self, text: str, position: int) -> None:
        while position < len(text):
            if self._verbatim:
                self._emit(text[position:])
                return
            position = self._outside(text, position) if not self._inside else self._to_end(text, position)

    def _outside(self, text: str, position: int) -> int:
        """Read on outside of quotes and comments; where to go on."""
        found = _plain(self._mode, KEPT_CHARACTERS).match(text, position)
        assert found is not None
        if found.end() > position:
            self._emit(found.group())
            position = found.end()
        left = len(text) - position
        match text[position : position + 1]:
            case "":
                return position
            case ";":
                self._dropping = self._decided = False
                self._first = (len(self._out) + 1, self._size + 1)
                self._emit(";")
            case "#":
                self._comment("\n")
            case "-":
                return self._dashes(text, position, left)
            case "/":
                return self._slash(text, position, left)
            case quote:
                self._inside, self._held = quote, ""
        return position + 1

    def _dashes(self, text: str, position: int, left: int) -> int:
        if left < 3 and text[position:] in ("-", "--"):
            self._rest = text[position:]
            return len(text)
        if text.startswith("--", position) and text[position + 2] in _AFTER_DASHES:
            self._comment("\n")
            return position + 2
        self._emit("-")
        return position + 1

    def _slash(self, text: str, position: int, left: int) -> int:
        if not text.startswith("/*", position):
            if left < 2:
                self._rest = text[position:]
                return len(text)
            self._emit("/")
            return position + 1
        if left < 4:
            self._rest = text[position:]
            return len(text)
        if not text.startswith(("!", "M!"), position + 2):
            self._comment("*/")
            return position + 2
        self._executable = True
        self._dropping = False
        simple = None if self._depth else _SIMPLE_EXECUTABLE.match(text, position)
        if simple is not None:
            self._emit(simple.group())
            return simple.end()
        if not self._depth and left < _FAR_CHARACTERS and "*/" not in text[position:]:
            self._rest = text[position:]
            return len(text)
        self._keep_all()
        return position

    def _comment(self, closing: str) -> None:
        self._inside = closing
        # A blank would make a comment of two dashes before it.
        self._emit(_EMPTY_COMMENT)

    def _to_end(self, text: str, position: int) -> int:
        """Read on inside quotes or a comment; where to go on."""
        closing = self._inside
        if closing in ("\n", "*/"):
            found = text.find(closing, position)
            if found < 0:
                if closing == "*/" and text.endswith("*"):
                    self._rest = "*"
                return len(text)
            self._inside = ""
            return found + len(closing)
        content = _content(closing, self._mode).match(text, position)
        assert content is not None
        self._literal(content.group())
        position = content.end()
        if self._verbatim:
            return position
        if len(text) - position < 2:
            # A backslash, or a quote that may be doubled.
            self._rest = text[position:]
            return len(text)
        self._close()
        return position + 1

    def _literal(self, content: str) -> None:
        """The next piece of a literal's content, as it stands."""
        if self._held is not None:
            self._held += content
            if len(self._held) <= KEPT_CHARACTERS:
                return
            if self._is_statement():
                if self._depth >= _DEEPEST:
                    self._keep_all()
                    return
                self._child = Condenser(self._mode, depth=self._depth + 1)
            content, self._held = self._held, None
        if self._child is not None:
            quote = self._inside
            escapes = self._mode.backslash_escapes
            self._child.feed(string_value(quote + content + quote, backslash_escapes=escapes))

    def _is_statement(self) -> bool:
        """Whether the literal that begins here is one that is prepared or run."""
        if self._inside == "`" or self._dropping:
            return False
        if self._executable:
            return True  # what stands before it is not plain to see
        tail, number = "", len(self._out)
        while number and len(tail) < 100:
            number -= 1
            tail = _BLANKS.sub(" ", self._out[number][-PIECE_BYTES:] + tail)
        return _BEFORE_STATEMENT.search(tail) is not None

    def _close(self) -> None:
        """The literal ends."""
        quote, child, held = self._inside, self._child, self._held
        self._inside, self._child, self._held = "", None, None
        if child is not None:
            held = self._condensed(child, quote)
        self._emit(quote + (_PLACEHOLDER if held is None else held) + quote)

    def _condensed(self, child: "Condenser", quote: str) -> str:
        """A literal's content, or its beginning, as it stands between quotes."""
        content = child.finish()
        self.dropped = self.dropped or child.dropped
        self.locks = self.locks or child.locks
        if self._mode.backslash_escapes:
            content = content.replace("\\", "\\\\")
        return content.replace(quote, quote * 2)

    def _keep_all(self) -> None:
        """Keep what follows as it is, the rest of a literal or comment that is under way too."""
        self._verbatim = True
        self._dropping = False
        if self._inside == "*/":
            self._emit("/*")
        elif self._inside == "\n":
            self._emit("#")
        elif self._inside:
            child, held = self._child, self._held
            if child is not None:
                held = self._condensed(child, self._inside)
            self._emit(self._inside + (held or ""))
        self._inside, self._child, self._held = "", None, None

    def _emit(self, text: str) -> None:
        if self._dropping:
            self.locks = self.locks or _LOCK.search(text) is not None
            return
        self._out.append(text)
        self._size += len(text)
        if self._decided or self._executable or self._size - self._first[1] <= PREFIX_CHARACTERS:
            return
        self._decided = True
        head = "".join(self._out[self._first[0] :]).lstrip("".join(map(chr, range(0x21))))[:100]
        tokens = tokenize(head, self._mode).tokens
        self._dropping = bool(tokens) and tokens[0].word in _DATA_WORDS
        self.dropped = self.dropped or self._dropping


def _short(quote: str, mode: LexerMode, longest: int) -> str:
    excluded = quote + (r"\\" if mode.escapes_between(quote) else "")
    return f"{quote}[^{excluded}]{{0,{longest}}}+{quote}(?=[^{quote}])"


@functools.lru_cache(maxsize=32)
def _plain(mode: LexerMode, longest: int) -> re.Pattern[str]:
    """As much as is kept as it is: short strings, too, so that many of them cost little."""
    strings = "|".join(_short(quote, mode, longest) for quote in ("'", '"', "`"))
    return re.compile(f"(?:[^'\"`;#/-]++|{strings}|-(?=[^-])|/(?=[^*]){ELSE_NOTHING})*+", re.DOTALL)


@functools.lru_cache(maxsize=64)
def _content(quote: str, mode: LexerMode) -> re.Pattern[str]:
    """What may stand between quotes, up to the closing one, or what may be one or an escape at the end."""
    if mode.escapes_between(quote):
        return re.compile(rf"(?:[^{quote}\\]++|\\.|{quote}{quote})*+", re.DOTALL)
    return re.compile(f"(?:[^{quote}]++|{quote}{quote})*+", re.DOTALL)
