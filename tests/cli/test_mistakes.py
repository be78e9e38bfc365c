"""What a user can get wrong when starting a node, or the machine can lack: one line and a next step each."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wolfscale.cli.exits import Exit

NOBODY = 65534
STARTED = "started"

# Each of them starts a process, and a node wants to find mariadbd.
pytestmark = pytest.mark.mariadb
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user or to mount")


def ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    numbers = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return numbers


def write_config(directory: Path, *, data_dir: Path, more: str = "") -> tuple[Path, dict[str, int]]:
    peers, clients, http = ports(3)
    path = directory / "wolfscale.toml"
    path.write_text(
        f'[node]\nid = "a"\nbind_address = "127.0.0.1:{peers}"\ndata_dir = "{data_dir}"\n'
        f'[proxy]\nbind_address = "127.0.0.1:{clients}"\n[api]\nbind_address = "127.0.0.1:{http}"\n{more}'
    )
    return path, {"node": peers, "proxy": clients, "api": http}


def start(config: Path, *arguments: str, as_nobody: bool = False, secret: str | None = None) -> str:
    """Start a node that cannot run; its words."""
    command = ["start", "--config", str(config), *arguments]
    # Another user may not be able to read this checkout, so it is read before.
    become = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); " if as_nobody else ""
    code = f"import os, sys, wolfscale.cli.start, wolfscale.cli as cli; {become}cli.main(sys.argv[1:])"
    environment = {name: value for name, value in os.environ.items() if name != "WOLFSCALE_SECRET"}
    if secret is not None:
        environment["WOLFSCALE_SECRET"] = secret
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {Exit.FAILED, Exit.USAGE}, done.stderr
    assert "Traceback" not in done.stderr
    message = next(line for line in done.stderr.splitlines() if line.startswith("wolfscale: "))
    assert len(message) > len("wolfscale: ")
    return done.stderr


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


@pytest.mark.parametrize("section", ["node", "proxy", "api"])
def test_taken_port_is_named_with_the_key_to_change(tmp_path: Path, section: str) -> None:
    config, numbers = write_config(tmp_path, data_dir=tmp_path / "data")
    with taken(numbers[section]):
        error = start(config, "--bootstrap")
    assert f"127.0.0.1:{numbers[section]}" in error
    assert "Address already in use" in error
    assert re.search(rf"\[{section}\] bind_address|bind_address in \[{section}\]", error)


def test_address_of_another_machine_is_named(tmp_path: Path) -> None:
    config, numbers = write_config(tmp_path, data_dir=tmp_path / "data")
    config.write_text(
        config.read_text().replace(f"127.0.0.1:{numbers['proxy']}", f"192.0.2.1:{numbers['proxy']}")
    )
    error = start(config, "--bootstrap")
    assert "192.0.2.1" in error
    assert "next: choose an address of this machine" in error


def test_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config, _ = write_config(tmp_path, data_dir=tmp_path / "file" / "data")
    error = start(config, "--bootstrap")
    assert str(tmp_path / "file") in error
    assert "next: check the path" in error


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users reach; pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        directory = Path(path)
        directory.chmod(0o755)
        yield directory


@needs_root
def test_data_directory_of_somebody_else_is_named(open_directory: Path) -> None:
    config, _ = write_config(open_directory, data_dir=open_directory / "closed" / "data")
    (open_directory / "closed").mkdir(mode=0o755)
    config.chmod(0o644)
    error = start(config, "--bootstrap", as_nobody=True)
    assert f"{open_directory / 'closed' / 'data'}: Permission denied" in error
    assert "next: run it as a user who may" in error


@needs_root
def test_configuration_of_somebody_else_is_named(open_directory: Path) -> None:
    config, _ = write_config(open_directory, data_dir=open_directory / "data")
    config.chmod(0o600)
    error = start(config, as_nobody=True)
    assert f"{config}: cannot be read: Permission denied" in error
    assert "next: name a file that this user may read" in error


@needs_root
def test_full_disk_is_named_with_its_directory(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        config, _ = write_config(tmp_path, data_dir=disk / "data")
        error = start(config, "--bootstrap")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert str(disk / "data") in error
    assert "No space left on device" in error
    assert "next: make room" in error


def test_missing_mariadbd_names_the_package(tmp_path: Path) -> None:
    config, _ = write_config(tmp_path, data_dir=tmp_path / "data")
    code = (
        "import sys, wolfscale.replication.managed as managed\n"
        "managed._PLACES = ('/nonexistent',)\n"
        "from wolfscale.cli import main\n"
        f"main(['start', '--bootstrap', '--config', {str(config)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == Exit.FAILED
    assert "mariadbd is not installed" in done.stderr
    assert "Install mariadb-server" in done.stderr
    assert "Traceback" not in done.stderr


def test_configured_mariadbd_that_is_not_there_is_found_by_validate(tmp_path: Path) -> None:
    config, _ = write_config(
        tmp_path, data_dir=tmp_path / "data", more='[database]\nmariadbd = "/nonexistent/mariadbd"\n'
    )
    error = start(config, "--bootstrap")
    assert "database.mariadbd: there is no program /nonexistent/mariadbd" in error


def test_node_without_the_secret_says_what_to_copy(tmp_path: Path) -> None:
    config, _ = write_config(tmp_path, data_dir=tmp_path / "data")
    assert "copy the file cluster-secret" in start(config)
    assert "WOLFSCALE_SECRET holds fewer than 16 characters" in start(config, secret="short")


def test_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    config, _ = write_config(tmp_path, data_dir=tmp_path / "data", more="")
    config.write_text(config.read_text().replace("[node]\n", "[node]\nwitness = true\n"))
    with subprocess.Popen(
        [sys.executable, "-m", "wolfscale", "start", "--bootstrap", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        try:
            assert first.stderr is not None
            for line in first.stderr:
                if STARTED in line:
                    break
            error = start(config)
            assert "another wolfscale process uses" in error
            assert "stop it first" in error
        finally:
            first.send_signal(signal.SIGTERM)
            assert first.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log-format", "xml"], "'text', 'json'"),
        (["--log-level", "loud"], "'debug', 'info', 'warning', 'error'"),
        (["--bootstarp"], "--bootstrap"),
    ],
)
def test_wrong_option_names_the_right_ones(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wolfscale", "start", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.USAGE
    assert words in done.stderr
