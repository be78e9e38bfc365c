"""Waits in the proxy and what a KILL does to them, without a server."""

import pytest
import trio
import trio.testing

from wolfscale.proxy.errors import ConnectionKilled, ProxyError, QueryInterrupted
from wolfscale.proxy.waits import Waits


@pytest.mark.parametrize(
    ("kill", "error"), [(Waits.interrupt, QueryInterrupted), (Waits.end, ConnectionKilled)]
)
async def test_wait_is_given_up_at_once(kill: object, error: type[ProxyError]) -> None:
    waits = Waits()
    ends: list[type[BaseException]] = []

    async def wait() -> None:
        try:
            with waits.interruptible("outside"), waits.interruptible("inside"):
                await trio.sleep_forever()
        except ProxyError as raised:
            ends.append(type(raised))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert waits.state == "inside"
        assert callable(kill)
        assert kill(waits)
    assert ends == [error]
    assert waits.state == ""


async def test_interruption_of_what_runs_on_a_server_ends_the_commands_next_wait() -> None:
    waits = Waits()
    waits.begin_command()
    assert not waits.interrupt()
    with pytest.raises(QueryInterrupted), waits.interruptible("for a leader"):
        pytest.fail("it must not begin to wait")
    # Another command knows nothing of it.
    waits.begin_command()
    with waits.interruptible("for a leader"):
        await trio.lowlevel.checkpoint()
    waits.check()


async def test_end_of_a_session_that_does_not_wait_is_not_theirs() -> None:
    waits = Waits()
    assert not waits.end()
    waits.check()


async def test_what_only_has_a_name_goes_on() -> None:
    waits = Waits()
    with waits.named("Waiting for a majority"):
        assert waits.state == "Waiting for a majority"
        assert not waits.interrupt()
        await trio.lowlevel.checkpoint()
    assert waits.state == ""


async def test_wait_that_is_cancelled_from_outside_stays_cancelled() -> None:
    waits = Waits()
    with trio.move_on_after(0) as scope, waits.interruptible("for a leader"):
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert waits.state == ""
