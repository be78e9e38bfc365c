"""The rules: from a lexed text to a `Statement`, by its first words.

Queries are judged in `reads`, refusals in `refused`. What is not known here is `Kind.OTHER` with an intent
mark: the leader's, and treated as if it changed anything.
"""

from collections.abc import Sequence
from dataclasses import replace

from wolfscale.proxy.known import PLAIN_SHOWS, SYSTEM_SCHEMAS
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, Tokens, tokenize
from wolfscale.proxy.reads import classify_query
from wolfscale.proxy.refused import NESTED_KILL, Refusal, compound_refusal, refusal_of, starts_with
from wolfscale.proxy.settings import Assignment, Scope, parse_assignments
from wolfscale.proxy.splitting import is_compound, split_statements
from wolfscale.proxy.statement import Effect, Kind, Statement
from wolfscale.proxy.user_variables import variable_names
from wolfscale.proxy.written_tables import WrittenTables, what_changes, written_tables

_UNKNOWN = Statement(
    kind=Kind.OTHER, reason="not known to the proxy", intent=True, may_write=True, one_result=False
)
_QUERY_WORDS = frozenset({"SELECT", "WITH", "VALUES", "("})
WRITE_WORDS = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
"""First words of changes of rows, LOAD DATA apart."""
_EXPLAIN_WORDS = frozenset({"EXPLAIN", "DESCRIBE", "DESC"})
_EXPLAIN_OPTIONS = frozenset({"EXTENDED", "PARTITIONS"})
_SHARED_SCOPES = frozenset({Scope.SESSION, Scope.CHARACTER_SET, Scope.ROLE, Scope.TRANSACTION})
_ACCOUNT_WORDS = frozenset({"GRANT", "REVOKE"})


def _other(reason: str, **more: object) -> Statement:
    return Statement(kind=Kind.OTHER, reason=reason, **more)  # type: ignore[arg-type]


def judge(tokens: Tokens, mode: LexerMode, node_account: str) -> Statement:
    """Classify a lexed text by the rules, without a cache."""
    parts = split_statements(tokens.tokens)
    if not parts:
        # Only comments or nothing: the server's error is the answer, and a ping-like one is harmless.
        return _other("empty", cacheable=False)
    judged = [_judge_one(part, tokens, mode, node_account) for part in parts]
    statement = judged[0] if len(judged) == 1 else _combine(judged, tokens, mode, node_account)
    if tokens.executable_comment or not tokens.complete:
        statement = _never_local(statement, tokens)
    tables = _tables(parts, judged)
    return replace(statement, tables=tables, cacheable=False) if tables is not None else statement


def _tables(parts: list[Sequence[Token]], judged: list[Statement]) -> WrittenTables | None:
    """The tables that a text makes, literals that it runs or prepares included."""
    found: WrittenTables | None = None
    for part, statement in zip(parts, judged, strict=True):
        # What a stored program will do is not seen here.
        program = is_compound(part) and part[0].word in ("CREATE", "ALTER")
        for tables in (None if program else written_tables(part), statement.tables):
            if tables is not None:
                found = tables if found is None else found | tables
    if found is not None and len(parts) > 1:
        # The other statements matter too.
        for part in parts:
            found |= what_changes(part)
    return found


def _never_local(statement: Statement, tokens: Tokens) -> Statement:
    local = statement.kind in (Kind.READ, Kind.DIAGNOSTICS)
    return Statement(
        kind=Kind.OTHER if local else statement.kind,
        reason=statement.reason if tokens.complete else "not closed: a quote or a comment",
        intent=statement.intent or not tokens.complete,
        effects=statement.effects,
        refusal=statement.refusal,
        assignments=statement.assignments,
        schema=statement.schema,
        may_write=True,
        one_result=statement.one_result,
        cacheable=False,
        rollback=statement.rollback,
        source=statement.source,
        begins=statement.begins,
        kill=statement.kill,
        passing=statement.passing,
    )


