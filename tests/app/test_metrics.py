"""Metrics: from samples to what Prometheus reads, and the table that names them all."""

import math
import re
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from wolfscale.api.models import ProxyStatus
from wolfscale.api.requests import RequestCounts
from wolfscale.app.observation.metrics import database, process, proxy, raft, replication
from wolfscale.app.observation.metrics.collector import registry_of
from wolfscale.app.observation.metrics.metric import Kind, Metric, Sample
from wolfscale.app.observation.metrics.page import alert_rules, metrics_page
from wolfscale.app.observation.metrics.table import METRICS
from wolfscale.histogram import Histogram
from wolfscale.proxy.statistics import Statistics
from wolfscale.replication.captured import CaptureStatistics
from wolfscale.replication.notice import HostNotice, MemberNotice
from wolfscale.replication.roles import DatabaseState
from wolfscale.replication.statistics import LifecycleStatistics
from wolfscale.testing.statuses import node

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def families(*samples: Sample, openmetrics: bool = False) -> dict[str, Family]:
    registry = registry_of(lambda: samples)
    if openmetrics:
        text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
        parsed = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    else:
        parsed = text_string_to_metric_families(generate_latest(registry).decode())
    return {family.name: family for family in parsed}


both_formats = pytest.mark.parametrize("read", [families, partial(families, openmetrics=True)])


@both_formats
def test_numbers_come_out_with_their_labels(read: Callable[..., dict[str, Family]]) -> None:
    found = read(
        Sample(raft.TERM, 7),
        Sample(database.DEMOTIONS, 2, ("planned",)),
        Sample(database.DEMOTIONS, 1, ("forced",)),
    )
    assert [sample.value for sample in found["wolfscale_raft_term"].samples] == [7.0]
    assert {(sample.name, sample.labels["kind"]): sample.value for sample in _of(found, "demotions")} == {
        ("wolfscale_demotions_total", "planned"): 2.0,
        ("wolfscale_demotions_total", "forced"): 1.0,
    }


def _of(found: dict[str, Family], name: str) -> list:  # type: ignore[type-arg]
    return [sample for sample in found[f"wolfscale_{name}"].samples if not sample.name.endswith("_created")]


@both_formats
def test_histogram_counts_up_to_each_bound(read: Callable[..., dict[str, Family]]) -> None:
    histogram = Histogram((0.001, 0.01))
    for value in (0.0005, 0.005, 0.005, 1.0):
        histogram.observe(value)
    samples = _of(read(Sample(raft.COMMIT_SECONDS, histogram)), "raft_commit_seconds")
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert buckets == {"0.001": 1.0, "0.01": 3.0, "+Inf": 4.0}
    rest = {sample.name: sample.value for sample in samples if "le" not in sample.labels}
    assert rest["wolfscale_raft_commit_seconds_count"] == 4.0
    assert math.isclose(rest["wolfscale_raft_commit_seconds_sum"], 1.0105)


@both_formats
def test_exactly_one_state_holds(read: Callable[..., dict[str, Family]]) -> None:
    notice = MemberNotice(state=DatabaseState.CLONE_NEEDED, server_version='10.11 "odd"\\n')
    found = read(*database.database_samples(notice))
    states = {
        sample.labels["wolfscale_mariadb_state"]: sample.value for sample in _of(found, "mariadb_state")
    }
    assert set(states) == {state.value for state in DatabaseState}
    assert [state for state, holds in states.items() if holds] == ["clone needed"]
    (info,) = [family for name, family in found.items() if name.startswith("wolfscale_mariadb_info")] or [
        found["wolfscale_mariadb"]
    ]
    assert info.samples[0].labels == {"version": '10.11 "odd"\\n'}


def test_every_counter_of_a_worker_is_a_metric() -> None:
    counted = {item.name for item in fields(Statistics)} - {"sessions"}
    assert counted <= set(proxy.COUNTERS), "name the new counter in app/observation/metrics/proxy.py"
    status = ProxyStatus(sessions=3, counters={"local_statements": 5, "leader_statements": 6})
    found = families(*proxy.proxy_samples(status))
    assert {s.labels["target"]: s.value for s in _of(found, "proxy_statements")} == {"local": 5, "leader": 6}
    assert [s.value for s in _of(found, "proxy_sessions")] == [3.0]


def test_every_number_of_capture_and_lifecycle_is_a_metric() -> None:
    capture = CaptureStatistics()
    lifecycle = LifecycleStatistics()
    for number, item in enumerate(fields(capture), 100):
        if item.name != "ack_seconds":
            setattr(capture, item.name, number)
    for number, item in enumerate(fields(lifecycle), 200):
        if item.name != "capture":
            setattr(lifecycle, item.name, number)
    shown = {sample.value for sample in replication.capture_samples(capture)}
    # Which of two ways ended a group is of interest to tests only.
    expected = {getattr(capture, item.name) for item in fields(capture) if item.name != "ends_by_flag"}
    assert shown == expected
    shown = {sample.value for sample in database.lifecycle_samples(lifecycle)}
    assert shown == {getattr(lifecycle, item.name) for item in fields(lifecycle) if item.name != "capture"}


def test_requests_are_counted_by_route_and_nothing_that_a_caller_makes_up() -> None:
    counts = RequestCounts()
    counts.note("GET", "/status", 200, 0.001)
    counts.note("HEAD", "/status", 200, 0.001)
    counts.note("BREW", "/made/up", 405, 0.001)
    found = families(*process.request_samples(counts))
    labels = [(s.labels["method"], s.labels["route"], s.labels["status"]) for s in _of(found, "api_requests")]
    assert labels == [("GET", "/status", "200"), ("other", "other", "405")]
    assert [s.value for s in _of(found, "api_requests")] == [2.0, 1.0]


def test_process_shows_its_own_cost() -> None:
    status = node()
    host = HostNotice(disk_total_bytes=100, disk_free_bytes=10)
    found = families(*process.process_samples(status.name, status.id, status.process, host))
    assert found["wolfscale_process_open_fds"].samples[0].value > 2
    assert found["wolfscale_disk_free_bytes"].samples[0].value == 10


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"wolfscale_[a-z][a-z0-9_]*", metric.name)
    assert not metric.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    assert metric.meaning.endswith(".")
    assert "|" not in metric.meaning
    if metric.kind is Kind.HISTOGRAM:
        assert metric.name.endswith("_seconds")


def test_names_are_given_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


def test_page_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == metrics_page(), "run: make reference"


def test_alerts_speak_of_metrics_that_are_there() -> None:
    shown = {metric.shown_name for metric in METRICS}
    shown |= {f"{metric.name}_bucket" for metric in METRICS if metric.kind is Kind.HISTOGRAM}
    named = set(re.findall(r"wolfscale_\w+", alert_rules()))
    assert named
    assert named <= shown
