"""Replication, commits and bases: thesis chapters 3.5, 3.6.2, 5, 10.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raft_scenes import N1, N2, N3, carry, make_leader, make_leader_of, sent, tell
from raft_values import MESSAGES, NODE_IDS

from wolfscale.errors import InvariantError
from wolfscale.raft import (
    Entry,
    EntryKind,
    Index,
    LogBase,
    Message,
    NodeId,
    NotLeader,
    ProposalDropped,
    Role,
    Term,
)
from wolfscale.raft.messages import Append, AppendResponse, Heartbeat, InstallBase
from wolfscale.testing.simulator import ELECTION_TICKS, HEARTBEAT_TICKS, Cluster


def a_cluster(*, sync: bool = True, voters: int = 3, max_append_bytes: int = 1 << 20) -> Cluster:
    """A cluster that n1 leads, with one entry committed everywhere."""
    cluster = Cluster(1, sync=sync, voters=voters, max_append_bytes=max_append_bytes)
    make_leader(cluster, N1)
    return cluster


def an_append(term: int, prev: int, prev_term: int, *terms: int, commit: int = 0) -> Append:
    return Append(
        term=Term(term),
        prev_index=Index(prev),
        prev_term=Term(prev_term),
        commit_index=Index(commit),
        entries=tuple(
            Entry(index=Index(index), term=Term(own), kind=EntryKind.EVENTS, data=b"t%d" % own)
            for index, own in enumerate(terms, prev + 1)
        ),
    )


def test_proposal_reaches_every_log_and_is_committed_everywhere() -> None:
    cluster = a_cluster()
    cluster.propose(N1, b"a", b"b")
    cluster.deliver_all()
    for id in cluster.members:
        assert cluster.datas(id) == [b"a", b"b"]
        assert cluster.raft(id).commit_index == 3


def test_proposal_returns_the_last_index() -> None:
    cluster = a_cluster()
    assert cluster.raft(N1).propose([b"a", b"b"]) == 3
    assert cluster.raft(N1).propose([]) == 3


def test_proposal_at_a_follower_names_the_leader() -> None:
    cluster = a_cluster()
    with pytest.raises(NotLeader) as caught:
        cluster.raft(N2).propose([b"a"])
    assert caught.value.leader == N1


def test_proposal_for_another_term_is_dropped() -> None:
    cluster = a_cluster()
    term = cluster.raft(N1).term
    with pytest.raises(ProposalDropped, match=f"term {term + 1}"):
        cluster.raft(N1).propose([b"a"], term=Term(term + 1))
    assert cluster.raft(N1).propose([b"a"], term=term) == 2


def test_proposals_between_readys_travel_together() -> None:
    cluster = a_cluster()
    raft = cluster.raft(N1)
    for number in range(20):
        raft.propose([b"%d" % number])
    cluster.act(N1, lambda raft: None)
    assert [len(append.entries) for append in sent(cluster, Append)] == [20, 20]


def test_level_followers_get_the_same_message_object() -> None:
    cluster = a_cluster()
    raft = cluster.raft(N1)
    raft.propose([b"a"])
    ready = raft.ready()
    assert ready is not None
    first, second = (message for _, message in ready.messages)
    assert first is second


def test_commit_needs_disks_and_no_leader_disk() -> None:
    """10.2.1: "the leader may even commit an entry before it has been written to its own disk, if a majority
    of followers have written it to their disks".
    """
    cluster = a_cluster(sync=False)
    cluster.propose(N1, b"a")
    while cluster.network:
        cluster.deliver()
    assert cluster.raft(N1).commit_index == 1
    cluster.persist(N2)
    carry(cluster, AppendResponse, by=N2)
    carry(cluster, Append)
    assert cluster.raft(N1).commit_index == 2, "n1 and n2 have it on disk"

    cluster = a_cluster(sync=False)
    cluster.propose(N1, b"a")
    while cluster.network:
        cluster.deliver()
    for id in (N2, N3):
        cluster.persist(id)
    for _ in range(len(cluster.network)):
        cluster.deliver()
    assert (cluster.raft(N1).commit_index, cluster.raft(N1).persisted_index) == (2, 1)


def test_commit_is_announced_at_once() -> None:
    cluster = a_cluster()
    cluster.propose(N1, b"a")
    carry(cluster, Append, to=N2)
    carry(cluster, AppendResponse)
    assert sent(cluster, Append, to=N2)[-1].commit_index == 2
    assert sent(cluster, Append, to=N2)[-1].entries == ()


def test_commit_older_term_waits_for_an_entry_of_this_one() -> None:
    """3.6.2: "Raft never commits log entries from previous terms by counting replicas. Only log entries from
    the leader's current term are committed by counting replicas".
    """
    cluster = a_cluster(max_append_bytes=1)
    cluster.isolate(N1)
    cluster.propose(N1, b"old")
    cluster.heal()
    cluster.network.clear()
    make_leader_of(cluster, N1, voter=N3)
    while cluster.members[N3].disk.durable.last_index < 2:
        cluster.deliver()
    carry(cluster, AppendResponse, by=N3, to=N1)
    assert cluster.raft(N1).status().peers[1].match_index == 2
    assert cluster.raft(N1).commit_index == 1
    cluster.deliver_all()
    assert cluster.raft(N1).commit_index == 3


def test_append_that_does_not_fit_is_refused_with_a_hint() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(3, 0, 0, 1, 1, 2, 2, 2))
    tell(cluster, N2, N1, an_append(3, 7, 3))
    refusal = sent(cluster, AppendResponse)[-1]
    assert (refusal.accepted, refusal.index, refusal.hint_index, refusal.hint_term) == (False, 7, 5, 2)
    tell(cluster, N2, N1, an_append(3, 4, 1))
    refusal = sent(cluster, AppendResponse)[-1]
    assert (refusal.accepted, refusal.hint_index, refusal.hint_term) == (False, 2, 1)


def test_append_conflicting_entry_replaces_it_and_all_that_follow() -> None:
    """3.5: "conflicting entries in follower logs will be overwritten with entries from the leader's log."""
    cluster = Cluster(1, sync=True)
    cluster.checker._leaders.clear()
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, 1))
    tell(cluster, N2, N1, an_append(2, 1, 1, 2))
    assert cluster.datas(N2) == [b"t1", b"t2"]


