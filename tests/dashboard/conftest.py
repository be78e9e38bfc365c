"""One browser for all tests of a worker, and a node for each test."""

from collections.abc import Iterator

import pytest
from page_node import FakeNode

from wolfscale.testing.chromium import Chromium, find_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A running browser."""
    binary = find_chromium()
    if binary is None:
        pytest.skip("no Chromium here: make browser-packages")
    browser = Chromium(binary)
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def node() -> FakeNode:
    """A healthy node; not served yet."""
    return FakeNode()
