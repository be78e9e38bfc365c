"""What `python -m bench.path` times is still what the proxy does."""

import subprocess
import sys
from pathlib import Path


def test_each_step_of_a_plain_read_runs() -> None:
    root = Path(__file__).parents[1]
    script = "from bench.path import steps\nfor name, step in steps(): step(); step(); print(name)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
