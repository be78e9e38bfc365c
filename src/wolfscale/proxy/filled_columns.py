"""ALTER TABLE ... ADD what is filled with other values on each server (pure).

MariaDB logs ALTER TABLE as a statement, also where rows are logged otherwise. So each server fills the new
column itself, with its own UUIDs, and nothing reports the difference. Nor where it numbers the rows
(AUTO_INCREMENT), or keeps one of several (IGNORE): InnoDB goes through a table without a key in the order in
which its rows were inserted there, and replicas insert in the order of the commits (tried with 10.11).
"""

import itertools
from collections.abc import Sequence

from wolfscale.proxy.lexer import Token, TokenKind
from wolfscale.proxy.settings import split_list

_FUNCTIONS = frozenset(
    {
        *(
            "UUID",
            "UUID_SHORT",
            "SYS_GUID",
            "RAND",
            "RANDOM_BYTES",
            "ENCRYPT",
            "SYSDATE",
            "BENCHMARK",
            "SLEEP",
        ),
        *("NEXTVAL", "LASTVAL", "SETVAL", "LAST_INSERT_ID", "FOUND_ROWS", "ROW_COUNT", "CONNECTION_ID"),
        *("USER", "SESSION_USER", "SYSTEM_USER", "CURRENT_USER", "CURRENT_ROLE", "VERSION", "LOAD_FILE"),
        *("GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "IS_FREE_LOCK", "IS_USED_LOCK"),
        # Without a second argument it takes the session's default_week_format, which is not logged.
        "WEEK",
    }
)
_TRANSACTION_TYPES = frozenset({"BIGINT", "INT8"})
_BEFORE_NAMES = (["TABLE"], ["EXISTS"], ["."])
_END = Token(kind=TokenKind.SYMBOL, value="", word="", start=0, end=0)
_WITHOUT_PARENTHESES = frozenset({"CURRENT_USER", "CURRENT_ROLE"})


def fills_differently(tokens: Sequence[Token]) -> bool:
    """Whether a statement adds a column with such a default."""
    head = [token.word for token in tokens[:5]]
    if head[:1] != ["ALTER"] or "TABLE" not in head:
        return False
    for item in split_list(tokens):
        words = [token.word for token in item]
        if "ADD" not in words or "DEFAULT" not in words:
            continue
        if any(_is_own(item, number) for number in range(words.index("DEFAULT") + 1, len(item))):
            return True
    return False


def counts_transactions(tokens: Sequence[Token]) -> bool:
    """Whether a statement makes columns for InnoDB's numbers of transactions (ROW START, ROW END).

    Each server counts its own, and those are what it writes into the rows, also where rows are logged.
    """
    if not tokens or tokens[0].word not in ("CREATE", "ALTER"):
        return False
    column: list[str] = []
    for token, following in itertools.pairwise([*tokens, _END]):
        if token.word == ",":
            column.clear()
        elif token.word == "ROW" and following.word in ("START", "END") and column[-1:] == ["AS"]:
            if not _TRANSACTION_TYPES.isdisjoint(column):
                return True
        else:
            column.append(token.word)
    return False


def depends_on_order(tokens: Sequence[Token]) -> bool:
    """Whether an ALTER TABLE numbers the rows, or keeps some of them, as they come.

    Args:
        tokens: of that statement alone.
    """
    words = [token.word for token in tokens]
    if "SERIAL" in words or "IGNORE" in words[:4]:
        return True
    # AUTO_INCREMENT = 5 only says where new rows go on.
    return any(
        token.word == "AUTO_INCREMENT" and following.word != "=" and following.kind is not TokenKind.NUMBER
        for token, following in itertools.pairwise([*tokens, _END])
    )


def numbered_column(tokens: Sequence[Token]) -> str | None:
    """The column that an ALTER TABLE numbers and that is there already, if no more of it goes by the order.

    MODIFY id INT AUTO_INCREMENT and CHANGE no id SERIAL number only rows without a number, each from the
    highest that came before it.

    Args:
        tokens: of that statement alone, which `depends_on_order`.
    """
    if "IGNORE" in [token.word for token in tokens[:4]]:
        return None
    columns = [_changed_column(item) for item in split_list(tokens) if depends_on_order(item)]
    # MariaDB takes one column of them alone, and refuses more.
    return columns[0] if len(columns) == 1 else None


def order_question(schema: str, name: str) -> str:
    """The query that finds a table if the order of its rows may be another on each server.

    Args:
        schema: an expression for the table's schema.
        name: a literal of its name.
    """
    this = f"TABLE_SCHEMA={schema} AND TABLE_NAME={name}"
    return (
        f"SELECT 1 FROM information_schema.TABLES WHERE {this} AND ENGINE='InnoDB' AND NOT EXISTS "
        f"(SELECT 1 FROM information_schema.STATISTICS WHERE {this} AND NON_UNIQUE=0 "
        "GROUP BY INDEX_NAME HAVING MAX(NULLABLE)='')"
    )


def _changed_column(item: Sequence[Token]) -> str | None:
    """The column of a MODIFY or CHANGE, which may stand behind ALTER TABLE and the table's name."""
    words = [token.word for token in item]
    for place, word in enumerate(words):
        if word in ("MODIFY", "CHANGE") and words[place - 1 : place] not in _BEFORE_NAMES:
            place += 2 if words[place + 1 : place + 2] == ["COLUMN"] else 1
            place += 2 if words[place : place + 2] == ["IF", "EXISTS"] else 0
            return item[place].value if place < len(item) else None
        if word in ("ADD", "("):
            break
    return None


def _is_own(tokens: Sequence[Token], number: int) -> bool:
    """Whether a word there means what only one server knows."""
    token = tokens[number]
    following = tokens[number + 1].word if number + 1 < len(tokens) else ""
    if token.kind is TokenKind.SYMBOL:
        return token.word in ("@", "@@")
    if token.word in _WITHOUT_PARENTHESES or (token.word in _FUNCTIONS and following == "("):
        return True
    # NEXT VALUE FOR s, PREVIOUS VALUE FOR s, and Oracle's s.nextval.
    if token.word == "VALUE" and following == "FOR":
        return True
    return token.word in ("NEXTVAL", "CURRVAL") and tokens[number - 1].word == "."
