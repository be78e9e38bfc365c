"""Chromium's DevTools protocol over two pipes: JSON values with a NUL after each, answers by number."""

import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio

Json: TypeAlias = dict[str, Any]

_CHUNK_BYTES = 1 << 20
_LEFT = "Inspected target navigated or closed"


class ChromiumError(Exception):
    """Chromium refused a command, a script in a page threw, or the process is gone."""


class PageLeft(ChromiumError):
    """The page that was asked is being left for another one."""


@dataclass(slots=True)
class WireState:
    """What outlives one run of trio: a message may have arrived in part when the run ends."""

    unread: bytearray = field(default_factory=bytearray)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


class Wire:
    """The protocol within one run of trio.

    Attributes:
        listeners: who is told of events, by session: with the method and its parameters.
    """

    def __init__(self, commands: trio.lowlevel.FdStream, state: WireState) -> None:
        self.listeners: dict[str, Callable[[str, Json], None]] = {}
        self._commands = commands
        self._state = state
        self._sending = trio.Lock()
        self._waiting: dict[int, trio.MemorySendChannel[Json]] = {}

    async def ask(self, method: str, parameters: Json, session: str | None = None) -> Json:
        """Send a command and return its result.

        Raises:
            ChromiumError: it was refused; `PageLeft` if there is no page at the moment to answer it.
        """
        id = next(self._state.ids)
        message: Json = {"id": id, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        sender, receiver = trio.open_memory_channel[Json](1)
        self._waiting[id] = sender
        try:
            async with self._sending:
                await self._commands.send_all(json.dumps(message).encode() + b"\0")
            answer = await receiver.receive()
        finally:
            del self._waiting[id]
        if "error" in answer:
            reason = answer["error"]["message"]
            raise (PageLeft if reason == _LEFT else ChromiumError)(f"{method}: {reason}")
        result: Json = answer["result"]
        return result

    async def read(self, answers: trio.lowlevel.FdStream) -> None:
        """Hand out answers and events until cancelled."""
        unread = self._state.unread
        while True:
            while (end := unread.find(b"\0")) >= 0:
                message = json.loads(unread[:end])
                del unread[: end + 1]
                self._deliver(message)
            data = await answers.receive_some(_CHUNK_BYTES)
            if not data:
                raise ChromiumError("the browser has ended")
            unread += data

    def _deliver(self, message: Json) -> None:
        if "id" in message:
            # Nobody waits for what an earlier run, or a cancelled task, has asked.
            if message["id"] in self._waiting:
                self._waiting[message["id"]].send_nowait(message)
        elif (listener := self.listeners.get(message.get("sessionId", ""))) is not None:
            listener(message["method"], message["params"])


@asynccontextmanager
async def open_wire(commands: int, answers: int, state: WireState) -> AsyncIterator[Wire]:
    """Speak over a browser's two descriptors, which stay open afterwards."""
    async with (
        trio.lowlevel.FdStream(os.dup(commands)) as sending,
        trio.lowlevel.FdStream(os.dup(answers)) as receiving,
        trio.open_nursery() as nursery,
    ):
        wire = Wire(sending, state)
        nursery.start_soon(wire.read, receiving)
        yield wire
        nursery.cancel_scope.cancel()
