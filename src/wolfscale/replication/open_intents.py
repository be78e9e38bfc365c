"""The statements under way on this primary that are no plain transactions, by their sessions.

A proxy says when such a statement begins and ends. One that dies says nothing any more, but its session in
MariaDB may still be executing: so an intent counts as open until the server no longer knows the session.
"""

import trio

from wolfscale.replication.database import Database
from wolfscale.replication.intents import IntentMarks

SWEEP_SECONDS = 2.0


class OpenIntents:
    """Turns begins and ends by session into `IntentMarks`; belongs to one tenure.

    Any task of the event loop may call it.
    """

    def __init__(self, database: Database, marks: IntentMarks) -> None:
        self._database = database
        self._marks = marks
        self._open: dict[int, int] = {}

    async def begin(self, connection_id: int) -> None:
        """Have the mark on disk before a session's statement is sent.

        Args:
            connection_id: the session's connection id in this MariaDB.

        Raises:
            OSError: the mark cannot be written; the statement must not be sent.
        """
        await self._marks.begin(f"session {connection_id} runs a statement that is no plain transaction")
        self._open[connection_id] = self._open.get(connection_id, 0) + 1

    def end(self, connection_id: int, *, finished: bool) -> None:
        """Say that a session's statement is over; if it was not answered, the sweep finds out when it is."""
        if finished:
            self._close(connection_id)

    def forget_all(self) -> None:
        """The server was killed: recovery judges what was under way, by the mark on the disk."""
        for connection_id in list(self._open):
            while connection_id in self._open:
                self._close(connection_id)

    async def sweep(self) -> None:
        """Close, until cancelled, what sessions left open that the server does not know any more.

        Raises:
            ServerError, ConnectionLost: the server refused or is gone.
        """
        while True:
            await trio.sleep(SWEEP_SECONDS)
            if not self._open:
                continue
            known = await self._database.sessions.ids()
            for connection_id in set(self._open) - known:
                while connection_id in self._open:
                    self._close(connection_id)

    def _close(self, connection_id: int) -> None:
        count = self._open.get(connection_id, 0)
        if count == 0:
            return
        if count == 1:
            del self._open[connection_id]
        else:
            self._open[connection_id] = count - 1
        self._marks.end()