def _combine(judged: list[Statement], tokens: Tokens, mode: LexerMode, node_account: str) -> Statement:
    effects = Effect.NONE
    for statement in judged:
        effects |= statement.effects
    refusal = next((statement.refusal for statement in judged if statement.refusal is not None), None)
    assignments = tuple(item for statement in judged for item in statement.assignments)
    if refusal is None and _sets_mode(assignments):
        # A mode set by the first statement changes how the server reads the second.
        refusal = other_mode_refusal(tokens.text, mode, node_account)
    if refusal is None and any(statement.kill for statement in judged):
        refusal = NESTED_KILL
    if refusal is None and any(statement.source is not None for statement in judged):
        refusal = Refusal("a statement prepared from an expression must come by itself, to be looked at")
    return Statement(
        kind=Kind.OTHER,
        reason="several statements in one text",
        intent=any(statement.intent for statement in judged),
        effects=effects,
        refusal=refusal,
        assignments=assignments,
        schema=any(statement.schema for statement in judged),
        may_write=True,
        one_result=False,
        cacheable=all(statement.cacheable for statement in judged),
        passing=frozenset().union(*(statement.passing for statement in judged)) - _told_names(assignments),
    )


def sets_mode(statement: Statement) -> bool:
    """Whether it changes how the session's next text is read."""
    return _sets_mode(statement.assignments)


def _sets_mode(assignments: Sequence[Assignment]) -> bool:
    return any("SQL_MODE" in item.name and item.scope is not Scope.GLOBAL for item in assignments)


def other_mode_refusal(text: str, mode: LexerMode, node_account: str) -> Refusal | None:
    """Why a text of several statements is refused if a backslash means the opposite in it."""
    other = LexerMode(not mode.backslash_escapes, mode.ansi_quotes, mode.server_version)
    for part in split_statements(tokenize(text, other).tokens):
        refusal = compound_refusal(part, node_account)
        if refusal is not None:
            return refusal
    return None


def _judge_one(tokens: Sequence[Token], text: Tokens, mode: LexerMode, node_account: str) -> Statement:
    if is_compound(tokens):
        return _other(
            "a stored program or compound statement",
            intent=True,
            refusal=compound_refusal(tokens, node_account),
            # What runs at once may leave anything; what is stored only leaves itself.
            effects=Effect.NONE if tokens[0].word in ("CREATE", "ALTER") else Effect.PERHAPS_TEMPORARY_TABLES,
            may_write=True,
            one_result=tokens[0].word in ("CREATE", "ALTER"),
            cacheable=False,
        )
    refusal = refusal_of(tokens, node_account)
    if refusal is not None:
        return _other("refused", refusal=refusal, cacheable=False)
    return _with_user_variables(_judge_by_words(tokens, text, mode, node_account), tokens)


def _with_user_variables(statement: Statement, tokens: Sequence[Token]) -> Statement:
    """The same, with the user variables that it may give other values."""
    symbols = {token.word for token in tokens if token.kind is TokenKind.SYMBOL}
    effects = statement.effects
    if "@" not in symbols:
        if tokens[0].word in _QUERY_WORDS and effects & Effect.USER_VARIABLES:
            # INTO a file.
            return replace(statement, effects=effects & ~Effect.USER_VARIABLES)
        return statement
    if ":=" in symbols:
        effects |= Effect.USER_VARIABLES
    if not effects & Effect.USER_VARIABLES:
        return statement
    # What a text inside this one names is not seen here.
    names = None if "EXECUTE" in _words(tokens) else variable_names(tokens)
    return replace(statement, effects=effects, user_variables=names)


