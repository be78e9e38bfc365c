"""Membership changes, hand-over, witnesses and reads: thesis chapters 3.10, 4, 6.4."""

from dataclasses import replace

import pytest
from raft_scenes import N1, N2, N3, N4, carry, make_leader, sent, tell
from test_raft_replication import an_append

from wolfscale.raft import (
    Entry,
    EntryKind,
    Index,
    LogBase,
    Membership,
    MembershipRefused,
    NotLeader,
    ProposalDropped,
    Suffrage,
    Term,
    TransferRefused,
    encode_membership,
)
from wolfscale.raft.membership import MembershipHistory, check_single_step, find_memberships
from wolfscale.raft.messages import Append, AppendResponse, Heartbeat, HeartbeatResponse, TimeoutNow
from wolfscale.testing.raft_disk import ChainedLog
from wolfscale.testing.simulator import ELECTION_TICKS, HEARTBEAT_TICKS, Cluster, new_member


def a_cluster(*, voters: int = 3, learners: int = 0, witnesses: int = 0) -> Cluster:
    cluster = Cluster(1, sync=True, voters=voters, learners=learners, witnesses=witnesses)
    make_leader(cluster, N1)
    return cluster


def members(*suffrages: Suffrage) -> Membership:
    return Membership(
        members=tuple(new_member(number, suffrage) for number, suffrage in enumerate(suffrages, 1)),
        next_number=len(suffrages) + 1,
    )


