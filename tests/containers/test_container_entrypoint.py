"""What a container does before it becomes a node: whose configuration counts, who founds, whose secret."""

import threading
from pathlib import Path

import pytest

from wolfscale.app.founding import note_path
from wolfscale.config import load
from wolfscale.container.entrypoint import Layout, prepare
from wolfscale.container.errors import ContainerError
from wolfscale.errors import WolfScaleError
from wolfscale.node.identity import new_identity

PATIENCE_SECONDS = 60


class Container:
    """A container's file system, of which only a few directories matter; its name is the node's."""

    def __init__(self, root: Path, name: str = "node-1", **variables: str) -> None:
        self.root = root / name
        self.layout = Layout(mounted=self.root / "etc" / "wolfscale.toml", home=self.root / "home")
        self.layout.mounted.parent.mkdir(parents=True)
        self.layout.home.mkdir()
        self.cluster = root / "cluster"
        self.cluster.mkdir(exist_ok=True)
        self.environment = {"PATH": "/usr/bin:/bin", **variables}
        self.name = name

    def sharing(self) -> "Container":
        """The same with a directory that all share."""
        self.environment["WOLFSCALE_CLUSTER_DIR"] = str(self.cluster)
        return self

    def start(self, *arguments: str) -> list[str]:
        """The arguments that `wolfscale` is started with."""
        command = prepare(arguments, self.environment, self.layout)
        assert command[1:3] == ["-m", "wolfscale"]
        return command[3:]

    @property
    def configuration(self) -> Path:
        """What a command without --config finds in the working directory."""
        return self.layout.home / "wolfscale.toml"

    @property
    def secret(self) -> str:
        """The secret that the node has."""
        return (self.layout.home / "cluster-secret").read_text().strip()

    def has_been_started(self) -> None:
        """Make the data directory that of a node."""
        new_identity(self.layout.home, self.name)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path, WOLFSCALE_NODE_ID="node-1")


def test_configuration_made_from_variables_is_at_hand_for_every_command(container: Container) -> None:
    assert container.start() == ["start", "--config", str(container.configuration)]
    config = load(container.configuration, container.environment)
    assert (config.node.id, config.data_dir) == ("node-1", container.layout.home)
    container.environment["WOLFSCALE_PROXY_WORKERS"] = "2"
    assert container.start("--log-level", "debug")[:3] == ["start", "--log-level", "debug"]
    assert load(container.configuration, container.environment).proxy.workers == 2


def test_mounted_configuration_is_used_and_not_written(container: Container) -> None:
    text = f'[node]\nid = "mine"\ndata_dir = "{container.layout.home}"\n'
    container.start()
    container.layout.mounted.write_text(text)
    container.layout.mounted.chmod(0o444)
    assert container.start() == ["start", "--config", str(container.layout.mounted)]
    assert container.layout.mounted.read_text() == text
    # What had been made from variables does not stand in front of it.
    assert load(container.configuration, {}).node.id == "mine"


@pytest.mark.parametrize("shared", [False, True])
def test_own_configuration_in_the_volume_is_used_and_not_written(container: Container, shared: bool) -> None:
    text = f'[node]\nid = "mine"\ndata_dir = "{container.layout.home}"\n'
    container.configuration.write_text(text)
    if shared:
        container.sharing()
        container.environment["WOLFSCALE_BOOTSTRAP"] = "true"
    for _ in range(2):
        path = Path(container.start()[-1])
        assert container.configuration.read_text() == text
        assert load(path, {}).node.id == "mine"
        assert not container.configuration.is_symlink()


def test_configuration_by_name_is_used(container: Container) -> None:
    other = container.root / "other.toml"
    other.write_text(f'[node]\nid = "other"\ndata_dir = "{container.layout.home}"\n')
    container.environment["WOLFSCALE_CONFIG"] = str(other)
    assert container.start() == ["start", "--config", str(other)]


def test_other_commands_get_the_configuration_and_no_bootstrap(container: Container) -> None:
    container.environment["WOLFSCALE_BOOTSTRAP"] = "true"
    assert container.start("proxy", "--listen", "0.0.0.0:3307") == ["proxy", "--listen", "0.0.0.0:3307"]
    assert load(container.configuration, container.environment).node.id == "node-1"
    assert prepare(["sh", "-c", "true"], container.environment, container.layout)[1:] == ["-c", "true"]
    for arguments in (["--help"], ["--version"], ["start", "--help"], ["no-such-command"]):
        assert container.start(*arguments) == arguments


def test_nothing_to_go_by_is_said(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="WOLFSCALE_NODE_ID is not set"):
        Container(tmp_path).start()