def _judge_by_words(tokens: Sequence[Token], text: Tokens, mode: LexerMode, node_account: str) -> Statement:
    first = tokens[0].word
    second = tokens[1].word if len(tokens) > 1 else ""
    if first in _QUERY_WORDS:
        return classify_query(tokens)
    if first in WRITE_WORDS or first == "LOAD":
        return _row_change(tokens)
    match first:
        case "SET":
            return _judge_set(tokens, text, mode, node_account)
        case "USE":
            return Statement(kind=Kind.SETTINGS, reason="changes the default schema", schema=True)
        case "SHOW":
            return _judge_show(tokens)
        case "COMMIT" | "SAVEPOINT" | "RELEASE":
            return Statement(kind=Kind.TRANSACTION, reason="transaction control")
        case "BEGIN":
            return Statement(kind=Kind.TRANSACTION, reason="transaction control", begins=True)
        case "ROLLBACK":
            return Statement(kind=Kind.TRANSACTION, reason="transaction control", rollback=len(tokens) < 3)
        case "START" if second == "TRANSACTION":
            reads = {"READ", "ONLY"} <= _words(tokens)
            return Statement(
                kind=Kind.TRANSACTION,
                reason="begins a transaction that only reads" if reads else "transaction control",
                begins=True,
                read_only_start=reads,
            )
        case "PREPARE" | "EXECUTE":
            return _judge_prepare(tokens, text, mode, node_account)
        case "DEALLOCATE" | "DROP" if first == "DEALLOCATE" or second == "PREPARE":
            return _other("drops a prepared statement")
        case "EXPLAIN" | "DESCRIBE" | "DESC":
            return _judge_explain(tokens)
        case "ANALYZE":
            if second in ("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG"):
                return _other("writes statistics", intent=True, may_write=True)
            return _other("runs the statement that it explains", may_write=True)
        case "DO" | "HELP" | "CHECKSUM" | "SIGNAL" | "RESIGNAL" | "GET":
            return _other("the leader's", may_write=first == "DO", effects=_expression_effects(tokens))
        case "HANDLER":
            return _other("opens tables for one session", effects=Effect.HANDLERS)
        case "LOCK" | "UNLOCK":
            locks = Effect.TABLE_LOCKS if first == "LOCK" else Effect.UNLOCKS_TABLES
            return _other("locks or unlocks tables", effects=locks)
        case "FLUSH" | "BACKUP":
            locking = first == "BACKUP" or {"LOCK", "EXPORT"} & _words(tokens)
            return _other("the leader's", intent=True, effects=Effect.TABLE_LOCKS if locking else Effect.NONE)
        case "KILL":
            return _other("ends a session or its statement, wherever it runs", kill=True, cacheable=False)
        case "CALL":
            return _other(
                "calls a procedure, which may do anything",
                intent=True,
                may_write=True,
                one_result=False,
                effects=Effect.PERHAPS_TEMPORARY_TABLES | _expression_effects(tokens),
            )
        case "CREATE" | "ALTER" | "DROP" | "RENAME" | "TRUNCATE":
            return _judge_definition(tokens)
    if first in _ACCOUNT_WORDS:
        return _other("changes accounts", intent=True, cacheable=False, may_write=True)
    return _UNKNOWN


def _words(tokens: Sequence[Token]) -> set[str]:
    return {token.word for token in tokens if token.kind is TokenKind.WORD}


def _expression_effects(tokens: Sequence[Token]) -> Effect:
    effects = Effect.NONE
    for token in tokens:
        if token.kind is TokenKind.SYMBOL and token.word == "@":
            effects |= Effect.USER_VARIABLES
        elif token.kind is TokenKind.WORD and token.word == "GET_LOCK":
            effects |= Effect.USER_LOCKS
    return effects


def _row_change(tokens: Sequence[Token]) -> Statement:
    effects = _expression_effects(tokens)
    assigns = tokens[0].word == "LOAD" or any(token.word == ":=" for token in tokens)
    if not assigns:
        effects &= ~Effect.USER_VARIABLES
    system = any(
        token.name in SYSTEM_SCHEMAS and tokens[number + 1].word == "."
        for number, token in enumerate(tokens[:-1])
    )
    # The tables of `mysql` are Aria: a change of them is no plain transaction.
    if system:
        return _other("changes a system table", intent=True, may_write=True, effects=effects)
    return Statement(kind=Kind.WRITE, reason="a change of rows", may_write=True, effects=effects)


