"""Asking the node for ids on behalf of many sessions: one request at a time, for all who wait by then.

An id is given when the request is answered, so whoever asks after another has got an id gets a greater one.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from wolfscale.proxy.errors import ControlLost

MAX_IDS = 4096
"""The most ids that one request asks for."""


class _Wanted:
    """One who waits; woken when it has its answer, or to make the next request."""

    __slots__ = ("answer", "count", "woken")

    def __init__(self, count: int) -> None:
        self.count = count
        self.answer: list[int] | ControlLost | None = None
        self.woken = trio.Event()


class IdRequests:
    """Gathers those who want ids.

    Args:
        ask: gets that many from the node, ascending; raises `ControlLost` when there are none.
    """

    def __init__(self, ask: Callable[[int], Awaitable[list[int]]]) -> None:
        self._ask = ask
        self._waiting: deque[_Wanted] = deque()
        self._asking = False

    async def take(self, count: int) -> list[int]:
        """This many ids, 1 to `MAX_IDS`, ascending.

        Raises:
            ControlLost: there are none now; says why.
        """
        wanted = _Wanted(count)
        self._waiting.append(wanted)
        try:
            while wanted.answer is None:
                if self._asking:
                    await wanted.woken.wait()
                    wanted.woken = trio.Event()
                else:
                    await self._ask_for_those_who_wait()
        finally:
            if wanted in self._waiting:
                self._waiting.remove(wanted)
            self._wake_next()
        if isinstance(wanted.answer, ControlLost):
            raise ControlLost(str(wanted.answer)) from wanted.answer
        return wanted.answer

    async def _ask_for_those_who_wait(self) -> None:
        """One request; a cancelled one leaves those others waiting for the next."""
        asked: list[_Wanted] = []
        total = 0
        for wanted in self._waiting:
            if asked and total + wanted.count > MAX_IDS:
                break
            asked.append(wanted)
            total += wanted.count
        self._asking = True
        try:
            ids = await self._ask(total)
        except ControlLost as error:
            for wanted in asked:
                wanted.answer = error
        else:
            start = 0
            for wanted in asked:
                wanted.answer = ids[start : start + wanted.count]
                start += wanted.count
        finally:
            self._asking = False
            for wanted in asked:
                if wanted.answer is not None and wanted in self._waiting:
                    self._waiting.remove(wanted)
                    wanted.woken.set()

    def _wake_next(self) -> None:
        if self._waiting and not self._asking:
            self._waiting[0].woken.set()
