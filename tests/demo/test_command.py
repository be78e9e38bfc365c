"""`wolfscale demo` as a process, on stand-ins for nodes: what it prints, how it ends, what it leaves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wolfscale.demo.plan import free_ports
from wolfscale.demo.processes import server_processes

PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import trio
import wolfscale.app.admin
from test_cluster import start_fake
from wolfscale.demo import cluster

async def query(access, statements, database=None):
    await trio.lowlevel.checkpoint()
    return [() for _ in statements]

wolfscale.app.admin.admin_connection_info = lambda data_dir: ("socket", "user", "password")
cluster.start_node_process = start_fake
cluster.query_server = query
from wolfscale.cli import main
main()
"""


def demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    mysql_port, http_port, peer_port = free_ports(3)
    ports = ["--mysql-port", str(mysql_port), "--http-port", str(http_port), "--peer-port", str(peer_port)]
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), "demo", "--nodes", "1"]
    return subprocess.Popen(
        [*command, "--dir", str(directory), *ports, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told_until(process: subprocess.Popen[str], text: str) -> str:
    told = ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        if text in line:
            return told
    raise AssertionError(f"the demo ended without {text!r}:\n{told}")


@pytest.mark.parametrize(("number", "keep"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_demo_prints_how_to_connect_and_ends_cleanly_when_told_to(
    tmp_path: Path, number: signal.Signals, keep: bool
) -> None:
    directory = tmp_path / "demo"
    with demo(directory, *(["--keep"] if keep else [])) as process:
        told = told_until(process, "mysql+pymysql://app:secret@127.0.0.1:")
        assert "mariadb -h 127.0.0.1 -P" in told
        assert "/status" in told
        assert len(server_processes(directory)) == 1
        process.send_signal(number)
        assert process.stdout is not None
        told += process.stdout.read()
        assert process.wait(60) == 0, told
    assert "Stopped." in told
    assert server_processes(directory) == []
    assert directory.exists() is keep


def test_demo_never_removes_a_directory_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with demo(tmp_path) as process:
        told_until(process, "mysql+pymysql")
        process.terminate()
        assert process.stdout is not None
        process.stdout.read()
    assert process.returncode == 0
    assert (tmp_path / "mine").exists()


def test_demo_whose_node_dies_while_starting_fails_with_its_log(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    (directory / "node-1").mkdir(parents=True)
    (directory / "node-1" / "data").touch()  # the stand-in cannot make its data directory
    with demo(directory) as process:
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == 1
    assert "The cluster failed: node-1 ended with exit code 1" in told
    assert "FileExistsError" in told