THREE = members(Suffrage.VOTER, Suffrage.VOTER, Suffrage.VOTER)
REFUSED = {
    "two members at once": THREE.with_member(new_member(4)).without(N2),
    "a member twice": replace(THREE, members=(*THREE.members, THREE.members[0])),
    "a used number": THREE.with_member(replace(new_member(4), number=3)),
    "another number": THREE.with_member(replace(THREE.members[1], number=9)),
    "a number beyond the next": replace(THREE.with_member(new_member(9)), next_number=5),
    "numbers going back": replace(THREE, next_number=2),
    "a name twice": THREE.with_member(replace(new_member(4), name="n2")),
    "without the leader": THREE.without(N1),
    "the leader as a learner": THREE.with_member(new_member(1, Suffrage.LEARNER)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_single_step_is_refused_with(case: str) -> None:
    with pytest.raises(MembershipRefused):
        check_single_step(THREE, REFUSED[case], N1)


def test_single_step_last_voter_may_not_become_a_witness() -> None:
    alone = members(Suffrage.VOTER)
    with pytest.raises(MembershipRefused, match="no voter"):
        check_single_step(alone, alone.with_member(new_member(1, Suffrage.WITNESS)), N1)


@pytest.mark.parametrize("suffrage", Suffrage)
def test_single_step_a_member_may_come_change_and_go(suffrage: Suffrage) -> None:
    four = THREE.with_member(new_member(4, suffrage))
    assert four.next_number == 5
    check_single_step(THREE, four, N1)
    check_single_step(four, four.with_member(replace(new_member(4, suffrage), address="elsewhere:1")), N1)
    check_single_step(four, THREE.with_member(new_member(4)), N1)
    check_single_step(four, replace(THREE, next_number=5), N1)
    check_single_step(four, four.without(N4), N1)


def test_history_truncation_takes_memberships_back() -> None:
    history = MembershipHistory(LogBase(membership=THREE), [])
    history.append(Index(5), THREE.without(N3))
    history.append(Index(7), THREE.without(N2))
    assert history.at(Index(6)) == THREE.without(N3)
    history.truncate(Index(7))
    assert (history.current, history.current_index) == (THREE.without(N3), 5)
    history.truncate(Index(1))
    assert history.current == THREE


def test_history_compaction_keeps_what_the_base_needs() -> None:
    history = MembershipHistory(LogBase(membership=THREE), [(Index(5), THREE.without(N3))])
    history.compact(Index(4))
    assert history.at(Index(4)) == THREE
    history.compact(Index(9))
    assert history.at(Index(9)) == THREE.without(N3)


def test_memberships_of_a_log_are_found_wherever_they_are() -> None:
    log = ChainedLog(LogBase(membership=THREE))
    data = encode_membership(THREE.without(N3))
    places = [1, 2, 5000, 9999, 10000]
    log.write(
        [
            Entry(
                index=Index(index),
                term=Term(1),
                kind=EntryKind.MEMBERSHIP if index in places else EntryKind.EVENTS,
                data=data if index in places else b"",
            )
            for index in range(1, 10001)
        ]
    )
    assert find_memberships(log) == [(place, THREE.without(N3)) for place in places]
    assert find_memberships(ChainedLog(LogBase(membership=THREE))) == []


def test_change_truncated_after_a_restart_takes_back_that_change_only() -> None:
    """A member that restarts must know the membership before the newest one too."""
    cluster = a_cluster()
    four = cluster.raft(N1).membership.with_member(new_member(4, Suffrage.LEARNER))
    cluster.change(N1, four)
    cluster.settle()
    cluster.isolate(N1)
    cluster.change(N1, cluster.raft(N1).membership.without(N3))
    cluster.crash(N1)
    cluster.start(N1)
    assert cluster.raft(N1).membership == four.without(N3)
    assert cluster.raft(N1).membership_at(Index(cluster.raft(N1).last_index - 1)) == four
    make_leader(cluster, N2)
    cluster.settle()
    assert cluster.raft(N1).membership == four


def test_change_is_in_force_from_the_append_on() -> None:
    """4.1: "The new configuration takes effect on each server as soon as it is added to that server's
    log".
    """
    cluster = a_cluster()
    four = cluster.raft(N1).membership.with_member(new_member(4))
    cluster.change(N1, four)
    assert cluster.raft(N1).membership == four
    assert cluster.raft(N1).commit_index < cluster.raft(N1).membership_index
    carry(cluster, Append, to=N2)
    assert cluster.raft(N2).membership == four
    cluster.settle()
    assert cluster.raft(N4).membership == four


def test_change_that_is_truncated_is_taken_back() -> None:
    cluster = a_cluster()
    before = cluster.raft(N1).membership
    cluster.isolate(N1)
    cluster.change(N1, before.without(N3))
    make_leader(cluster, N2)
    cluster.settle()
    for id in cluster.members:
        assert cluster.raft(id).membership == before


def test_change_second_one_waits_for_the_first() -> None:
    cluster = a_cluster()
    cluster.isolate(N1)
    cluster.change(N1, cluster.raft(N1).membership.with_member(new_member(4, Suffrage.LEARNER)))
    with pytest.raises(MembershipRefused, match="not committed yet"):
        cluster.raft(N1).change_membership(cluster.raft(N1).membership.without(N3))


def test_change_waits_for_an_entry_of_the_leaders_term() -> None:
    """The bug in the thesis' single-server changes, and its cure: raft-dev mailing list, 10 July 2015."""
    cluster = Cluster(1, sync=True)
    cluster.act(N1, lambda raft: raft.step(N2, TimeoutNow(term=Term(1))))
    while not cluster.raft(N1).is_leader:
        cluster.deliver()
    smaller = cluster.raft(N1).membership.without(N3)
    with pytest.raises(MembershipRefused, match="nothing of its term"):
        cluster.raft(N1).change_membership(smaller)
    cluster.deliver_all()
    cluster.change(N1, smaller)
    assert cluster.raft(N1).membership == smaller


def test_change_at_a_follower_is_refused() -> None:
    cluster = a_cluster()
    with pytest.raises(NotLeader):
        cluster.raft(N2).change_membership(cluster.raft(N2).membership.without(N3))


def test_added_member_receives_everything_and_counts() -> None:
    cluster = a_cluster(voters=1)
    cluster.propose(N1, b"a", b"b")
    cluster.change(N1, cluster.raft(N1).membership.with_member(new_member(2, Suffrage.LEARNER)))
    cluster.settle()
    assert cluster.datas(N2)[:2] == [b"a", b"b"]
    cluster.change(N1, cluster.raft(N1).membership.with_member(new_member(2)))
    cluster.settle()
    cluster.crash(N2)
    before = cluster.raft(N1).commit_index
    cluster.propose(N1, b"c")
    cluster.deliver_all()
    assert cluster.raft(N1).commit_index == before, "two voters need both"


def test_removed_member_does_not_count() -> None:
    cluster = a_cluster()
    cluster.crash(N2)
    cluster.crash(N3)
    cluster.start(N3)
    cluster.change(N1, cluster.raft(N1).membership.without(N2))
    cluster.run(3 * HEARTBEAT_TICKS)
    assert cluster.raft(N1).commit_index == cluster.raft(N1).last_index
    assert [peer.id for peer in cluster.raft(N1).status().peers] == [N3]


def test_removed_member_that_does_not_know_disturbs_nobody() -> None:
    cluster = a_cluster()
    cluster.isolate(N3)
    cluster.change(N1, cluster.raft(N1).membership.without(N3))
    cluster.deliver_all()
    cluster.heal()
    term = cluster.raft(N1).term
    cluster.run(10 * ELECTION_TICKS)
    assert (cluster.leaders, cluster.raft(N1).term) == ([N1], term)


def test_learner_does_not_count_for_commits() -> None:
    cluster = a_cluster(voters=2, learners=2)
    cluster.crash(N2)
    before = cluster.raft(N1).commit_index
    cluster.propose(N1, b"a")
    cluster.deliver_all()
    assert cluster.datas(N3) == cluster.datas(N4) == [b"a"]
    assert cluster.raft(N1).commit_index == before


def test_membership_in_an_entry_that_is_none_is_nonsense() -> None:
    cluster = Cluster(1, sync=True)
    append = an_append(1, 0, 0, 1)
    broken = replace(append, entries=(replace(append.entries[0], kind=EntryKind.MEMBERSHIP),))
    tell(cluster, N2, N1, broken)
    assert (cluster.raft(N2).last_index, cluster.raft(N2).status().ignored_messages) == (0, 1)


# Hand-over


def test_transfer_to_a_level_voter_takes_one_round() -> None:
    cluster = a_cluster()
    cluster.transfer(N1, N3)
    assert sent(cluster, TimeoutNow, to=N3)
    cluster.deliver_all()
    assert cluster.leaders == [N3]


def test_transfer_waits_until_the_voter_is_level() -> None:
    """3.10: "The prior leader fully updates the target server's log to match its own"."""
    cluster = a_cluster()
    cluster.propose(N1, b"a")
    cluster.transfer(N1, N3)
    assert not sent(cluster, TimeoutNow)
    with pytest.raises(ProposalDropped):
        cluster.raft(N1).propose([b"b"])
    cluster.deliver_all()
    assert cluster.leaders == [N3]
    assert cluster.datas(N3) == [b"a"]


def test_transfer_that_takes_too_long_is_given_up() -> None:
    """3.10: "If leadership transfer does not complete after about an election timeout, the prior leader
    aborts the transfer and resumes accepting client requests."
    """
    cluster = a_cluster()
    cluster.block(N1, N3)
    cluster.transfer(N1, N3)
    cluster.run(ELECTION_TICKS - 1)
    assert cluster.raft(N1).status().transfer_to == N3
    cluster.run(1)
    assert cluster.raft(N1).status().transfer_to is None
    cluster.propose(N1, b"a")
    assert cluster.datas(N1) == [b"a"]


def test_transfer_unnamed_goes_to_the_most_caught_up_voter() -> None:
    cluster = a_cluster(learners=1)
    cluster.block(N1, N2)
    cluster.propose(N1, b"a")
    cluster.deliver_all()
    cluster.heal()
    cluster.transfer(N1)
    assert cluster.raft(N1).status().transfer_to == N3


def test_transfer_to_itself_is_done_already() -> None:
    cluster = a_cluster()
    cluster.transfer(N1, N1)
    assert cluster.raft(N1).status().transfer_to is None


def test_transfer_to_who_may_not_lead_is_refused() -> None:
    cluster = a_cluster(learners=1)
    for to in (N4, cluster.raft(N1).id + "x"):
        with pytest.raises(TransferRefused, match="not a voter"):
            cluster.raft(N1).transfer_leadership(to)  # type: ignore[arg-type]
    with pytest.raises(NotLeader):
        cluster.raft(N2).transfer_leadership(N3)


def test_transfer_to_a_silent_voter_is_refused() -> None:
    cluster = a_cluster()
    cluster.crash(N3)
    cluster.run(2 * ELECTION_TICKS)
    with pytest.raises(TransferRefused, match="not been heard"):
        cluster.raft(N1).transfer_leadership(N3)
    lonely = a_cluster(voters=1)
    with pytest.raises(TransferRefused, match="no other voter"):
        lonely.raft(N1).transfer_leadership()


def test_transfer_under_way_refuses_a_change() -> None:
    cluster = a_cluster()
    cluster.block(N1, N3)
    cluster.transfer(N1, N3)
    with pytest.raises(ProposalDropped):
        cluster.raft(N1).change_membership(cluster.raft(N1).membership.without(N3))


# Witnesses


def test_witness_counts_for_votes_and_commits() -> None:
    cluster = a_cluster(voters=2, witnesses=1)
    cluster.crash(N2)
    cluster.propose(N1, b"a")
    cluster.deliver_all()
    assert cluster.raft(N1).commit_index == 2
    assert cluster.datas(N3) == [b"a"]


@pytest.mark.parametrize("seed", range(10))
def test_witness_lets_the_voters_lead(seed: int) -> None:
    cluster = Cluster(seed, sync=True, voters=2, witnesses=1)
    leader = cluster.elect()
    assert leader in {N1, N2}
    cluster.kill(leader)
    ticks = cluster.run(3 * ELECTION_TICKS, until=lambda: bool(cluster.leaders))
    assert cluster.leaders[0] in {N1, N2}
    assert ticks <= ELECTION_TICKS // 2


@pytest.mark.parametrize("seed", range(10))
def test_witness_with_the_longest_log_leads_and_hands_over(seed: int) -> None:
    cluster = Cluster(seed, sync=True, voters=2, witnesses=1)
    make_leader(cluster, N1)
    cluster.isolate(N2)
    cluster.propose(N1, b"only n1 and the witness have it")
    cluster.deliver_all()
    cluster.heal()
    cluster.kill(N1)
    ticks = cluster.run(5 * ELECTION_TICKS, until=lambda: N2 in cluster.leaders)
    assert ticks <= ELECTION_TICKS
    assert cluster.datas(N2) == [b"only n1 and the witness have it"]


def test_witness_that_leads_takes_no_proposals() -> None:
    cluster = Cluster(1, sync=True, voters=2, witnesses=1)
    cluster.act(N3, lambda raft: raft.step(N1, TimeoutNow(term=Term(1))))
    while not cluster.raft(N3).is_leader:
        cluster.deliver()
    with pytest.raises(ProposalDropped, match="witness"):
        cluster.raft(N3).propose([b"a"])
    cluster.deliver_all()
    assert cluster.leaders[0] in {N1, N2}


# Reads


def test_read_is_confirmed_by_a_round_of_heartbeats() -> None:
    """6.4: "It issues a new round of heartbeats and waits for their acknowledgments from a majority"."""
    cluster = a_cluster()
    context = cluster.read(N1)
    assert {heartbeat.round for heartbeat in sent(cluster, Heartbeat)} == {1}
    assert not cluster.members[N1].reads
    carry(cluster, Heartbeat, to=N2)
    carry(cluster, HeartbeatResponse, by=N2)
    assert cluster.members[N1].reads == [(context, cluster.raft(N1).commit_index)]


def test_read_older_rounds_confirm_nothing_newer() -> None:
    cluster = a_cluster()
    cluster.read(N1)
    cluster.network.clear()
    cluster.read(N1)
    tell(cluster, N1, N2, HeartbeatResponse(term=cluster.raft(N1).term, round=1))
    assert len(cluster.members[N1].reads) == 1


def test_read_before_anything_of_the_term_is_committed_waits_for_it() -> None:
    """6.4: "If the leader has not yet marked an entry from its current term committed, it waits until it has
    done so."
    """
    cluster = Cluster(1, sync=True)
    cluster.act(N1, lambda raft: raft.step(N2, TimeoutNow(term=Term(1))))
    while not cluster.raft(N1).is_leader:
        cluster.deliver()
    context = cluster.read(N1)
    assert not sent(cluster, Heartbeat)
    carry(cluster, Append)
    carry(cluster, AppendResponse)
    assert not cluster.members[N1].reads
    cluster.deliver_all()
    assert cluster.members[N1].reads == [(context, 1)]


def test_read_at_a_deposed_leader_is_never_answered() -> None:
    cluster = a_cluster()
    cluster.isolate(N1)
    make_leader(cluster, N2)
    cluster.propose(N2, b"newer")
    cluster.deliver_all()
    cluster.read(N1)
    cluster.run(3 * ELECTION_TICKS)
    cluster.heal()
    cluster.run(3 * ELECTION_TICKS)
    assert not cluster.members[N1].reads


def test_read_of_a_single_voter_is_answered_at_once() -> None:
    cluster = Cluster(1, sync=True, voters=1)
    cluster.tick(N1)
    context = cluster.read(N1)
    assert cluster.members[N1].reads == [(context, 1)]


def test_read_at_a_follower_names_the_leader() -> None:
    cluster = a_cluster()
    with pytest.raises(NotLeader):
        cluster.raft(N2).read_index(b"")
