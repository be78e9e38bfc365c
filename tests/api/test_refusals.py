"""What the log is told of refused requests."""

import logging

import pytest

from wolfscale.api.access import Asked, Refused
from wolfscale.api.refusals import PAUSE_SECONDS, RefusalLog


def test_first_refusal_is_told_and_further_ones_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    refusals = RefusalLog(lambda: now)

    def refuse(error: str, path: str = "/status") -> None:
        asked = Asked(method="GET", path=path, scheme="http", peer="192.0.2.1", headers={})
        refusals.note(asked, Refused(status=401, error=error, message=""))

    def told() -> list[tuple[object, ...]]:
        found = [getattr(record, "wolfscale_fields") for record in caplog.records]  # noqa: B009
        caplog.clear()
        assert all(len(fields["path"]) <= 100 for fields in found)
        return [(fields["error"], fields["times"], fields["peer"]) for fields in found]

    refuse("unauthorized")
    assert told() == [("unauthorized", 1, "192.0.2.1")]
    for _ in range(1000):
        refuse("unauthorized", "/" + "x" * 10_000)
    assert told() == []
    refuse("foreign_origin")
    assert told() == [("foreign_origin", 1, "192.0.2.1")]
    now += PAUSE_SECONDS
    refuse("unauthorized", "/" + "x" * 10_000)
    assert told() == [("unauthorized", 1001, "192.0.2.1")]
