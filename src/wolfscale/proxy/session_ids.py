"""A session's id: the same wherever its statements run, whatever leader there is, and one in the cluster.

Ten bits of the node's number, six of the worker's place, sixteen that count: it fits into the greeting, which
is where drivers learn the id that they KILL by. `CONNECTION_ID()` in a text is replaced by it. A text that
asks MariaDB about its own sessions (PROCESSLIST, IS_USED_LOCK) is left alone: there MariaDB's own ids belong
together, and KILL takes those too.
"""

import functools
from collections.abc import Container, Mapping, Sequence

from wolfscale.proxy.function_calls import (
    FunctionCall,
    find_calls,
    has_name,
    select_items,
    split_at,
)
from wolfscale.proxy.lexer import LexerMode, tokenize

WORKERS = 64
"""Places for workers beside one node, its own and proxies elsewhere that follow it."""
_NODES = 1024
_COUNTED = 1 << 16
FIRST_ID = WORKERS * _COUNTED
"""Smaller numbers are MariaDB's own."""

_NAME = b"connection_id"
_LONGEST_BYTES = 1 << 16
_SHORT_BYTES = 256
_LONGEST_NAME = 200
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
    if _NAME not in sql.lower() or len(sql) > _LONGEST_BYTES:
        return sql
    parts = _short_parts(sql, mode) if len(sql) <= _SHORT_BYTES else _parts(sql, mode)
    return (b"%d" % session_id).join(parts)


def _parts(sql: bytes, mode: LexerMode) -> tuple[bytes, ...]:
    lexed = tokenize(sql.decode("latin-1"), mode)
    if not lexed.complete or any(token.name in _OWN_IDS_MATTER for token in lexed.tokens):
        return (sql,)
    calls = [call for call in find_calls(lexed.tokens, "CONNECTION_ID") if not call.kept]
    if all(call.is_item for call in calls):
        return split_at(sql, calls)
    # Columns keep the names that they would have: of an item that only holds a call, its text.
    ends: dict[int, bytes] = {call.end: _alias(sql[call.start : call.end]) for call in calls if call.is_item}
    for item in select_items(lexed.tokens):
        start, end = item[0].start, item[-1].end
        inside = [call for call in calls if start <= call.start < end]
        if not inside or (len(inside) == 1 and inside[0].is_item):
            continue
        named = has_name(item)
        if named is None or end - start > _LONGEST_NAME:
            return (sql,)
        if not named:
            ends[end] = _alias(sql[start:end])
    return _with_names(sql, calls, ends)


def _with_names(sql: bytes, calls: Sequence[FunctionCall], ends: Mapping[int, bytes]) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    part, position = b"", 0
    begins = {call.start: call.end for call in calls}
    for place in sorted(begins.keys() | ends.keys()):
        part += sql[position:place] + ends.get(place, b"")
        position = place
        if place in begins:
            parts.append(part)
            part, position = b" ", begins[place]
    parts.append(part + sql[position:])
    return tuple(parts)


def _alias(text: bytes) -> bytes:
    return b" AS `" + text.replace(b"`", b"``") + b"` "


_short_parts = functools.lru_cache(maxsize=512)(_parts)
