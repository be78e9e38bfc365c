"""run.sh: works from anywhere, hands its arguments on, and says what it lacks."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_run_from_another_directory_hands_arguments_and_exit_code_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "run.sh"), "validate", "--config", "a file.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no configuration a file.toml" in done.stderr


def test_run_through_a_link_finds_its_own_directory(tmp_path: Path) -> None:
    (tmp_path / "wolfscale").symlink_to(ROOT / "run.sh")
    done = subprocess.run(
        [str(tmp_path / "wolfscale"), "--version"], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wolfscale ")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_run_by_a_user_who_may_not_write_here_says_so() -> None:
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    # Not in pytest's own directory, which other users do not reach.
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        directory = Path(path)
        directory.chmod(0o755)
        shutil.copy(ROOT / "run.sh", directory / "run.sh")
        done = subprocess.run(
            [*become, str(directory / "run.sh"), "--version"],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "run.sh: " in done.stderr
    assert "no environment could be made" in done.stderr
