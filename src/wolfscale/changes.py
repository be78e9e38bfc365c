"""A broadcast for "something changed": the one way in which tasks here wait for state."""

from collections.abc import Callable

import trio


class Changes:
    """Wakes every waiting task at once; carries no value, so that nothing can be missed or queued.

    The usual loop is `await changes.wait_until(lambda: ready)`: the predicate is read before the first
    wait and after each notice, so a change between the two is never lost.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake all tasks that wait now."""
        if self._event.statistics().tasks_waiting:
            self._event.set()
            self._event = trio.Event()

    async def wait(self) -> None:
        """Return after the next notice. A checkpoint; cancelling it leaves nothing behind."""
        await self._event.wait()

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Return as soon as the predicate holds; always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while not predicate():
            await self._event.wait()
