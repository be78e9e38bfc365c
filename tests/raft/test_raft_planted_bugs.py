"""The checker is only worth something if it finds what is known to be wrong."""

import pytest
from planted_bugs import PLANTED_BUGS, ForgetfulRaft, PlantedBug, old_terms_committed_by_counting
from raft_scenes import double_vote, figure_8

from wolfscale.errors import InvariantError
from wolfscale.raft import Raft
from wolfscale.testing.raft_checker import Violation
from wolfscale.testing.raft_schedule import Schedule

SEEDS = 500
"""Each bug is found within the first ten of them; the rest is room for changes of the core."""

TICKS = 200


def find(bug: PlantedBug) -> Violation | None:
    for seed in range(SEEDS):
        try:
            Schedule(seed, weather=bug.weather, raft=bug.raft).run(TICKS)
        except Violation as violation:
            if violation.promise in bug.promises:
                return violation
        except InvariantError:
            continue
    return None


@pytest.mark.parametrize("bug", PLANTED_BUGS, ids=lambda bug: bug.name)
def test_checker_planted_bug_is_found(bug: PlantedBug) -> None:
    with bug.plant():
        violation = find(bug)
    assert violation is not None, f"{bug.name}: not found in {SEEDS} seeds"
    command = "Schedule(" if bug.weather else "python -m wolfscale.testing.raft_schedule"
    assert command in "".join(violation.__notes__)


@pytest.mark.parametrize("bug", PLANTED_BUGS, ids=lambda bug: bug.name)
def test_checker_same_weather_without_bug_is_quiet(bug: PlantedBug) -> None:
    for seed in range(8):
        Schedule(seed, weather=bug.weather).run(TICKS)


def test_checker_double_vote_after_restart_is_found() -> None:
    double_vote(Raft)
    with pytest.raises(Violation, match="election safety"):
        double_vote(ForgetfulRaft)


def test_checker_figure_8_is_found() -> None:
    figure_8()
    with old_terms_committed_by_counting(), pytest.raises(Violation, match="leader completeness"):
        figure_8()
