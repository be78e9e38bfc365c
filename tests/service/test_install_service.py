"""install_service.sh: the units that it writes, and that it changes nothing that is not its own."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "install_service.sh"
MANAGED = '[node]\nid = "db1"\ndata_dir = "{dir}/data"\n[api]\nbind_address = "127.0.0.1:8080"\n'
EXTERNAL = '[node]\nid = "db1"\n[database]\nhost = "127.0.0.1"\npassword = "${{PASSWORD}}"\n'

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a service")


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PASSWORD": "correct-horse"}
    environment.pop("WOLFSCALE_CONFIG", None)
    done = subprocess.run(
        [str(SCRIPT), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def written_unit(output: str) -> str:
    """The unit that a dry run shows."""
    _, _, rest = output.partition("would write ")
    unit, end, _ = rest.partition("WantedBy=multi-user.target\n")
    return unit.partition("\n")[2] + end


def settings(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w*=", line))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "wolfscale.toml"
    path.write_text(MANAGED.format(dir=tmp_path))
    return path


def dry(kind: str, config: Path, *arguments: str) -> str:
    return run(kind, "--dry-run", "--in-place", "--config", str(config), *arguments).stdout


def verified(unit: str, tmp_path: Path) -> None:
    """Have systemd itself read the unit."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: docker/install-packages systemd")
    path = tmp_path / "wolfscale-node.service"
    path.write_text(unit)
    # `verify` wants the unit's user to exist nowhere, but the program to be there.
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    # Other units of this machine, which it reads too, are none of ours.
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "wolfscale" in line]
    assert complaints == []


@pytest.mark.parametrize("kind", ["node", "proxy"])
@pytest.mark.parametrize("user", ["wolfscale", "root"])
def test_unit_is_one_that_systemd_understands(kind: str, user: str, config: Path, tmp_path: Path) -> None:
    verified(written_unit(dry(kind, config, "--user", user)), tmp_path)


def test_verification_notices_a_wrong_setting(config: Path, tmp_path: Path) -> None:
    unit = written_unit(dry("node", config)).replace("KillMode=mixed", "KillMode=mixd")
    with pytest.raises(AssertionError, match="mixd"):
        verified(unit, tmp_path)


def test_unit_of_a_node_stops_it_gently_and_starts_it_again(config: Path) -> None:
    unit = settings(written_unit(dry("node", config)))
    assert unit["ExecStart"] == f"{ROOT}/.venv/bin/wolfscale start --config {config}"
    assert unit["KillMode"] == "mixed"
    assert int(unit["TimeoutStopSec"]) > 60
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"] == "2"
    assert unit["StartLimitIntervalSec"] == "0"
    assert unit["After"] == unit["Wants"] == "network-online.target"
    assert int(unit["LimitNOFILE"]) >= 65536
    assert unit["NoNewPrivileges"] == "yes"


def test_unit_of_a_proxy_runs_the_proxy(config: Path) -> None:
    unit = settings(written_unit(dry("proxy", config)))
    assert unit["ExecStart"].endswith(f"wolfscale proxy --config {config}")
    assert unit["User"] == "wolfscale"
    assert "ReadWritePaths" not in unit


def test_node_with_a_managed_server_needs_no_capability(config: Path, tmp_path: Path) -> None:
    unit = settings(written_unit(dry("node", config)))
    assert (unit["User"], unit["ProtectSystem"], unit["CapabilityBoundingSet"]) == ("wolfscale", "strict", "")
    assert f"-{tmp_path}/data" in unit["ReadWritePaths"].split()


def test_node_with_an_external_server_is_roots(config: Path) -> None:
    config.write_text(EXTERNAL.format())
    unit = settings(written_unit(dry("node", config)))
    assert (unit["User"], unit["ProtectSystem"]) == ("root", "full")
    assert {"CAP_KILL", "CAP_SETUID", "CAP_CHOWN"} <= set(unit["CapabilityBoundingSet"].split())


