"""The image, built and run by a real engine, and docker/compose.yaml; only with `make image-test`."""

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
from container_engine import IMAGE, ROOT, Engine, missing_programs

from wolfscale.demo.plan import free_ports

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"needs {', '.join(missing_programs())}"),
]

NAMES = ("node-1", "node-2", "node-3")
PATIENCE_SECONDS = 180.0
DUMP = "mariadb-dump --host=127.0.0.1 --port=3307 --user=app --single-transaction --routines --triggers demo"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.build()
        yield engine
    finally:
        engine.close()


class Composed:
    """The three nodes of docker/compose.yaml, on free ports."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        text = (ROOT / "docker" / "compose.yaml").read_text()
        ports = free_ports(6)
        for fixed, free in zip((3307, 3308, 3309, 8080, 8081, 8082), ports, strict=True):
            text, found = re.subn(rf'"127\.0\.0\.1:{fixed}:', f'"127.0.0.1:{free}:', text)
            assert found == 1
        self.mysql_ports = dict(zip(NAMES, ports[:3], strict=True))
        self.file = engine.scratch / "compose.yaml"
        self.file.write_text(text)

    def compose(self, *arguments: str) -> None:
        self.engine.compose(self.file, *arguments)

    def up(self, *services: str) -> None:
        self.compose("up", "--detach", "--no-build", *services)

    def execute(self, name: str, *command: str, text: str = "") -> Any:
        return self.engine.podman("exec", "--interactive", container(name), *command, text=text)

    def is_healthy(self, name: str) -> bool:
        return self.engine.podman("healthcheck", "run", container(name), check=False).returncode == 0

    def wait_healthy(self, *names: str) -> None:
        for name in names or NAMES:
            wait_for(lambda name=name: self.is_healthy(name), f"{name} to be healthy")  # type: ignore[misc]

    def query(self, name: str, sql: str) -> tuple[tuple[Any, ...], ...]:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.mysql_ports[name],
            user="app",
            password="secret",
            autocommit=True,
            read_timeout=60,
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    def wait_count(self, expected: int) -> None:
        def counted(name: str) -> bool:
            try:
                return self.query(name, "SELECT COUNT(*) FROM demo.t") == ((expected,),)
            except pymysql.err.OperationalError:
                return False

        for name in NAMES:
            wait_for(lambda name=name: counted(name), f"{name} to have {expected} rows")  # type: ignore[misc]

    def logs(self, name: str) -> str:
        answer = self.engine.podman("logs", container(name), check=False)
        return answer.stdout + answer.stderr


def container(name: str) -> str:
    return f"wst_{name}_1"


@pytest.fixture(scope="module")
def nodes(engine: Engine) -> Iterator[Composed]:
    engine.serve()
    composed = Composed(engine)
    try:
        composed.up()
        composed.wait_healthy()
        composed.query("node-2", "CREATE TABLE demo.t (a INT PRIMARY KEY)")
        composed.query("node-3", "INSERT INTO demo.t VALUES (1), (2)")
        yield composed
    except BaseException:
        for name in NAMES:
            print(f"--- {name}\n{composed.logs(name)[-3000:]}")
        raise
    finally:
        engine.compose(composed.file, "down", "--volumes", "--timeout=0")


@pytest.fixture(scope="module")
def idle(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A container that does nothing, to try the entry point in; a configuration is mounted at /mounted."""
    mounted = tmp_path_factory.mktemp("mounted")
    (mounted / "wolfscale.toml").write_text('[node]\nid = "mine"\ndata_dir = "/var/lib/wolfscale"\n')
    for path in (mounted, *mounted.parents[:2]):
        path.chmod(0o755)
    command = (IMAGE, "sleep", "infinity")
    engine.podman("run", "--detach", "--name=idle", f"--volume={mounted}:/mounted:ro", *command)
    return "idle"


ENTER = ("python", "-m", "wolfscale.container")


