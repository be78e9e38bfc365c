from wolfscale.api.models import AppliedStatus, DatabaseState, RaftRole
from wolfscale.demo.comparison import differences, judge
from wolfscale.demo.conditions import describe, is_serving, level, serving, writable_node
from wolfscale.demo.writers import Acknowledged, Record
from wolfscale.testing.statuses import follower, node


def test_writable_node_is_the_one_of_the_highest_term() -> None:
    assert writable_node({1: node(1, term=3), 2: node(2, term=4), 3: None}) == 2
    assert writable_node({1: follower(1), 2: None}) is None


def test_serving_needs_a_vote_a_leader_and_a_database() -> None:
    assert is_serving(follower())
    assert not is_serving(None)
    assert not is_serving(node(role=RaftRole.LEARNER))
    assert not is_serving(node(leader=None))
    assert not is_serving(node(state=DatabaseState.CLONING))
    assert serving(1, 2)({1: node(), 2: follower(2)})
    assert not serving(1, 2)({1: node(), 2: None})


def test_level_needs_equal_positions_and_no_lag() -> None:
    assert level(1, 2)({1: node(), 2: follower(2)})
    assert not level(1, 2)({1: node(commit_index=100), 2: follower(2)})
    assert not level(1, 2)({1: node(applied=AppliedStatus(sequence=51)), 2: follower(2)})
    lagging = node(applied=AppliedStatus(sequence=50, lag_groups=1))
    assert not level(1, 2)({1: lagging, 2: follower(2)})


def test_description_names_silent_nodes_and_reasons() -> None:
    text = describe({1: node(state=DatabaseState.FAILED, reason="disk full"), 2: None})
    assert "MariaDB failed (disk full)" in text
    assert "node-2 silent" in text


def test_differences_name_the_table_and_every_value() -> None:
    assert differences({1: {"`a`.`t`": 1}, 2: {"`a`.`t`": 1}}) == []
    assert differences({1: {"`a`.`t`": 1, "`a`.`u`": 5}, 2: {"`a`.`t`": 2}}) == [
        "`a`.`t`: node-1 1, node-2 2",
        "`a`.`u`: node-1 5, node-2 missing",
    ]
    assert differences({1: {"`a`.`t`": None}, 2: {"`a`.`t`": None}}) != []


def _record(*moments: float) -> Record:
    return Record(
        acknowledged=[
            Acknowledged(key=(1, number), port=1, at=moment) for number, moment in enumerate(moments)
        ]
    )


def test_judgement_finds_lost_and_invented_rows() -> None:
    record = _record(1.0, 2.0)
    record.unknown.add((1, 7))
    assert judge(record, {(1, 0), (1, 1)}) == []
    assert judge(record, {(1, 0), (1, 1), (1, 7)}) == []
    [lost] = judge(record, {(1, 0)})
    assert lost == "1 acknowledged writes are missing: writer 1 number 1"
    [invented] = judge(record, {(1, 0), (1, 1), (9, 9)})
    assert "that nobody wrote: writer 9 number 9" in invented


def test_longest_gap_counts_the_edges() -> None:
    record = _record(1.0, 1.5, 4.0)
    assert record.longest_gap(1.0, 4.0) == 2.5
    assert record.longest_gap(1.0, 9.0) == 5.0
    assert record.longest_gap(5.0, 6.0) == 1.0
    assert record.first_after(1.2) == 1.5
    assert record.first_after(5.0) is None