@needs_root
def test_node_whose_data_is_roots_stays_roots(config: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert settings(written_unit(dry("node", config)))["User"] == "wolfscale"
    (tmp_path / "data" / "identity.json").touch()
    assert settings(written_unit(dry("node", config)))["User"] == "root"


def test_low_port_is_given_the_capability(config: Path) -> None:
    config.write_text(config.read_text() + '[proxy]\nbind_address = ":306"\n')
    unit = settings(written_unit(dry("node", config)))
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


def test_home_is_hidden_unless_something_is_there(config: Path) -> None:
    config.write_text(config.read_text().replace(f"{config.parent}/data", "/home/db/data"))
    assert settings(written_unit(dry("node", config)))["ProtectHome"] == "no"


def test_no_unit_founds_a_cluster(config: Path) -> None:
    output = dry("node", config, "--bootstrap")
    assert "--bootstrap" not in settings(written_unit(output))["ExecStart"]
    assert f"would run once, until it takes writes: {ROOT}/.venv/bin/wolfscale start" in output


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    output = run(
        "node",
        "--dry-run",
        *("--config", str(tmp_path / "etc" / "wolfscale.toml")),
        *("--prefix", str(tmp_path / "opt"), "--unit-dir", str(tmp_path / "units")),
        "--",
        *("--yes", "--peer", "db2:7400"),
    ).stdout
    assert "wolfscale init --config" in output
    assert "--yes --peer db2:7400" in output
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_installing_twice_changes_nothing_and_keeps_the_configuration(tmp_path: Path) -> None:
    config, units = tmp_path / "etc" / "wolfscale.toml", tmp_path / "units"
    # As root, so that no user is made on the machine that runs the tests.
    options = (
        "--in-place",
        "--config",
        str(config),
        "--unit-dir",
        str(units),
        "--user",
        "root",
        "--no-start",
    )
    answers = ("--", "--yes", "--id", "db1", "--data-dir", str(tmp_path / "data"))
    first = run("node", *options, *answers).stdout
    unit = units / "wolfscale-node.service"
    assert f"wrote {unit}" in first
    assert stat.S_IMODE(unit.stat().st_mode) == 0o644
    config.write_text(config.read_text() + "# mine\n")
    before = (config.read_bytes(), unit.read_bytes(), unit.stat().st_mtime_ns)
    second = run("node", *options).stdout
    assert (config.read_bytes(), unit.read_bytes(), unit.stat().st_mtime_ns) == before
    assert "stays as it is" in second
    assert "is as it should be" in second
    assert not (tmp_path / "data" / "identity.json").exists()


@needs_root
def test_node_without_the_secret_is_not_started(config: Path, tmp_path: Path) -> None:
    done = run(
        "node",
        *("--in-place", "--config", str(config), "--unit-dir", str(tmp_path / "units"), "--user", "root"),
        check=False,
    )
    assert done.returncode == 1
    assert f"next: copy the first node's file cluster-secret to {tmp_path}/data/cluster-secret" in done.stderr
    assert (tmp_path / "units" / "wolfscale-node.service").exists()


@needs_root
def test_unusable_configuration_installs_no_unit(config: Path, tmp_path: Path) -> None:
    config.write_text("[node]\n")
    done = run(
        "node",
        *("--in-place", "--config", str(config), "--unit-dir", str(tmp_path / "units"), "--user", "root"),
        check=False,
    )
    assert done.returncode == 2
    assert "cannot use" in done.stderr
    assert "next: correct it" in done.stderr
    assert not (tmp_path / "units").exists()


@needs_root
def test_missing_configuration_without_a_terminal_says_how_to_answer(tmp_path: Path) -> None:
    done = run("proxy", "--in-place", "--config", str(tmp_path / "none.toml"), "--user", "root", check=False)
    assert done.returncode == 1
    assert "install_service.sh proxy -- --yes" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nod",),
        ("node", "--config"),
        ("node", "--what"),
        ("proxy", "--bootstrap"),
        ("node", "--config", "/a b"),
    ],
)
def test_wrong_command_line_exits_with_usage(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, check=False)
    assert done.returncode == 2
    assert "install_service.sh: " in done.stderr


def test_help_lists_every_option() -> None:
    shown = run("--help").stdout
    for option in re.findall(r"^ {4}(--[a-z-]+)", SCRIPT.read_text(), re.MULTILINE):
        assert option in shown
