"""wolfscale.toml: what is accepted, what is refused, and with which words."""

import contextlib
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wolfscale.config import (
    Address,
    Config,
    ConfigError,
    DatabaseMode,
    Durability,
    InvalidConfigError,
    SecretMissingError,
    advertised_address,
    configuration_reference,
    find_config,
    find_secret,
    load,
    make_secret,
    parse,
    parse_address,
    secret_path,
)
from wolfscale.config.addresses import is_this_machine, outward_addresses, reachable_address

PRINTED = """\
[node]
id = "node-1"
bind_address = "0.0.0.0:7400"
# advertise_address, data_dir
[database]
host = "127.0.0.1"       # absent: managed
port = 3306
database = "myapp"
user = "wolfscale"
password = "secret"      # or password_file, or ${ENV}
[cluster]
peers = ["192.168.1.11:7400", "192.168.1.12:7400"]
heartbeat_interval_ms = 500
election_timeout_ms = 2000
# secret / secret_file: nodes prove it to each other before anything else is read
[wal]
# compression = true, segment_size_mb = 64, retention_hours = 168, fsync = true
[proxy]
# enabled = true, bind_address = "0.0.0.0:3307", workers = 1
[api]
bind_address = "0.0.0.0:8080"
"""


def read(document: str, **environment: str) -> Config:
    return parse(document, path=Path("wolfscale.toml"), environment=environment)


