"""The clients' own environment: drivers from PyPI and npm, in a directory that outlives one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = Path(os.environ.get("WOLFSCALE_COMPAT", ROOT / ".compat"))
PYTHON = DIRECTORY / "venv" / "bin" / "python"
NODE_DIRECTORY = DIRECTORY / "node"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
MYSQL2 = "mysql2@3"
DEBIAN_PACKAGES = ("libmariadb-dev", "pkg-config", "gcc", "python3-dev")
"""mysqlclient and MariaDB's connector are built against MariaDB's client library."""


def python_drivers() -> Path:
    """The interpreter that has the drivers, made if it is not there."""
    done = DIRECTORY / "venv" / "installed"
    if not done.exists() or done.read_text() != REQUIREMENTS.read_text():
        subprocess.run([ROOT / "docker" / "install-packages", *DEBIAN_PACKAGES], check=True)
        shutil.rmtree(DIRECTORY / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", DIRECTORY / "venv"], check=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        done.write_text(REQUIREMENTS.read_text())
    return PYTHON


def node_directory() -> Path | None:
    """A directory in which node finds mysql2; None where there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    if not (NODE_DIRECTORY / "node_modules" / "mysql2").exists():
        NODE_DIRECTORY.mkdir(parents=True, exist_ok=True)
        (NODE_DIRECTORY / "package.json").write_text('{"private": true}\n')
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", MYSQL2]
        subprocess.run(command, cwd=NODE_DIRECTORY, check=True)
    return NODE_DIRECTORY


def source_distribution(name: str, version: str) -> Path:
    """The unpacked source distribution of a package, from PyPI."""
    target = DIRECTORY / f"{name}-{version}"
    if not target.exists():
        download = f"{PYTHON} -m pip download --quiet --no-deps --no-binary :all: --dest {DIRECTORY}".split()
        subprocess.run([*download, f"{name}=={version}"], check=True)
        shutil.unpack_archive(DIRECTORY / f"{name}-{version}.tar.gz", DIRECTORY)
    return target