def test_image_holds_no_compiler_and_no_secret(engine: Engine, idle: str) -> None:
    found = engine.podman("exec", idle, "sh", "-c", "command -v gcc cc make pip; true").stdout
    assert found == ""
    assert engine.podman("exec", idle, "id", "-u").stdout == "7400\n"
    assert engine.podman("exec", idle, *ENTER, "--version").stdout.startswith("wolfscale ")
    config = engine.inspect(IMAGE)["Config"]
    assert config["User"] == "7400:7400"
    assert config["StopSignal"] == "SIGTERM"
    assert not any("SECRET" in variable or "PASSWORD" in variable for variable in config["Env"])


def test_container_without_a_name_says_what_is_missing(engine: Engine, idle: str) -> None:
    answer = engine.podman("exec", idle, *ENTER, check=False)
    assert answer.returncode == 2
    assert "WOLFSCALE_NODE_ID is not set" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_mounted_configuration_is_used(engine: Engine, idle: str) -> None:
    variables = ("--env=WOLFSCALE_CONFIG=/mounted/wolfscale.toml", "--env=WOLFSCALE_NODE_ID=not-this")
    assert "node mine" in engine.podman("exec", *variables, idle, *ENTER, "validate").stdout


def test_nodes_run_as_the_image_s_user_below_tini(nodes: Composed) -> None:
    for name in NAMES:
        shown = nodes.execute(
            name, "sh", "-c", 'for p in /proc/[0-9]*; do stat -c %u $p; tr "\\0" " " < $p/cmdline; echo; done'
        ).stdout
        assert set(re.findall(r"^\d+$", shown, re.MULTILINE)) == {"7400"}
        assert "mariadbd" in shown
        assert nodes.execute(name, "cat", "/proc/1/comm").stdout == "tini\n"
        assert nodes.engine.podman("exec", container(name), "touch", "/x", check=False).returncode != 0


def test_commands_in_a_container_find_its_configuration(nodes: Composed) -> None:
    assert all(name in nodes.execute("node-2", "wolfscale", "status").stdout for name in NAMES)
    create = ("wolfscale", "account", "create", "owner", "--administrator", "--password-file", "-")
    nodes.execute("node-3", *create, text="word\n")


def test_dump_as_documented_can_be_restored(nodes: Composed) -> None:
    assert DUMP in " ".join((ROOT / "docs" / "containers.md").read_text().replace("\\\n", " ").split())
    dump = nodes.execute("node-2", "env", "MYSQL_PWD=secret", *DUMP.split()).stdout
    assert "CREATE TABLE `t`" in dump
    nodes.query("node-1", "DROP TABLE demo.t")
    client = "mariadb --host=127.0.0.1 --port=3307 --user=app demo"
    nodes.execute("node-3", "env", "MYSQL_PWD=secret", *client.split(), text=dump)
    nodes.wait_count(2)


def test_leader_stopped_ends_with_zero_and_comes_back(nodes: Composed) -> None:
    status = nodes.execute("node-1", "wolfscale", "status").stdout
    leader = next(line.split()[0] for line in status.splitlines() if " leader " in line)
    other = next(name for name in NAMES if name != leader)
    nodes.engine.podman("stop", "--time=90", container(leader))
    assert nodes.engine.inspect(container(leader))["State"]["ExitCode"] == 0
    assert re.search("MariaDB stopped orderly=true", nodes.logs(leader), re.IGNORECASE)
    nodes.query(other, "INSERT INTO demo.t VALUES (3)")
    nodes.engine.podman("start", container(leader))
    nodes.wait_healthy(leader)
    nodes.wait_count(3)


def test_cluster_taken_down_and_made_anew_keeps_its_data(nodes: Composed) -> None:
    nodes.compose("down", "--timeout=90")
    nodes.up()
    nodes.wait_healthy()
    nodes.wait_count(3)


def test_founder_that_lost_its_volume_joins_its_cluster(nodes: Composed) -> None:
    nodes.compose("down", "--timeout=90")
    nodes.engine.podman("volume", "rm", "wst_node-1")
    nodes.up("node-1")
    wait_for(lambda: "joining" in nodes.logs("node-1"), "node-1 to ask for its peers")
    assert "comes back as a new member" in nodes.logs("node-1")
    assert not nodes.is_healthy("node-1")
    nodes.up()
    nodes.wait_healthy()
    nodes.wait_count(3)
    assert "makes a new cluster" not in nodes.logs("node-1")
