"""`wolfscale account` before it reaches a node; with nodes it is tried in tests/containers."""

import io
from pathlib import Path

import pytest

from wolfscale.app import accounts
from wolfscale.cli import main
from wolfscale.cli.exits import Exit
from wolfscale.demo.plan import free_ports

SECRET = "a secret of the cluster"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["account", *arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node's configuration; nobody listens at its address."""
    path = tmp_path / "wolfscale.toml"
    path.write_text(
        f'[node]\nid = "node-1"\ndata_dir = "{tmp_path}"\nbind_address = "127.0.0.1:{free_ports(1)[0]}"\n'
    )
    return path


@pytest.fixture
def known_secret(tmp_path: Path) -> None:
    (tmp_path / "cluster-secret").write_text(SECRET)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_account_without_rights_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("create", "a", "--config", str(config)) == Exit.USAGE
    assert "--database DATABASE, or --administrator" in said(capsys)


def test_account_without_a_secret_says_where_it_belongs(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("create", "a", "--administrator", "--config", str(config)) == Exit.USAGE
    assert "does not know the cluster's secret" in said(capsys)


@pytest.mark.usefixtures("known_secret")
def test_password_without_a_terminal_wants_a_file(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("word\n"))
    assert run("password", "a", "--config", str(config)) == Exit.USAGE
    assert "--password-file" in said(capsys)


@pytest.mark.usefixtures("known_secret")
@pytest.mark.parametrize(
    ("text", "expected"), [(None, "cannot be read"), ("", "must not be empty"), ("\n", "must not be empty")]
)
def test_password_file_that_holds_none_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, expected: str
) -> None:
    if text is not None:
        (tmp_path / "word").write_text(text)
    arguments = ("password", "a", "--password-file", str(tmp_path / "word"), "--config", str(config))
    assert run(*arguments) == Exit.USAGE
    assert expected in said(capsys)


@pytest.mark.usefixtures("known_secret")
def test_account_of_the_node_itself_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("word\n"))
    arguments = ("create", "wolfscale", "--administrator", "--password-file", "-", "--config", str(config))
    assert run(*arguments) == Exit.FAILED
    assert "the node's own account" in said(capsys)


@pytest.mark.usefixtures("known_secret")
def test_account_where_no_node_answers_says_so(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr("sys.stdin", io.StringIO("word\n"))
    arguments = ("create", "a", "--database", "d", "--password-file", "-", "--config", str(config))
    assert run(*arguments) == Exit.UNREACHABLE
    assert "is this node running" in said(capsys)
