"""Foreign keys that change rows of a table with system versioning (pure).

MariaDB logs no rows that a foreign key's CASCADE or SET NULL changes: each server's InnoDB does that itself,
writes the history of these rows as well, and gives them, on a server that applies the log, other microseconds
than on the leader (tried with 10.11): `ROW END` of the former row and `ROW START` of the new one differ.
Where the table has no primary key, replicas do not find such a row again, and stop.
"""

from collections.abc import Sequence

from wolfscale.proxy.lexer import Token

_RULES = "('CASCADE', 'SET NULL')"


def is_versioned(tokens: Sequence[Token]) -> bool:
    """Whether a CREATE or ALTER TABLE gives the table system versioning."""
    words = [token.word for token in tokens]
    return any(
        three in (("WITH", "SYSTEM", "VERSIONING"), ("ADD", "SYSTEM", "VERSIONING"), ("AS", "ROW", "START"))
        for three in zip(words, words[1:], words[2:], strict=False)
    )


def cascades(tokens: Sequence[Token]) -> bool:
    """Whether a CREATE or ALTER TABLE gives the table a foreign key that changes rows."""
    words = [token.word for token in tokens]
    return any(
        one == "ON"
        and two in ("DELETE", "UPDATE")
        and (three == "CASCADE" or (three, four) == ("SET", "NULL"))
        for one, two, three, four in zip(words, words[1:], words[2:], [*words[3:], ""], strict=False)
    )


def cascades_in_history(tokens: Sequence[Token]) -> bool:
    """Whether one statement gives a table both."""
    head = [token.word for token in tokens[:6]]
    if head[:1] not in (["CREATE"], ["ALTER"]) or "TABLE" not in head:
        return False
    return is_versioned(tokens) and cascades(tokens)


def cascades_question(schema: str, name: str) -> str:
    """The query that finds a table if it has such a foreign key.

    Args:
        schema: an expression for the table's schema.
        name: a literal of its name.
    """
    return (
        f"SELECT 1 FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA={schema} AND "
        f"TABLE_NAME={name} AND (DELETE_RULE IN {_RULES} OR UPDATE_RULE IN {_RULES}) LIMIT 1"
    )


def versioned_question(schema: str, name: str) -> str:
    """The query that finds a table if it has system versioning; the arguments as above."""
    return (
        f"SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_NAME={name} "
        "AND TABLE_TYPE='SYSTEM VERSIONED'"
    )
