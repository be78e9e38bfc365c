"""Elections: thesis chapters 3.4, 3.6.1, 4.2.3, 9.6, and what ours adds: short waits."""

import pytest
from raft_scenes import N1, N2, N3, N4, N5, carry, make_leader, sent, stand, tell

from wolfscale.errors import InvariantError
from wolfscale.raft import HardState, Index, LogBase, Role, Term
from wolfscale.raft.messages import (
    Append,
    Heartbeat,
    PreVoteResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)
from wolfscale.testing.simulator import ELECTION_TICKS, Cluster


def a_request(term: int, last_index: int = 0, last_term: int = 0) -> RequestVote:
    return RequestVote(
        term=Term(term), last_index=Index(last_index), last_term=Term(last_term), transfer=False
    )


def a_pre_request(term: int, last_index: int = 0, last_term: int = 0) -> RequestPreVote:
    return RequestPreVote(term=Term(term), last_index=Index(last_index), last_term=Term(last_term))


def test_single_voter_first_tick_elects_it() -> None:
    cluster = Cluster(1, voters=1)
    cluster.tick(N1)
    assert cluster.raft(N1).role is Role.CANDIDATE, "its own vote counts when it is on disk, not earlier"
    cluster.persist(N1)
    assert cluster.raft(N1).is_leader
    assert not cluster.raft(N1).term_start_committed
    cluster.persist(N1)
    assert cluster.raft(N1).term_start_committed


@pytest.mark.parametrize("voters", [2, 3, 5, 7])
def test_cluster_elects_one_leader_and_stays_with_it(voters: int) -> None:
    cluster = Cluster(voters, voters=voters)
    leader = cluster.elect()
    term = cluster.raft(leader).term
    cluster.run(10 * ELECTION_TICKS)
    assert cluster.leaders == [leader]
    assert cluster.raft(leader).term == term


def test_vote_second_candidate_of_the_term_is_refused() -> None:
    """3.4: "Each server will vote for at most one candidate in a given term, on a first-come-first-served
    basis."
    """
    cluster = Cluster(1, sync=True)
    tell(cluster, N3, N1, a_request(1))
    tell(cluster, N3, N2, a_request(1))
    assert [answer.granted for answer in sent(cluster, VoteResponse, by=N3)] == [True, False]
    tell(cluster, N3, N1, a_request(1))
    assert sent(cluster, VoteResponse, by=N3, to=N1)[-1].granted, "the same candidate may ask twice"


def test_vote_is_on_disk_before_it_is_sent() -> None:
    """3.8: "each server persists its current term and vote"; they "prevent the server from voting twice in
    the same term".
    """
    cluster = Cluster(1)
    tell(cluster, N3, N1, a_request(1))
    assert not sent(cluster, VoteResponse)
    assert cluster.members[N3].disk.hard_state == HardState()
    cluster.persist(N3)
    assert cluster.members[N3].disk.hard_state == HardState(term=Term(1), vote=N1)
    assert sent(cluster, VoteResponse, to=N1)


def test_vote_request_waits_for_the_log_that_it_claims() -> None:
    cluster = Cluster(1)
    tell(cluster, N1, N2, TimeoutNow(term=Term(1)))
    assert cluster.raft(N1).role is Role.CANDIDATE
    assert not sent(cluster, RequestVote)
    cluster.persist(N1)
    assert len(sent(cluster, RequestVote, by=N1)) == 2


@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(2, 5, True), (2, 6, True), (2, 4, False), (3, 1, True), (1, 9, False)],
)
def test_vote_goes_to_a_log_at_least_as_up_to_date(last_term: int, last_index: int, granted: bool) -> None:
    """3.6.1: "If the logs have last entries with different terms, then the log with the later term is more
    up-to-date. If the logs end with the same term, then whichever log is longer is more up-to-date."
    """
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    cluster.propose(N1, b"2", b"3", b"4", b"5")
    cluster.deliver_all()
    assert (cluster.raft(N3).last_index, cluster.raft(N3).term) == (5, 2)
    cluster.act(N3, lambda raft: raft.link_lost(N1))
    cluster.network.clear()
    tell(cluster, N3, N2, a_pre_request(9, last_index, last_term))
    tell(cluster, N3, N2, a_request(9, last_index, last_term))
    assert [answer.granted for answer in sent(cluster, PreVoteResponse, by=N3)] == [granted]
    assert [answer.granted for answer in sent(cluster, VoteResponse, by=N3)] == [granted]


