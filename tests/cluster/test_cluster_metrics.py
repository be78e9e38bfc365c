"""What the nodes of a cluster show of themselves while writers run and the leader is killed."""

import urllib.request
from collections.abc import Mapping

import pytest
import trio
from cluster_clients import Client
from cluster_under_test import PATIENCE, POLL_SECONDS, ClusterUnderTest
from cluster_writing import writers_running
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from wolfscale.api.client import ask
from wolfscale.api.dashboard_models import DashboardData
from wolfscale.app.observation.metrics.metric import Kind
from wolfscale.app.observation.metrics.table import METRICS
from wolfscale.demo.cluster import Part

pytestmark = pytest.mark.cluster

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
READS = 50

Scrape = dict[str, float]
"""Values by the sample's name, with the labels in braces where there are any."""


async def metrics_text(cluster: ClusterUnderTest, number: int, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"{cluster.node(number).endpoint}/metrics", headers={"Accept": accept})

    def get() -> str:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.headers["Content-Type"].startswith(accept.partition(";")[0])
            return str(answer.read(), "utf-8")

    return await trio.to_thread.run_sync(get)


async def scrape(cluster: ClusterUnderTest, number: int) -> Scrape:
    families = text_string_to_metric_families(await metrics_text(cluster, number))
    return {_key(s.name, s.labels): s.value for family in families for s in family.samples}


def _key(name: str, labels: Mapping[str, str]) -> str:
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return name.removeprefix("wolfscale_") + (f"{{{shown}}}" if shown else "")


async def wait_scrape(cluster: ClusterUnderTest, number: int, name: str, least: float) -> Scrape:
    """Scrape until a value is reached."""
    with trio.fail_after(PATIENCE):
        while True:
            found = await scrape(cluster, number)
            if found.get(name, 0.0) >= least:
                return found
            await trio.sleep(POLL_SECONDS)


async def dashboard(cluster: ClusterUnderTest, number: int) -> DashboardData:
    answer = await ask(cluster.node(number).endpoint, "/dashboard/data", timeout_seconds=PATIENCE)
    assert answer.status == 200
    return DashboardData.model_validate(answer.body)


async def test_all_metrics_are_there_and_well_formed(cluster: ClusterUnderTest) -> None:
    await cluster.wait_level()
    leader = await cluster.wait_writable()
    await scrape(cluster, leader)  # so that a request has been counted
    found = await scrape(cluster, leader)
    for metric in METRICS:
        suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
        name = (metric.shown_name + suffix).removeprefix("wolfscale_")
        assert any(key == name or key.startswith(name + "{") for key in found), metric.shown_name
    families = list(
        openmetrics.text_string_to_metric_families(  # type: ignore[no-untyped-call]
            await metrics_text(cluster, leader, OPENMETRICS)
        )
    )
    assert {family.name for family in families} == {metric.name for metric in METRICS}