def _judge_definition(tokens: Sequence[Token]) -> Statement:
    words = [token.word for token in tokens[:5] if token.kind is TokenKind.WORD]
    temporary = "TEMPORARY" in words and words[0] == "CREATE"
    accounts = "USER" in words or "ROLE" in words or "SERVER" in words
    return _other(
        "makes a temporary table" if temporary else "defines or drops something",
        intent=not temporary,
        effects=Effect.TEMPORARY_TABLES if temporary else Effect.NONE,
        may_write=True,
        cacheable=not accounts,
    )


def _judge_show(tokens: Sequence[Token]) -> Statement:
    rest = tokens[1:]
    if starts_with(rest, ("WARNINGS",)) or starts_with(rest, ("ERRORS",)) or starts_with(rest, ("COUNT",)):
        return Statement(kind=Kind.DIAGNOSTICS, reason="asks about the session's previous statement")
    if any(starts_with(rest, words) for words in PLAIN_SHOWS) and not _names_system_schema(rest):
        # WHERE takes expressions, functions among them.
        if "WHERE" in _words(rest):
            where = next(number for number, token in enumerate(rest) if token.word == "WHERE")
            query = (Token(TokenKind.WORD, "SELECT", "SELECT", 0, 0), *rest[where + 1 :])
            if classify_query(query).kind is not Kind.READ:
                return _other("SHOW with a condition that is not plain", may_write=True)
        return Statement(kind=Kind.READ, reason="shows what is the same on every node")
    return _other("shows what may be one server's own")


def _names_system_schema(tokens: Sequence[Token]) -> bool:
    return any(token.name in SYSTEM_SCHEMAS for token in tokens)


def _judge_explain(tokens: Sequence[Token]) -> Statement:
    rest = tokens[1:]
    while rest and rest[0].word in _EXPLAIN_OPTIONS:
        rest = rest[1:]
    if starts_with(rest, ("FORMAT",)) and len(rest) > 3:
        rest = rest[3:]
    if not rest:
        return _UNKNOWN
    word = rest[0].word
    if word in _QUERY_WORDS:
        inner = classify_query(rest)
        if inner.kind is Kind.READ:
            return Statement(kind=Kind.READ, reason="explains a plain read")
        return _other("explains a query that is the leader's", may_write=inner.may_write)
    if word in WRITE_WORDS or word in ("FOR", "ANALYZE"):
        return _other("explains what is the leader's", may_write=True)
    if rest[0].kind in (TokenKind.WORD, TokenKind.QUOTED) and not _names_system_schema(rest):
        return Statement(kind=Kind.READ, reason="describes a table")
    return _other("describes a system table")


def _told_names(assignments: Sequence[Assignment]) -> frozenset[bytes]:
    """The variables' names as session tracking tells them."""
    return frozenset(item.name.lower().encode("latin-1", "replace") for item in assignments)


def _judge_set(tokens: Sequence[Token], text: Tokens, mode: LexerMode, node_account: str) -> Statement:
    if starts_with(tokens, ("SET", "STATEMENT")):
        position = next((number for number, token in enumerate(tokens) if token.word == "FOR"), None)
        if position is None or position + 1 >= len(tokens):
            return _UNKNOWN
        inner = _judge_one(tokens[position + 1 :], text, mode, node_account)
        settings = parse_assignments(tokens[2:position]) or ()
        return Statement(
            kind=Kind.WRITE if inner.kind is Kind.WRITE else Kind.OTHER,
            reason="runs under settings of its own",
            intent=inner.intent,
            effects=inner.effects,
            refusal=inner.refusal,
            may_write=True,
            one_result=inner.one_result,
            cacheable=inner.cacheable,
            source=inner.source,
            passing=_told_names(settings),
        )
    assignments = parse_assignments(tokens[1:])
    if assignments is None:
        return _UNKNOWN
    return _judge_assignments(tuple(assignments))


