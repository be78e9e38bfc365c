"""Nodes together: elections, commits, failover, restarts, a disk that fails."""

import random
from pathlib import Path

import pytest
import trio
from node_cluster import PATIENCE, cluster, committed_everywhere, propose

from wolfscale.node import NodeStopped, RpcError, driver
from wolfscale.raft.errors import LogCompacted, NotLeader, ProposalDropped
from wolfscale.raft.types import Suffrage
from wolfscale.replication.log import EVENTS, ReplicatedLog
from wolfscale.wal.errors import WalFull, WalSyncFailed

NEVER = 1000.0
"""An election timeout that no test lives to see: elections then have another cause."""


async def test_node_bootstrapped_alone_leads_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True, election_timeout=NEVER)
        await nodes.leader()
        assert one.node.number == 1
        assert one.node.joining is None


async def test_cluster_of_three_commits_a_proposal_everywhere(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        index = await propose(leader, b"1", b"2", b"3")
        await committed_everywhere(nodes.running, index)
        for one in nodes.running:
            assert [entry.data for entry in one.node.log.read(index - 2, index, 1000)] == [b"1", b"2", b"3"]
            assert [entry.data for entry in one.node.log.read(index - 2, index + 9, 1)] == [b"1"]
            assert one.node.log.read(index + 1, index + 9, 1000) == ()
            assert one.node.log.find_sequence(2) == index - 1
        assert [member.number for member in leader.node.membership.members] == [1, 2, 3]
        assert {member.suffrage for member in leader.node.membership.members} == {Suffrage.VOTER}


async def test_log_of_a_node_is_the_one_that_replication_asks_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        await nodes.leader()
        log: ReplicatedLog = one.node.log
        index = log.propose([b"7"], term=one.node.term)
        await log.changes.wait_until(lambda: log.commit_index >= index)
        (entry,) = log.read(index, index, 1)
        assert (entry.index, entry.kind, entry.data) == (index, EVENTS, b"7")
        assert log.term_at(index) == entry.term
        assert log.find_sequence(7) == index
        assert log.find_sequence(6) is None


async def test_leader_that_is_killed_is_replaced_without_an_election_timeout(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=NEVER)
        old = await nodes.leader()
        await committed_everywhere(nodes.running, await propose(old, b"1"))
        await old.stop()
        rest = [one for one in nodes.running if one is not old]
        new = await nodes.leader(among=rest)
        assert new.node.term > old.node.term
        await committed_everywhere(rest, await propose(new, b"2"))


async def test_node_that_restarts_rejoins_with_what_it_missed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        follower = next(one for one in nodes.running if one is not leader)
        await follower.stop()
        await propose(leader, b"1")
        back = await nodes.restart(follower)
        await committed_everywhere(nodes.running, await propose(leader, b"2"))
        assert back.node.id == follower.node.id
        assert back.node.number == follower.node.number


async def test_cluster_that_restarts_whole_finds_a_leader_and_keeps_everything(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=0.5)
        index = await propose(await nodes.leader(), b"1")
        await committed_everywhere(nodes.running, index)
        stopped = list(nodes.running)
        for one in stopped:
            await one.stop()
        for one in reversed(stopped):
            await nodes.restart(one)
        leader = await nodes.leader()
        assert leader.node.log.find_sequence(1) == index
        await committed_everywhere(nodes.running, await propose(leader, b"2"))


async def test_leadership_is_handed_to_the_named_voter(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=NEVER)
        old = await nodes.leader()
        heir = next(one for one in nodes.running if one is not old)
        assert await old.node.hand_over(heir.node.id, timeout=PATIENCE)
        assert await nodes.leader(among=[heir]) is heir
        with pytest.raises(NotLeader):
            old.node.log.propose([b"1"], term=old.node.term)


async def test_proposal_of_an_earlier_term_is_dropped(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        await nodes.leader()
        with pytest.raises(ProposalDropped):
            one.node.log.propose([b"1"], term=one.node.term - 1)


async def test_read_index_covers_every_commit_on_leader_and_followers(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        index = await propose(await nodes.leader(), b"1")
        for one in nodes.running:
            assert await one.node.read_index() >= index


async def test_read_index_without_a_majority_is_not_given(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        for one in nodes.running:
            if one is not leader:
                await one.stop()
        with pytest.raises(RpcError):
            await leader.node.read_index(timeout=0.3)


async def test_node_whose_sync_failed_stops_with_the_reason_and_is_replaced(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=NEVER)
        leader = await nodes.leader()
        leader.storage.failure = WalSyncFailed(Path("segment"), OSError(5, "Input/output error"))
        term = leader.node.term
        index = leader.node.log.propose([b"1"], term=term)
        with pytest.raises(NodeStopped, match="Input/output error"):
            await leader.node.wait_committed(index, term)
        await leader.stopped()
        assert isinstance(leader.error, NodeStopped)
        with pytest.raises(NodeStopped):
            leader.node.log.propose([b"2"], term=term)
        rest = [one for one in nodes.running if one is not leader]
        await committed_everywhere(rest, await propose(await nodes.leader(among=rest), b"3"))


async def test_leader_with_a_full_disk_hands_over_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "FULL_DISK_RETRY", 0.05)
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=NEVER)
        full = await nodes.leader()
        full.storage.failure = WalFull(Path("segment"), OSError(28, "No space left on device"))
        full.node.log.propose([b"1"], term=full.node.term)
        rest = [one for one in nodes.running if one is not full]
        leader = await nodes.leader(among=rest)
        problem = full.node.status().disk_problem
        assert problem is not None
        assert "No space left" in problem
        index = await propose(leader, b"2")
        full.storage.failure = None
        await committed_everywhere(nodes.running, index)
        assert full.node.status().disk_problem is None


async def test_leader_whose_disk_hangs_hands_over(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=0.5)
        hanging = await nodes.leader()
        with hanging.storage.hang():
            hanging.node.log.propose([b"1"], term=hanging.node.term)
            rest = [one for one in nodes.running if one is not hanging]
            leader = await nodes.leader(among=rest)
            assert hanging.node.status().writing_for > 0
            index = await propose(leader, b"2")
        await committed_everywhere(nodes.running, index)


async def test_reads_that_come_together_share_questions_and_see_what_was_committed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        follower = next(one for one in nodes.running if one is not leader)

        async def read(index: int) -> None:
            assert await follower.node.read_index() >= index

        async with trio.open_nursery() as nursery:
            for number in range(50):
                index = await propose(leader, b"%d" % (number + 1))
                for _ in range(20):
                    nursery.start_soon(read, index)


async def test_purged_entries_are_gone_and_later_ones_still_replicate(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        leader = await nodes.leader()
        for _ in range(4):
            index = await propose(leader, random.randbytes(700_000))
        base = await leader.node.purge(index)
        assert 1 < base < index
        assert leader.node.log.first_index == base + 1
        with pytest.raises(LogCompacted):
            leader.node.log.read(base, index, 1000)
        newcomer = await nodes.start("node-3")
        await newcomer.node.become_voter()
        assert newcomer.node.log.first_index > 1
        await committed_everywhere(nodes.running, await propose(leader, b"3"))


async def test_many_proposals_share_writes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        # A disk that stalls for seconds would make the leader hand over, and take no proposals meanwhile.
        await nodes.grow(3, election_timeout=NEVER)
        leader = await nodes.leader()
        before = leader.node.status().persists
        term = leader.node.term
        for number in range(500):
            index = leader.node.log.propose([b"x%d" % number], term=term)
            if number % 25 == 0:
                await trio.lowlevel.checkpoint()
        await leader.node.wait_committed(index, term)
        await committed_everywhere(nodes.running, index)
        assert leader.node.status().persists - before < 100
        assert leader.node.log.unpersisted_bytes == 0


async def test_large_entries_pass_while_the_leader_keeps_its_followers(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        term = leader.node.term
        index = await propose(leader, *[bytes([number]) * 1_000_000 for number in range(16)])
        await committed_everywhere(nodes.running, index)
        assert leader.node.term == term
        assert nodes.running[-1].node.log.read(index, index, 1)[0].data == bytes([15]) * 1_000_000