def test_append_that_comes_late_cuts_nothing_off() -> None:
    cluster = Cluster(1, sync=True)
    early = an_append(1, 0, 0, 1)
    tell(cluster, N2, N1, early)
    tell(cluster, N2, N1, an_append(1, 1, 1, 1, 1))
    tell(cluster, N2, N1, early)
    assert cluster.raft(N2).last_index == 3
    assert sent(cluster, AppendResponse)[-1].index == 1


def test_append_below_the_commit_index_is_answered_with_it() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, 1, commit=3))
    tell(cluster, N2, N1, an_append(1, 0, 0, 1))
    assert sent(cluster, AppendResponse)[-1].index == 3
    tell(cluster, N2, N1, an_append(1, 1, 1, 1, 1, 1))
    assert cluster.raft(N2).last_index == 4


def test_append_against_a_committed_entry_stops_the_member() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, commit=2))
    with pytest.raises(InvariantError, match="committed"):
        tell(cluster, N2, N3, an_append(2, 1, 1, 2))


def test_append_commits_no_further_than_it_reaches() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, 1))
    tell(cluster, N2, N1, an_append(2, 1, 1, commit=3))
    assert cluster.raft(N2).commit_index == 1


def test_append_of_falling_terms_is_nonsense() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(3, 0, 0, 2, 1))
    tell(cluster, N2, N1, an_append(3, 0, 0, 4))
    assert cluster.raft(N2).last_index == 0
    assert cluster.raft(N2).status().ignored_messages == 2


