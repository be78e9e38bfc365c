"""Ways into a cluster and out of it."""

import shutil
from pathlib import Path

import pytest
import trio
from node_cluster import PATIENCE, cluster, committed_everywhere, open_storage, propose

from wolfscale.node import BootstrapRefused, ClusterSecret, JoinRefused, NodeOptions
from wolfscale.node.node import Node
from wolfscale.raft.types import Suffrage


async def test_joiner_is_a_learner_until_it_asks_for_the_vote(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.start("node-1", bootstrap=True)
        two = await nodes.start("node-2")
        member = await two.node.wait_member()
        assert (member.number, member.suffrage) == (2, Suffrage.LEARNER)
        await two.node.become_voter()
        assert two.node.member is not None
        assert two.node.member.suffrage is Suffrage.VOTER
        await two.node.become_voter()


async def test_joiner_finds_the_leader_through_a_follower(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        leader = await nodes.leader()
        follower = next(one for one in nodes.running if one is not leader)
        three = await nodes.start("node-3", peers=["127.0.0.1:1", follower.node.address])
        await three.node.become_voter()
        await committed_everywhere(nodes.running, await propose(leader, b"1"))


async def test_witness_keeps_the_log_and_votes_but_hands_leadership_on(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        witness = await nodes.start("witness", suffrage=Suffrage.WITNESS)
        await witness.node.become_voter()
        leader = await nodes.leader()
        await committed_everywhere(nodes.running, await propose(leader, b"1"))
        await leader.stop()
        other = next(one for one in nodes.running if one not in {leader, witness})
        assert await nodes.leader(among=[other]) is other


async def test_several_nodes_that_join_at_once_are_taken_in_one_after_the_other(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        peers = [one.node.address]

        async def join(name: str) -> None:
            newcomer = await nodes.start(name, peers=peers)
            await newcomer.node.become_voter()

        async with trio.open_nursery() as nursery:
            for number in range(2, 6):
                nursery.start_soon(join, f"node-{number}")
        assert sorted(member.number for member in one.node.membership.members) == [1, 2, 3, 4, 5]
        assert len(one.node.membership.voters()) == 5


async def test_node_without_its_disk_takes_the_place_of_its_old_self(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        lost = nodes.running[2]
        peers = [one.node.address for one in nodes.running[:2]]
        await lost.stop()
        nodes.running.remove(lost)
        new = await nodes.start("node-3", directory="other-disk", bind_address=lost.node.address, peers=peers)
        await new.node.become_voter()
        assert new.node.id != lost.node.id
        assert new.node.number == 4
        assert [member.number for member in new.node.membership.members] == [1, 2, 4]
        await committed_everywhere(nodes.running, await propose(await nodes.leader(), b"1"))


async def test_node_that_lost_its_log_only_gets_a_new_identity(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        lost = nodes.running[2]
        await lost.stop()
        shutil.rmtree(lost.options.data_dir / "log")
        new = await nodes.restart(lost)
        assert new.node.id != lost.node.id
        assert (await new.node.wait_member()).number == 4


async def test_joiner_with_the_name_of_a_live_member_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        twin = await nodes.start("node-2", directory="twin", election_timeout=0.2)
        await twin.stopped()
        assert isinstance(twin.error, JoinRefused)
        assert "a live member has that name" in str(twin.error)


async def test_joiner_with_another_secret_is_told_which_file_to_copy(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        stranger = await nodes.start("node-2", secret=b"quite another secret")
        await stranger.stopped()
        assert isinstance(stranger.error, JoinRefused)
        assert "copy cluster.secret" in str(stranger.error)
        assert len(one.node.membership.members) == 1


async def test_node_without_peers_and_state_is_told_about_bootstrap(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", peers=[])
        await one.stopped()
        assert isinstance(one.error, JoinRefused)
        assert "--bootstrap" in str(one.error)


async def test_bootstrap_beside_a_living_cluster_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        two = await nodes.start("node-2", bootstrap=True, peers=[one.node.address])
        await two.stopped()
        assert isinstance(two.error, BootstrapRefused)


async def test_bootstrap_beside_a_cluster_with_another_secret_is_refused_and_makes_no_secret(
    tmp_path: Path,
) -> None:
    with trio.fail_after(PATIENCE):
        async with cluster(tmp_path) as nodes:
            one = await nodes.start("node-1", bootstrap=True)
            directory = tmp_path / "flag-left-in-a-unit-file"
            directory.mkdir()
            path = directory / "cluster-secret"
            path.write_text("made by this very start")
            secret = ClusterSecret(value=path.read_bytes(), path=path, created=True)
            node = await Node.create(
                NodeOptions(
                    name="node-2",
                    data_dir=directory,
                    bind_address="127.0.0.1:0",
                    secret=secret,
                    peers=(one.node.address,),
                    bootstrap=True,
                ),
                storage=open_storage(directory / "log"),
            )
            with pytest.raises(BootstrapRefused, match="another cluster secret"):
                await node.run()
            assert secret.path is not None
            assert not secret.path.exists()


async def test_bootstrap_flag_on_existing_state_just_rejoins(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(2)
        first = nodes.running[0]
        await first.stop()
        nodes.running.remove(first)
        back = await nodes.start(
            "node-1",
            bootstrap=True,
            bind_address=first.node.address,
        )
        leader = await nodes.leader()
        await committed_everywhere(nodes.running, await propose(leader, b"1"))
        assert back.node.id == first.node.id


async def test_member_that_moved_is_known_under_its_new_address(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        mover = nodes.running[2]
        peers = [one.node.address for one in nodes.running[:2]]
        await mover.stop()
        nodes.running.remove(mover)
        back = await nodes.start("node-3", peers=peers)
        assert back.node.address != mover.node.address
        for one in nodes.running:
            await one.node.role_changes.wait_until(
                lambda one=one: one.node.membership.get(back.node.id).address == back.node.address  # type: ignore[misc]
            )


async def test_member_that_was_removed_learns_it_and_does_not_come_back(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3, election_timeout=0.3)
        leader = await nodes.leader()
        gone = next(one for one in nodes.running if one is not leader)
        await gone.node.remove_member(gone.node.id)
        assert leader.node.membership.get(gone.node.id) is None
        await propose(leader, b"1")
        await gone.stop()
        back = await nodes.restart(gone)
        await back.node.role_changes.wait_until(lambda: back.node.removed)
        assert len(leader.node.membership.members) == 2
