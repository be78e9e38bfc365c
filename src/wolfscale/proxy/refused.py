"""Statements that the cluster does not let through, for any account, and why.

A table: what is matched, and the reason that the client reads. It is matched against tokens at every place
where a statement may begin, so that comments, executable comments, SET lists, SET STATEMENT, compound
statements, bodies of procedures and several statements in one text hide nothing. What a procedure that was
created elsewhere does when it is called, or one that puts a text together, is not seen here; it needs the
privileges that an application's account does not have (BINLOG ADMIN, REPLICATION SLAVE ADMIN, ...). What it
does to variables of its session is noticed afterwards, see `WATCHED_VARIABLES`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wolfscale.proxy.errors import RefusedStatement
from wolfscale.proxy.filled_columns import counts_transactions, fills_differently
from wolfscale.proxy.global_variables import NESTED, why_not_global
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, tokenize
from wolfscale.proxy.settings import Assignment, Scope, parse_assignments, split_list
from wolfscale.proxy.versioned_cascades import cascades_in_history

ER_SPECIFIC_ACCESS_DENIED = 1227
ER_NOT_SUPPORTED_YET = 1235


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a statement is refused."""

    reason: str
    errno: int = ER_SPECIFIC_ACCESS_DENIED

    def error(self) -> RefusedStatement:
        """The error to answer with."""
        return RefusedStatement(self.errno, "42000", f"WolfScale does not allow this: {self.reason}")


_REPLICATION = Refusal(
    "replication and the binary log are the cluster's own business; see `wolfscale status` and its commands"
)
_SHUTDOWN = Refusal(
    "an orderly shutdown of one server would commit what no majority holds; stop the node's service instead"
)
NESTED_KILL = Refusal(
    "KILL here could commit what waits for its majority; send it by the MySQL protocol, as a statement of "
    "its own and not prepared",
    ER_NOT_SUPPORTED_YET,
)
_NODE_ACCOUNT = Refusal("that account belongs to the node itself; it is changed in the node's configuration")
_PLUGIN = Refusal("plugins do not replicate; load them in the configuration of every node's MariaDB")
NESTED_GLOBAL = Refusal(NESTED, ER_NOT_SUPPORTED_YET)
_FILLED = Refusal(
    "each server would fill the new column with values of its own; add it without this DEFAULT, UPDATE the "
    "rows, then ALTER TABLE ... ALTER COLUMN ... SET DEFAULT",
    ER_NOT_SUPPORTED_YET,
)

_TRANSACTION_NUMBERS = Refusal(
    "each server would write its own InnoDB's numbers of transactions into these columns; make ROW START and "
    "ROW END of type TIMESTAMP(6)",
    ER_NOT_SUPPORTED_YET,
)

CASCADES_IN_HISTORY = Refusal(
    "each server would give the rows that CASCADE or SET NULL changes in a table with system versioning a "
    "history of its own; leave one of the two out, or change these rows by a trigger of the other table",
    ER_NOT_SUPPORTED_YET,
)
"""Also raised where a table has one of the two already."""

REFUSED_STATEMENTS: tuple[tuple[tuple[str, ...], Refusal], ...] = (
    (("CHANGE", "MASTER"), _REPLICATION),
    (("CHANGE", "REPLICATION"), _REPLICATION),
    (("START", "SLAVE"), _REPLICATION),
    (("START", "REPLICA"), _REPLICATION),
    (("START", "ALL"), _REPLICATION),
    (("STOP", "SLAVE"), _REPLICATION),
    (("STOP", "REPLICA"), _REPLICATION),
    (("STOP", "ALL"), _REPLICATION),
    (("RESET", "SLAVE"), _REPLICATION),
    (("RESET", "REPLICA"), _REPLICATION),
    (("RESET", "MASTER"), _REPLICATION),
    (("PURGE", "BINARY"), _REPLICATION),
    (("PURGE", "MASTER"), _REPLICATION),
    (("SHUTDOWN",), _SHUTDOWN),
    (("INSTALL",), _PLUGIN),
    (("UNINSTALL",), _PLUGIN),
)
"""First words of statements, and why they are refused."""

_OWN_LOG = "it would take this session's changes out of the log that keeps the servers identical"
_OWN_GTID = "transaction ids are given by the cluster; two servers would differ without an error"

_STOPWORDS = (
    "the other servers would make full-text indexes without it; give it to every node in [database] options"
)

