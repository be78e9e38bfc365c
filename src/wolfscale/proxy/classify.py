"""From a text to a `Statement`: a digest without literals, a bounded cache, and the rules on a miss."""

from wolfscale.proxy.digest import Digests, has_comment
from wolfscale.proxy.judge import WRITE_WORDS, judge
from wolfscale.proxy.lexer import LexerMode, Token, TokenKind, decode_sql, is_multibyte_unsafe, tokenize
from wolfscale.proxy.statement import Effect, Kind, Statement

CACHE_ENTRIES = 10_000
MAX_MODES = 16
"""Server versions times sql_modes; more is somebody playing."""
MAX_TEXT_BYTES = 1 << 20
"""Longer texts are judged by their beginning, see `Classifier.classify_long`."""
LONG_PREFIX_BYTES = 64 * 1024


class Classifier:
    """Classifies texts, and remembers.

    Attributes:
        hits: how many came from the cache.
        misses: how many did not.
    """

    def __init__(self, *, node_account: str = "", entries: int = CACHE_ENTRIES) -> None:
        """Start with an empty cache.

        Args:
            node_account: the name of the node's own account, which clients may not touch.
            entries: how many digests are kept.
        """
        self.hits = 0
        self.misses = 0
        self._node_account = node_account
        self._entries = entries
        self._digests: dict[tuple[LexerMode, bool], Digests] = {}

    @property
    def node_account(self) -> str:
        """The name of the node's own account; setting it forgets what was judged under another."""
        return self._node_account

    @node_account.setter
    def node_account(self, name: str) -> None:
        if name != self._node_account:
            self._node_account = name
            for digests in self._digests.values():
                digests.statements.clear()

    def classify(
        self, sql: bytes, mode: LexerMode, *, prepared: bool = False, character_set: str = ""
    ) -> Statement:
        """Classify a text, which may hold several statements.

        Args:
            sql: as the client sent it.
            mode: how the session's server reads it.
            prepared: it is to be prepared in the binary protocol, so it may hold parameters.
            character_set: the session's character_set_client, "" when it is one that needs no care.
        """
        if is_multibyte_unsafe(character_set):
            return self._judge_multibyte(sql, mode, character_set)
        digests = self.digests(mode, prepared=prepared)
        if has_comment(sql):
            return self._classify_commented(sql, mode, digests)
        digest = digests.digest(sql)
        statement = digests.statements.get(digest)
        if statement is not None:
            self.hits += 1
            return statement
        self.misses += 1
        statement = judge(tokenize(sql.decode("latin-1"), mode), mode, self._node_account)
        digests.remember(digest, statement, entries=self._entries)
        return statement

    def digests(self, mode: LexerMode, *, prepared: bool = False) -> Digests:
        """What is known of the texts of a mode; stays true while the classifier lives."""
        digests = self._digests.get((mode, prepared))
        if digests is None:
            if len(self._digests) >= MAX_MODES:
                for forgotten in self._digests.values():
                    forgotten.statements.clear()
                self._digests.clear()
            digests = self._digests[mode, prepared] = Digests(mode)
        return digests

    def _classify_commented(self, sql: bytes, mode: LexerMode, digests: Digests) -> Statement:
        tokens = tokenize(sql.decode("latin-1"), mode)
        if tokens.executable_comment or not tokens.complete:
            self.misses += 1
            return judge(tokens, mode, self._node_account)
        key = b"\0" + "\0".join(_key_part(token) for token in tokens.tokens).encode("latin-1")
        statement = digests.statements.get(key)
        if statement is not None:
            self.hits += 1
            return statement
        self.misses += 1
        statement = judge(tokens, mode, self._node_account)
        digests.remember(key, statement, entries=self._entries)
        return statement

    def _judge_multibyte(self, sql: bytes, mode: LexerMode, character_set: str) -> Statement:
        """Never a local read: our reading of such a text may differ from the server's in a corner."""
        self.misses += 1
        statement = judge(tokenize(decode_sql(sql, character_set), mode), mode, self._node_account)
        if statement.kind is Kind.READ:
            return Statement(kind=Kind.OTHER, reason=f"a query in {character_set}")
        return statement

    def classify_long(self, sql: bytes, mode: LexerMode) -> Statement | None:
        """Classify a text by its beginning; None when its end may matter.

        The caller makes sure that it is one statement (`statement_scan`). Then row changes, queries and calls
        can be told by their first word, and a long one of them is the leader's anyway.
        """
        tokens = tokenize(sql[:LONG_PREFIX_BYTES].decode("latin-1"), mode)
        first = tokens.tokens[0].word if tokens.tokens else ""
        if first in WRITE_WORDS or first == "LOAD":
            effects = Effect.USER_VARIABLES if b":=" in sql else Effect.NONE
            return Statement(kind=Kind.WRITE, reason="a long change of rows", may_write=True, effects=effects)
        if first == "CALL":
            return Statement(
                kind=Kind.OTHER,
                reason="calls a procedure, which may do anything",
                intent=True,
                may_write=True,
                one_result=False,
                effects=Effect.PERHAPS_TEMPORARY_TABLES | Effect.USER_VARIABLES,
            )
        if first in ("SELECT", "WITH", "VALUES", "("):
            return Statement(
                kind=Kind.OTHER,
                reason="a long query",
                may_write=True,
                effects=Effect.USER_VARIABLES if b"@" in sql else Effect.NONE,
            )
        return None


def _key_part(token: Token) -> str:
    match token.kind:
        case TokenKind.STRING:
            return "'"
        case TokenKind.NUMBER | TokenKind.PARAMETER:
            return "0"
        case TokenKind.QUOTED:
            return "`" + token.value
        case _:
            return token.word
