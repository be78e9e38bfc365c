"""SQL text to tokens, as MariaDB's own lexer reads it: comments, executable comments, quotes.

The classifier's safety rests on reading a statement as the server will. So this follows sql/sql_lex.cc of
MariaDB 10.11: which executable comments are code (by version), that a regular comment has none inside, that
`--` opens a comment only before a blank or the end, what NO_BACKSLASH_ESCAPES changes. Text arrives as bytes
and is read as Latin-1: every byte is one character, and all that has a meaning here is ASCII. Character sets
whose second bytes may be ASCII (gbk, big5, sjis, cp932) are decoded first, see `decode_sql`.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto


class TokenKind(Enum):
    """What a token is."""

    WORD = auto()
    """A keyword or a bare identifier."""
    QUOTED = auto()
    """An identifier in backticks."""
    STRING = auto()
    """A string in single or double quotes (under ANSI_QUOTES the latter is an identifier)."""
    NUMBER = auto()
    PARAMETER = auto()
    """A question mark of a prepared statement."""
    SYMBOL = auto()
    """An operator or punctuation; `@`, `@@` and `:=` are one token each."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: what it is.
        word: the upper-cased text of a word or symbol, "" for everything else, so that no quoted text can be
            mistaken for a keyword.
        value: the text; without quotes and escapes where it was quoted.
        start: where it begins in the text.
        end: where it ends.
    """

    kind: TokenKind
    word: str
    value: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The upper-cased text of what may be an identifier, bare or in quotes, "" otherwise."""
        return self.value.upper() if self.kind is TokenKind.QUOTED else self.word


@dataclass(frozen=True, slots=True)
class Tokens:
    """A lexed text.

    Attributes:
        text: what was lexed, one character a byte (or decoded, for the character sets named above).
        tokens: in order.
        executable_comment: whether it holds an executable comment, run by the server or not.
        complete: false when a quote or comment stays open, so the server reads it differently or refuses it.
    """

    text: str
    tokens: tuple[Token, ...]
    executable_comment: bool
    complete: bool


_MULTIBYTE_CODECS = {"gbk": "gbk", "big5": "big5", "sjis": "shift_jis", "cp932": "cp932"}


def codec_of(character_set: str) -> str:
    """Python's name of what texts to lex are decoded by."""
    return _MULTIBYTE_CODECS.get(character_set, "latin-1")


def decode_sql(sql: bytes, character_set: str = "") -> str:
    """The text to lex: Latin-1, or decoded where a character's second byte may look like a quote."""
    return sql.decode(codec_of(character_set), "replace")


def encode_sql(text: str, character_set: str = "") -> bytes:
    """The reverse of `decode_sql`."""
    return text.encode(codec_of(character_set), "replace")


def is_multibyte_unsafe(character_set: str) -> bool:
    """Whether bytes of this client character set cannot be lexed one by one."""
    return character_set in _MULTIBYTE_CODECS


ELSE_NOTHING = r"|(?!)"
"""Matches nothing: the last alternative of a group that is repeated possessively (`*+`), if another one can
fail behind a repetition of its own. Python before 3.11.5 would go on from where that one failed (CPython's
issue 106052)."""
_WORD = r"[A-Za-z0-9_$\x80-\U0010ffff]+"
# Between double quotes is a string, or under ANSI_QUOTES a name, in which a backslash is nothing special.
_TOKEN = {
    (backslash, ansi): re.compile(
        r"""(?P<space>[\x00-\x20]+)
        |(?P<comment>\#[^\n]*|--(?=[\x00-\x20\x7f]|\Z)[^\n]*)
        |(?P<executable>/\*M?!)
        |(?P<block>/\*)
        |(?P<quoted>`(?:[^`]++|``)*+`)
        |(?P<string>'"""
        + (r"(?:[^'\\]++|\\.|'')*+" if backslash else r"(?:[^']++|'')*+")
        + r"""'|\""""
        + (r'(?:[^"\\]++|\\.|"")*+' if backslash and not ansi else r'(?:[^"]++|"")*+')
        + r"""\")
        |(?P<number>(?:0x[0-9A-Fa-f]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_$\x80-\U0010ffff]))
        |(?P<word>"""
        + _WORD
        + r""")
        |(?P<parameter>\?)
        |(?P<symbol>:=|@@|[^'"`])""",
        re.VERBOSE | re.DOTALL,
    )
    for backslash in (True, False)
    for ansi in (True, False)
}
_VERSION = re.compile(r"[0-9]{5,6}")
_KINDS = {
    "quoted": TokenKind.QUOTED,
    "string": TokenKind.STRING,
    "number": TokenKind.NUMBER,
    "word": TokenKind.WORD,
    "parameter": TokenKind.PARAMETER,
    "symbol": TokenKind.SYMBOL,
}


