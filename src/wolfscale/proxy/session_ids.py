"""A session's id: the same wherever its statements run, whatever leader there is, and one in the cluster.

Ten bits of the node's number, six of the worker's place, sixteen that count: it fits into the greeting, which
is where drivers learn the id that they KILL by. `CONNECTION_ID()` in a text is replaced by it. A text that
asks MariaDB about its own sessions (PROCESSLIST, IS_USED_LOCK) is left alone: there MariaDB's own ids belong
together, and KILL takes those too.
"""

import functools
from collections.abc import Container

from wolfscale.proxy.function_calls import text_around_calls
from wolfscale.proxy.lexer import LexerMode

WORKERS = 64
"""Places for workers beside one node, its own and proxies elsewhere that follow it."""
_NODES = 1024
_COUNTED = 1 << 16
FIRST_ID = WORKERS * _COUNTED
"""Smaller numbers are MariaDB's own."""

_NAME = b"connection_id"
_LONGEST_BYTES = 1 << 16
_SHORT_BYTES = 256
_OWN_IDS_MATTER = frozenset(
    {
        *("IS_USED_LOCK", "PROCESSLIST", "INNODB_TRX", "INNODB_LOCKS", "INNODB_LOCK_WAITS"),
        *("METADATA_LOCK_INFO", "PERFORMANCE_SCHEMA", "SYS"),
    }
)


def first_id(node_number: int, place: int) -> int:
    """The least id of one worker's sessions.

    Args:
        node_number: the member's number; a node that is no member yet has 0, and borrows the last.
        place: the worker's, less than `WORKERS`.
    """
    number = node_number % _NODES or _NODES - 1
    return number * WORKERS * _COUNTED + place % WORKERS * _COUNTED


class SessionIds:
    """Gives one worker's sessions their ids."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, first: int, used: Container[int]) -> int:
        """A new id.

        Args:
            first: what `first_id` gives now.
            used: ids of sessions that are open.
        """
        while True:
            self._count = (self._count + 1) % _COUNTED
            id = first + self._count
            if self._count and id not in used:
                return id


def with_session_id(sql: bytes, mode: LexerMode, session_id: int) -> bytes:
    """A text with the id in the place of each CONNECTION_ID(), but where MariaDB's own belongs."""
    if len(sql) > _LONGEST_BYTES or _NAME not in sql.lower():
        return sql
    parts = _short_parts(sql, mode) if len(sql) <= _SHORT_BYTES else _parts(sql, mode)
    return (b"%d" % session_id).join(parts)


def _parts(sql: bytes, mode: LexerMode) -> tuple[bytes, ...]:
    return text_around_calls(sql, mode, "CONNECTION_ID", left_alone=_OWN_IDS_MATTER)


_short_parts = functools.lru_cache(maxsize=512)(_parts)
