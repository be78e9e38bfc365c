"""Counting majorities; nothing here knows what is counted."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

Voter = TypeVar("Voter")


class Tally(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """The smallest number of members that is more than half of them."""
    return voters // 2 + 1


def reached_by_majority(values: Sequence[int]) -> int:
    """The largest value that a majority has reached, one value for each voter; 0 without voters."""
    if not values:
        return 0
    return sorted(values, reverse=True)[majority(len(values)) - 1]


def tally(voters: Iterable[Voter], votes: Mapping[Voter, bool]) -> Tally:
    """How the votes of these voters stand; votes of anybody else are not counted."""
    total = granted = refused = 0
    for voter in voters:
        total += 1
        vote = votes.get(voter)
        if vote is not None:
            granted += vote
            refused += not vote
    needed = majority(total)
    if granted >= needed and total:
        return Tally.WON
    return Tally.LOST if total - refused < needed else Tally.PENDING
