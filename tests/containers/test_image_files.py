"""The Dockerfile and the compose file by themselves: linters, and what they must agree on with the rest."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from wolfscale.config import parse, parse_address
from wolfscale.container.variables import OTHERS, SHORT_NAMES, document, variable_names

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
NODES = ("node-1", "node-2", "node-3")


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of a kind in the image's last stage."""
    text = DOCKERFILE.read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def compose_config() -> dict[str, Any]:
    """The compose file as docker compose understands it."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        version = subprocess.run([*command, "version"], capture_output=True, check=False)
        if version.returncode == 0:
            answer = subprocess.run(
                [*command, "--file", str(COMPOSE), "config"], capture_output=True, text=True, check=False
            )
            assert answer.returncode == 0, answer.stderr
            return dict(yaml.safe_load(answer.stdout))
    pytest.skip("neither `docker compose` nor docker-compose is installed (make packages)")


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service["environment"].items()}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(compose_config()["services"])


def test_dockerfile_passes_hadolint() -> None:
    program = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run(
        [program, "--failure-threshold=style", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian\nRUN cd /tmp && sudo ls\n")
    program = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([program, bad], capture_output=True, check=False).returncode != 0


def test_image_ends_as_an_unprivileged_user_that_gets_signals() -> None:
    assert instructions("USER") == ["7400:7400"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("VOLUME") == ["/var/lib/wolfscale"]
    assert instructions("WORKDIR") == ["/var/lib/wolfscale"]
    # The exec form: a shell in between would keep the signals to itself.
    assert json.loads(instructions("ENTRYPOINT")[0])[0] == "/usr/bin/tini"
    assert json.loads(instructions("CMD")[-1]) == ["start"]
    assert "wolfscale.container.health" in instructions("HEALTHCHECK")[0]


def test_image_exposes_the_ports_that_a_node_listens_on_by_default() -> None:
    config = parse('[node]\nid = "a"', path=Path("x"), environment={})
    addresses = (config.proxy.bind_address, config.api.bind_address, config.node.bind_address)
    assert instructions("EXPOSE")[0].split() == [str(parse_address(address).port) for address in addresses]


def test_image_is_pinned_and_leaves_no_secret() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert bases == ["debian:12-slim"] * 2
    assert "requirements.txt" in DOCKERFILE.read_text()
    assert not re.search(r"(SECRET|PASSWORD)", "\n".join(instructions("ENV")))


def test_build_context_holds_what_the_dockerfile_copies() -> None:
    wanted = {
        name
        for arguments in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
        for name in arguments.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert wanted == {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in wanted)


def test_compose_has_three_nodes_on_the_ports_of_the_demo(services: dict[str, Any]) -> None:
    assert sorted(services) == list(NODES)
    for number, name in enumerate(NODES, start=1):
        published = [str(port).removesuffix("/tcp") for port in map(_port, services[name]["ports"])]
        assert published == [f"127.0.0.1:{3306 + number}:3307", f"127.0.0.1:{8079 + number}:8080"]
        assert all(port in COMPOSE.read_text() for port in (f":{3306 + number} ", f":{8079 + number}"))


def _port(port: str | dict[str, Any]) -> str:
    if isinstance(port, str):
        return port
    return f"{port['host_ip']}:{port['published']}:{port['target']}"


def test_compose_gives_each_node_a_volume_and_time_to_stop(services: dict[str, Any]) -> None:
    volumes = [_volumes(services[name]) for name in NODES]
    assert len({found["/var/lib/wolfscale"] for found in volumes}) == 3
    assert len({found["/var/lib/wolfscale-cluster"] for found in volumes}) == 1
    for name in NODES:
        grace = str(services[name]["stop_grace_period"])
        assert grace in {"90s", "1m30s"}


def _volumes(service: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for volume in service["volumes"]:
        if isinstance(volume, str):
            source, target = volume.split(":")[:2]
            found[target] = source
        else:
            found[volume["target"]] = volume["source"]
    return found


def test_compose_variables_make_one_founder_and_a_configuration_that_is_valid(
    services: dict[str, Any],
) -> None:
    founders = [name for name in NODES if "WOLFSCALE_BOOTSTRAP" in services[name]["environment"]]
    assert founders == ["node-1"]
    for name in NODES:
        environment = environment_of(services[name])
        config = parse(document(environment, {}), path=Path("x"), environment=environment)
        assert config.node.id == name
        assert config.node.advertise_address == f"{name}:7400"
        assert sorted(config.cluster.peers) == [f"{other}:7400" for other in NODES if other != name]
        assert config.database.application_user == "app"


def test_compose_holds_no_secret_of_the_cluster(services: dict[str, Any]) -> None:
    for name in NODES:
        assert "WOLFSCALE_SECRET" not in services[name]["environment"]


def test_documentation_names_every_short_variable() -> None:
    page = (ROOT / "docs" / "containers.md").read_text()
    missing = [name for name in (*SHORT_NAMES, *OTHERS, "WOLFSCALE_NODE_ID") if f"`{name}`" not in page]
    assert not missing


def test_documentation_names_no_variable_that_there_is_not() -> None:
    page = (ROOT / "docs" / "containers.md").read_text()
    named = set(re.findall(r"\bWOLFSCALE_[A-Z0-9_]*[A-Z0-9]\b", page))
    assert named <= {*variable_names(), *OTHERS}
