"""From variables to a configuration: every key, nothing twice, no secret written out, mistakes named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.config import Config, InvalidConfigError, parse
from wolfscale.config.shape import SECTIONS
from wolfscale.container.errors import ContainerError
from wolfscale.container.variables import (
    OTHERS,
    SHORT_NAMES,
    document,
    has_settings,
    in_words_of_variables,
    truth,
    variable_names,
)

NODE = {"WOLFSCALE_NODE_ID": "node-1"}


def read(environment: dict[str, str]) -> Config:
    return parse(document(environment, {}), path=Path("made.toml"), environment=environment)


def test_every_key_has_its_variable_and_no_two_have_the_same() -> None:
    names = variable_names()
    keys = {(section, key) for section, model in SECTIONS.items() for key in model.model_fields}
    assert {names[f"WOLFSCALE_{section}_{key}".upper()] for section, key in keys} == keys
    assert len(names) == len(keys) + len(SHORT_NAMES)
    assert OTHERS.isdisjoint(names)


def test_usual_variables_make_the_usual_configuration() -> None:
    config = read(
        {
            **NODE,
            "WOLFSCALE_PEERS": "node-2:7400, node-3:7400",
            "WOLFSCALE_SECRET": "a secret of the cluster",
            "WOLFSCALE_DATABASE": "shop",
            "WOLFSCALE_USER": "app",
            "WOLFSCALE_PASSWORD": "pass${word",
            "PATH": "/bin",
        }
    )
    assert config.node.id == "node-1"
    assert config.cluster.peers == ("node-2:7400", "node-3:7400")
    assert config.cluster.secret is not None
    assert config.cluster.secret.get_secret_value() == "a secret of the cluster"
    assert (config.database.database, config.database.application_user) == ("shop", "app")
    assert config.database.application_password is not None
    assert config.database.application_password.get_secret_value() == "pass${word"


def test_numbers_truths_and_lists_become_what_their_keys_want() -> None:
    config = read(
        {
            **NODE,
            "WOLFSCALE_WAL_RETENTION_HOURS": " 24 ",
            "WOLFSCALE_WAL_COMPRESSION": "false",
            "WOLFSCALE_DATABASE_PORT": "3306",
            "WOLFSCALE_DATABASE_OPTIONS": "--max-connections=500 '--init-connect=SET a=1, b=2'",
            "WOLFSCALE_CLUSTER_PEERS": '["a:1", "b:2"]',
            "WOLFSCALE_DATABASE_DATABASE": "42",
        }
    )
    assert config.wal.retention_hours == 24
    assert config.wal.compression is False
    assert config.database.port == 3306
    assert config.database.options == ("--max-connections=500", "--init-connect=SET a=1, b=2")
    assert config.cluster.peers == ("a:1", "b:2")
    assert config.database.database == "42", "a text that looks like a number stays a text"


def test_secret_values_are_not_in_the_document() -> None:
    secrets = {
        name: f"not-to-be-seen-{number}"
        for number, (name, (_, key)) in enumerate(variable_names().items())
        if key in {"secret", "password", "application_password"} and name not in SHORT_NAMES
    }
    assert len(secrets) == 3
    made = document({**NODE, **secrets}, {})
    assert "not-to-be-seen" not in made
    assert all(f"${{{name}}}" in made for name in secrets)


def test_own_address_in_the_list_of_peers_is_taken_out_and_advertised() -> None:
    everyone = {"WOLFSCALE_PEERS": "node-1:7400 node-2:7401 node-3:7402"}
    for number, port in ((1, 7400), (2, 7401), (3, 7402)):
        config = read({**everyone, "WOLFSCALE_NODE_ID": f"node-{number}"})
        assert config.node.advertise_address == f"node-{number}:{port}"
        assert len(config.cluster.peers) == 2
        assert config.node.advertise_address not in config.cluster.peers
    config = read({**everyone, **NODE, "WOLFSCALE_NODE_ADVERTISE_ADDRESS": "db1.example:7400"})
    assert config.node.advertise_address == "db1.example:7400"
    config = read({**everyone, "WOLFSCALE_NODE_ID": "another"})
    assert config.node.advertise_address is None
    assert len(config.cluster.peers) == 3


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip()))
def test_text_of_any_kind_arrives_as_it_is(text: str) -> None:
    environment = {**NODE, "WOLFSCALE_DATABASE": text}
    assert read(environment).database.database == text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "WOLFSCALE_NODE_ID is not set"),
        ({**NODE, "WOLFSCALE_PEER": "x"}, "unknown variable WOLFSCALE_PEER; did you mean WOLFSCALE_PEERS?"),
        ({**NODE, "WOLFSCALE_WAL_RETENTION": "1"}, "did you mean WOLFSCALE_WAL_RETENTION_HOURS?"),
        ({**NODE, "WOLFSCALE_XYZZY": "1"}, "docs/containers.md lists"),
        ({**NODE, "WOLFSCALE_PEERS": "a:1", "WOLFSCALE_CLUSTER_PEERS": "b:1"}, "are the same setting"),
        ({**NODE, "WOLFSCALE_PEERS": '["a:1"'}, "WOLFSCALE_PEERS begins like a JSON list"),
        ({**NODE, "WOLFSCALE_PEERS": "[1]"}, "WOLFSCALE_PEERS must be a list of texts"),
        ({**NODE, "WOLFSCALE_DATABASE_OPTIONS": "--a='"}, "WOLFSCALE_DATABASE_OPTIONS cannot be taken apart"),
    ],
)
def test_unusable_variable_is_refused(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(ContainerError) as refused:
        document(environment, {})
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("WOLFSCALE_WAL_RETENTION_HOURS", "long", "WOLFSCALE_WAL_RETENTION_HOURS: must be a whole number"),
        ("WOLFSCALE_PEERS", "node-2", "WOLFSCALE_PEERS: 'node-2' has no port"),
        ("WOLFSCALE_CLUSTER_PEERS", "node-2", "WOLFSCALE_CLUSTER_PEERS: 'node-2' has no port"),
        ("WOLFSCALE_USER", "app", "WOLFSCALE_USER: "),
        ("WOLFSCALE_SECRET", "short", "WOLFSCALE_SECRET: has fewer than 16"),
        ("WOLFSCALE_NODE_ID", "a b", "WOLFSCALE_NODE_ID: must be 1 to 63 letters"),
    ],
)
def test_unusable_value_is_named_by_its_variable(variable: str, value: str, expected: str) -> None:
    environment = {**NODE, variable: value}
    with pytest.raises(InvalidConfigError) as refused:
        read(environment)
    said = [in_words_of_variables(problem, environment) for problem in refused.value.problems]
    assert any(line.replace('"', "'").startswith(expected.replace('"', "'")) for line in said), said


def test_variables_of_a_kubernetes_service_do_not_matter() -> None:
    of_services = {
        "WOLFSCALE_SERVICE_HOST": "10.0.0.1",
        "WOLFSCALE_SERVICE_PORT": "3307",
        "WOLFSCALE_SERVICE_PORT_MYSQL": "3307",
        "WOLFSCALE_PORT": "tcp://10.0.0.1:3307",
        "WOLFSCALE_PORT_3307_TCP": "tcp://10.0.0.1:3307",
        "WOLFSCALE_READS_PORT_3307_TCP_ADDR": "10.0.0.1",
    }
    assert document({**NODE, **of_services}, {}) == document(NODE, {})
    assert not has_settings(of_services)
    assert has_settings(NODE)


def test_truth_is_read_as_people_write_it() -> None:
    assert [truth({"A": text}, "A") for text in ("true", "Yes", "1", "on")] == [True] * 4
    assert [truth({"A": text}, "A") for text in ("false", "No", "0", "off", "")] == [False] * 5
    assert truth({}, "A") is False
    with pytest.raises(ContainerError, match="A must be true or false, not 'maybe'"):
        truth({"A": "maybe"}, "A")


def test_defaults_of_the_image_give_way_to_variables() -> None:
    defaults = {("node", "data_dir"): "/var/lib/wolfscale"}
    made = parse(document(NODE, defaults), path=Path("x"), environment={})
    assert made.data_dir == Path("/var/lib/wolfscale")
    given = {**NODE, "WOLFSCALE_NODE_DATA_DIR": "/data"}
    assert json.dumps("/data") in document(given, defaults)
    assert "/var/lib" not in document(given, defaults)