def problems(document: str, **environment: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(InvalidConfigError) as invalid:
        read(document, **environment)
    return [(problem.key, problem.line, problem.reason) for problem in invalid.value.problems]


def only_problem(document: str, **environment: str) -> tuple[str, int | None, str]:
    [problem] = problems(document, **environment)
    return problem


def test_printed_configuration_as_it_stands_is_valid() -> None:
    config = read(PRINTED)
    assert config.database_mode is DatabaseMode.EXTERNAL
    assert config.database_address == Address(host="127.0.0.1", port=3306)
    assert config.systemd_unit == "mariadb"
    assert config.database_data_dir == Path("/var/lib/mysql")
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "secret"
    assert config.cluster.peers == ("192.168.1.11:7400", "192.168.1.12:7400")


def test_printed_configuration_without_host_is_managed() -> None:
    config = read(PRINTED.replace('host = "127.0.0.1"', "#"))
    assert config.database_mode is DatabaseMode.MANAGED
    assert config.database_address is None
    assert config.systemd_unit is None
    assert config.database_data_dir == config.data_dir / "mariadb"


def test_defaults_are_those_the_documentation_prints() -> None:
    config = read('[node]\nid = "a"')
    assert (config.wal.compression, config.wal.segment_size_mb) == (True, 64)
    assert (config.wal.retention_hours, config.wal.fsync) == (168, True)
    assert (config.proxy.enabled, config.proxy.bind_address, config.proxy.workers) == (
        True,
        "0.0.0.0:3307",
        1,
    )
    assert (config.api.enabled, config.api.bind_address) == (True, "0.0.0.0:8080")
    assert config.node.bind_address == "0.0.0.0:7400"
    assert config.database.durability is Durability.WAL
    assert config.database.buffer_pool_mb == 128


def test_data_directory_follows_user_and_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = read('[node]\nid = "a"')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert config.data_dir == Path("/var/lib/wolfscale/a")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.data_dir == tmp_path / ".local/share/wolfscale/a"
    assert read(f'[node]\nid = "a"\ndata_dir = "{tmp_path}"').data_dir == tmp_path


@pytest.mark.parametrize(
    ("section", "key", "intended"),
    [
        ("node", "bind_adress", "did you mean bind_address?"),
        ("node", "bind-address", "did you mean bind_address?"),
        ("node", "name", "did you mean id?"),
        ("cluster", "election_timout_ms", "did you mean election_timeout_ms?"),
        ("cluster", "seeds", "did you mean peers?"),
        ("wal", "retension_hours", "did you mean retention_hours?"),
        ("proxy", "retention_hours", "retention_hours belongs in [wal]"),
        ("api", "worker", "did you mean workers in [proxy]?"),
        ("api", "zzz", "[api] knows enabled, bind_address"),
    ],
)
def test_unknown_key_names_line_and_intended_key(section: str, key: str, intended: str) -> None:
    head = '[node]\nid = "a"\n' if section != "node" else ""
    tail = '\nid = "a"' if section == "node" else ""
    found, line, reason = only_problem(f"{head}[{section}]\n{key} = 1{tail}")
    assert found == f"{section}.{key}"
    assert line == (2 if section == "node" else 4)
    assert intended in reason


def test_unknown_section_names_intended_section() -> None:
    assert only_problem('[node]\nid = "a"\n[databse]\nport = 1') == (
        "databse",
        3,
        "unknown section; did you mean [database]?",
    )


def test_key_outside_any_section_is_told_where_it_belongs() -> None:
    assert only_problem('peers = []\n[node]\nid = "a"') == (
        "peers",
        1,
        "stands outside a section: move it into [cluster]",
    )


def test_section_that_is_a_value_is_refused() -> None:
    key, line, reason = only_problem('cluster = 3\n[node]\nid = "a"')
    assert (key, line) == ("cluster", 1)
    assert "[cluster]" in reason


@pytest.mark.parametrize("document", ["", "[cluster]\npeers = []", "[node]"])
def test_missing_node_id_is_named(document: str) -> None:
    key, _, reason = only_problem(document)
    assert key.startswith("node")
    assert "is missing" in reason


@pytest.mark.parametrize(
    ("section", "line", "expected"),
    [
        ("database", "port = 0", "at least 1"),
        ("database", "port = 70000", "at most 65535, not 70000"),
        ("database", 'port = "3306"', 'a whole number, not "3306"'),
        ("database", "port = 1.5", "a whole number"),
        ("database", 'durability = "none"', '"wal" or "full"'),
        ("database", 'options = "--x"', "a list"),
        ("database", "options = [1]", "a text in quotes, not 1"),
        ("cluster", "heartbeat_interval_ms = -5", "at least 10, not -5"),
        ("cluster", "election_timeout_ms = 1400", "1500 or more"),
        ("cluster", 'peers = "a:1"', "a list"),
        ("cluster", 'peers = ["192.168.1.11"]', "has no port: write '192.168.1.11:7400'"),
        ("cluster", 'peers = ["::1"]', "has no port"),
        ("cluster", 'peers = ["a:0"]', "ports are 1 to 65535"),
        ("cluster", 'peers = ["a:x"]', "ports are 1 to 65535"),
        ("cluster", 'peers = ["a b:1"]', "unusable host name"),
        ("cluster", 'peers = ["300.1.1.1:1"]', "unusable IPv4"),
        ("cluster", 'peers = ["0.0.0.0:7400"]', "no address that can be connected to"),
        ("cluster", 'peers = ["a:1", "a:1"]', "listed 2 times"),
        ("cluster", 'secret = "short"', "fewer than 16"),
        ("cluster", 'secret = ""', "must not be empty"),
        ("cluster", 'tls_cert = "/x"', "needs tls_key and tls_ca"),
        ("wal", "segment_size_mb = 0", "at least 1"),
        ("wal", "retention_hours = -1", "at least 0"),
        ("wal", 'fsync = "yes"', 'true or false, not "yes"'),
        ("wal", "fsync = 1", "true or false, not 1"),
        ("proxy", "workers = 0", "at least 1"),
        ("proxy", "max_connections = 0", "at least 1"),
        ("proxy", 'bind_address = "3307"', "has no port"),
        ("proxy", 'bind_address = "0.0.0.0:8080"', "api.bind_address's too"),
        ("api", 'bind_address = "127.0.0.1:7400"', "node.bind_address's too"),
        ("database", 'socket = "/x"', "is for an external server"),
        ("database", 'systemd_unit = "x"', "is for an external server"),
        ("database", 'password_file = "/nowhere/x"', "cannot be read: No such file"),
    ],
)
def test_unusable_value_is_refused_with_its_line(section: str, line: str, expected: str) -> None:
    key, number, reason = only_problem(f'[node]\nid = "a"\n[{section}]\n{line}')
    assert key == f"{section}.{line.partition(' ')[0]}"
    assert number == 4
    assert expected in reason


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ("", "database.password", "is missing"),
        ('password = "x"\nbuffer_pool_mb = 100', "database.buffer_pool_mb", "is for a managed server"),
        (
            'password = "x"\nstart_command = "a"',
            "database.start_command",
            "needs stop_command and kill_command",
        ),
        (
            'password = "x"\nsystemd_unit = "m"\nstart_command = "a"\nstop_command = "b"\nkill_command = "c"',
            "database.start_command",
            "systemd_unit is given too",
        ),
        (
            'password = "x"\npassword_file = "/etc/hostname"',
            "database.password_file",
            "password is given too",
        ),
        ('password = ""', "database.password", "must not be empty"),
        ('password = "x"\ndata_dir = "/srv/a/b"', "database.data_dir", "within each other"),
    ],
)
def test_external_database_needs_what_it_needs(lines: str, key: str, expected: str) -> None:
    found, _, reason = only_problem(
        f'[node]\nid = "a"\ndata_dir = "/srv/a"\n[database]\nhost = "127.0.0.1"\n{lines}'
    )
    assert found == key
    assert expected in reason


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ('database = "shop"\napplication_user = "a"', "application_user", "needs application_password or"),
        (
            'application_user = "a"\napplication_password = "x"',
            "application_user",
            "`database`, which is missing",
        ),
        ('application_password = "x"', "application_password", "application_user, which is missing"),
        (
            'database = "shop"\napplication_user = "wolfscale"\napplication_password = "x"',
            "application_user",
            "the node's own account",
        ),
        (
            'database = "shop"\napplication_user = "a"\napplication_password = "x"\n'
            'application_password_file = "/etc/hostname"',
            "application_password_file",
            "application_password is given too",
        ),
        (
            'database = "shop"\napplication_user = "a"\napplication_password = ""',
            "application_password",
            "must not be empty",
        ),
    ],
)
def test_application_account_needs_what_it_needs(lines: str, key: str, expected: str) -> None:
    found, _, reason = only_problem(f'[node]\nid = "a"\n[database]\n{lines}')
    assert found == f"database.{key}"
    assert expected in reason


