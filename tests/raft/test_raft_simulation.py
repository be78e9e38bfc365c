"""Whole clusters in bad weather, from seeds; a failure says how to play it again.

`WOLFSCALE_HYPOTHESIS=chaos` takes new seeds each time, and more of them for longer.
"""

import os
import secrets
import subprocess
import sys

import pytest

from wolfscale.testing.raft_schedule import Schedule

CHAOS = os.environ.get("WOLFSCALE_HYPOTHESIS") == "chaos"
FIXED_SEEDS = range(60)


@pytest.mark.parametrize("block", range(6))
def test_simulation_fixed_seeds_keep_every_promise(block: int) -> None:
    for seed in FIXED_SEEDS[block::6]:
        Schedule(seed).run(150)


@pytest.mark.skipif(not CHAOS, reason="only with WOLFSCALE_HYPOTHESIS=chaos")
def test_simulation_random_seeds_keep_every_promise() -> None:
    for _ in range(300):
        seed = secrets.randbelow(1 << 32)
        print(f"python -m wolfscale.testing.raft_schedule {seed} 1500")
        Schedule(seed).run(1500)


def test_simulation_one_seed_is_the_same_each_time() -> None:
    outcomes = []
    for _ in range(2):
        schedule = Schedule(7)
        schedule.run(100)
        outcomes.append((schedule.cluster.describe(), schedule.cluster.checker.max_committed))
    assert outcomes[0] == outcomes[1]


def test_simulation_command_plays_a_seed_whatever_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-m", "wolfscale.testing.raft_schedule", "3", "60"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "every promise kept" in outputs.pop()


def test_simulation_reaches_what_it_is_for() -> None:
    """A simulation in which nothing happens proves nothing."""
    elections = commits = reads = installs = grown = 0
    for seed in range(20):
        schedule = Schedule(seed)
        schedule.run(150)
        cluster = schedule.cluster
        elections += len({cluster.raft(id).term for id in cluster.running})
        commits += cluster.checker.max_committed
        reads += sum(len(member.reads) for member in cluster.members.values())
        installs += sum(member.disk.durable.base.index > 0 for member in cluster.members.values())
        grown += len(cluster.members) > 5
    assert elections >= 20
    assert commits >= 500
    assert reads >= 50
    assert installs >= 20
    assert grown >= 1