def _judge_assignments(assignments: tuple[Assignment, ...]) -> Statement:
    effects = Effect.NONE
    scopes = {assignment.scope for assignment in assignments}
    if Scope.ACCOUNT in scopes:
        return _other("changes accounts", intent=True, cacheable=False, may_write=True)
    for assignment in assignments:
        if assignment.scope is Scope.USER:
            effects |= Effect.USER_VARIABLES
        if assignment.name == "SESSION_TRACK_SYSTEM_VARIABLES":
            effects |= Effect.TRACKING
        effects |= _expression_effects(assignment.tokens) & Effect.USER_LOCKS
    constant = all(assignment.constant for assignment in assignments)
    if Scope.GLOBAL in scopes:
        # What is refused depends on a value, so the next such text is looked at again.
        return _other(
            "sets global variables, on every node",
            assignments=assignments,
            effects=effects,
            may_write=not constant,
            cacheable=False,
        )
    if scopes <= _SHARED_SCOPES and constant:
        return Statement(
            kind=Kind.SETTINGS, reason="sets session variables", assignments=assignments, effects=effects
        )
    if scopes & _SHARED_SCOPES:
        reason = "sets session variables from what the leader knows"
    else:
        reason = "sets user variables" if Scope.USER in scopes else "sets the next transaction's properties"
    return _other(reason, assignments=assignments, effects=effects, may_write=not constant)


def _using(tokens: Sequence[Token]) -> int:
    """Where the USING of EXECUTE IMMEDIATE stands, and not that of a CONVERT; behind all if there is none."""
    depth = 0
    for number, token in enumerate(tokens):
        depth += (token.word == "(") - (token.word == ")")
        if not depth and token.word == "USING":
            return number
    return len(tokens)


def _judge_prepare(tokens: Sequence[Token], text: Tokens, mode: LexerMode, node_account: str) -> Statement:
    """PREPARE name FROM x, EXECUTE IMMEDIATE x, EXECUTE name."""
    immediate = starts_with(tokens, ("EXECUTE", "IMMEDIATE"))
    if tokens[0].word == "EXECUTE" and not immediate:
        return _other(
            "executes a statement by name",
            intent=True,
            may_write=True,
            one_result=False,
            effects=Effect.PERHAPS_TEMPORARY_TABLES | _expression_effects(tokens),
        )
    keyword = 1 if immediate else 2
    if not immediate and (len(tokens) < 4 or tokens[2].word != "FROM"):
        return _UNKNOWN
    source = tokens[keyword + 1 :]
    if immediate:
        source = source[: _using(source)]
    if not source:
        return _UNKNOWN
    effects = Effect.PERHAPS_TEMPORARY_TABLES if immediate else Effect.NAMED_STATEMENTS
    if len(source) == 1 and source[0].kind is TokenKind.STRING:
        inner = judge(tokenize(source[0].value, mode), mode, node_account)
        return _other(
            "prepares a statement in SQL",
            intent=immediate and inner.intent,
            refusal=NESTED_KILL if inner.kill else inner.refusal,
            effects=(inner.effects if immediate else Effect.NAMED_STATEMENTS) | _expression_effects(tokens),
            may_write=immediate,
            one_result=not immediate or inner.one_result,
            cacheable=False,
            # A statement that prepares another from an expression, inside a literal: known when it runs.
            source=(source[0].start, source[0].end) if inner.source is not None else None,
            tables=replace(inner.tables, alone=False) if inner.tables is not None else None,
        )
    return _other(
        "prepares a statement whose text is not known yet",
        intent=immediate,
        effects=effects | _expression_effects(tokens),
        may_write=True,
        one_result=False,
        cacheable=False,
        source=(source[0].start, source[-1].end),
    )
