import pytest

from wolfscale.api.health import WantedRole, cluster_nodes, cluster_summary, health
from wolfscale.api.models import DatabaseState, DatabaseStatus, NodeStatus, RaftRole
from wolfscale.testing.statuses import follower, member, node


@pytest.mark.parametrize("status", [node(), follower()])
def test_health_of_a_serving_node_is_good(status: NodeStatus) -> None:
    assert health(status).healthy
    assert health(status).reason == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (node(leader=None, role=RaftRole.CANDIDATE), "knows no leader"),
        (node(state=DatabaseState.CLONING), "'cloning'"),
        (node(state=DatabaseState.FAILED, reason="disk full"), "disk full"),
        (node(state=DatabaseState.PROMOTING, writable=False), "'promoting'"),
        (node(role=RaftRole.LEARNER, state=DatabaseState.REPLICA), "this node is a learner"),
        (node(role=RaftRole.JOINING), "this node is joining"),
        (node(role=RaftRole.WITNESS, state=DatabaseState.NONE), "this node is a witness"),
    ],
)
def test_health_of_a_node_that_cannot_serve_says_why(status: NodeStatus, reason: str) -> None:
    answer = health(status)
    assert not answer.healthy
    assert reason in answer.reason


def test_health_as_leader_needs_leadership_and_writability() -> None:
    assert health(node(), WantedRole.LEADER).healthy
    assert health(follower(), WantedRole.LEADER).reason == "the leader is node-1"
    unready = node(state=DatabaseState.REPLICA, writable=False)
    assert health(unready).healthy
    assert "does not take writes yet" in health(unready, WantedRole.LEADER).reason


def test_health_as_replica_excludes_the_leader() -> None:
    assert health(follower(), WantedRole.REPLICA).healthy
    assert not health(node(), WantedRole.REPLICA).healthy


def test_cluster_summary_counts_voters_and_those_alive() -> None:
    members = (member(1, writable=True), member(2, alive=False), member(3), member(4, suffrage="learner"))
    summary = cluster_summary(node(members=members))
    assert (summary.voters, summary.alive_voters, summary.writable) == (3, 2, True)
    assert summary.seen_by == "node-1"


def test_cluster_summary_of_a_dead_writer_is_not_writable() -> None:
    assert not cluster_summary(node(members=(member(1, writable=True, alive=False),))).writable


def test_nodes_are_shown_with_what_each_does_and_why_it_cannot_serve() -> None:
    lost = member(2, alive=False, writable=True)
    cloning = member(3).model_copy(
        update={"database": DatabaseStatus(state=DatabaseState.CLONING, reason="new")}
    )
    members = (
        member(1, writable=True),
        lost,
        cloning,
        member(4, suffrage="witness"),
        member(5, suffrage="learner"),
    )
    shown = {entry.number: entry for entry in cluster_nodes(node(members=members)).nodes}
    roles = [shown[number].role.value for number in sorted(shown)]
    assert roles == ["leader", "follower", "follower", "witness", "learner"]
    assert [shown[number].healthy for number in sorted(shown)] == [True, False, False, False, False]
    assert shown[1].writable
    assert not shown[2].writable
    assert shown[2].reason == "node-1 has not heard from it lately"
    assert shown[3].reason == "MariaDB is in state 'cloning': new"
    assert (shown[4].reason, shown[5].reason) == ("it is a witness", "it is a learner")
    assert shown[1].peer_address == "127.0.0.1:7400"


def test_nodes_as_a_follower_sees_them_name_the_leader() -> None:
    nodes = cluster_nodes(follower(2))
    assert nodes.seen_by == "node-2"
    assert [entry.role for entry in nodes.nodes] == [RaftRole.LEADER, RaftRole.FOLLOWER, RaftRole.FOLLOWER]
    assert all(entry.healthy for entry in nodes.nodes)
    unled = cluster_nodes(node(2, role=RaftRole.CANDIDATE, leader=None, writable=False))
    assert RaftRole.LEADER not in {entry.role for entry in unled.nodes}
    assert [entry.reason for entry in unled.nodes if not entry.healthy] == ["this node knows no leader"]


def test_addresses_of_nodes_are_those_that_they_tell() -> None:
    told = member(1).model_copy(update={"mysql_address": "db1:3307", "api_url": "https://db1:8080"})
    [entry] = cluster_nodes(node(members=(told,))).nodes
    assert (entry.mysql_address, entry.api_url) == ("db1:3307", "https://db1:8080")
