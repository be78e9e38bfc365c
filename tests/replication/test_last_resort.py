"""What a leader with doubtful data does when nobody can give it a copy."""

import pytest

from wolfscale.replication.cluster import Peer
from wolfscale.replication.last_resort import (
    ALREADY_DONE,
    Judgement,
    best_placed,
    created_object,
    judge,
)
from wolfscale.replication.notice import Doubt, MemberNotice
from wolfscale.replication.roles import DatabaseState

OWN = 100
HOPELESS, UNNAMED, NAMED = Doubt.HOPELESS, Doubt.UNNAMED, Doubt.NAMED


def _peer(
    sequence: int,
    state: DatabaseState = DatabaseState.CLONE_NEEDED,
    *,
    votes: bool = True,
    doubt: Doubt = NAMED,
) -> Peer:
    return Peer(
        id=f"peer-{sequence}",
        name="peer",
        address="",
        votes=votes,
        notice=MemberNotice(state=state, applied_sequence=sequence, doubt=doubt),
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
        ((_peer(99), _peer(500, doubt=HOPELESS)), Judgement.REPLAY),
        # Nor is a primary's, where a replica's is there.
        ((_peer(99), _peer(500, doubt=UNNAMED)), Judgement.REPLAY),
        # A learner's data is never complete for sure; it neither waits nor is yielded to.
        ((_peer(99), _peer(98), _peer(500, votes=False)), Judgement.REPLAY),
        ((_peer(99), _peer(98), _peer(0, DatabaseState.CLONING, votes=False)), Judgement.REPLAY),
    ],
)
def test_judge_with_all_voters_heard_from(
    peers: tuple[Peer, ...], judgement: Judgement, patient: bool
) -> None:
    assert judge(NAMED, OWN, peers, 2, patient=patient) is judgement


def test_judge_with_a_silent_voter_waits_while_patient() -> None:
    assert judge(NAMED, OWN, [_peer(99)], 2, patient=True) is Judgement.WAIT
    assert judge(NAMED, OWN, [_peer(99)], 2, patient=False) is Judgement.REPLAY
    assert judge(NAMED, OWN, [_peer(101)], 2, patient=False) is Judgement.YIELD
    assert judge(NAMED, OWN, [_peer(99, DatabaseState.RECOVERING)], 2, patient=False) is Judgement.WAIT


def test_judge_of_a_leader_that_was_primary_yields_to_a_replica_that_is_behind() -> None:
    assert judge(UNNAMED, OWN, [_peer(1), _peer(2)], 2, patient=True) is Judgement.YIELD
    assert judge(UNNAMED, OWN, [_peer(99, doubt=UNNAMED)], 1, patient=True) is Judgement.REPLAY
    assert judge(UNNAMED, OWN, [_peer(101, doubt=UNNAMED)], 1, patient=True) is Judgement.YIELD


def test_judge_of_a_leader_whose_data_is_hopeless_yields_to_doubtful_data() -> None:
    assert judge(HOPELESS, 500, [_peer(99), _peer(98, doubt=UNNAMED)], 2, patient=True) is Judgement.YIELD
    assert judge(HOPELESS, 500, [_peer(99, doubt=HOPELESS)], 1, patient=True) is Judgement.WAIT
    assert judge(HOPELESS, 500, [_peer(99, votes=False)], 0, patient=True) is Judgement.WAIT


def test_best_placed_is_a_voter_whose_data_is_in_doubt() -> None:
    best = _peer(99)
    others = [_peer(98), _peer(500, doubt=HOPELESS), _peer(450, doubt=UNNAMED), _peer(400, votes=False)]
    assert best_placed([*others, best]) is best
    assert best_placed([_peer(500, doubt=HOPELESS)]) is None


def test_judge_of_a_cluster_of_one_replays_at_once() -> None:
    assert judge(UNNAMED, OWN, [], 0, patient=True) is Judgement.REPLAY


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