def test_application_account_for_an_external_server_is_refused() -> None:
    found, _, reason = only_problem(
        '[node]\nid = "a"\n[database]\nhost = "127.0.0.1"\npassword = "x"\ndatabase = "shop"\n'
        'application_user = "a"\napplication_password = "x"'
    )
    assert found == "database.application_user"
    assert "is for a managed server" in reason


def test_external_database_with_commands_has_no_unit() -> None:
    config = read(
        '[node]\nid = "a"\n[database]\nhost = "127.0.0.1"\npassword = "x"\n'
        'start_command = "a"\nstop_command = "b"\nkill_command = "c"'
    )
    assert config.systemd_unit is None


def test_witness_with_database_is_refused() -> None:
    key, line, reason = only_problem('[node]\nid = "a"\nwitness = true\n[database]\nport = 3306')
    assert (key, line) == ("database.port", 5)
    assert "a witness has no MariaDB" in reason
    assert read('[node]\nid = "a"\nwitness = true').database_mode is DatabaseMode.NONE


@pytest.mark.parametrize(
    "node",
    [
        'bind_address = "10.1.1.1:7400"',
        'advertise_address = "10.1.1.1:7400"',
    ],
)
def test_node_that_lists_itself_is_refused(node: str) -> None:
    key, line, reason = only_problem(
        f'[node]\nid = "a"\n{node}\n[cluster]\npeers = [\n  "10.1.1.2:7400",\n  "10.1.1.1:7400",\n]'
    )
    assert (key, line) == ("cluster.peers", 7)
    assert "this node itself" in reason


@pytest.mark.parametrize("own", ["127.0.0.1", "localhost", socket.gethostname()])
def test_node_bound_to_every_address_that_lists_itself_is_refused(own: str) -> None:
    _, line, reason = only_problem(f'[node]\nid = "a"\n[cluster]\npeers = ["{own}:7400"]')
    assert line == 4
    assert "this node itself" in reason


