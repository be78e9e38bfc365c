"""Async tests run under trio; `@pytest.mark.autojump` gives them trio's MockClock."""

import inspect
import os

import hypothesis
import pytest
import trio
import trio.testing

hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "chaos", deadline=None, print_blob=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile(os.environ.get("WOLFSCALE_HYPOTHESIS", "fixed"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock = (
        trio.testing.MockClock(autojump_threshold=0) if pyfuncitem.get_closest_marker("autojump") else None
    )

    async def run() -> None:
        await pyfuncitem.obj(**arguments)

    trio.run(run, clock=clock)
    return True
