"""Clusters for tests: one for a whole module, made anew only after a test that failed."""

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import trio
from cluster_logs import assert_no_secret
from cluster_under_test import ClusterUnderTest

from wolfscale.demo.plan import Settings

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # PyMySQL leaks its socket when a unix socket refuses the connection (1.1, `Connection.connect`).
    leaks = pytest.mark.filterwarnings("ignore:.*socket.socket.*family=1:Warning")
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(leaks)


class ClusterSource:
    """Hands out the module's cluster."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: ClusterUnderTest | None = None

    def get(self) -> ClusterUnderTest:
        """The cluster, all nodes serving."""
        if self._cluster is None:
            self._cluster = ClusterUnderTest(settings=self._settings)
            trio.run(self._cluster.start)
        return self._cluster

    def close(self, *, keep_files: bool = False) -> None:
        """Stop the cluster; the next one is new."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        trio.run(cluster.stop)
        if not keep_files:
            try:
                assert_no_secret(cluster)
            finally:
                cluster.remove_files()


@pytest.fixture(scope="module")
def cluster_source(request: pytest.FixtureRequest) -> Iterator[ClusterSource]:
    """The module's `SETTINGS` are keys of wolfscale.toml for all nodes, by section."""
    source = ClusterSource(getattr(request.module, "SETTINGS", {}))
    try:
        yield source
    finally:
        source.close()


@pytest.fixture
def cluster(cluster_source: ClusterSource, request: pytest.FixtureRequest) -> Iterator[ClusterUnderTest]:
    """Three nodes that serve; a test may do to them what it likes but must leave them so."""
    found = cluster_source.get()
    yield found
    gc.collect()
    if request.node.stash.get(FAILED, False):
        for number in found.numbers:
            print(f"--- node-{number}, {found.node(number).log_path}\n{found.log_tail(number, 40)}")
        cluster_source.close(keep_files=True)
