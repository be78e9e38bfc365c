"""Nodes together: elections, commits, failover, restarts."""

from pathlib import Path

from node_cluster import cluster, committed_everywhere


async def test_node_bootstrapped_alone_leads_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        await nodes.leader()
        assert one.node.number == 1
        assert one.node.joining is None


async def test_cluster_of_three_commits_a_proposal_everywhere(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = await nodes.leader()
        term = leader.node.term
        index = leader.node.log.propose([b"1", b"2", b"3"], term=term)
        await leader.node.wait_committed(index, term)
        await committed_everywhere(nodes.running, index)
        for one in nodes.running:
            assert [entry.data for entry in one.node.log.read(index - 2, index, 1000)] == [b"1", b"2", b"3"]
            assert one.node.log.find_sequence(2) == index - 1
        assert [member.number for member in leader.node.membership.members] == [1, 2, 3]
