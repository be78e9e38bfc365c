"""The cheap histogram: where values are counted, and what its quantiles say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.histogram import LATENCY_BOUNDS_SECONDS, Histogram, counts_between, quantile


def test_value_is_counted_by_the_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    histogram.observe(1.5, times=3)
    assert histogram.counts == [2, 5, 1]
    assert histogram.count == 8
    assert histogram.total == pytest.approx(18.5)


def test_bounds_of_latencies_ascend() -> None:
    assert list(LATENCY_BOUNDS_SECONDS) == sorted(set(LATENCY_BOUNDS_SECONDS))
    assert (LATENCY_BOUNDS_SECONDS[0], LATENCY_BOUNDS_SECONDS[-1]) == (0.0001, 10.0)


def test_quantile_of_nothing_is_unknown() -> None:
    assert quantile((1.0, 2.0), [0, 0, 0], 0.5) is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [([10, 0, 0], 0.5, 0.5), ([0, 10, 0], 0.5, 1.5), ([5, 5, 0], 0.99, 1.98), ([0, 0, 1], 0.5, 2.0)],
)
def test_quantile_is_interpolated_within_its_bucket(counts: list[int], share: float, expected: float) -> None:
    assert quantile((1.0, 2.0), counts, share) == pytest.approx(expected)


@given(st.lists(st.floats(0.0001, 9.9), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    estimate = quantile(histogram.bounds, histogram.counts, share)
    true = sorted(values)[max(0, -(-int(share * 100) * len(values) // 100) - 1)]
    assert estimate is not None
    bound = next(bound for bound in histogram.bounds if bound >= true)
    below = max((b for b in histogram.bounds if b < true), default=0.0)
    assert below - 1e-9 <= estimate <= bound + 1e-9


def test_counts_between_two_moments_are_the_difference() -> None:
    assert counts_between([1, 2, 0], [4, 2, 1]) == [3, 0, 1]
