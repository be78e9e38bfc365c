"""How a node serves HTTP, from its configuration."""

import logging
import socket
import stat
from pathlib import Path

import pytest

from wolfscale import logs
from wolfscale.api.errors import TokenFileError
from wolfscale.api.scopes import Scope
from wolfscale.api.tokens import read_tokens
from wolfscale.app.http_access import http_options, own_names
from wolfscale.certificates import AUTHORITY_FILE, CertificateUnusable, ServerCertificate
from wolfscale.config import Config, parse

SECRET = b"the secret of this cluster"


def config(tmp_path: Path, api: str = "") -> Config:
    text = (
        f'[node]\nid = "node-1"\ndata_dir = "{tmp_path}"\nadvertise_address = "db1.example:7400"\n'
        f'[api]\nbind_address = "10.0.0.1:8080"\n{api}\n'
    )
    return parse(text, path=Path("x"), environment={})


def test_tokens_are_written_at_the_first_start_and_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    policy = http_options(config(tmp_path), SECRET).policy
    path = tmp_path / "api-tokens"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = read_tokens(path)
    assert [policy.tokens.scope_of(token.value) for token in tokens] == [Scope.READ, Scope.WRITE, Scope.ADMIN]
    assert [record for record in caplog.records if str(path) in str(record.__dict__)]
    caplog.clear()
    http_options(config(tmp_path), SECRET)
    assert not caplog.records


def test_no_token_comes_out_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    http_options(config(tmp_path), SECRET)
    [token, *_] = read_tokens(tmp_path / "api-tokens")
    logs.logger("test").info("somebody sent this", header=f"Bearer {token.value}")
    shown = capsys.readouterr().err
    assert "somebody sent this" in shown
    assert token.value not in shown


def test_tokens_of_the_operator_replace_the_made_ones(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("read 0123456789abcdef\n")
    own.chmod(0o600)
    policy = http_options(config(tmp_path, f'tokens_file = "{own}"'), SECRET).policy
    assert policy.tokens.scope_of("0123456789abcdef") is Scope.READ
    assert not (tmp_path / "api-tokens").exists()
    own.write_text("nonsense")
    with pytest.raises(TokenFileError):
        http_options(config(tmp_path, f'tokens_file = "{own}"'), SECRET)


def test_decisions_of_the_operator_reach_the_server(tmp_path: Path) -> None:
    options = http_options(
        config(
            tmp_path,
            'require_token_on_loopback = true\nallowed_origins = ["https://a.example"]\n'
            "max_body_kb = 2\nmax_connections = 3",
        ),
        SECRET,
    )
    assert options.policy.token_on_loopback
    assert options.policy.allowed_origins == ("https://a.example",)
    assert (options.body_bytes, options.connections, options.tls) == (2048, 3, None)


def test_node_answers_to_its_names_and_addresses(tmp_path: Path) -> None:
    names = own_names(config(tmp_path, 'tls = true\ntls_names = ["shop.example"]'))
    assert {"node-1", "db1.example", "10.0.0.1", "shop.example", socket.gethostname().lower()} <= set(names)
    assert "0.0.0.0" not in names


def test_node_answers_to_the_machines_full_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "DB1")
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost ads.example\n127.0.1.1\tdb1.local.example db1 # this one\n::1 ip6-localhost\n"
        "192.0.2.9 db1.elsewhere.example\n\nnonsense here\n# 127.0.0.1 comment.example\n"
    )
    names = set(own_names(config(tmp_path), hosts))
    assert {"db1.local.example", "db1"} <= names
    assert not {"ads.example", "db1.elsewhere.example", "here", "comment.example"} & names
    assert own_names(config(tmp_path), tmp_path / "none")


def test_own_certificate_is_for_all_names_and_its_authority_stands_in_the_directory(tmp_path: Path) -> None:
    options = http_options(config(tmp_path, "tls = true"), SECRET)
    assert options.tls is not None
    made = ServerCertificate.from_secret(SECRET, "node-1", ["localhost"])
    assert (tmp_path / AUTHORITY_FILE).read_bytes() == made.authority_pem
    assert options.refresh is None


def test_given_certificate_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = tmp_path / "chain"
    chain.write_bytes(ServerCertificate.from_secret(SECRET, "a", ["a"]).chain_pem)
    settings = f'tls = true\ntls_cert = "{chain}"\ntls_key = "{chain}"'
    options = http_options(config(tmp_path, settings), SECRET)
    assert options.refresh is not None
    assert not (tmp_path / AUTHORITY_FILE).exists()
    caplog.set_level(logging.INFO)
    chain.write_bytes(ServerCertificate.from_secret(SECRET, "b", ["bb"]).chain_pem)
    options.refresh()
    assert "renewed" in caplog.text
    chain.write_text("nothing")
    options.refresh()
    assert "stays in force" in caplog.text
    with pytest.raises(CertificateUnusable):
        http_options(config(tmp_path, settings), SECRET)