@dataclass(frozen=True, slots=True)
class LexerMode:
    """What of a session's sql_mode changes how its text is read, and who reads it.

    Attributes:
        backslash_escapes: false under NO_BACKSLASH_ESCAPES.
        ansi_quotes: double quotes make identifiers.
        server_version: of the server that will read it, as MariaDB writes it (10.11.2 is 101102).
    """

    backslash_escapes: bool = True
    ansi_quotes: bool = False
    server_version: int = 101100

    def escapes_between(self, quote: str) -> bool:
        """Whether a backslash means something between these quotes: not in the name of an identifier."""
        return self.backslash_escapes and (quote == "'" or (quote == '"' and not self.ansi_quotes))


def tokenize(text: str, mode: LexerMode) -> Tokens:
    """Lex a text.

    Args:
        text: from `decode_sql`.
        mode: how the session's server reads it.
    """
    match = _TOKEN[mode.backslash_escapes, mode.ansi_quotes].match
    tokens: list[Token] = []
    position, end = 0, len(text)
    executable = inside_executable = False
    complete = True
    while position < end:
        if inside_executable and text.startswith("*/", position):
            inside_executable = False
            position += 2
            continue
        found = match(text, position)
        if found is None:
            complete = False
            break
        group = found.lastgroup
        start, position = position, found.end()
        if group in ("space", "comment"):
            continue
        if group == "block":
            position = text.find("*/", position)
            if position < 0:
                complete = False
                break
            position += 2
        elif group == "executable":
            executable = True
            version = _VERSION.match(text, position)
            if version is None:
                inside_executable = True
            elif _is_run(int(version.group()), mode.server_version, maria=text[start + 2] == "M"):
                inside_executable = True
                position = version.end()
            else:
                position = _skip_comment(text, position)
                if position < 0:
                    complete = False
                    break
        else:
            assert group is not None
            tokens.append(_token(_KINDS[group], found.group(), start, position, mode))
    return Tokens(
        text=text,
        tokens=tuple(tokens),
        executable_comment=executable,
        complete=complete and not inside_executable,
    )


def _is_run(version: int, server_version: int, *, maria: bool) -> bool:
    # MariaDB reads 50700 to 99999 as MySQL 5.7 and 8, whose syntax it does not know (sql_lex.cc).
    return version <= server_version and (maria or not 50700 <= version <= 99999)


def _skip_comment(text: str, position: int) -> int:
    """The end of an executable comment that is not run; one level of comments may lie inside; -1: open."""
    while True:
        close = text.find("*/", position)
        inner = text.find("/*", position)
        if close < 0:
            return -1
        if inner < 0 or close < inner:
            return close + 2
        inner_close = text.find("*/", inner + 2)
        if inner_close < 0:
            return -1
        position = inner_close + 2


def _token(kind: TokenKind, raw: str, start: int, end: int, mode: LexerMode) -> Token:
    if kind in (TokenKind.WORD, TokenKind.SYMBOL):
        return Token(kind, raw.upper(), raw, start, end)
    value = raw
    if kind is TokenKind.QUOTED:
        value = raw[1:-1].replace("``", "`")
    elif kind is TokenKind.STRING:
        if raw[0] == '"' and mode.ansi_quotes:
            return Token(TokenKind.QUOTED, "", raw[1:-1].replace('""', '"'), start, end)
        value = string_value(raw, backslash_escapes=mode.backslash_escapes)
    return Token(kind, "", value, start, end)


_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def string_value(raw: str, *, backslash_escapes: bool = True) -> str:
    """What a quoted string means, quotes removed and escapes resolved."""
    quote, body = raw[0], raw[1:-1]
    if backslash_escapes and "\\" in body:
        parts = re.split(r"(\\.)", body, flags=re.DOTALL)
        return "".join(
            _ESCAPES.get(part[1], part[1]) if part.startswith("\\") else part.replace(quote * 2, quote)
            for part in parts
        )
    return body.replace(quote * 2, quote)
