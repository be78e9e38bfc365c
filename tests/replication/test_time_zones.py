"""The words for a server's time zone."""

import pytest

from wolfscale.replication.time_zones import time_zone


@pytest.mark.parametrize(
    ("january", "july", "words"),
    [
        ("00:00:00", "00:00:00", "UTC+00:00"),
        ("01:00:00", "02:00:00", "UTC+01:00, in July UTC+02:00"),
        ("-03:30:00.000000", "-02:30:00", "UTC-03:30, in July UTC-02:30"),
        (None, None, ""),
    ],
)
def test_zone_is_its_distance_to_utc(january: str | None, july: str | None, words: str) -> None:
    assert time_zone(january, july) == words
