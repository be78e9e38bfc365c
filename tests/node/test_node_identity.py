"""The identity file and the cluster secret."""

from pathlib import Path

import pytest

from wolfscale.node import CertificateFiles, ClusterSecret, Credentials, IdentityError, NodeError
from wolfscale.node.identity import (
    load_or_create_identity,
    new_identity,
    save_identity,
)
from wolfscale.node.options import NodeOptions, advertised_address


def test_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    identity = load_or_create_identity(tmp_path, "node-1")
    assert identity.id.startswith("node-1.")
    assert identity.number == 0
    assert load_or_create_identity(tmp_path, "node-1") == identity
    save_identity(tmp_path, type(identity)(id=identity.id, name="node-1", number=3))
    assert load_or_create_identity(tmp_path, "node-1").number == 3
    assert new_identity(tmp_path, "node-1").id != identity.id


def test_identity_of_another_name_is_refused(tmp_path: Path) -> None:
    load_or_create_identity(tmp_path, "node-1")
    with pytest.raises(IdentityError, match="belongs to 'node-1'"):
        load_or_create_identity(tmp_path, "node-2")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"id": "x"}', '{"id":"a","name":"node-1","number":null}']
)
def test_identity_that_is_damaged_is_refused_with_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(IdentityError, match=r"identity\.json: is damaged"):
        load_or_create_identity(tmp_path, "node-1")


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 64, "-x", "näme"])
def test_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(IdentityError, match="cannot be a node's name"):
        load_or_create_identity(tmp_path, name)


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    files = CertificateFiles(
        certificate=tmp_path / "node.pem", key=tmp_path / "node.key", authority=tmp_path / "ca.pem"
    )
    with pytest.raises(NodeError, match=r"ca\.pem"):
        Credentials.from_files(files)


def test_advertised_address_is_the_way_to_the_peers_for_a_wildcard() -> None:
    assert advertised_address("10.0.0.1:7400", []) == "10.0.0.1:7400"
    assert advertised_address("0.0.0.0:7400", []) == "127.0.0.1:7400"
    assert advertised_address("0.0.0.0:7400", ["nonsense", "127.0.0.1:7401"]) == "127.0.0.1:7400"


def test_election_timeout_is_counted_in_ticks(tmp_path: Path) -> None:
    secret = ClusterSecret(value=b"a secret that is long enough")
    options = NodeOptions(name="node-1", data_dir=tmp_path, bind_address="127.0.0.1:0", secret=secret)
    assert (options.tick_interval, options.election_ticks) == (0.1, 20)
