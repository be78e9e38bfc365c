"""The memory in which a proxy's processes tell one another what their clients were told."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.proxy.acknowledged import Acknowledged, shared_memory
from wolfscale.proxy.consistency import Level, SessionConsistency

SEQUENCES = st.integers(0, (1 << 63) - 1)


@given(st.lists(st.tuples(st.integers(0, 3), SEQUENCES)))
def test_every_process_sees_the_newest_of_all(noted: list[tuple[int, int]]) -> None:
    descriptor = shared_memory(4)
    processes = [Acknowledged(descriptor, place) for place in range(4)]
    os.close(descriptor)
    newest = 0
    for place, sequence in noted:
        processes[place].note(sequence)
        newest = max(newest, sequence)
        assert {process.newest() for process in processes} == {newest}


def test_another_process_sees_what_was_noted() -> None:
    descriptor = shared_memory(2)
    here = Acknowledged(descriptor, 0)
    child = os.fork()
    if not child:
        Acknowledged(descriptor, 1).note(42)
        os._exit(0)
    os.close(descriptor)
    assert os.waitpid(child, 0) == (child, 0)
    assert here.newest() == 42


def test_a_process_takes_back_its_own_only() -> None:
    descriptor = shared_memory(2)
    one, other = Acknowledged(descriptor, 0), Acknowledged(descriptor, 1)
    os.close(descriptor)
    one.note(7)
    other.note(9)
    one.lower(3)
    assert one.newest() == 9
    other.lower(4)
    assert one.newest() == 4
    other.lower(100)
    assert one.newest() == 4


@pytest.mark.parametrize("level", Level)
def test_only_the_nodes_level_waits_for_other_sessions_writes(level: Level) -> None:
    acknowledged = Acknowledged()
    writer, reader = SessionConsistency(level, acknowledged), SessionConsistency(level, acknowledged)
    writer.on_written(5)
    assert (writer.bound, reader.bound) == (5, 5 if level is Level.NODE else 0)
    assert reader.allows(5) is (level in (Level.NODE, Level.SESSION, Level.EVENTUAL))
    reader.hint = Level.NODE
    assert reader.bound == 5
    assert reader.is_behind(4)
    assert not reader.is_behind(5)


def test_a_cluster_that_is_gone_holds_no_reads_back() -> None:
    consistency = SessionConsistency()
    consistency.on_written(50)
    fresh = SessionConsistency(acknowledged=consistency._acknowledged)
    fresh.on_never_applied(committed_sequence=60)
    assert fresh.bound == 50
    fresh.on_never_applied(committed_sequence=3)
    assert fresh.bound == 3
