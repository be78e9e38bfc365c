"""The image is built only when somebody asks for it."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "image" in config.option.markexpr:
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("image"):
            item.add_marker(pytest.mark.skip(reason="only with `make image-test`"))
