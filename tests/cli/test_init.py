"""`wolfscale init`: what it writes is accepted, explains every key, and replaces nothing."""

import io
import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.cli import main
from wolfscale.cli.exits import Exit
from wolfscale.config import Config, DatabaseMode, commented_document, load, parse
from wolfscale.config.shape import SECTIONS


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WOLFSCALE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "wolfscale.toml"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lines on standard input."""

    def give(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return give


def uncommented(document: str) -> dict[str, Any]:
    """The document with each key's comment mark taken away, where that is a key."""
    lines = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in document.splitlines()
    ]
    return tomllib.loads("\n".join(lines))


def test_document_explains_every_key_with_the_models_words() -> None:
    document = commented_document({("node", "id"): "a"})
    shown = uncommented(document)
    flat = " ".join(line.removeprefix("# ") for line in document.splitlines())
    for section, model in SECTIONS.items():
        assert list(shown[section]) == list(model.model_fields)
        for field in model.model_fields.values():
            assert field.description
            assert field.description in flat
    assert tomllib.loads(document) == {name: {"id": "a"} if name == "node" else {} for name in SECTIONS}


def test_defaults_in_the_document_are_the_models() -> None:
    shown = uncommented(commented_document({}))
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            if field.default is not None and not field.is_required():
                assert json.dumps(shown[section][key]) == json.dumps(field.default), (section, key)


@given(st.text(min_size=1).filter(lambda text: text.strip() and "${" not in text and text.isprintable()))
def test_any_text_comes_back_as_it_was_written(text: str) -> None:
    document = commented_document({("node", "id"): "a", ("database", "database"): text})
    assert parse(document, path=Path("x"), environment={}).database.database == text


def test_init_with_yes_writes_what_validate_accepts(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--yes") == 0
    assert f"wrote {path.name}" in capsys.readouterr().out
    config = load(path)
    assert config == Config(node=config.node)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_init_with_options_writes_them_all(path: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct-horse")
    assert (
        run(
            *(
                "--yes",
                "--id",
                "db1",
                "--bind-address",
                "127.0.0.1:7500",
                "--data-dir",
                str(tmp_path / "data"),
            ),
            *("--peer", "db2:7500", "--peer", "db3:7500", "--advertise-address", "127.0.0.2:7500"),
            *("--external", "127.0.0.1:3306", "--user", "node", "--password-file", str(password)),
            *("--database", "shop", "--clients", ":3310", "--http", "[::1]:8090"),
            *("--set", "wal.retention_hours=24", "--set", "database.durability=full"),
            *("--secret-file", str(tmp_path / "secret"), "--make-secret"),
        )
        == 0
    )
    config = load(path)
    assert config.database_mode is DatabaseMode.EXTERNAL
    assert config.cluster.peers == ("db2:7500", "db3:7500")
    assert (config.wal.retention_hours, config.database.durability) == (24, "full")
    assert (config.proxy.bind_address, config.api.bind_address) == (":3310", "[::1]:8090")
    assert config.cluster.secret is not None
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_make_secret_leaves_a_secret_that_is_there(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the cluster's own secret")
    assert run("--yes", "--secret-file", str(secret), "--make-secret") == 0
    assert secret.read_text() == "the cluster's own secret"


def test_file_with_a_secret_in_it_is_its_owners_alone(path: Path) -> None:
    assert run("--yes", "--set", "cluster.secret=sixteen characters") == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_secret_file_is_no_obstacle_and_is_named(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--yes", "--secret-file", str(tmp_path / "secret")) == 0
    assert f"copy the cluster's secret to {tmp_path / 'secret'}" in capsys.readouterr().out
    assert not (tmp_path / "secret").exists()


def test_existing_file_is_left_alone_but_for_force(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("mine")
    assert run("--yes") == Exit.FAILED
    assert path.read_text() == "mine"
    assert "--force replaces it" in capsys.readouterr().err
    assert run("--yes", "--force") == 0
    load(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peer", "db2"], "has no port: write 'db2:7400'"),
        (["--external", "db2"], "has no port"),
        (["--set", "wal.fsink=true"], "did you mean fsync?"),
        (["--set", "wall.fsync=true"], "did you mean [wal]?"),
        (["--set", "fsync"], "--set SECTION.KEY=VALUE"),
        (["--clients", ":8080"], "each listener needs its own"),
        (["--witness", "--database", "x"], "a witness has no MariaDB"),
    ],
)
def test_unusable_option_writes_nothing(
    path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--yes", *arguments) == Exit.USAGE
    error = capsys.readouterr().err
    assert words in error
    assert "next: " in error
    assert not path.exists()


def test_unwritable_directory_is_told_without_a_traceback(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("")
    assert run("--yes", "--config", str(path / "below")) == Exit.FAILED
    error = capsys.readouterr().err
    assert str(path) in error
    assert "next: check the path" in error


def test_answers_become_the_configuration(path: Path, answers: Callable[..., None]) -> None:
    answers("db1", "127.0.0.1:7400", "db2:7400, db3:7400", "managed", "shop", "", "", "")
    assert run() == 0
    config = load(path)
    assert config.node.id == "db1"
    assert config.cluster.peers == ("db2:7400", "db3:7400")
    assert config.database_mode is DatabaseMode.MANAGED
    assert config.database.database == "shop"


def test_unusable_answer_is_asked_again(
    path: Path, answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers("db 1", "db1", "", "db2", "", "embedded", "witness", "", "")
    assert run() == 0
    out = capsys.readouterr().out
    assert "node.id: must be 1 to 63 letters" in out
    assert 'cluster.peers: "db2" has no port' in out
    assert "answer one of managed, external, witness" in out
    assert load(path).database_mode is DatabaseMode.NONE


def test_answers_for_an_external_server_may_name_variables(
    path: Path, answers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "correct-horse")
    answers("db1", "", "", "external", "", "", "${DB_PASSWORD}", "", "port", "3316", "", "", "", "", "", "")
    assert run() == 0
    config = load(path)
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "correct-horse"
    assert "correct-horse" not in path.read_text()
    assert config.database.port == 3316


def test_options_are_not_asked_for(path: Path, answers: Callable[..., None]) -> None:
    answers("", "", "", "", "")
    assert run("--id", "db1", "--witness", "--peer", "db2:7400") == 0
    assert load(path).node.id == "db1"


def test_proxy_is_asked_for_nodes_and_secret_only(
    path: Path, tmp_path: Path, answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("sixteen characters")
    answers("", "db1:7400 db2:7400", "", str(tmp_path / "secret"), "")
    assert run("--proxy") == 0
    config = load(path)
    assert config.cluster.peers == ("db1:7400", "db2:7400")
    assert config.cluster.secret is not None
    assert "wolfscale proxy`" in capsys.readouterr().out


def test_wanted_secret_is_made(path: Path, tmp_path: Path, answers: Callable[..., None]) -> None:
    answers("db1", "", "", "", "", "", "", str(tmp_path / "secret"), "y")
    assert run() == 0
    assert load(path).cluster.secret is not None


def test_answers_that_end_early_write_nothing(
    path: Path, answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers("db1")
    assert run() == Exit.FAILED
    assert "with --yes" in capsys.readouterr().err
    assert not path.exists()