def test_problems_of_variables_are_all_said(container: Container) -> None:
    container.environment |= {"WOLFSCALE_WAL_FSYNC": "perhaps", "WOLFSCALE_PEERS": "node-2"}
    with pytest.raises(ContainerError) as refused:
        container.start()
    assert "WOLFSCALE_WAL_FSYNC: must be true or false" in str(refused.value)
    assert "WOLFSCALE_PEERS: " in str(refused.value)


def test_problems_of_a_mounted_configuration_are_said(container: Container) -> None:
    container.layout.mounted.write_text('[node]\nid = "a"\nwitnes = true\n')
    with pytest.raises(WolfScaleError, match="did you mean witness"):
        container.start()


def test_bootstrap_variable_becomes_the_option_once(container: Container) -> None:
    container.environment["WOLFSCALE_BOOTSTRAP"] = "true"
    assert container.start().count("--bootstrap") == 1
    assert container.start("start", "--bootstrap").count("--bootstrap") == 1
    container.environment["WOLFSCALE_BOOTSTRAP"] = "no"
    assert "--bootstrap" not in container.start()


def test_founder_that_lost_its_data_does_not_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container = Container(tmp_path, WOLFSCALE_NODE_ID="node-1", WOLFSCALE_BOOTSTRAP="true").sharing()
    path = Path(container.start()[-1])
    assert path.parent == container.cluster, "the note beside the configuration must outlive the data"
    note_path(path).write_text("as `wolfscale start` writes it")
    container.has_been_started()
    assert "--bootstrap" in container.start(), "it only rejoins, and the flag does no harm"

    secret = container.secret
    for file in container.layout.home.iterdir():
        file.unlink()
    assert "--bootstrap" not in container.start()
    assert "comes back as a new member" in capsys.readouterr().err
    assert container.secret == secret


def test_secret_is_made_by_the_founder_and_reaches_the_others(tmp_path: Path) -> None:
    second = Container(tmp_path, "node-2", WOLFSCALE_NODE_ID="node-2").sharing()
    first = Container(tmp_path, "node-1", WOLFSCALE_NODE_ID="node-1", WOLFSCALE_BOOTSTRAP="1").sharing()
    waiting = threading.Thread(target=second.start, daemon=True)
    waiting.start()
    first.start()
    waiting.join(PATIENCE_SECONDS)
    assert not waiting.is_alive()
    assert len(first.secret) == 64
    assert second.secret == first.secret
    assert (second.layout.home / "cluster-secret").stat().st_mode & 0o777 == 0o600
    assert (first.cluster / "secret").stat().st_mode & 0o777 == 0o600


def test_lost_shared_directory_is_filled_again_by_any_node(tmp_path: Path) -> None:
    first = Container(tmp_path, "node-1", WOLFSCALE_NODE_ID="node-1", WOLFSCALE_BOOTSTRAP="1").sharing()
    second = Container(tmp_path, "node-2", WOLFSCALE_NODE_ID="node-2").sharing()
    first.start()
    second.start()
    secret = second.secret
    for file in first.cluster.iterdir():
        file.unlink()
    second.start()
    # The founder's disk is new as well: it takes the secret that is there rather than make another.
    for file in first.layout.home.iterdir():
        file.unlink()
    first.start()
    assert first.secret == second.secret == secret


def test_configured_secret_is_left_alone(tmp_path: Path) -> None:
    container = Container(
        tmp_path,
        WOLFSCALE_NODE_ID="node-1",
        WOLFSCALE_BOOTSTRAP="1",
        WOLFSCALE_SECRET="a secret of its own",
    ).sharing()
    container.start()
    assert not (container.cluster / "secret").exists()
    assert not (container.layout.home / "cluster-secret").exists()


def test_two_founders_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    nodes = [
        Container(tmp_path, f"node-{n}", WOLFSCALE_NODE_ID=f"node-{n}", WOLFSCALE_BOOTSTRAP="1").sharing()
        for n in range(8)
    ]
    threads = [threading.Thread(target=node.start, daemon=True) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len({node.secret for node in nodes}) == 1
    assert not list(nodes[0].cluster.glob(".secret*"))


def test_directory_of_somebody_else_is_said_with_the_way_out(container: Container) -> None:
    # A file in its place is refused to root as well, whom a mode would not keep out.
    container.environment["WOLFSCALE_NODE_DATA_DIR"] = str(container.layout.mounted / "below")
    container.layout.mounted.parent.rmdir()
    container.layout.mounted.parent.write_text("")
    with pytest.raises(ContainerError, match=r"cannot be used: .*chown -R"):
        container.start()
