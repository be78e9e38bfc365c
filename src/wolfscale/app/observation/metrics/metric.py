"""What a metric is, and what a part gives for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from wolfscale.histogram import Histogram


class Kind(StrEnum):
    """A metric's type in Prometheus' words."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """Shown with the suffix `_total`."""
    HISTOGRAM = "histogram"
    INFO = "info"
    """Always 1, its labels say something; shown with the suffix `_info`."""
    STATES = "stateset"
    """1 for the state that holds, 0 for the others; its label is named like the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the table.

    Attributes:
        name: without the suffix that its kind adds.
        kind: its type.
        meaning: for people.
        labels: their names.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def shown_name(self) -> str:
        """As it is written in queries."""
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        return self.name + suffix


Value = float | Histogram | Mapping[str, bool] | Mapping[str, str]
"""A number; a histogram; for a state set each state and whether it holds; for an info its labels."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A metric's value for one set of labels.

    Attributes:
        metric: which.
        value: what it is now.
        labels: the labels' values, in the order of their names.
    """

    metric: Metric
    value: Value
    labels: tuple[str, ...] = ()


Samples = Iterator[Sample]


def gauge(name: str, meaning: str, *labels: str) -> Metric:
    """A value that goes up and down."""
    return Metric(name=f"wolfscale_{name}", kind=Kind.GAUGE, meaning=meaning, labels=labels)


def counter(name: str, meaning: str, *labels: str) -> Metric:
    """A value that only grows, from 0 at the node's start."""
    return Metric(name=f"wolfscale_{name}", kind=Kind.COUNTER, meaning=meaning, labels=labels)


def histogram(name: str, meaning: str) -> Metric:
    """How values are spread."""
    return Metric(name=f"wolfscale_{name}", kind=Kind.HISTOGRAM, meaning=meaning)


def info(name: str, meaning: str) -> Metric:
    """Something to be known that is no number."""
    return Metric(name=f"wolfscale_{name}", kind=Kind.INFO, meaning=meaning)


def states(name: str, meaning: str) -> Metric:
    """One of several states."""
    return Metric(name=f"wolfscale_{name}", kind=Kind.STATES, meaning=meaning)