def test_append_answer_waits_for_the_disk() -> None:
    cluster = a_cluster(sync=False)
    cluster.propose(N1, b"a")
    carry_without_disk = [envelope for envelope in cluster.network if envelope.receiver == N2]
    for envelope in carry_without_disk:
        cluster.receive(envelope)
    assert cluster.raft(N2).last_index == 2
    assert not sent(cluster, AppendResponse, by=N2)
    cluster.persist(N2)
    assert sent(cluster, AppendResponse, by=N2)[-1].index == 2


def test_heartbeat_commits_only_what_is_acknowledged() -> None:
    cluster = a_cluster()
    cluster.block(N1, N3)
    cluster.propose(N1, b"a")
    cluster.deliver_all()
    cluster.heal()
    for _ in range(HEARTBEAT_TICKS):
        cluster.tick(N1)
    commits = {
        id: [heartbeat.commit_index for heartbeat in sent(cluster, Heartbeat, to=id)] for id in (N2, N3)
    }
    assert commits == {N2: [2], N3: [1]}


@pytest.mark.parametrize("max_append_bytes", [1, 1 << 20])
def test_follower_that_missed_much_catches_up(max_append_bytes: int) -> None:
    cluster = a_cluster(max_append_bytes=max_append_bytes)
    cluster.isolate(N3)
    for number in range(50):
        cluster.propose(N1, b"%d" % number)
        cluster.deliver_all()
    cluster.heal()
    cluster.run(3 * HEARTBEAT_TICKS)
    assert cluster.datas(N3) == cluster.datas(N1)


def test_follower_with_another_past_is_brought_over_in_few_messages() -> None:
    cluster = a_cluster()
    cluster.isolate(N1)
    for number in range(30):
        cluster.propose(N1, b"lost %d" % number)
    make_leader(cluster, N2)
    for number in range(30):
        cluster.propose(N2, b"kept %d" % number)
        cluster.deliver_all()
    cluster.network.clear()
    cluster.heal()
    refusals = 0
    for _ in range(4 * HEARTBEAT_TICKS):
        for id in cluster.running:
            cluster.tick(id)
        while cluster.network:
            message = cluster.network[0].message
            refusals += isinstance(message, AppendResponse) and not message.accepted
            cluster.deliver()
    assert cluster.datas(N1) == cluster.datas(N2)
    assert refusals <= 3


def test_window_holds_back_the_leader_and_nobody_else() -> None:
    cluster = a_cluster(max_append_bytes=10)
    cluster.block(N3, N1)
    for _ in range(20):
        cluster.propose(N1, bytes(10))
        carry(cluster, Append, to=N2)
        carry(cluster, AppendResponse, by=N2)
    peers = {peer.id: peer for peer in cluster.raft(N1).status().peers}
    assert peers[N3].inflight_bytes <= 40
    assert peers[N3].next_index < 10
    assert peers[N2].match_index == 21
    assert cluster.raft(N1).commit_index == 21
    cluster.heal()
    cluster.run(4 * HEARTBEAT_TICKS)
    assert cluster.datas(N3) == cluster.datas(N1)


def test_lost_append_is_sent_again_after_a_heartbeat() -> None:
    cluster = a_cluster()
    cluster.propose(N1, b"a")
    cluster.network.clear()
    cluster.run(2 * HEARTBEAT_TICKS)
    assert cluster.datas(N3) == [b"a"]


def test_link_up_sends_again_at_once() -> None:
    cluster = a_cluster()
    cluster.propose(N1, b"a")
    cluster.network.clear()
    cluster.act(N1, lambda raft: raft.link_up(N3))
    cluster.deliver_all()
    assert cluster.datas(N3) == [b"a"]


def test_member_whose_log_lost_what_it_had_acknowledged_stops() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, commit=2))
    with pytest.raises(InvariantError, match=r"had acknowledged 3 .* ends at 2"):
        tell(cluster, N2, N1, Heartbeat(term=Term(1), commit_index=Index(3), round=0))