REFUSED_VARIABLES: dict[str, str] = {
    "SQL_LOG_BIN": _OWN_LOG,
    "SKIP_REPLICATION": _OWN_LOG,
    "BINLOG_FORMAT": "the log must hold rows, or replicas may compute other values",
    "BINLOG_ROW_IMAGE": "the log must hold full rows",
    "SERVER_ID": _OWN_GTID,
    "PSEUDO_SLAVE_MODE": _OWN_LOG,
    "OLD_MODE": "the other servers would go on with another meaning of `utf8` and the like",
    "INNODB_COMPRESSION_DEFAULT": "the other servers would make tables without it; name PAGE_COMPRESSED=1",
    "INNODB_DEFAULT_ENCRYPTION_KEY_ID": (
        "the other servers would make tables without it; name ENCRYPTION_KEY_ID in CREATE TABLE"
    ),
    "ENFORCE_STORAGE_ENGINE": "the other servers would make tables in the engine that the statement names",
    "INNODB_STRICT_MODE": (
        "the other servers would stop at the tables that it lets pass; give --innodb-strict-mode=OFF to "
        "every node in [database] options"
    ),
    "INNODB_FT_ENABLE_STOPWORD": _STOPWORDS,
    "INNODB_FT_SERVER_STOPWORD_TABLE": _STOPWORDS,
    "INNODB_FT_USER_STOPWORD_TABLE": _STOPWORDS,
    "READ_ONLY": "which server takes writes is decided by the cluster's election",
    "SUPER_READ_ONLY": "which server takes writes is decided by the cluster's election",
}
"""Variables that no SET may touch in any scope; `_refused_variable` adds two families by prefix."""

_PASSING_VALUES = {"INNODB_STRICT_MODE": frozenset({"ON", "TRUE", "1", "DEFAULT"})}
"""What such a variable may be set to all the same."""

WATCHED_VARIABLES = frozenset(
    {
        b"sql_log_bin",
        b"skip_replication",
        b"binlog_format",
        b"binlog_row_image",
        b"server_id",
        b"gtid_domain_id",
        b"gtid_seq_no",
        b"pseudo_slave_mode",
    }
)
"""Those of them that are a session's: the leader tells when a stored program has set one, whatever to."""

_FAMILIES = (
    ("GTID_", _OWN_GTID),
    ("RPL_SEMI_SYNC_", "the cluster's commits wait for a majority through it"),
)


def _refused_variable(name: str) -> Refusal | None:
    reason = REFUSED_VARIABLES.get(name)
    if reason is None:
        reason = next((why for prefix, why in _FAMILIES if name.startswith(prefix)), None)
    return Refusal(f"SET {name.lower()}: {reason}") if reason else None


_ACCOUNT_HEADS = (
    ("ALTER", "USER"),
    ("CREATE", "USER"),
    ("CREATE", "OR", "REPLACE", "USER"),
    ("DROP", "USER"),
    ("RENAME", "USER"),
    ("GRANT",),
    ("REVOKE",),
)
# Inside these a statement may begin behind any of the words, not only behind a semicolon.
_STARTERS = frozenset(
    {
        "AS",
        "ATOMIC",
        "BEGIN",
        "DATA",
        "DETERMINISTIC",
        "DO",
        "ELSE",
        "FOUND",
        "IS",
        "LOOP",
        "REPEAT",
        "ROW",
        "SQL",
        "SQLEXCEPTION",
        "SQLWARNING",
        "THEN",
    }
)
_ROW_CHANGES = frozenset({"UPDATE", "INSERT", "REPLACE", "LOAD"})


def starts_with(tokens: Sequence[Token], words: Sequence[str]) -> bool:
    """Whether the text begins with these bare words."""
    return len(tokens) >= len(words) and all(
        token.kind is TokenKind.WORD and token.word == word
        for token, word in zip(tokens, words, strict=False)
    )


def refusal_of(tokens: Sequence[Token], node_account: str = "", *, nested: bool = False) -> Refusal | None:
    """Why a single statement is refused; None when it may pass.

    Args:
        tokens: the statement's, without the semicolon.
        node_account: the name of the node's own account on its MariaDB, "" when there is none.
        nested: it is inside another, so that the proxy does not see when it runs.
    """
    if len(tokens) > 1 and tokens[1].word == ":=":
        # Oracle's way to set a variable of the program or, where it has none of that name, of the session.
        return _refused_variable(tokens[0].value.upper())
    for words, refusal in REFUSED_STATEMENTS:
        if starts_with(tokens, words) and not _is_harmless(tokens, words):
            return refusal
    if nested and starts_with(tokens, ("KILL",)):
        return NESTED_KILL
    if starts_with(tokens, ("SET",)):
        return _set_refusal(tokens[1:], node_account, nested=nested)
    if fills_differently(tokens):
        return _FILLED
    if counts_transactions(tokens):
        return _TRANSACTION_NUMBERS
    if cascades_in_history(tokens):
        return CASCADES_IN_HISTORY
    if starts_with(tokens, ("PREPARE",)) or starts_with(tokens, ("EXECUTE", "IMMEDIATE")):
        return _literal_refusal(tokens, node_account)
    if node_account and any(starts_with(tokens, head) for head in _ACCOUNT_HEADS):
        return _NODE_ACCOUNT if _names_account(tokens, node_account) else None
    return None