def test_candidate_hears_the_leader_of_its_term_and_follows() -> None:
    """3.4: "If the leader's term (included in its RPC) is at least as large as the candidate's current term,
    then the candidate recognizes the leader as legitimate and returns to follower state."
    """
    cluster = Cluster(1, sync=True)
    stand(cluster, N1, term=2)
    stand(cluster, N2, term=2)
    carry(cluster, RequestVote, by=N2, to=N3)
    carry(cluster, VoteResponse, by=N3, to=N2)
    carry(cluster, Append, by=N2, to=N1)
    assert (cluster.raft(N1).role, cluster.raft(N1).leader) == (Role.FOLLOWER, N2)


def test_later_term_turns_a_leader_into_a_follower() -> None:
    """3.3: "If a candidate or leader discovers that its term is out of date, it immediately reverts to
    follower state."
    """
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    tell(cluster, N1, N2, VoteResponse(term=Term(9), granted=False))
    assert (cluster.raft(N1).role, cluster.raft(N1).term) == (Role.FOLLOWER, 9)


def test_earlier_leader_is_told_the_term() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    cluster.isolate(N1)
    make_leader(cluster, N2)
    cluster.heal()
    cluster.run(3)
    assert cluster.leaders == [N2]
    assert cluster.raft(N1).leader == N2


def test_two_leaders_of_one_term_stop_whoever_sees_it() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    term = cluster.raft(N1).term
    with pytest.raises(InvariantError, match="both lead term"):
        tell(cluster, N3, N2, Heartbeat(term=term, commit_index=Index(0), round=0))
    with pytest.raises(InvariantError, match="both lead term"):
        tell(cluster, N1, N2, Heartbeat(term=term, commit_index=Index(0), round=0))


def test_pre_vote_partitioned_member_spends_no_terms() -> None:
    """9.6: "The Pre-Vote algorithm solves the issue of a partitioned server disrupting the cluster when it
    rejoins."
    """
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    term = cluster.raft(N1).term
    cluster.isolate(N3)
    cluster.run(20 * ELECTION_TICKS)
    assert (cluster.raft(N3).role, cluster.raft(N3).term) == (Role.PRE_CANDIDATE, term)
    cluster.heal()
    cluster.run(ELECTION_TICKS)
    assert (cluster.raft(N1).is_leader, cluster.raft(N1).term) == (True, term)
    assert cluster.raft(N3).leader == N1


def test_leader_that_is_heard_is_defended() -> None:
    """4.2.3: "if a server receives a RequestVote request within the minimum election timeout of hearing from
    a current leader, it does not update its term or grant its vote."
    """
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    term = cluster.raft(N1).term
    for member in (N1, N2):
        tell(cluster, member, N3, a_request(term + 5, 99, 99))
        tell(cluster, member, N3, a_pre_request(term + 5, 99, 99))
        assert not sent(cluster, VoteResponse, by=member)
        assert [answer.granted for answer in sent(cluster, PreVoteResponse, by=member)] == [False]
        assert cluster.raft(member).term == term


def test_leader_that_is_silent_is_not_defended() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    for _ in range(ELECTION_TICKS):
        if cluster.raft(N2).role is Role.FOLLOWER:
            cluster.tick(N2)
    tell(cluster, N2, N3, a_pre_request(cluster.raft(N2).term + 1, 99, 99))
    assert sent(cluster, PreVoteResponse, by=N2, to=N3)[-1].granted


def test_check_quorum_leader_without_majority_steps_down_in_an_election_timeout() -> None:
    """6.2: "a leader in Raft steps down if an election timeout elapses without a successful round of
    heartbeats to a majority of its cluster".
    """
    cluster = Cluster(1, sync=True, voters=5)
    make_leader(cluster, N1)
    cluster.isolate(N1, N2)
    cluster.run(ELECTION_TICKS - 1)
    assert cluster.raft(N1).is_leader
    cluster.run(1)
    assert not cluster.raft(N1).is_leader


def test_check_quorum_leader_with_a_bare_majority_stays() -> None:
    cluster = Cluster(1, sync=True, voters=5)
    make_leader(cluster, N1)
    cluster.isolate(N1, N2, N3)
    cluster.run(5 * ELECTION_TICKS)
    assert cluster.raft(N1).is_leader


