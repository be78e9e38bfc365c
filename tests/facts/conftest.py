"""One cluster for all facts that need one; made anew only after a test that failed."""

import gc
from collections.abc import Generator, Iterator

import pytest
from facts_on_a_cluster import FactCluster

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


class ClusterSource:
    """Hands out the cluster."""

    def __init__(self) -> None:
        self._cluster: FactCluster | None = None

    def get(self) -> FactCluster:
        if self._cluster is None:
            self._cluster = FactCluster()
            self._cluster.start()
        return self._cluster

    def close(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.stop()


@pytest.fixture(scope="session")
def cluster_source() -> Iterator[ClusterSource]:
    source = ClusterSource()
    try:
        yield source
    finally:
        source.close()


@pytest.fixture
def cluster(cluster_source: ClusterSource, request: pytest.FixtureRequest) -> Iterator[FactCluster]:
    """Three nodes that serve, with proxies; a test must leave them so."""
    found = cluster_source.get()
    found.settle()
    yield found
    found.close_clients()
    gc.collect()
    if request.node.stash.get(FAILED, False):
        for number in found.numbers:
            print(f"--- node-{number}\n{found.log_tail(number, 40)}")
        cluster_source.close()
