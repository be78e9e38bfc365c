"""How long a read waits for the server beside the node, and that the next ones do not wait for the same."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from wolfscale.proxy.connections import Bounds
from wolfscale.proxy.consistency import SessionConsistency
from wolfscale.proxy.freshness import Freshness
from wolfscale.proxy.view import View, Views
from wolfscale.proxy.waits import Waits

SECONDS = 5.0


def at(applied: int, *, committed: int = 100) -> View:
    return View(
        term=1, writable=True, database_ready=True, committed_sequence=committed, applied_sequence=applied
    )


def freshness(views: Views, written: int) -> Freshness:
    """Of a session that has written up to this sequence."""
    consistency = SessionConsistency()
    consistency.on_written(written)
    connections: Any = SimpleNamespace(waits=Waits(), writer=None)
    backends: Any = SimpleNamespace(views=views)
    return Freshness(connections, backends, consistency, Bounds(replica_seconds=SECONDS))


async def waited(reads: Freshness) -> tuple[bool, float]:
    """What came of it, and how long it took."""
    began = trio.current_time()
    return await reads.wait_applied(), trio.current_time() - began


@pytest.mark.autojump
async def test_only_the_first_read_waits_for_a_server_that_is_far_behind() -> None:
    views = Views(at(10))
    assert await waited(freshness(views, 20)) == (False, SECONDS)
    assert await waited(freshness(views, 20)) == (False, 0)
    assert await waited(freshness(views, 30)) == (False, 0)
    assert await waited(freshness(views, 10)) == (True, 0)
    views.update(at(19))
    assert await waited(freshness(views, 30)) == (False, 0)
    views.update(at(20))
    assert await waited(freshness(views, 30)) == (False, SECONDS)
    assert await waited(freshness(views, 31)) == (False, 0)


@pytest.mark.autojump
async def test_read_waits_for_a_server_that_catches_up() -> None:
    views = Views(at(10))

    async def catch_up() -> None:
        await trio.sleep(SECONDS / 2)
        views.update(at(20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch_up)
        assert await waited(freshness(views, 20)) == (True, SECONDS / 2)
    assert views.missed_sequence == 0


@pytest.mark.autojump
async def test_what_no_log_has_is_not_waited_for_by_the_others() -> None:
    views = Views(at(10, committed=12))
    assert await waited(freshness(views, 1000)) == (False, SECONDS)
    views.update(at(12, committed=12))
    assert await waited(freshness(views, 12)) == (True, 0)
    assert await waited(freshness(views, 13)) == (False, SECONDS)
