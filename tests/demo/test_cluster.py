"""Process control, tried on stand-ins that serve a status and have a MariaDB in name only."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from wolfscale.demo import ClusterPlan, DemoCluster, Part
from wolfscale.demo import cluster as cluster_module
from wolfscale.demo.conditions import serving
from wolfscale.demo.errors import DemoError, NodeEndedError, WaitedInVainError
from wolfscale.demo.processes import is_alive, start_node_process, wait_ended

pytestmark = pytest.mark.slow

FAKE = Path(__file__).with_name("fake_node.py")


def start_fake(config: Path, log: Path, *, bootstrap: bool) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(FAKE), str(config), *(["--bootstrap"] if bootstrap else [])],
            stdout=output,
            stderr=output,
            process_group=0,
        )


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Start stand-ins instead of nodes, and remember the SQL that would have run."""
    ran: list[Sequence[str]] = []

    async def query(access: object, statements: Sequence[str], database: str | None = None) -> list[object]:
        await trio.lowlevel.checkpoint()
        ran.append(statements)
        return [() for _ in statements]

    monkeypatch.setattr(cluster_module, "start_node_process", start_fake)
    monkeypatch.setattr(cluster_module, "query_server", query)
    return ran


@asynccontextmanager
async def started(directory: Path, nodes: int = 2) -> AsyncIterator[DemoCluster]:
    plan = ClusterPlan.with_free_ports(directory, nodes)
    cluster = DemoCluster(plan, access=lambda _: ("socket", "user", "password"))
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


async def test_start_bootstraps_the_first_node_and_creates_the_account(
    tmp_path: Path, stand_ins: list[Sequence[str]]
) -> None:
    async with started(tmp_path, 3) as cluster:
        statuses = await cluster.statuses()
        assert [status.name for status in statuses.values() if status] == ["node-1", "node-2", "node-3"]
        assert [(tmp_path / f"node-{n}" / "bootstrapped").exists() for n in (1, 2, 3)] == [True, False, False]
        [statements] = stand_ins
        assert any("CREATE USER" in statement for statement in statements)
        assert any("CREATE DATABASE" in statement for statement in statements)


async def test_stop_leaves_nothing_running_even_of_hurt_nodes(tmp_path: Path) -> None:
    async with started(tmp_path, 3) as cluster:
        pids = [pid for number in cluster.numbers for pid in cluster.process_ids(number)]
        assert len(pids) == 6
        cluster.kill(1, Part.NODE)
        cluster.pause(2)
        assert await cluster.stop()
        assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize(
    ("part", "node_lives", "server_lives"),
    [(Part.NODE, False, True), (Part.MARIADB, True, False), (Part.BOTH, False, False)],
)
async def test_kill_ends_the_part_that_is_meant(
    tmp_path: Path, part: Part, node_lives: bool, server_lives: bool
) -> None:
    async with started(tmp_path, 1) as cluster:
        [server] = cluster.mariadb_process_ids(1)
        killed = cluster.process_ids(1, part)
        cluster.kill(1, part)
        await cluster.wait_dead(killed)
        assert cluster.is_running(1) is node_lives
        assert is_alive(server) is server_lives
        assert (await cluster.status(1) is not None) is node_lives


async def test_killed_node_can_be_launched_again(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        cluster.kill(2)
        await cluster.wait_for(lambda found: found[2] is None, "node-2 to be silent")
        cluster.launch(2)
        await cluster.wait_for(serving(1, 2), "both")
        with pytest.raises(DemoError, match="runs already"):
            cluster.launch(2)


async def test_paused_node_is_silent_until_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_STATUS_TIMEOUT_SECONDS", 0.3)
    async with started(tmp_path) as cluster:
        cluster.pause(1)
        assert await cluster.status(1) is None
        cluster.resume(1)
        await cluster.wait_for(serving(1, 2), "both")


async def test_node_that_ends_by_itself_fails_every_wait_once_with_its_log(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        cluster.node(2).log_path.write_text("the last words\n")
        cluster._processes[2].kill()
        await wait_ended(cluster.process_id(2))
        with pytest.raises(NodeEndedError, match="node-2 was ended by signal 9") as ended:
            await cluster.wait_for(lambda _: False, "anything", 30)
        assert "the last words" in str(ended.value)
        cluster.check_processes()


async def test_wait_in_vain_says_what_was_found(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        cluster.kill(2)
        with pytest.raises(WaitedInVainError) as vain:
            await cluster.wait_for(lambda _: False, "a miracle", 0.2)
        assert "still waiting for a miracle" in str(vain.value)
        assert "node-1 leader writable" in str(vain.value)
        assert "node-2 silent" in str(vain.value)


async def test_wait_writable_finds_the_successor(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        assert await cluster.wait_writable() == 1
        cluster.kill(1)
        (tmp_path / "leader").write_text("2")
        assert await cluster.wait_writable(other_than=1) == 2


async def test_terminate_returns_the_exit_code(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        assert await cluster.terminate(2) == 0
        cluster.check_processes()
        assert cluster.mariadb_process_ids(2) == []


async def test_restart_of_all_nodes_waits_for_no_lone_first_node(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        await cluster.stop()
        (tmp_path / "leader").write_text("2")  # node-1 alone would never take writes
        await cluster.start()
        assert await cluster.wait_writable() == 2


async def test_added_node_knows_all_others_and_joins(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        number = cluster.add_node()
        assert cluster.numbers == (1, 2, number)
        text = cluster.node(number).config_path.read_text()
        assert cluster.node(1).peer_address in text
        assert cluster.node(2).peer_address in text
        cluster.launch(number)
        await cluster.wait_for(serving(1, 2, number), "all three")


async def test_wipe_removes_the_data_of_a_stopped_node_only(tmp_path: Path) -> None:
    async with started(tmp_path) as cluster:
        with pytest.raises(DemoError, match="stop it"):
            cluster.wipe(2)
        await cluster.terminate(2)
        cluster.wipe(2)
        assert not cluster.node(2).data_dir.exists()
        assert cluster.node(2).config_path.exists()


async def test_node_process_with_a_wrong_configuration_ends_and_says_why(tmp_path: Path) -> None:
    config, log = tmp_path / "wolfscale.toml", tmp_path / "log"
    config.write_text('[node]\nidd = "a"\n')
    process = start_node_process(config, log, bootstrap=False)
    await wait_ended(process.pid)
    assert process.wait() == 2
    assert "did you mean id?" in log.read_text()


def test_node_process_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nexec sleep 1000\n")
    stand_in.chmod(0o755)
    program = f"""
import sys, time
from pathlib import Path
from wolfscale.demo.processes import start_node_process
sys.executable = {str(stand_in)!r}
print(start_node_process(Path("x"), Path({str(tmp_path / "log")!r}), bootstrap=False).pid, flush=True)
time.sleep(1000)
"""
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        child = int(starter.stdout.readline())
    # Not before setpriv has asked for the signal and become the stand-in.
    while b"sleep" not in Path(f"/proc/{child}/cmdline").read_bytes():
        time.sleep(0.01)
    starter.kill()
    starter.wait()

    async def ended() -> None:
        with trio.fail_after(60):
            await wait_ended(child)

    trio.run(ended)
