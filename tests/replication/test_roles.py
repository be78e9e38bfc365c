import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.replication.roles import DatabaseState, Situation, Step, next_step

FOLLOWER = Situation(
    state=DatabaseState.REPLICA, is_leader=False, term=5, term_start_committed=False, tenure=None
)
LEADER = dataclasses.replace(FOLLOWER, is_leader=True, term_start_committed=True)


@pytest.mark.parametrize(
    ("situation", "step"),
    [
        (FOLLOWER, Step.WAIT),
        (dataclasses.replace(FOLLOWER, state=DatabaseState.STOPPED), Step.RECOVER),
        (dataclasses.replace(FOLLOWER, state=DatabaseState.CLONE_NEEDED), Step.CLONE),
        (dataclasses.replace(FOLLOWER, state=DatabaseState.FAILED), Step.WAIT),
        (LEADER, Step.PROMOTE),
        (dataclasses.replace(LEADER, term_start_committed=False), Step.WAIT),
        (dataclasses.replace(LEADER, stepping_down=True), Step.WAIT),
        (dataclasses.replace(LEADER, state=DatabaseState.STOPPED), Step.RECOVER),
        (dataclasses.replace(LEADER, state=DatabaseState.STOPPED, has_successor=True), Step.HAND_OVER),
        (dataclasses.replace(LEADER, state=DatabaseState.CLONE_NEEDED, has_successor=True), Step.HAND_OVER),
        (dataclasses.replace(LEADER, state=DatabaseState.FAILED, has_successor=True), Step.HAND_OVER),
        (dataclasses.replace(LEADER, state=DatabaseState.PRIMARY, tenure=5), Step.WAIT),
        (dataclasses.replace(LEADER, state=DatabaseState.PRIMARY, tenure=4), Step.FENCE),
        (dataclasses.replace(FOLLOWER, state=DatabaseState.PRIMARY, tenure=5), Step.FENCE),
        (dataclasses.replace(LEADER, state=DatabaseState.NONE, witness=True), Step.WAIT),
        (
            dataclasses.replace(LEADER, state=DatabaseState.NONE, witness=True, has_successor=True),
            Step.HAND_OVER,
        ),
    ],
)
def test_next_step_of_each_situation_is_the_designs(situation: Situation, step: Step) -> None:
    assert next_step(situation) is step


@given(
    state=st.sampled_from(DatabaseState),
    is_leader=st.booleans(),
    term=st.integers(1, 9),
    tenure=st.integers(1, 9),
    committed=st.booleans(),
    successor=st.booleans(),
    stepping_down=st.booleans(),
)
def test_primary_of_another_term_whatever_else_is_fenced(
    state: DatabaseState,
    is_leader: bool,
    term: int,
    tenure: int,
    committed: bool,
    successor: bool,
    stepping_down: bool,
) -> None:
    situation = Situation(
        state=state,
        is_leader=is_leader,
        term=term,
        term_start_committed=committed,
        tenure=tenure,
        has_successor=successor,
        stepping_down=stepping_down,
    )
    lost = not is_leader or tenure != term
    assert (next_step(situation) is Step.FENCE) == lost