def test_link_lost_of_one_follower_only_changes_nothing() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    term = cluster.raft(N1).term
    cluster.act(N2, lambda raft: raft.link_lost(N1))
    cluster.run(3 * ELECTION_TICKS)
    assert (cluster.leaders, cluster.raft(N1).term) == ([N1], term)
    assert cluster.raft(N2).leader == N1


def test_link_lost_of_another_follower_is_nothing() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    cluster.act(N2, lambda raft: raft.link_lost(N3))
    assert cluster.raft(N2).leader == N1
    assert not cluster.network


@pytest.mark.parametrize("voters", [3, 5])
@pytest.mark.parametrize("seed", range(20))
def test_link_lost_killed_leader_is_replaced_within_few_ticks(voters: int, seed: int) -> None:
    cluster = Cluster(seed, sync=True, voters=voters)
    leader = cluster.elect()
    cluster.kill(leader)
    ticks = cluster.run(ELECTION_TICKS, until=lambda: bool(cluster.leaders))
    assert ticks <= ELECTION_TICKS // 2


@pytest.mark.parametrize("seed", range(10))
def test_link_lost_noticed_at_different_times_still_costs_few_ticks(seed: int) -> None:
    cluster = Cluster(seed, sync=True)
    leader = cluster.elect()
    first, second = (id for id in cluster.running if id != leader)
    cluster.crash(leader)
    cluster.act(first, lambda raft: raft.link_lost(leader))
    cluster.run(2)
    assert not cluster.leaders
    cluster.act(second, lambda raft: raft.link_lost(leader))
    assert cluster.run(ELECTION_TICKS, until=lambda: bool(cluster.leaders)) <= ELECTION_TICKS // 2


@pytest.mark.parametrize("seed", range(10))
def test_collision_of_candidates_is_over_within_few_ticks(seed: int) -> None:
    cluster = Cluster(seed, voters=5)
    cluster.crash(N5)
    for id in (N1, N2, N3, N4):
        stand(cluster, id, term=2)
    ticks = cluster.run(3 * ELECTION_TICKS, until=lambda: bool(cluster.leaders))
    assert ticks <= ELECTION_TICKS


def test_pre_candidates_lower_one_lets_the_higher_pass() -> None:
    cluster = Cluster(1, sync=True)
    cluster.crash(N3)
    while cluster.raft(N1).role is Role.FOLLOWER:
        cluster.tick(N1)
    while cluster.raft(N2).role is Role.FOLLOWER:
        cluster.tick(N2)
    cluster.deliver_all()
    assert cluster.leaders == [N2]
    assert cluster.raft(N2).term == 1


def test_link_up_asks_a_peer_that_has_not_answered() -> None:
    cluster = Cluster(1, sync=True)
    while cluster.raft(N1).role is Role.FOLLOWER:
        cluster.tick(N1)
    cluster.network.clear()
    cluster.act(N1, lambda raft: raft.link_up(N2))
    assert len(sent(cluster, RequestPreVote, to=N2)) == 1
    cluster.deliver_all()
    cluster.network.clear()


def test_learner_never_stands() -> None:
    cluster = Cluster(1, voters=2, learners=1, sync=True)
    cluster.elect()
    cluster.isolate(N3)
    cluster.run(10 * ELECTION_TICKS)
    assert (cluster.raft(N3).role, cluster.raft(N3).leader) == (Role.FOLLOWER, None)
    tell(cluster, N3, N1, TimeoutNow(term=Term(99)))
    assert cluster.raft(N3).role is Role.FOLLOWER


def test_restart_with_entries_of_a_later_term_than_the_vote_begins_in_that_term() -> None:
    cluster = Cluster(1, sync=True)
    make_leader(cluster, N1)
    term = cluster.raft(N1).term
    cluster.crash(N2)
    cluster.members[N2].disk.hard_state = HardState(term=Term(1), vote=N2)
    cluster.start(N2)
    assert cluster.raft(N2).term == term


def test_nonsense_is_dropped_and_counted() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N1, N1, a_request(3))
    tell(cluster, N1, N2, a_request(1 << 63))
    assert cluster.raft(N1).status().ignored_messages == 2
    assert cluster.raft(N1).term == 0


def test_stranger_is_answered_and_its_vote_not_counted() -> None:
    cluster = Cluster(1, sync=True)
    cluster._add(N4, LogBase())
    stand(cluster, N1, term=2)
    tell(cluster, N1, N4, VoteResponse(term=Term(2), granted=True))
    assert cluster.raft(N1).role is Role.CANDIDATE
