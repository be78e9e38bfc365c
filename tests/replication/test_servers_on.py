"""Finding the servers on a data directory: by the directory itself, wherever a process sees it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wolfscale.replication.processes import kill_servers_on, servers_on

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program with a server's name, which does nothing; waits until it has changed its directory."""
    program = tmp_path / "mariadbd"
    shutil.copy("/bin/sleep", program)
    started: list[subprocess.Popen[bytes]] = []

    def work(directory: Path, *before: str) -> subprocess.Popen[bytes]:
        script = f'{"".join(before)} cd "{directory}"; echo; exec "{program}" 600'
        process = subprocess.Popen(
            [*(("unshare", "--mount") if before else ()), "sh", "-c", script], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        # The shell has changed its directory, and becomes the program without leaving it.
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != "mariadbd":
            assert process.poll() is None
        return process

    yield work
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_server_is_found_by_its_directory_however_it_is_named(tmp_path: Path, start: Start) -> None:
    data, link, other = tmp_path / "data", tmp_path / "link", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    link.symlink_to(data)
    process = start(data)
    assert servers_on(data) == servers_on(link) == [process.pid]
    moved = data.rename(tmp_path / "moved")
    assert servers_on(moved) == [process.pid]
    assert servers_on(other) == servers_on(tmp_path / "none") == []
    assert kill_servers_on(moved) == [process.pid]
    assert process.wait() < 0


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")
def test_server_of_a_container_at_the_same_path_is_left_alone(tmp_path: Path, start: Start) -> None:
    data, of_the_container = tmp_path / "data", tmp_path / "volume"
    data.mkdir()
    of_the_container.mkdir()
    own = start(data)
    others = start(data, f'mount --bind "{of_the_container}" "{data}";')
    assert Path(f"/proc/{others.pid}/cwd").readlink() == data, "the path is the same"
    assert servers_on(data) == [own.pid]
    assert servers_on(of_the_container) == [others.pid]
    assert kill_servers_on(data) == [own.pid]
    assert others.poll() is None
