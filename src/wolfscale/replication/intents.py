"""Marks on the disk that a statement which is no plain transaction may be under way on this primary.

A primary that is killed under DDL can have differences that nothing in the log or its binlog names. So
before such a statement is sent, the mark is in the node's record; recovery that finds it there clones.
"""

import trio

from wolfscale.replication.record import RecordStore


class IntentMarks:
    """Counts such statements; the mark stands from before the first until after the last is settled.

    Any number of tasks of one event loop may use it.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._active = 0
        self._begun = 0
        self._lock = trio.Lock()

    @property
    def active(self) -> int:
        """How many such statements are under way."""
        return self._active

    async def begin(self, reason: str) -> None:
        """Make the mark durable before a statement is sent; returns then only.

        Each call that returned is followed by one `end`. When cancelled, none is.

        Args:
            reason: what is under way, for the report of a recovery: never a statement's text.

        Raises:
            OSError: the mark cannot be written; the statement must not be sent.
        """
        self._active += 1
        self._begun += 1
        try:
            # The lock waits for a lifting under way, after which the mark must be set again.
            async with self._lock:
                if not self._store.current.intent:
                    await self._store.update(intent=reason or "a statement that is no plain transaction")
        except BaseException:
            self._active -= 1
            raise

    def end(self) -> None:
        """Say that a statement has ended: its answer is there, or its session is gone from the server.

        The mark stays until a settled record has covered it.
        """
        self._active -= 1

    def liftable(self) -> int | None:
        """Return a ticket for `lift` when the mark stands and nothing is under way."""
        return self._begun if self._store.current.intent and self._active == 0 else None

    async def lift(self, ticket: int) -> None:
        """Take the mark away if no statement began since the ticket was given.

        Call it when everything that had ended then is settled.

        Raises:
            OSError: the record cannot be written.
        """
        async with self._lock:
            if self._begun == ticket and self._active == 0:
                await self._store.update(intent="")
