"""What a text is by its first words, for those who do not relay it: cheap, and without a parser (pure).

The classifier knows more, but its parser costs a process some 40 MiB, which the node itself shall not have.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wolfscale.mysql.literals import literal
from wolfscale.proxy.filled_columns import order_question
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, decode_sql, tokenize
from wolfscale.proxy.refused import compound_refusal
from wolfscale.proxy.splitting import split_statements
from wolfscale.proxy.written_tables import written_tables

_QUERY_VERBS = frozenset({"SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"})
_DEFINITION_VERBS = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"})
_ACCOUNT_OBJECTS = frozenset({"USER", "ROLE", "SERVER"})
_DATABASE_WORDS = frozenset({"DATABASE", "SCHEMA"})
_BETWEEN_DATABASE_AND_NAME = frozenset({"IF", "NOT", "EXISTS"})
_HEAD = 6
"""Tokens within which the kind of object stands, as in CREATE OR REPLACE DEFINER = ... behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedParameter:
    """A `:name` in a text; the positions are of its UTF-8 bytes."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A text's outline.

    Attributes:
        statements: how many statements it holds.
        complete: false when a quote or comment stays open.
        verb: its first word, upper case.
        is_query: it asks for rows, as far as its first word tells; a function in it may do anything.
        is_definition: it defines, changes or drops something other than accounts.
        is_temporary: what it defines is a temporary table.
        schemas: names, lower case, that stand where a database's may stand.
        refusal: why no client may run it, if none may.
        order_questions: queries; one that has a row says that servers would carry it out differently, since
            the rows of a table may be in another order on each.
        parameters: the named ones, in order.
    """

    statements: int
    complete: bool
    verb: str = ""
    is_query: bool = False
    is_definition: bool = False
    is_temporary: bool = False
    schemas: frozenset[str] = frozenset()
    refusal: str | None = None
    order_questions: tuple[str, ...] = ()
    parameters: tuple[NamedParameter, ...] = ()


def outline(sql: str, *, node_account: str = "") -> Outline:
    """Look at a text as a server with an sql_mode without ANSI_QUOTES and NO_BACKSLASH_ESCAPES reads it.

    Args:
        sql: the text.
        node_account: the name of the node's own account, which nobody may touch.
    """
    lexed = tokenize(decode_sql(sql.encode(errors="surrogateescape")), LexerMode())
    parts = split_statements(lexed.tokens)
    if len(parts) != 1:
        return Outline(statements=len(parts), complete=lexed.complete)
    tokens = parts[0]
    opened = next((number for number, token in enumerate(tokens) if token.word != "("), 0)
    verb = tokens[opened].word if tokens[opened].kind is TokenKind.WORD else ""
    head = [token.word for token in tokens[:_HEAD] if token.kind is TokenKind.WORD]
    definition = verb in _DEFINITION_VERBS and not opened and not _is_about_accounts(tokens)
    refusal = compound_refusal(tokens, node_account)
    return Outline(
        statements=1,
        complete=lexed.complete,
        verb=verb,
        is_query=verb in _QUERY_VERBS,
        is_definition=definition,
        is_temporary=definition and "TEMPORARY" in head,
        schemas=frozenset(_schemas(tokens)),
        refusal=refusal.reason if refusal is not None else None,
        order_questions=tuple(_order_questions(tokens)) if definition else (),
        parameters=tuple(_named_parameters(tokens)),
    )


def _order_questions(tokens: Sequence[Token]) -> Iterator[str]:
    tables = written_tables(tokens)
    for schema, name, _ in tables.numbered if tables is not None else ():
        yield order_question("DATABASE()" if schema is None else _literal(schema), _literal(name))


def _literal(name: str) -> str:
    return literal(name.encode("latin-1").decode(errors="replace"))


def _is_about_accounts(tokens: Sequence[Token]) -> bool:
    """CREATE [OR REPLACE] USER, DROP ROLE and their kind; a column may well be called user."""
    for token in tokens[1:4]:
        if token.word in _ACCOUNT_OBJECTS:
            return True
        if token.word not in ("OR", "REPLACE"):
            return False
    return False


def _schemas(tokens: Sequence[Token]) -> list[str]:
    found = []
    for number, token in enumerate(tokens):
        if number + 1 < len(tokens) and tokens[number + 1].word == "." and token.name:
            found.append(token.value.lower())
        if token.word in _DATABASE_WORDS:
            follow = number + 1
            while follow < len(tokens) and tokens[follow].word in _BETWEEN_DATABASE_AND_NAME:
                follow += 1
            if follow < len(tokens) and tokens[follow].name:
                found.append(tokens[follow].value.lower())
    return found


def _named_parameters(tokens: Sequence[Token]) -> list[NamedParameter]:
    found = []
    for colon, name in itertools.pairwise(tokens):
        if colon.word == ":" and name.kind is TokenKind.WORD and colon.end == name.start:
            text = name.value.encode("latin-1").decode(errors="replace")
            found.append(NamedParameter(name=text, start=colon.start, end=name.end))
    return found
