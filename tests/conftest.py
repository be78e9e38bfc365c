"""Async tests run under trio; `@pytest.mark.autojump` gives them trio's MockClock."""

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterator

import hypothesis
import pytest
import trio
import trio.testing
from xdist.scheduler import LoadFileScheduling

LIMIT_SECONDS = 600.0
"""No test takes longer; one that waits for what never comes must not take the whole run with it."""

hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile("brief", hypothesis.settings.get_profile("fixed"), max_examples=25)
hypothesis.settings.register_profile(
    "chaos", deadline=None, print_blob=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile(os.environ.get("WOLFSCALE_HYPOTHESIS", "fixed"))


LONGEST_FIRST = ("faults", "cluster", "browser", "mariadb", "slow")
"""Kinds of tests by how long their files take."""


MOUNTING = ("tests/faults/", "tests/containers/", "tests/replication/test_servers_on.py")
"""Tests of one process: a mount namespace that one of them makes keeps the others' disks mounted."""


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]
    """All tests of a file go to one process, and so do all tests that mount something."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "mounting" if file.startswith(MOUNTING) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files so that no long one is begun last, while other processes have nothing left to do."""
    ranks: dict[object, int] = {}
    for item in items:
        rank = next(
            (rank for rank, mark in enumerate(LONGEST_FIRST) if item.get_closest_marker(mark)),
            len(LONGEST_FIRST),
        )
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if pyfuncitem.get_closest_marker("autojump"):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(lambda: pyfuncitem.obj(**arguments), clock=clock)
    else:
        trio.run(_within_limit, lambda: pyfuncitem.obj(**arguments))
    return True


async def _within_limit(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test; one that does not end is told where all its tasks stand, and cancelled."""
    with trio.CancelScope() as scope:
        # A nursery here would wrap what the test raises.
        trio.lowlevel.spawn_system_task(_cancel_at_limit, scope, trio.lowlevel.current_task())
        await test()
    if scope.cancelled_caught:
        pytest.fail(f"the test has not ended within {LIMIT_SECONDS:.0f} s")


async def _cancel_at_limit(scope: trio.CancelScope, task: trio.lowlevel.Task) -> None:
    await trio.sleep(LIMIT_SECONDS)
    print("where the test's tasks stand:", *_stacks(task), sep="\n", file=sys.stderr)
    scope.cancel()


def _stacks(task: trio.lowlevel.Task) -> Iterator[str]:
    yield task.name
    for frame, line in task.iter_await_frames():
        yield f"    {frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _stacks(child)