def _literal_refusal(tokens: Sequence[Token], node_account: str) -> Refusal | None:
    """What the literal of PREPARE s FROM '...' or EXECUTE IMMEDIATE '...' says, in both ways to read it."""
    for token in tokens[2:4]:
        if token.kind is TokenKind.STRING:
            for backslash_escapes in (True, False):
                inner = tokenize(token.value, LexerMode(backslash_escapes, False, sys.maxsize))
                refusal = compound_refusal(inner.tokens, node_account)
                if refusal is not None:
                    return refusal
    return None


def _is_harmless(tokens: Sequence[Token], words: tuple[str, ...]) -> bool:
    # START ALL and STOP ALL are only statements about replicas when SLAVES or REPLICAS follows.
    return words[-1] == "ALL" and (len(tokens) < 3 or tokens[2].word not in ("SLAVES", "REPLICAS"))


def compound_refusal(tokens: Sequence[Token], node_account: str = "") -> Refusal | None:
    """Why something inside a compound statement or a stored program is refused; None when nothing is."""
    for start in _statement_starts(tokens):
        end = next(
            (
                number
                for number in range(start, len(tokens))
                if tokens[number].kind is TokenKind.SYMBOL and tokens[number].word == ";"
            ),
            len(tokens),
        )
        refusal = refusal_of(tokens[start:end], node_account, nested=True)
        if refusal is not None:
            return refusal
    return None


def _statement_starts(tokens: Sequence[Token]) -> Iterator[int]:
    yield 0
    changes_rows = False
    for number, token in enumerate(tokens):
        word = token.word
        if token.kind is TokenKind.SYMBOL:
            if word not in (";", ":", ")"):
                continue
            changes_rows = changes_rows and word == ")"
        elif token.kind is not TokenKind.WORD:
            continue
        elif word in _ROW_CHANGES:
            changes_rows = True
            continue
        elif word == "SET":
            # Behind HANDLER FOR ... and a header's properties there is no word to go by: every SET is a
            # statement but that of UPDATE, INSERT, LOAD and CHARACTER SET.
            if not changes_rows and number and tokens[number - 1].word not in ("CHARACTER", "CHAR"):
                yield number
            continue
        elif word not in _STARTERS:
            continue
        else:
            changes_rows = False
        if number + 1 < len(tokens):
            yield number + 1


def _set_refusal(tokens: Sequence[Token], node_account: str, *, nested: bool) -> Refusal | None:
    if starts_with(tokens, ("STATEMENT",)):
        split = next((number for number, token in enumerate(tokens) if token.word == "FOR"), len(tokens))
        return _assignments_refusal(tokens[1:split], node_account, nested=True) or refusal_of(
            tokens[split + 1 :], node_account, nested=True
        )
    return _assignments_refusal(tokens, node_account, nested=nested)


def _assignments_refusal(tokens: Sequence[Token], node_account: str, *, nested: bool) -> Refusal | None:
    assignments = parse_assignments(tokens)
    if assignments is None:
        # The server will not understand it either; if it does, no refused name may be among it.
        for item in split_list(tokens):
            for token in item:
                refusal = NESTED_GLOBAL if token.name == "GLOBAL" else _refused_variable(token.name)
                if refusal is not None:
                    return refusal
        return None
    refusals = (_assignment_refusal(item, node_account, nested=nested) for item in assignments)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _assignment_refusal(assignment: Assignment, node_account: str, *, nested: bool) -> Refusal | None:
    if assignment.scope in (Scope.SESSION, Scope.GLOBAL):
        refusal = _refused_variable(assignment.name)
        if refusal is not None and not _passes(assignment):
            return refusal
    if assignment.scope is Scope.GLOBAL:
        reason = why_not_global(assignment)
        if reason is not None:
            return Refusal(reason)
        return NESTED_GLOBAL if nested else None
    if assignment.scope is Scope.ACCOUNT and node_account and _names_account(assignment.tokens, node_account):
        return _NODE_ACCOUNT
    return None


def _passes(assignment: Assignment) -> bool:
    """Whether the value is one that does no harm."""
    value = assignment.tokens[0].value.upper() if len(assignment.tokens) == 1 else ""
    return value in _PASSING_VALUES.get(assignment.name, ())


def _names_account(tokens: Sequence[Token], account: str) -> bool:
    """Whether an account name stands at a place where account names may stand.

    That is a string, quoted or bare word equal to it that no `@` precedes (a host) and no `.` is next to (a
    schema). Bare words compare without case, since the lexer upper-cases them: MariaDB's user names do not.
    """
    for number, token in enumerate(tokens):
        before = tokens[number - 1].word if number else ""
        after = tokens[number + 1].word if number + 1 < len(tokens) else ""
        if before in ("@", ".") or after == "." or before in ("BY", "AS", "ON"):
            continue
        if token.kind is TokenKind.WORD and token.word == account.upper():
            return True
        if token.kind in (TokenKind.STRING, TokenKind.QUOTED) and token.value == account:
            return True
    return False
