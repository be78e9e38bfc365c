"""The last minutes in bounded memory."""

import sys

from wolfscale.app.observation.history import KEPT_SAMPLES, NAMES, Samples


def test_samples_come_back_in_order_with_gaps_as_unknown() -> None:
    samples = Samples(kept=4)
    samples.add(10.0, {"sessions": 1, "commit_p50_ms": None})
    samples.add_gap(1)
    samples.add(12.0, {"sessions": 3.00049})
    history = samples.history()
    assert history.series.sessions == (1.0, None, 3.0)
    assert history.series.commit_p50_ms == (None, None, None)
    assert (history.end_time, history.interval_seconds) == (12.0, 1)


def test_all_series_are_as_long_as_each_other_and_the_oldest_values_go() -> None:
    samples = Samples(kept=3)
    for number in range(5):
        samples.add(float(number), {"sessions": number})
    series = samples.history().series
    assert series.sessions == (2.0, 3.0, 4.0)
    assert {len(getattr(series, name)) for name in NAMES} == {3}


def test_gap_longer_than_what_is_kept_leaves_nothing_known() -> None:
    samples = Samples(kept=3)
    samples.add(1.0, {"sessions": 1})
    samples.add_gap(1_000_000)
    assert samples.history().series.sessions == (None, None, None)


def test_ten_minutes_take_less_than_a_mebibyte() -> None:
    samples = Samples()
    for number in range(2 * KEPT_SAMPLES):
        samples.add(float(number), dict.fromkeys(NAMES, 1.5))
    assert sum(sys.getsizeof(series) for series in samples._series.values()) < 1 << 20
    assert len(samples.history().series.sessions) == KEPT_SAMPLES


def test_history_survives_the_json_that_it_travels_as() -> None:
    samples = Samples(kept=2)
    samples.add(1.0, {"sessions": 1})
    history = samples.history()
    assert type(history).model_validate_json(history.model_dump_json()) == history
