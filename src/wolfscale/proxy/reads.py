"""Which queries are plain reads: two independent opinions, and both must agree.

The first walks our own tokens and knows every name that may stand before a parenthesis; the second is
sqlglot's tree. Either may say no, for the leader answers anything. A wrong yes is what must not happen.
"""

import logging
from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from wolfscale.proxy.known import (
    PLAIN_INFORMATION_TABLES,
    PLAIN_VARIABLES,
    PREVIOUS_STATEMENT_FUNCTIONS,
    PREVIOUS_STATEMENT_VARIABLES,
    SYSTEM_SCHEMAS,
    TYPE_NAMES,
    WORDS_BEFORE_PARENTHESES,
    is_plain_function,
)
from wolfscale.proxy.lexer import Token, TokenKind
from wolfscale.proxy.statement import Effect, Kind, Statement

# It warns about syntax that it falls back on; we ask only whether it understands.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

MAX_TOKENS = 4000
"""Longer queries are the leader's: parsing them costs more than the trip."""
MAX_NESTING = 40
"""Parentheses and other nesting; sqlglot's compiled parser recurses on the C stack."""

_NESTING_WORDS = frozenset({"NOT", "CASE", "SELECT", "BINARY", "INTERVAL", "EXISTS", "WITH", "COLLATE"})
_MAX_NESTING_WORDS = 200
_MAX_BARE_JOINS = 6
"""JOINs without ON or USING: sqlglot's parser tries each both ways, which doubles its work."""
_DENIED_WORDS = {
    "INTO": "writes to a file or variables",
    "OUTFILE": "writes to a file",
    "DUMPFILE": "writes to a file",
    "PROCEDURE": "calls a procedure",
    "SQL_CALC_FOUND_ROWS": "is counted for FOUND_ROWS()",
    "NEXTVAL": "advances a sequence",
    "SETVAL": "sets a sequence",
    "LASTVAL": "reads the session's own sequence value",
}
_MAY_WRITE_WORDS = frozenset({"NEXTVAL", "SETVAL"})
_DENIED_PAIRS = {
    ("FOR", "UPDATE"): "locks rows",
    ("FOR", "SHARE"): "locks rows",
    ("LOCK", "IN"): "locks rows",
    ("NEXT", "VALUE"): "advances a sequence",
    ("PREVIOUS", "VALUE"): "reads the session's own sequence value",
}
_USER_LOCKS = frozenset({"GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "IS_FREE_LOCK", "IS_USED_LOCK"})
_ALLOWED_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Table)
_DENIED_NODES = (
    exp.Into,
    exp.Lock,
    exp.Command,
    exp.DML,
    exp.DDL,
    exp.Set,
    exp.Parameter,
    exp.PropertyEQ,
    exp.NextValueFor,
)
# exp.DML and exp.DDL are bases of the very queries: Select, Subquery and set operations among them.
_ALLOWED_DESPITE_BASE = (exp.Query,)


class _NotPlain(Exception):
    def __init__(self, reason: str, *, may_write: bool = False, effects: Effect = Effect.NONE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_write = may_write
        self.effects = effects


def classify_query(tokens: Sequence[Token]) -> Statement:
    """Classify a statement that begins like a query: SELECT, WITH, VALUES, TABLE or a parenthesis."""
    try:
        about_previous = _check_tokens(tokens)
        _check_tree(tokens)
    except _NotPlain as no:
        return Statement(
            kind=Kind.OTHER,
            reason=f"a query that {no.reason}",
            may_write=no.may_write,
            effects=no.effects,
        )
    if about_previous:
        return Statement(kind=Kind.DIAGNOSTICS, reason="asks about the session's previous statement")
    return Statement(kind=Kind.READ, reason="a plain read")


def _check_tokens(tokens: Sequence[Token]) -> bool:
    """Whether the query asks about the previous statement; raises `_NotPlain`."""
    if len(tokens) > MAX_TOKENS:
        raise _NotPlain("is too long to be judged", may_write=True)
    about_previous = False
    depth = nesting = signs = joins = 0
    for number, token in enumerate(tokens):
        following = tokens[number + 1] if number + 1 < len(tokens) else None
        if token.kind is TokenKind.WORD:
            word = token.word
            if word in _DENIED_WORDS and not _is_qualified(tokens, number):
                variables = Effect.USER_VARIABLES if word == "INTO" else Effect.NONE
                raise _NotPlain(_DENIED_WORDS[word], may_write=word in _MAY_WRITE_WORDS, effects=variables)
            if following is not None and (word, following.word) in _DENIED_PAIRS:
                raise _NotPlain(_DENIED_PAIRS[word, following.word], may_write=word == "NEXT")
            nesting += word in _NESTING_WORDS
            joins += (word in ("JOIN", "STRAIGHT_JOIN")) - (word in ("ON", "USING"))
        if token.kind in (TokenKind.WORD, TokenKind.QUOTED):
            _check_schema(tokens, number)
            if following is not None and following.kind is TokenKind.SYMBOL and following.word == "(":
                about_previous |= _check_call(tokens, number)
        elif token.kind is TokenKind.SYMBOL:
            match token.word:
                case "(":
                    depth += 1
                case ")":
                    depth -= 1
                case ":=":
                    raise _NotPlain("assigns a user variable", effects=Effect.USER_VARIABLES)
                case "@":
                    raise _NotPlain("reads a user variable", effects=_variable_effects(tokens))
                case "@@":
                    about_previous |= _check_variable(tokens, number)
                case "-" | "~" | "!" | "+":
                    signs += 1
        if depth > MAX_NESTING or nesting > _MAX_NESTING_WORDS or signs > 500 or joins > _MAX_BARE_JOINS:
            raise _NotPlain("is nested too deeply to be judged", may_write=True)
    return about_previous


def _variable_effects(tokens: Sequence[Token]) -> Effect:
    assigns = any(token.word in (":=", "INTO") for token in tokens)
    return Effect.USER_VARIABLES if assigns else Effect.NONE


def _is_qualified(tokens: Sequence[Token], number: int) -> bool:
    # `t.into` is a column. `s.nextval` is one too, or a sequence's next value in Oracle mode: not plain.
    return number > 0 and tokens[number - 1].word == "." and tokens[number].word not in ("NEXTVAL", "LASTVAL")


def _check_schema(tokens: Sequence[Token], number: int) -> None:
    schema = tokens[number].name
    if schema not in SYSTEM_SCHEMAS or number + 1 >= len(tokens) or tokens[number + 1].word != ".":
        return
    table = tokens[number + 2].name if number + 2 < len(tokens) else ""
    if schema != "INFORMATION_SCHEMA" or table not in PLAIN_INFORMATION_TABLES:
        raise _NotPlain(f"reads {schema.lower()}.{table.lower()}, which may be one server's own")


def _check_call(tokens: Sequence[Token], number: int) -> bool:
    """Judge a name before a parenthesis; whether it asks about the previous statement."""
    token = tokens[number]
    before = tokens[number - 1] if number else None
    qualified = before is not None and before.word == "."
    if token.kind is TokenKind.WORD and not qualified:
        name = token.word
        if name in PREVIOUS_STATEMENT_FUNCTIONS:
            return True
        if is_plain_function(name) or name in WORDS_BEFORE_PARENTHESES:
            return False
        previous = before.word if before is not None else ""
        inside = tokens[number + 2].word if number + 2 < len(tokens) else ""
        if name in ("ANY", "SOME") and inside in ("SELECT", "WITH", "VALUES", "TABLE", "("):
            return False
        if name == "AGAINST" and previous == ")":
            return False
        if name in TYPE_NAMES and previous == "AS":
            return False
        if name == "COLUMNS" and any(other.word == "JSON_TABLE" for other in tokens):
            return False
        if name in _USER_LOCKS:
            raise _NotPlain("uses a named lock, which is the leader's", effects=Effect.USER_LOCKS)
        if name == "LAST_INSERT_ID":
            raise _NotPlain("asks for the last insert id")
    if not qualified and _is_common_table(tokens, number):
        return False
    raise _NotPlain(f"calls {token.value}(), which may write", may_write=True)


def _is_common_table(tokens: Sequence[Token], number: int) -> bool:
    """Whether this is `name (columns) AS (` behind WITH, or a comma of its list."""
    if number == 0 or tokens[number - 1].word not in ("WITH", "RECURSIVE", ","):
        return False
    for position in range(number + 2, len(tokens) - 2):
        token = tokens[position]
        if token.word == ")":
            return tokens[position + 1].word == "AS" and tokens[position + 2].word == "("
        if token.kind not in (TokenKind.WORD, TokenKind.QUOTED) and token.word != ",":
            return False
    return False


def _check_variable(tokens: Sequence[Token], number: int) -> bool:
    """Judge a system variable; whether it asks about the previous statement."""
    words = [token.name or token.word for token in tokens[number + 1 : number + 4]]
    if len(words) == 3 and words[1] == "." and words[0] in ("GLOBAL", "SESSION", "LOCAL"):
        name = words[2]
        if words[0] == "GLOBAL":
            # A node has a new value a moment after the leader.
            raise _NotPlain("reads a global variable, which the leader has first")
    else:
        name = words[0] if words else ""
    if name in PREVIOUS_STATEMENT_VARIABLES:
        return True
    if name not in PLAIN_VARIABLES:
        raise _NotPlain(f"reads @@{name.lower()}, which may differ from server to server")
    return False


def normalized_text(tokens: Sequence[Token]) -> str:
    """The statement again, with blanks between tokens, neutral literals and ASCII names: for sqlglot."""
    parts: list[str] = []
    last: Token | None = None
    for token in tokens:
        # Signs that stood together are one operator: ->, <=>, ||, &&.
        if last is None or not last.kind is token.kind is TokenKind.SYMBOL or last.end != token.start:
            parts.append(" ")
        last = token
        match token.kind:
            case TokenKind.STRING:
                parts.append("'$'")
            case TokenKind.NUMBER | TokenKind.PARAMETER:
                parts.append("0")
            case TokenKind.QUOTED:
                parts.append("`" + _ascii(token.value).replace("`", "_") + "`")
            case _:
                parts.append(_ascii(token.word))
    return "".join(parts).replace("@@ ", "@@")


def _ascii(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "replace").decode().replace("?", "_")


def _check_tree(tokens: Sequence[Token]) -> None:
    try:
        trees = sqlglot.parse(normalized_text(tokens), dialect="mysql")
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, IndexError) as error:
        # Whatever it stumbles over, the answer is the same: not understood.
        raise _NotPlain("is not understood", may_write=True) from error
    if len(trees) != 1 or not isinstance(trees[0], _ALLOWED_ROOTS):
        raise _NotPlain("is no query after all", may_write=True)
    for node in trees[0].walk():
        if isinstance(node, _DENIED_NODES) and not isinstance(node, _ALLOWED_DESPITE_BASE):
            raise _NotPlain(f"holds a {type(node).__name__.lower()}", may_write=True)
        if isinstance(node, exp.Anonymous):
            name = node.name.upper()
            if not is_plain_function(name) and name not in PREVIOUS_STATEMENT_FUNCTIONS:
                raise _NotPlain(f"calls {name.lower()}(), which may write", may_write=True)
