"""The ids of this node: its number and lease from the cluster, its mark in a file, its clock."""

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, Protocol

import msgspec
import trio

from wolfscale import logs
from wolfscale.app.cluster import NodeCluster
from wolfscale.changes import Changes
from wolfscale.durability import replace_file
from wolfscale.ids import (
    END_MS,
    EPOCH_MS,
    LEASE_MS,
    MAX_COUNT,
    NODE_NUMBERS,
    QUARANTINE_MS,
    AheadOfClock,
    IdError,
    IdGenerator,
    IdsUnavailable,
    LeaseNeeded,
    MarkNeeded,
    Obstacle,
)
from wolfscale.node.node import Node

log = logs.logger(__name__)

MARK_FILE = "ids.json"
PATIENCE_SECONDS = 5.0
"""How long whoever asks for ids waits for the clock, the cluster or the disk before it is told why."""

RENEW_SECONDS = LEASE_MS / 1000 / 6
RETRY_SECONDS = 0.5
FAILURE_SECONDS = 10.0
CONFIRM_SECONDS = 15.0


class Place(Protocol):
    """The node's place in its cluster."""

    @property
    def changes(self) -> Changes:
        """Notified when `number` has changed."""

    @property
    def number(self) -> int:
        """The number that the cluster gave this member for good; 0 while it is none."""

    async def confirm(self) -> bool:
        """Whether a majority says, asked after the call, that `number` is this node's."""


