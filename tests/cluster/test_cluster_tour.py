"""What a newcomer does first: the demo with its tour, as a process, in the directory that it makes itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOUR_SECONDS = 300


@pytest.mark.cluster
def test_tour_in_a_directory_of_its_own_holds_every_step_and_leaves_nothing() -> None:
    # The demo counts up from each base. These are below all ports that the system gives to other tests.
    base = 10_000 + os.getpid() % 600 * 10
    ports = [f"--mysql-port={base}", f"--http-port={base + 6000}", f"--peer-port={base + 12_000}"]
    before = set(Path("/tmp").glob("wolfscale-demo-*"))
    done = subprocess.run(
        [sys.executable, "-m", "wolfscale", "demo", "--tour", *ports],
        capture_output=True,
        text=True,
        timeout=TOUR_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "Every step held." in done.stdout
    assert set(Path("/tmp").glob("wolfscale-demo-*")) <= before
