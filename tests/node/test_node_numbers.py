"""The numbers that the cluster gives its members."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_cluster import cluster

from wolfscale.ids import NODE_NUMBERS
from wolfscale.node.admission import next_number
from wolfscale.node.errors import JoinRefused
from wolfscale.raft.types import Member, Membership, NodeId, Suffrage


def _with(membership: Membership, number: int) -> Membership:
    return membership.with_member(
        Member(
            id=NodeId(f"node-{number}"),
            name=f"node-{number}",
            address="127.0.0.1:1",
            number=number,
            suffrage=Suffrage.LEARNER,
        )
    )


@given(
    start=st.integers(1, 3 * NODE_NUMBERS),
    changes=st.lists(st.one_of(st.none(), st.integers(0, 10)), min_size=1, max_size=60),
)
def test_new_number_is_unused_and_unlike_the_present_ones_in_ten_bits(
    start: int, changes: list[int | None]
) -> None:
    membership = Membership(next_number=start)
    used = set(range(start))
    for leaver in changes:
        if leaver is not None and leaver < len(membership.members):
            membership = membership.without(membership.members[leaver].id)
            continue
        number = next_number(membership)
        assert number not in used
        assert number >= membership.next_number
        assert number % NODE_NUMBERS not in {member.number % NODE_NUMBERS for member in membership.members}
        used.add(number)
        membership = _with(membership, number)


def test_number_whose_ten_bits_a_member_has_is_passed_over() -> None:
    membership = _with(_with(Membership(), 5), 6)
    membership = Membership(members=membership.members, next_number=5 + NODE_NUMBERS)
    assert next_number(membership) == 7 + NODE_NUMBERS


def test_cluster_as_large_as_ten_bits_takes_nobody_in() -> None:
    membership = Membership()
    for number in range(1, NODE_NUMBERS + 1):
        membership = _with(membership, number)
    with pytest.raises(JoinRefused, match="the most that it can tell apart"):
        next_number(membership)


async def test_number_is_settled_when_it_is_committed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        one = await nodes.start("node-1", bootstrap=True)
        await one.node.role_changes.wait_until(lambda: one.node.settled_number == 1)
        two = await nodes.start("node-2")
        await two.node.become_voter()
        await two.node.role_changes.wait_until(lambda: two.node.settled_number == 2)
        leader, other = (await nodes.leader()).node, two.node
        if leader is other:
            await leader.hand_over(timeout=60)
            leader = one.node
        await leader.remove_member(other.id)
        await other.role_changes.wait_until(lambda: other.settled_number == 0)