def test_node_on_the_same_host_with_another_port_is_no_self() -> None:
    assert read('[node]\nid = "a"\n[cluster]\npeers = ["127.0.0.1:7401"]').cluster.peers == (
        "127.0.0.1:7401",
    )


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    document = """\
[node]
id = "no spaces"
bind_adress = "x"
[database]
port = 70000
durability = "none"
[cluster]
heartbeat_interval_ms = 500
election_timeout_ms = 600
secret = "short"
[wal]
fsync = "yes"
"""
    found = problems(document)
    assert [key for key, _, _ in found] == [
        "node.id",
        "node.bind_adress",
        "database.port",
        "database.durability",
        "cluster.election_timeout_ms",
        "cluster.secret",
        "wal.fsync",
    ]
    assert [line for _, line, _ in found] == [2, 3, 5, 6, 9, 10, 12]


def test_rule_between_keys_is_silent_when_one_of_them_is_unusable() -> None:
    key, _, _ = only_problem(
        '[node]\nid = "a"\n[cluster]\nheartbeat_interval_ms = 0\nelection_timeout_ms = 60'
    )
    assert key == "cluster.heartbeat_interval_ms"


def test_error_text_begins_each_line_with_file_and_line() -> None:
    with pytest.raises(InvalidConfigError) as invalid:
        read('[node]\nid = "a"\nx = 1\n[api]\ny = 2')
    lines = str(invalid.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["wolfscale.toml:3", "wolfscale.toml:5"]
    assert (invalid.value.key, invalid.value.line) == ("node.x", 3)


def test_syntax_error_names_its_line() -> None:
    key, line, reason = only_problem('[node]\nid = "a\n')
    assert (key, line) == ("", 2)
    assert reason.startswith("is no valid TOML")


def test_line_is_right_after_multiline_values() -> None:
    document = """\
[node]
id = "a"
[database]
options = [
  "--a=[x", # a bracket ] in a comment
  "--b",
]
[cluster] # bad = 1
secret = \"\"\"
[wal]
bad = 2
0123456789abcdef\"\"\"
bad = 3
"""
    assert only_problem(document)[:2] == ("cluster.bad", 13)


def test_dotted_and_inline_keys_have_lines() -> None:
    assert only_problem('node.id = "a"\nnode.bad = 1')[:2] == ("node.bad", 2)
    assert only_problem('node = { id = "a", bad = 1 }')[:2] == ("node.bad", 1)


def test_environment_variables_are_expanded_once() -> None:
    config = read(
        '[node]\nid = "${NAME}-1"\n[database]\npassword = "${PASSWORD}"\nport = "${PORT}"\nuser = "$${x}"\n'
        '[cluster]\npeers = ["${PEER}:7400"]\n[wal]\nfsync = "${FSYNC}"',
        NAME="db",
        PASSWORD="${NAME}",
        PORT="3310",
        PEER="other",
        FSYNC="false",
    )
    assert config.node.id == "db-1"
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "${NAME}"
    assert config.database.port == 3310
    assert config.database.user == "${x}"
    assert config.cluster.peers == ("other:7400",)
    assert config.wal.fsync is False


def test_environment_variable_that_is_not_set_is_named() -> None:
    key, line, reason = only_problem('[node]\nid = "a"\n[database]\npassword = "${NOT_THERE}"')
    assert (key, line) == ("database.password", 4)
    assert "NOT_THERE is not set" in reason


@pytest.mark.parametrize("value", ["${", "${}", "${a b}", "x${1}"])
def test_malformed_reference_is_refused(value: str) -> None:
    assert "is no variable" in only_problem(f'[node]\nid = "a"\n[database]\npassword = "{value}"')[2]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_no_document_does_anything_but_load_or_be_refused(document: str) -> None:
    with contextlib.suppress(InvalidConfigError):
        read(document)


_VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
_KEYS = st.sampled_from(
    ["id", "bind_address", "port", "peers", "secret", "fsync", "options", "witness", "host", "password", "x"]
)


@given(
    st.dictionaries(
        st.sampled_from(["node", "database", "cluster", "wal", "nodes"]), st.dictionaries(_KEYS, _VALUES)
    )
)
def test_no_value_of_any_type_does_anything_but_load_or_be_refused(
    tables: dict[str, dict[str, object]],
) -> None:
    document = "".join(
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for section, keys in tables.items()
    )
    with contextlib.suppress(InvalidConfigError):
        read(document)


def test_secrets_do_not_appear_in_errors_or_representations(tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    config = read(PRINTED.replace('"secret"', f'"{secret}"'))
    assert secret not in repr(config)
    assert secret not in str(config)
    with pytest.raises(InvalidConfigError) as invalid:
        read(f'[node]\nid = "a"\n[database]\npassword = ["{secret}"]\n[cluster]\nsecret = "{secret[:9]}"')
    assert secret[:9] not in str(invalid.value)


def test_secret_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("word\n")
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    config = read(
        f'[node]\nid = "a"\n[database]\npassword_file = "{tmp_path}/password"\n'
        f'[cluster]\nsecret_file = "{tmp_path}/secret"'
    )
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "word"
    assert find_secret(config, {}) == b"0123456789abcdef"


def test_short_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short\n")
    _, line, reason = only_problem(f'[node]\nid = "a"\n[cluster]\nsecret_file = "{tmp_path}/secret"')
    assert line == 4
    assert "at least 16" in reason


def test_load_of_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_load_of_no_text_says_so(tmp_path: Path) -> None:
    path = tmp_path / "wolfscale.toml"
    path.write_bytes(b"[node]\nid = '\xff'")
    with pytest.raises(InvalidConfigError, match=r"toml:2: is not UTF-8"):
        load(path)


def test_find_config_prefers_the_variable_then_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WOLFSCALE_CONFIG", raising=False)
    monkeypatch.setattr("wolfscale.config.reading.SYSTEM_CONFIG", tmp_path / "system.toml")
    with pytest.raises(ConfigError, match="no configuration"):
        find_config()
    (tmp_path / "system.toml").write_text("")
    assert find_config() == tmp_path / "system.toml"
    (tmp_path / "wolfscale.toml").write_text("")
    assert find_config() == Path("wolfscale.toml")
    monkeypatch.setenv("WOLFSCALE_CONFIG", str(tmp_path / "named.toml"))
    with pytest.raises(ConfigError, match=r"named\.toml"):
        find_config()
    (tmp_path / "named.toml").write_text("")
    assert find_config() == tmp_path / "named.toml"


def test_bootstrapping_node_makes_a_secret_once(tmp_path: Path) -> None:
    config = read(f'[node]\nid = "a"\ndata_dir = "{tmp_path}/data"')
    with pytest.raises(SecretMissingError, match="copy the file cluster-secret"):
        find_secret(config, {})
    secret = make_secret(config)
    assert len(secret) >= 32
    assert make_secret(config) == secret == find_secret(config, {})
    assert secret_path(config).stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["cluster-secret"]


def test_secret_of_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    config = read(f'[node]\nid = "a"\ndata_dir = "{tmp_path}"')
    make_secret(config)
    assert find_secret(config, {"WOLFSCALE_SECRET": "0123456789abcdef"}) == b"0123456789abcdef"
    with pytest.raises(SecretMissingError, match="WOLFSCALE_SECRET holds fewer"):
        find_secret(config, {"WOLFSCALE_SECRET": "x"})


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("db1:7400", "db1", 7400),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:65535", "::1", 65535),
        (":80", "0.0.0.0", 80),
        ("a-b.example.com:80", "a-b.example.com", 80),
    ],
)
def test_address_is_split_and_written_back(text: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert address == Address(host=host, port=port)
    assert parse_address(str(address)) == address


def test_advertised_address_is_one_that_peers_can_use() -> None:
    assert advertised_address("0.0.0.0:7400", "db1:7400", []) == "db1:7400"
    assert advertised_address("10.0.0.1:7400", None, []) == "10.0.0.1:7400"
    assert advertised_address("0.0.0.0:7400", None, ["127.0.0.1:7401"]) == "127.0.0.1:7400"


@pytest.mark.parametrize(
    ("bound", "advertised", "expected"),
    [
        ("0.0.0.0:8080", "db1:7400", "db1:8080"),
        ("[::]:8080", "[fd00::1]:7400", "[fd00::1]:8080"),
        ("10.0.0.1:8080", "db1:7400", "10.0.0.1:8080"),
        ("127.0.0.1:8080", "127.0.0.1:7400", "127.0.0.1:8080"),
        ("127.0.0.1:8080", "db1:7400", ""),
        ("localhost:8080", "10.0.0.1:7400", ""),
    ],
)
def test_address_is_given_only_where_others_can_use_it(bound: str, advertised: str, expected: str) -> None:
    assert reachable_address(bound, advertised) == expected


def test_documentation_is_up_to_date() -> None:
    page = Path(__file__).parents[1] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == configuration_reference(), "run: make reference"


@pytest.mark.parametrize(
    ("api", "complaint"),
    [
        ('allowed_origins = ["intranet.example"]', "is no origin: write scheme and host"),
        ('allowed_origins = ["https://intranet.example/"]', "is no origin"),
        ('allowed_origins = ["*"]', "is no origin"),
        ('tokens_file = "/nowhere/tokens"', "there is no file /nowhere/tokens"),
        ('tls_names = ["db.example"]', "of no use without tls = true"),
        ('tls = true\ntls_names = ["a b"]', "is neither a name nor an address"),
        ('tls = true\ntls_cert = "/nowhere/cert.pem"', "needs tls_key beside it"),
        ('tls = true\ntls_cert = "/nowhere/c"\ntls_key = "/nowhere/k"', "there is no file /nowhere/c"),
        ("max_body_kb = 0", "must be at least 1"),
        ('require_token_on_loopback = "yes"', "true or false"),
    ],
)
def test_http_access_that_cannot_be_meant_is_refused(api: str, complaint: str) -> None:
    with pytest.raises(InvalidConfigError) as error:
        parse(f'[node]\nid = "a"\n[api]\n{api}\n', path=Path("x"), environment={})
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("proxy", "complaint"),
    [
        ("tls = false\nrequire_tls = true", "of no use without tls = true"),
        ('tls = false\ntls_names = ["db.example"]', "of no use without tls = true"),
        ('tls_cert = "/nowhere/cert.pem"', "needs tls_key beside it"),
        ('tls_cert = "/nowhere/c"\ntls_key = "/nowhere/k"', "there is no file /nowhere/c"),
        (f'tls_cert = "{__file__}"\ntls_key = "{__file__}"\ntls_names = ["db"]', "keep one"),
    ],
)
def test_tls_for_clients_that_cannot_be_meant_is_refused(proxy: str, complaint: str) -> None:
    with pytest.raises(InvalidConfigError) as error:
        parse(f'[node]\nid = "a"\n[proxy]\n{proxy}\n', path=Path("x"), environment={})
    assert complaint in str(error.value)


def test_listener_on_every_address_is_reached_by_those_used_towards_others() -> None:
    assert outward_addresses("10.0.0.1:80") == ("10.0.0.1",)
    assert outward_addresses("db1:80") == ("db1",)
    for bound in (":80", "[::]:80"):
        found = outward_addresses(bound)
        assert not set(found) & {"0.0.0.0", "::"}
        assert all(is_this_machine(address) for address in found)
    assert set(outward_addresses(":80")) <= set(outward_addresses("[::]:80"))


def test_addresses_for_others_follow_from_the_listeners() -> None:
    text = '[node]\nid = "a"\nadvertise_address = "db1:7400"\n[api]\ntls = true\ntls_names = ["db", "::1"]\n'
    config = parse(text, path=Path("x"), environment={})
    assert config.api_url() == "https://db1:8080"
    assert config.mysql_address() == "db1:3307"
    hidden = parse(text + '[proxy]\nbind_address = "127.0.0.1:3307"\n', path=Path("x"), environment={})
    assert hidden.mysql_address() == ""
