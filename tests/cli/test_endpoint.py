"""Which node `status` asks, and with which token."""

import os
from pathlib import Path

import pytest

from wolfscale.api.client import Access, Diagnosis
from wolfscale.api.errors import NodeUnreachableError, TokenRefusedError
from wolfscale.api.models import NodeStatus
from wolfscale.cli import main, status
from wolfscale.cli.endpoint import access, target
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.testing.statuses import follower


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["status", *arguments])
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WOLFSCALE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wolfscale.config.reading.SYSTEM_CONFIG", tmp_path / "none")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Access]]:
    """What a node that wants the token `right` was asked."""
    asked: list[tuple[str, Access]] = []

    async def fetch(endpoint: str, *, access: Access) -> NodeStatus:
        asked.append((endpoint, access))
        if "local" in endpoint or access.token == "right":
            return follower()
        raise TokenRefusedError(endpoint, status=401, token_given=access.token is not None)

    async def diagnose(endpoint: str, *, access: Access) -> Diagnosis:
        return Diagnosis(status=await fetch(endpoint, access=access), findings=())

    monkeypatch.setattr(status, "fetch_status", fetch)
    monkeypatch.setattr(status, "fetch_diagnosis", diagnose)
    return asked


@pytest.mark.parametrize(
    ("bind_address", "endpoint"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":9000", "http://127.0.0.1:9000"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[fd00::7]:8080", "http://[fd00::7]:8080"),
        ("10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("db1.example:8080", "http://db1.example:8080"),
    ],
)
def test_endpoint_is_where_the_configured_node_can_be_reached(
    tmp_path: Path, bind_address: str, endpoint: str
) -> None:
    config = tmp_path / "wolfscale.toml"
    config.write_text(f'[node]\nid = "a"\n[api]\nbind_address = "{bind_address}"\n')
    assert target(None, config, None, None)[0] == endpoint
    assert target(None, None, None, None)[0] == endpoint
    assert target("http://other:1", config, None, None)[0] == "http://other:1"


def test_endpoint_without_a_configuration_is_the_default_port() -> None:
    assert target(None, None, None, None)[0] == "http://127.0.0.1:8080"


def test_endpoint_is_found_by_who_may_not_read_the_secret(tmp_path: Path) -> None:
    (tmp_path / "wolfscale.toml").write_text(
        '[node]\nid = "a"\n[cluster]\nsecret_file = "/nowhere/secret"\n[api]\nbind_address = ":9000"\n'
    )
    assert target(None, None, None, None)[0] == "http://127.0.0.1:9000"


def test_own_node_is_asked_with_its_own_token_and_authority(tmp_path: Path) -> None:
    config = tmp_path / "wolfscale.toml"
    config.write_text(f'[node]\nid = "a"\ndata_dir = "{tmp_path}"\n[api]\ntls = true\n')
    assert target(None, config, None, None) == ("https://127.0.0.1:8080", Access())
    (tmp_path / "api-tokens").write_text("read of-this-node\n")
    (tmp_path / "tls-authority.pem").write_text("")
    own = Access(token="of-this-node", ca_file=tmp_path / "tls-authority.pem")
    assert target(None, config, None, None) == ("https://127.0.0.1:8080", own)
    assert target("http://other:1", config, None, None) == ("http://other:1", Access())


def test_node_that_serves_no_http_is_named(tmp_path: Path) -> None:
    (tmp_path / "wolfscale.toml").write_text('[node]\nid = "a"\n[api]\nenabled = false\n')
    with pytest.raises(CommandError, match="serves no HTTP"):
        target(None, None, None, None)[0]


def test_endpoint_may_stand_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, Access]]
) -> None:
    monkeypatch.setenv("WOLFSCALE_ENDPOINT", "http://local:1")
    assert run() == 0
    assert asked[0][0] == "http://local:1"


def test_unusable_endpoint_is_a_mistake_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--endpoint", "db1") == Exit.USAGE
    assert "write http://HOST:PORT" in capsys.readouterr().err


def test_file_without_a_certificate_is_a_mistake_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").touch()
    assert run("-e", "https://127.0.0.1:1", "--ca-file", str(tmp_path / "ca.pem")) == Exit.USAGE
    error = capsys.readouterr().err
    assert "ca.pem holds no certificate" in error
    assert "tls-authority.pem" in error


def test_token_of_the_environment_is_sent(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, Access]]
) -> None:
    monkeypatch.setenv("WOLFSCALE_TOKEN", "right\n")
    assert run("-e", "http://there:1") == 0


@pytest.mark.parametrize(
    "content",
    ["right\n", "# of db1\nread right\nwrite other\n", "admin more\nread right\n", "write right # ours\n"],
)
def test_token_is_found_in_its_file(
    tmp_path: Path, asked: list[tuple[str, Access]], content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOLFSCALE_TOKEN", "wrong")
    (tmp_path / "token").write_text(content)
    assert run("-e", "http://there:1", "--token-file", str(tmp_path / "token")) == 0


@pytest.mark.parametrize("content", ["", "# nothing\n", "two words\n", "one\ntwo\n", "gr\u00fcn\n"])
def test_file_without_a_token_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(content)
    assert run("-e", "http://there:1", "--token-file", str(tmp_path / "token")) == Exit.USAGE
    assert "holds no token" in capsys.readouterr().err


def test_variable_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOLFSCALE_TOKEN", "a b")
    with pytest.raises(CommandError, match="something else than a token"):
        access(None, None)


@pytest.mark.parametrize("watch", [[], ["--watch"], ["--watch", "--json"]])
def test_refused_token_says_where_the_right_one_is(
    asked: list[tuple[str, Access]], watch: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-e", "http://there:1", *watch) == Exit.REFUSED
    error = capsys.readouterr().err
    assert "http://there:1 wants a token" in error
    assert "--token-file" in error
    assert "api-tokens" in error


def test_missing_token_file_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    assert run("-e", "http://there:1", "--token-file", str(tmp_path / "none")) == Exit.USAGE


def test_watched_node_that_does_not_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([None, follower(), KeyboardInterrupt])

    async def fetch(endpoint: str, *, access: Access) -> NodeStatus:
        answer = next(answers)
        if answer is None:
            raise NodeUnreachableError(endpoint, "Connection refused")
        if isinstance(answer, NodeStatus):
            return answer
        raise answer

    monkeypatch.setattr(status, "fetch_status", fetch)
    monkeypatch.setattr(status, "_WATCH_SECONDS", 0)
    assert run("-e", "http://there:1", "--watch", "--json") == 0
    shown = capsys.readouterr()
    assert NodeStatus.model_validate_json(shown.out) == follower()
    assert "Connection refused" in shown.err
