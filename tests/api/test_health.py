import pytest

from wolfscale.api.health import WantedRole, cluster_summary, health
from wolfscale.api.models import DatabaseState, NodeStatus, RaftRole
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