class NodePlace:
    """`Place` of a running node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cluster = NodeCluster(node)

    @property
    def changes(self) -> Changes:
        """The node's."""
        return self._node.role_changes

    @property
    def number(self) -> int:
        """The node's."""
        return self._node.settled_number

    async def confirm(self) -> bool:
        """Ask the leader what is committed, and look at that membership."""
        number = self.number
        with trio.move_on_after(CONFIRM_SECONDS):
            return await self._cluster.has_whole_log() and self.number == number != 0
        return False


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds.

    Attributes:
        number: the member's number.
        mark_ms: every id given so far is of an earlier millisecond.
        opens_ms: no ids before this time; 0 for most members, see `wolfscale.ids`.
    """

    number: Annotated[int, msgspec.Meta(ge=1)]
    mark_ms: Annotated[int, msgspec.Meta(ge=EPOCH_MS, le=END_MS)] = EPOCH_MS
    opens_ms: Annotated[int, msgspec.Meta(ge=0, le=END_MS)] = 0


class NodeIds:
    """Gives ids to everything on this node that needs one: HTTP, and the proxy's workers.

    Args:
        place: where the number comes from.
        data_dir: holds the mark.
        clock: milliseconds since 1970; may step either way.
    """

    def __init__(
        self, place: Place, data_dir: Path, *, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._place = place
        self._path = data_dir / MARK_FILE
        self._clock = clock
        self._generator: IdGenerator | None = None
        self._opens_ms = 0
        self._failure = ""
        self._changes = Changes()
        self._lease_wanted = trio.Event()
        self._taking = trio.Lock()
        self.given = 0
        """Ids given since the start."""

    async def run(self) -> NoReturn:
        """Keep the lease while this node is a member, until cancelled."""
        while True:
            await self._place.changes.wait_until(lambda: self._place.number != 0)
            wanted = self._lease_wanted = trio.Event()
            try:
                pause = RENEW_SECONDS if await self._renew() else RETRY_SECONDS
                self._failure = ""
            except OSError as error:
                self._failure = f"the file {self._path} can neither be read nor written: {error.strerror}"
                log.warning("no ids", reason=self._failure)
                pause = FAILURE_SECONDS
            if pause == RENEW_SECONDS:
                with trio.move_on_after(pause):
                    await wanted.wait()
            else:
                await trio.sleep(pause)

    async def _renew(self) -> bool:
        number = self._place.number
        if self._generator is None or self._generator.number != number:
            mark = await trio.to_thread.run_sync(
                functools.partial(read_mark, self._path, number, now_ms=self._clock())
            )
            self._opens_ms = mark.opens_ms
            self._generator = IdGenerator(number, mark_ms=mark.mark_ms)
        asked_ms = self._clock()
        if not await self._place.confirm():
            return False
        self._generator.extend_lease(asked_ms)
        self._changes.notify()
        return True

    async def take(self, count: int) -> list[int]:
        """This many new ids, 1 to 4096, ascending. A checkpoint; cancelled, it leaves at most a gap.

        Raises:
            IdError: so many are not given at once.
            IdsUnavailable: there are none now; says why and what to do.
            IdTimeOverflow: the clock says that 2095 is over.
        """
        if not 1 <= count <= MAX_COUNT:
            raise IdError(f"{count} ids cannot be had at once: ask for 1 to {MAX_COUNT}, several times")
        async with self._taking:
            missing: Obstacle | None = None
            with trio.move_on_after(PATIENCE_SECONDS):
                while True:
                    generator = self._member_generator()
                    if generator is not None:
                        now_ms = self._clock()
                        if now_ms < self._opens_ms:
                            raise _quarantined(generator.number, self._opens_ms - now_ms)
                        missing = generator.obstacle(now_ms, count)
                        if missing is None:
                            self.given += count
                            return generator.take(now_ms, count)
                    await self._overcome(generator, missing)
            raise self._refusal(missing)

    def _member_generator(self) -> IdGenerator | None:
        number = self._place.number
        if not number:
            raise IdsUnavailable(
                "it is no member of its cluster, not yet or not any more: see `wolfscale status`, and ask "
                "another node"
            )
        generator = self._generator
        return generator if generator is not None and generator.number == number else None

    async def _overcome(self, generator: IdGenerator | None, missing: Obstacle | None) -> None:
        match missing:
            case MarkNeeded(mark_ms=mark_ms) if generator is not None:
                await self._write(generator, mark_ms)
            case AheadOfClock(wait_ms=wait_ms):
                await trio.sleep(wait_ms / 1000)
            case _:
                self._lease_wanted.set()
                await self._changes.wait()

    async def _write(self, generator: IdGenerator, mark_ms: int) -> None:
        mark = Mark(number=generator.number, mark_ms=mark_ms, opens_ms=self._opens_ms)
        try:
            await trio.to_thread.run_sync(write_mark, self._path, mark)
        except OSError as error:
            raise IdsUnavailable(
                f"how far they have come cannot be recorded in {self._path}: {error.strerror}; is the disk "
                "full or failing?"
            ) from error
        generator.mark_written(mark_ms)

    def _refusal(self, missing: Obstacle | None) -> IdsUnavailable:
        match missing:
            case None if self._failure:
                return IdsUnavailable(self._failure)
            case AheadOfClock(wait_ms=wait_ms):
                return IdsUnavailable(
                    f"its clock says {_date(self._clock())}, more than an hour before the last ids or before "
                    "2026: set the clock right, or wait for it, or ask another node",
                    retry_ms=wait_ms,
                )
            case None | LeaseNeeded():
                return IdsUnavailable(
                    "no majority of the members has answered since its start or for an hour: is a majority "
                    "of the nodes running?"
                )
            case _:
                return IdsUnavailable(
                    f"its disk is too slow to record how far they have come in {self._path}"
                )


def _quarantined(number: int, wait_ms: int) -> IdsUnavailable:
    return IdsUnavailable(
        f"ids of its number {number} may have been given before, by a former member or before the file "
        f"{MARK_FILE} was damaged; it begins in {-(-wait_ms // 60_000)} minutes, ask another node until then",
        retry_ms=wait_ms,
    )


def _date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def read_mark(path: Path, number: int, *, now_ms: int) -> Mark:
    """Where the ids of a number begin; what must not be forgotten is on disk when this returns.

    Raises:
        OSError: the file can neither be read nor written.
    """
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=Mark)
    except FileNotFoundError:
        stored = None
    except msgspec.MsgspecError as error:
        log.warning(
            "the record of this node's ids is damaged: none for two hours", path=str(path), reason=str(error)
        )
        mark = Mark(number=number, opens_ms=now_ms + QUARANTINE_MS)
        write_mark(path, mark)
        return mark
    if stored is not None and stored.number == number:
        return stored
    mark = Mark(
        number=number,
        mark_ms=stored.mark_ms if stored is not None else EPOCH_MS,
        # The number 1024 is the first whose ten bits are 0.
        opens_ms=now_ms + QUARANTINE_MS if number > NODE_NUMBERS else 0,
    )
    if mark.opens_ms:
        write_mark(path, mark)
    return mark


def write_mark(path: Path, mark: Mark) -> None:
    """Put a mark on disk, whole or not at all.

    Raises:
        OSError: that failed; the old one is still there.
    """
    replace_file(path, msgspec.json.encode(mark) + b"\n", mode=0o644)
