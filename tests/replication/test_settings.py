"""The table of settings: arguments for a managed server, a check list for an external one."""

import pytest

from wolfscale.replication.server_errors import ServerUnsupported, SettingsRefused
from wolfscale.replication.settings import (
    SETTINGS,
    Boot,
    Durability,
    ServerOptions,
    Setting,
    boot_arguments,
    boot_file,
    check_version,
    durability_settings,
    managed_arguments,
    statements_for,
)


def _right(durability: Durability = Durability.WAL) -> dict[str, str]:
    settings = (*SETTINGS, *durability_settings(durability))
    return {setting.name: (setting.shown or (setting.value,))[0] for setting in settings}


def _setting(name: str) -> Setting:
    return next(setting for setting in SETTINGS if setting.name == name)


def test_each_setting_has_a_reason_and_stands_once() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert all(len(setting.reason) > 20 for setting in SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("log_slave_updates", "OFF"),
        ("gtid_strict_mode", "ON"),
        ("rpl_semi_sync_master_wait_point", "AFTER_SYNC"),
        ("slave_exec_mode", "STRICT"),  # fact 11: idempotent replay diverges silently
        ("slave_parallel_threads", "0"),
        ("innodb_snapshot_isolation", "ON"),
        ("log_bin_trust_function_creators", "ON"),  # fact 29
        ("rpl_semi_sync_slave_enabled", "OFF"),  # fact 2
        ("slave_skip_errors", "OFF"),
    ],
)
def test_settings_that_the_design_rests_on_are_what_it_says(name: str, value: str) -> None:
    assert _setting(name).value == value
    assert _setting(name).argument in managed_arguments(ServerOptions())


def test_fact_28_tracked_variables_include_last_gtid() -> None:
    assert "last_gtid" in _setting("session_track_system_variables").value.split(",")


def test_fact_33_proxy_headers_are_honoured_from_this_machine_only() -> None:
    assert _setting("proxy_protocol_networks").value == "localhost,127.0.0.1/32"


def test_managed_arguments_without_port_allow_no_network() -> None:
    assert "--skip-networking" in managed_arguments(ServerOptions())
    with_port = managed_arguments(ServerOptions(port=3399))
    assert "--skip-networking" not in with_port
    assert {"--bind-address=127.0.0.1", "--port=3399"} <= set(with_port)


def test_managed_arguments_end_with_the_users_own() -> None:
    assert managed_arguments(ServerOptions(extra=("--max-connections=7",)))[-1] == "--max-connections=7"


@pytest.mark.parametrize(
    ("durability", "expected"),
    [
        (Durability.WAL, {"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"}),
        (Durability.FULL, {"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"}),
    ],
)
def test_managed_arguments_follow_the_durability(durability: Durability, expected: set[str]) -> None:
    assert expected <= set(managed_arguments(ServerOptions(durability=durability)))


def test_boot_arguments_start_a_silent_replica_with_a_new_binlog() -> None:
    arguments = boot_arguments(Boot(number=12, server_id=0x80000003))
    assert arguments == [
        "--log-bin=binlog-000012",
        "--server-id=2147483651",
        "--read-only=1",
        "--skip-slave-start",
        "--event-scheduler=OFF",
    ]


def test_boot_file_says_the_same() -> None:
    lines = boot_file(Boot(number=12)).splitlines()
    assert lines[1:] == [
        "[mariadbd]",
        "log-bin = binlog-000012",
        "server-id = 2147483648",
        "read-only = 1",
        "skip-slave-start",
        "event-scheduler = OFF",
    ]


def test_check_of_a_right_server_asks_for_nothing() -> None:
    for durability in Durability:
        assert statements_for(_right(durability), durability) == []


def test_check_sets_what_can_be_set() -> None:
    variables = _right() | {"binlog_format": "MIXED", "sync_binlog": "1", "max_allowed_packet": "16777216"}
    assert statements_for(variables, Durability.WAL) == [
        "SET GLOBAL binlog_format = 'ROW'",
        "SET GLOBAL max_allowed_packet = 1073741824",
        "SET GLOBAL sync_binlog = 0",
    ]


def test_check_refuses_what_only_a_restart_changes_and_names_the_lines() -> None:
    variables = _right() | {"log_slave_updates": "ON", "relay_log": "", "binlog_format": "MIXED"}
    with pytest.raises(SettingsRefused) as refused:
        statements_for(variables, Durability.WAL)
    assert [line for line, _ in refused.value.missing] == [
        "log_slave_updates = OFF",
        "relay_log = relay-wolfscale",
    ]
    assert "\n    log_slave_updates = OFF    # " in str(refused.value)


def test_check_does_not_miss_a_variable_that_the_version_does_not_know() -> None:
    variables = _right()
    del variables["innodb_snapshot_isolation"]
    assert statements_for(variables, Durability.WAL) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("10.11.19-MariaDB-0+deb12u1-log", (10, 11, 19)),
        ("mariadbd  Ver 10.6.0-MariaDB for Linux on x86_64 (Source distribution)", (10, 6, 0)),
        ("11.8.2-MariaDB-ubu2404", (11, 8, 2)),
    ],
)
def test_version_of_mariadb_from_10_6_is_accepted(text: str, version: tuple[int, ...]) -> None:
    assert check_version(text, "mariadbd") == version


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.5.28-MariaDB", "10.6 or later"),
        ("mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "is not MariaDB"),
        ("", "is not MariaDB"),
    ],
)
def test_version_of_another_or_older_server_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ServerUnsupported, match=reason):
        check_version(text, "/usr/sbin/mysqld")
