"""The bridge to prometheus-client: samples in, metric families out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import cast

import prometheus_client.core as prometheus
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wolfscale.app.observation.metrics.metric import Kind, Metric, Sample
from wolfscale.app.observation.metrics.table import METRICS
from wolfscale.histogram import Histogram


class SampleCollector(Collector):
    """Asks for all samples at each scrape.

    Args:
        samples: reads the live objects; must be quick.
    """

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[prometheus.Metric]:
        """One family for each metric that has samples, in the table's order."""
        found: dict[Metric, list[Sample]] = {}
        for sample in self._samples():
            found.setdefault(sample.metric, []).append(sample)
        for metric in METRICS:
            if metric in found:
                yield _family(metric, found[metric])


def registry_of(samples: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """A registry of its own with nothing else in it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SampleCollector(samples))
    return registry


def _family(metric: Metric, samples: Iterable[Sample]) -> prometheus.Metric:
    name, meaning, labels = metric.name, metric.meaning, metric.labels
    match metric.kind:
        case Kind.GAUGE:
            gauge = prometheus.GaugeMetricFamily(name, meaning, labels=labels)
            for sample in samples:
                gauge.add_metric(sample.labels, float(cast(float, sample.value)))
            return gauge
        case Kind.COUNTER:
            counter = prometheus.CounterMetricFamily(name, meaning, labels=labels)
            for sample in samples:
                counter.add_metric(sample.labels, float(cast(float, sample.value)))
            return counter
        case Kind.HISTOGRAM:
            histogram = prometheus.HistogramMetricFamily(name, meaning, labels=labels)
            for sample in samples:
                value = cast(Histogram, sample.value)
                histogram.add_metric(sample.labels, _buckets(value), value.total)
            return histogram
        case Kind.INFO:
            info = prometheus.InfoMetricFamily(name, meaning)
            for sample in samples:
                info.add_metric((), dict(cast(Mapping[str, str], sample.value)))
            return info
        case Kind.STATES:
            states = prometheus.StateSetMetricFamily(name, meaning)
            for sample in samples:
                states.add_metric((), dict(cast(Mapping[str, bool], sample.value)))
            return states


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus' buckets count everything below their bound."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(histogram.counts), strict=True)]
