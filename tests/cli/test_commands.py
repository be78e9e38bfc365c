"""The command line as a user meets it: output, exit codes, next steps, no tracebacks."""

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from wolfscale.api.client import Access, Diagnosis
from wolfscale.api.dashboard_models import Finding, Severity
from wolfscale.api.errors import NodeUnreachableError
from wolfscale.api.models import CloneStatus, DatabaseState, DatabaseStatus, NodeStatus, RaftRole
from wolfscale.cli import main, status
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.cli.tables import member_table, node_table
from wolfscale.config import configuration_reference
from wolfscale.errors import InvariantError
from wolfscale.testing.statuses import follower, member, node
from wolfscale.wal import WalError

VALID = '[node]\nid = "node-1"\n[api]\nbind_address = "0.0.0.0:9999"\n'


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "wolfscale.toml"
    path.write_text(VALID)
    return path


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> dict[str, NodeStatus]:
    """Nodes by endpoint, instead of real ones."""
    nodes: dict[str, NodeStatus] = {}

    async def fetch(endpoint: str, *, access: Access) -> NodeStatus:
        if endpoint not in nodes:
            raise NodeUnreachableError(endpoint, "Connection refused")
        return nodes[endpoint]

    async def diagnose(endpoint: str, *, access: Access) -> Diagnosis:
        return Diagnosis(status=await fetch(endpoint, access=access), findings=())

    monkeypatch.setattr(status, "fetch_status", fetch)
    monkeypatch.setattr(status, "fetch_diagnosis", diagnose)
    return nodes


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("wolfscale ")


def test_validate_of_a_valid_file_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", "--config", str(config)) == 0
    assert "is valid: node node-1, managed MariaDB" in capsys.readouterr().out


def test_validate_lists_every_problem_with_file_and_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(VALID + "[wal]\nfsink = true\nsegment_size_mb = 0\n")
    assert run("validate", "--config", str(config)) == Exit.USAGE
    error = capsys.readouterr().err
    assert f"{config}:6: wal.fsink: unknown key; did you mean fsync?" in error
    assert f"{config}:7: wal.segment_size_mb: must be at least 1" in error
    assert "next: correct" in error
    assert "Traceback" not in error


def test_command_without_configuration_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WOLFSCALE_CONFIG", raising=False)
    monkeypatch.setattr("wolfscale.config.reading.SYSTEM_CONFIG", tmp_path / "none")
    assert run("validate") == Exit.USAGE
    assert "./wolfscale.toml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["validate", "--confg", "x"], ["status", "extra"]])
def test_wrong_command_line_exits_with_usage(arguments: Sequence[str]) -> None:
    assert run(*arguments) == Exit.USAGE


