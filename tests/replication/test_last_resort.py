"""What a leader with doubtful data does when nobody can give it a copy."""

import pytest

from wolfscale.replication.cluster import Peer
from wolfscale.replication.last_resort import (
    ALREADY_DONE,
    Judgement,
    created_object,
    judge,
    most_recent,
)
from wolfscale.replication.notice import MemberNotice
from wolfscale.replication.roles import DatabaseState

OWN = 100


def _peer(
    sequence: int,
    state: DatabaseState = DatabaseState.CLONE_NEEDED,
    *,
    votes: bool = True,
    doubtful: bool = True,
) -> Peer:
    return Peer(
        id=f"peer-{sequence}",
        name="peer",
        address="",
        votes=votes,
        notice=MemberNotice(state=state, applied_sequence=sequence, doubtful=doubtful),
    )


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize(
    ("peers", "judgement"),
    [
        ((_peer(99), _peer(98)), Judgement.REPLAY),
        ((_peer(100), _peer(100)), Judgement.REPLAY),
        ((_peer(99), _peer(101)), Judgement.YIELD),
        ((_peer(99), _peer(98, DatabaseState.RECOVERING)), Judgement.WAIT),
        ((_peer(101), _peer(98, DatabaseState.STOPPED)), Judgement.WAIT),
        ((_peer(99), _peer(100, DatabaseState.REPLICA)), Judgement.WAIT),
        ((_peer(99), _peer(100, DatabaseState.CLONING)), Judgement.WAIT),
        # Data that diverged or is missing is nothing to go on with, however late it stands.
        ((_peer(99), _peer(500, doubtful=False)), Judgement.REPLAY),
        # A learner's data is never complete for sure; it neither waits nor is yielded to.
        ((_peer(99), _peer(98), _peer(500, votes=False)), Judgement.REPLAY),
        ((_peer(99), _peer(98), _peer(0, DatabaseState.CLONING, votes=False)), Judgement.REPLAY),
    ],
)
def test_judge_with_all_voters_heard_from(
    peers: tuple[Peer, ...], judgement: Judgement, patient: bool
) -> None:
    assert judge(OWN, peers, 2, doubtful=True, patient=patient) is judgement


def test_judge_with_a_silent_voter_waits_while_patient() -> None:
    assert judge(OWN, [_peer(99)], 2, doubtful=True, patient=True) is Judgement.WAIT
    assert judge(OWN, [_peer(99)], 2, doubtful=True, patient=False) is Judgement.REPLAY
    assert judge(OWN, [_peer(101)], 2, doubtful=True, patient=False) is Judgement.YIELD
    assert (
        judge(OWN, [_peer(99, DatabaseState.RECOVERING)], 2, doubtful=True, patient=False) is Judgement.WAIT
    )


def test_judge_of_a_leader_whose_data_is_worse_than_in_doubt_yields_to_doubtful_data() -> None:
    assert judge(500, [_peer(99), _peer(98)], 2, doubtful=False, patient=True) is Judgement.YIELD
    assert judge(500, [_peer(99, doubtful=False)], 1, doubtful=False, patient=True) is Judgement.WAIT
    assert judge(500, [_peer(99, votes=False)], 0, doubtful=False, patient=True) is Judgement.WAIT


def test_most_recent_is_a_voter_whose_data_is_in_doubt() -> None:
    best = _peer(99)
    assert most_recent([_peer(98), best, _peer(500, doubtful=False), _peer(400, votes=False)]) is best
    assert most_recent([_peer(500, doubtful=False)]) is None


def test_judge_of_a_cluster_of_one_replays_at_once() -> None:
    assert judge(OWN, [], 0, doubtful=True, patient=True) is Judgement.REPLAY


@pytest.mark.parametrize(
    ("database", "query", "created"),
    [
        ("app", "CREATE TABLE made (id INT)", ("app", "made")),
        ("app", "create sequence  `made` start 1", ("app", "made")),
        ("", "CREATE TABLE other.made (id INT)", ("other", "made")),
        ("app", "CREATE TABLE IF NOT EXISTS `oth``er` . `ma de` (id INT)", ("oth`er", "ma de")),
        ("app", "CREATE TABLE `copied` (\n  `id` int(11)\n)", ("app", "copied")),
        ("app", "CREATE VIEW made AS SELECT 1", None),
        ("app", "RENAME TABLE old TO made", None),
        ("app", "ALTER TABLE old RENAME made", None),
    ],
)
def test_created_object_is_read_from_the_replicas_error(
    database: str, query: str, created: tuple[str, str] | None
) -> None:
    message = f"Error 'Table 'x' already exists' on query. Default database: '{database}'. Query: '{query}'"
    assert created_object(message) == created


@pytest.mark.parametrize("errno", [1032, 1054, 1064, 1205, 1213, 1236, 1942, 1950])
def test_error_that_means_a_difference_is_not_stepped_over(errno: int) -> None:
    assert errno not in ALREADY_DONE