def test_restart_finds_log_term_and_vote_as_they_were() -> None:
    cluster = a_cluster()
    cluster.propose(N1, b"a")
    cluster.deliver_all()
    before = cluster.raft(N2)
    cluster.crash(N2)
    cluster.start(N2)
    after = cluster.raft(N2)
    assert (after.term, after.last_index, after.persisted_index) == (before.term, 2, 2)
    assert (after.role, after.leader, after.commit_index) == (Role.FOLLOWER, None, 0)
    assert after.membership == before.membership


def test_restart_after_losing_unwritten_entries_gets_them_again() -> None:
    cluster = a_cluster(sync=False)
    cluster.propose(N1, b"a")
    for envelope in [envelope for envelope in cluster.network if envelope.receiver == N2]:
        cluster.receive(envelope)
    cluster.crash(N2)
    cluster.start(N2)
    assert cluster.raft(N2).last_index == 1
    cluster.network.clear()
    cluster.run(4 * HEARTBEAT_TICKS)
    assert cluster.datas(N2) == [b"a"]


def test_base_follower_below_it_starts_from_it() -> None:
    cluster = a_cluster()
    cluster.isolate(N3)
    cluster.propose(N1, b"a", b"b")
    cluster.deliver_all()
    cluster.compact(N1)
    cluster.propose(N1, b"c")
    cluster.deliver_all()
    cluster.heal()
    cluster.run(4 * HEARTBEAT_TICKS)
    disk = cluster.members[N3].disk
    assert (disk.durable.base.index, cluster.datas(N3)) == (3, [b"c"])
    assert cluster.raft(N3).membership == cluster.raft(N1).membership


def test_base_that_the_log_reaches_drops_nothing() -> None:
    """The paper's section 7, of snapshots: "entries following the snapshot are still valid and must be
    retained."
    """
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, 1))
    base = LogBase(index=Index(2), term=Term(1), membership=cluster.raft(N2).membership)
    tell(cluster, N2, N1, InstallBase(term=Term(1), base=base))
    assert (cluster.raft(N2).last_index, cluster.raft(N2).commit_index) == (3, 2)
    assert sent(cluster, AppendResponse)[-1].index == 2


def test_base_that_comes_late_is_answered_with_the_commit_index() -> None:
    cluster = Cluster(1, sync=True)
    tell(cluster, N2, N1, an_append(1, 0, 0, 1, 1, 1, commit=3))
    tell(cluster, N2, N1, InstallBase(term=Term(1), base=LogBase(index=Index(2), term=Term(1))))
    assert cluster.raft(N2).last_index == 3
    assert sent(cluster, AppendResponse)[-1].index == 3


def test_ready_may_be_taken_many_times_before_anything_is_durable() -> None:
    cluster = a_cluster(sync=False)
    for number in range(5):
        cluster.propose(N1, b"%d" % number)
    assert len(cluster.members[N1].disk.queue) == 5
    assert cluster.raft(N1).persisted_index == 1
    cluster.persist(N1, 3)
    assert cluster.raft(N1).persisted_index == 4
    cluster.deliver_all()
    assert cluster.datas(N3) == [b"%d" % number for number in range(5)]


def test_ready_without_news_is_none() -> None:
    cluster = a_cluster()
    assert cluster.raft(N1).ready() is None


@given(st.lists(st.tuples(NODE_IDS, MESSAGES), max_size=8))
def test_step_anything_never_fails_but_on_a_broken_promise(messages: list[tuple[NodeId, Message]]) -> None:
    for leader in (False, True):
        cluster = a_cluster()
        raft = cluster.raft(N1 if leader else N2)
        for sender, message in messages:
            try:
                raft.step(sender, message)
            except InvariantError:
                break  # two leaders in one term, or another committed entry: what it must stop for
        assert raft.commit_index <= raft.last_index


def test_idle_leader_sends_heartbeats_only() -> None:
    cluster = a_cluster()
    cluster.run(ELECTION_TICKS)
    kinds = set()
    for _ in range(HEARTBEAT_TICKS):
        for id in cluster.running:
            cluster.tick(id)
        while cluster.network:
            kinds.add(type(cluster.network[0].message).__name__)
            cluster.deliver()
    assert kinds == {"Heartbeat", "HeartbeatResponse"}