def test_status_shows_each_member_and_its_verdict(
    answering: dict[str, NodeStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    answering["http://x:1"] = node(members=(member(1, writable=True), member(2, alive=False), member(3)))
    assert run("status", "--endpoint", "http://x:1") == 0
    out = capsys.readouterr().out
    assert all(f"node-{number}" in out for number in (1, 2, 3))
    assert "takes writes" in out
    assert "silent" in out
    assert "node-1 answers: term 3, leader node-1; it can serve clients" in out


def test_status_shows_what_is_wrong_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def found(endpoint: str, *, access: Access) -> Diagnosis:
        finding = Finding(severity=Severity.WARNING, what="node-3 [lags]", next_step="wait")
        return Diagnosis(status=node(), findings=(finding,))

    monkeypatch.setattr(status, "fetch_diagnosis", found)
    assert run("status", "--endpoint", "http://x:1") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["warning: node-3 [lags]", "  next: wait"]


def test_status_of_a_node_that_cannot_serve_exits_with_failure(
    answering: dict[str, NodeStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    answering["http://x:1"] = node(state=DatabaseState.FAILED, reason="disk full", writable=False)
    assert run("status", "--endpoint", "http://x:1") == Exit.FAILED
    assert "disk full" in capsys.readouterr().out


def test_status_as_json_is_what_the_node_answers(
    answering: dict[str, NodeStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    answering["http://x:1"] = follower()
    assert run("status", "-e", "http://x:1", "--json") == 0
    assert NodeStatus.model_validate(json.loads(capsys.readouterr().out)) == follower()


def test_status_asks_the_configured_endpoint(answering: dict[str, NodeStatus], config: Path) -> None:
    answering["http://127.0.0.1:9999"] = follower()
    assert run("status", "--config", str(config)) == 0


def test_status_without_an_answer_says_what_to_do(
    answering: dict[str, NodeStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--endpoint", "http://x:1") == Exit.UNREACHABLE
    error = capsys.readouterr().err
    assert "no answer from http://x:1: Connection refused" in error
    assert "next: is the node running" in error


def test_info_shows_the_configuration_without_its_secrets(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(
        VALID + '[database]\npassword = "correct-horse"\n[cluster]\nsecret = "battery-staple-0"\n'
    )
    assert run("info", "--config", str(config)) == 0
    out = capsys.readouterr().out
    assert "cluster secret" in out
    assert "correct-horse" not in out
    assert "battery-staple" not in out


def test_errors_of_a_nursery_are_told_like_single_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ExceptionGroup(
            "", [CommandError("first", exit_code=Exit.USAGE, next_step="try"), WalError("second")]
        )

    monkeypatch.setattr(status, "_diagnose", fail)
    assert run("status", "-e", "http://x:1") == Exit.USAGE
    error = capsys.readouterr().err
    assert "wolfscale: first\n  next: try" in error
    assert "wolfscale: second" in error


@pytest.mark.parametrize(
    "bug",
    [InvariantError("broken"), ExceptionGroup("", [WalError("x"), ValueError("bug")]), ValueError("bug")],
)
def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, bug: Exception) -> None:
    def fail(*_: object) -> None:
        raise bug

    monkeypatch.setattr(status, "_diagnose", fail)
    with pytest.raises(type(bug)):
        main(["status", "-e", "http://x:1"])


def test_reference_prints_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reference") == 0
    assert capsys.readouterr().out == configuration_reference()


def test_page_of_the_command_line_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reference", "command-line") == 0
    page = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
    assert capsys.readouterr().out == page.read_text(encoding="utf-8"), "run: make reference"


def test_page_of_the_command_line_has_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reference", "command-line") == 0
    out = capsys.readouterr().out
    assert all(f"| {code.value} |" in out for code in Exit)


def test_every_command_has_help_and_the_program_lists_them() -> None:
    # In a process of its own: this imports everything, which takes its time and stays.
    answer = subprocess.run(
        [sys.executable, "-m", "wolfscale", "--help"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for command in ("start", "proxy", "status", "info", "validate", "account", "wal", "demo"):
        assert command in answer.stdout
    assert "reference" not in answer.stdout
    assert "Exit codes" in answer.stdout


def _rendered(table: object, width: int = 200) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table)
    return console.export_text()


def test_node_table_shows_a_silent_node_and_a_clone() -> None:
    cloning = node(
        2,
        role=RaftRole.LEARNER,
        state=DatabaseState.CLONING,
        writable=False,
        clone=CloneStatus(donor="node-1", phase="receiving", received_bytes=3 * 2**20),
    )
    text = _rendered(node_table([("node-1", node()), ("node-2", cloning), ("node-3", None)]))
    assert "no answer" in text
    assert "cloning receiving, 3 MiB from node-1" in text


def test_member_table_shows_leadership_and_suffrage() -> None:
    text = _rendered(
        member_table(
            node(
                2,
                role=RaftRole.FOLLOWER,
                writable=False,
                members=(member(1, writable=True), member(2), member(4, suffrage="learner")),
            )
        )
    )
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip().startswith("node-")}
    assert "leader" in lines["node-1"]
    assert "follower" in lines["node-2"]
    assert "learner" in lines["node-4"]


def test_member_table_on_a_narrow_terminal_cuts_nothing_off() -> None:
    text = _rendered(member_table(node(members=(member(1, writable=True), member(2)))), width=80)
    assert "\u2026" not in text
    assert all(word in text for word in ("follower", "takes", "writes", "replica", "applied"))


def test_member_table_shows_a_member_that_clones_as_not_serving() -> None:
    clones = member(2).model_copy(update={"database": DatabaseStatus(state=DatabaseState.CLONING)})
    status = node(members=(member(1, writable=True), clones))
    lines = {
        line.split()[0]: line for line in _rendered(member_table(status)).splitlines() if "node-" in line
    }
    assert "takes writes" in lines["node-1"]
    assert "not serving" in lines["node-2"]


def test_demo_with_taken_ports_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = run("demo", "--nodes", "1", "--dir", str(tmp_path / "d"), "--http-port", str(port))
    assert code == Exit.FAILED
    assert str(port) in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_tour_with_too_few_nodes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--tour", "--nodes", "2") == Exit.USAGE
    assert "3 nodes" in capsys.readouterr().err


def test_proxy_with_an_unusable_address_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("proxy", "--listen", "3307", "--config", str(config)) == Exit.USAGE
    assert "has no port" in capsys.readouterr().err
    assert run("proxy", "--listen", "0.0.0.0:3307", "--config", str(config)) == Exit.USAGE
    assert "--peer" in capsys.readouterr().err