async def test_counters_move_with_writes_and_reads(cluster: ClusterUnderTest) -> None:
    leader = await cluster.wait_writable()
    follower = cluster.followers(leader)[0]
    before = {number: await scrape(cluster, number) for number in cluster.numbers}
    async with writers_running(cluster) as writers:
        acknowledged = len(writers.record.acknowledged)
        connection = await trio.to_thread.run_sync(lambda: cluster.clients.connect(follower))
        await trio.to_thread.run_sync(_read, connection)
        at_leader = await wait_scrape(
            cluster,
            leader,
            "capture_groups_total",
            before[leader]["capture_groups_total"] + acknowledged,
        )
        at_follower = await wait_scrape(
            cluster, follower, "feed_groups_total", before[follower]["feed_groups_total"] + acknowledged
        )
        key = "proxy_statements_total{target=local}"
        await wait_scrape(cluster, follower, key, before[follower][key] + READS)

    for name in (
        "capture_bytes_total",
        "capture_acknowledgements_total",
        "capture_ack_seconds_count",
        "raft_commit_seconds_count",
        "raft_proposed_bytes_total",
        "wal_appended_bytes_total",
        "wal_fsync_seconds_count",
        "raft_commit_index",
        "mariadb_committed_sequence",
    ):
        assert at_leader[name] > before[leader][name], name
    assert at_leader["capture_ack_seconds_bucket{le=+Inf}"] == at_leader["capture_ack_seconds_count"]
    assert 0 < at_leader["raft_commit_seconds_sum"] < PATIENCE * at_leader["raft_commit_seconds_count"]
    for name in ("wal_fsync_seconds_count", "feed_bytes_total", "mariadb_applied_sequence"):
        assert at_follower[name] > before[follower][name], name
    assert at_follower["raft_commit_seconds_count"] == before[follower]["raft_commit_seconds_count"]
    assert (at_leader["mariadb_writable"], at_follower["mariadb_writable"]) == (1.0, 0.0)
    assert at_leader["mariadb_state{wolfscale_mariadb_state=primary}"] == 1.0
    assert at_follower["mariadb_state{wolfscale_mariadb_state=replica}"] == 1.0
    assert at_leader["peers_connected"] == len(cluster.numbers) - 1
    assert at_leader["raft_spare_voters"] == 1.0
    name = f"node-{follower}"
    assert at_leader[f"peer_match_index{{peer={name}}}"] > before[leader][f"peer_match_index{{peer={name}}}"]


def _read(connection: Client) -> None:
    with connection, connection.cursor() as cursor:
        for _ in range(READS):
            cursor.execute("SELECT COUNT(*) FROM totals")


async def test_killed_leader_shows_in_counters_events_and_findings(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster) as writers:
        old = await cluster.wait_writable()
        before = {number: await scrape(cluster, number) for number in cluster.followers(old)}
        cluster.kill(old, Part.BOTH)
        new = await cluster.wait_successor(old)
        await writers.wait_acknowledged()
        after = {number: await scrape(cluster, number) for number in cluster.followers(old)}
        seen = await dashboard(cluster, new)
        cluster.launch(old)
        await cluster.wait_serving()
        await writers.wait_acknowledged()
        returned = await scrape(cluster, old)

    for number, counted in after.items():
        assert counted["raft_leader_changes_total"] > before[number]["raft_leader_changes_total"]
        assert counted["raft_term"] > before[number]["raft_term"]
        assert counted["raft_spare_voters"] == 0.0
        assert counted[f"peer_connected{{peer=node-{old}}}"] == 0.0
    for name in ("raft_elections_total", "raft_elections_won_total", "promotions_total"):
        assert after[new][name] > before[new][name], name
    whats = [finding.what for finding in seen.findings]
    assert any(what.startswith(f"node-{old} (") and "not been heard from" in what for what in whats), whats
    assert any("one more voter lost" in what for what in whats), whats
    assert {"leader", "promotion", "member"} <= {event.kind for event in seen.events}
    times = [event.time for event in seen.events]
    assert times == sorted(times, reverse=True)
    assert returned["recoveries_total"] >= 1.0
    assert returned["process_uptime_seconds"] < PATIENCE


async def test_history_shows_commits_and_their_latency_on_every_node(cluster: ClusterUnderTest) -> None:
    async with writers_running(cluster, count=len(cluster.numbers)):
        for number in cluster.numbers:
            with trio.fail_after(PATIENCE):
                while not _shows_commits(data := await dashboard(cluster, number)):
                    await trio.sleep(POLL_SECONDS)
            lengths = {len(values) for _, values in data.history.series}
            assert len(lengths) == 1
            assert data.node == f"node-{number}"
            assert data.statements.leader + data.statements.local > 0


def _shows_commits(data: DashboardData) -> bool:
    series = data.history.series
    return any(series.commits_per_second[-3:]) and any(series.commit_p99_ms[-3:])
