"""Ids of real nodes: what a majority confirms, and what it does not."""

from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from node_cluster import PATIENCE, cluster

from wolfscale.app import ids as app_ids
from wolfscale.app.ids import NodeIds, NodePlace
from wolfscale.ids import IdsUnavailable, parse_id


async def test_number_is_confirmed_while_a_majority_lives(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        places = [NodePlace(one.node) for one in nodes.running]
        for place in places:
            await place.changes.wait_until(lambda place=place: place.number != 0)  # type: ignore[misc]
            with trio.fail_after(PATIENCE):
                while not await place.confirm():
                    pass
        for one in nodes.running[:2]:
            await one.stop()
        with patch.object(app_ids, "CONFIRM_SECONDS", 0.5):
            assert not await places[2].confirm()


async def test_removed_member_is_confirmed_no_more(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        await nodes.grow(3)
        leader = (await nodes.leader()).node
        gone = next(one.node for one in nodes.running if one.node is not leader)
        place = NodePlace(gone)
        await place.changes.wait_until(lambda: place.number != 0)
        await leader.remove_member(gone.id)
        with patch.object(app_ids, "CONFIRM_SECONDS", 0.5):
            assert not await place.confirm()


async def test_nodes_give_ids_of_their_own_and_none_after_their_removal(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes, trio.open_nursery() as nursery:
        await nodes.grow(3)
        sources = {}
        for one in nodes.running:
            directory = tmp_path / f"ids-{one.node.name}"
            directory.mkdir()
            sources[one.node.id] = NodeIds(NodePlace(one.node), directory)
            nursery.start_soon(sources[one.node.id].run)
            await one.node.role_changes.wait_until(lambda node=one.node: node.settled_number != 0)  # type: ignore[misc]
        given = [id for _ in range(20) for source in sources.values() for id in await source.take(50)]
        assert len(given) == len(set(given)) == 3000
        assert {parse_id(id).node for id in given} == {one.node.number for one in nodes.running}
        leader = (await nodes.leader()).node
        gone = next(one.node for one in nodes.running if one.node is not leader)
        await leader.remove_member(gone.id)
        await gone.role_changes.wait_until(lambda: gone.settled_number == 0)
        with pytest.raises(IdsUnavailable, match="no member"):
            await sources[gone.id].take(1)
        nursery.cancel_scope.cancel()
