"""The statements that give a data directory the node's account and the schema `wolfscale`.

They never reach a binlog: every member's data begins as a copy of the first one's.
"""

from wolfscale.mysql.literals import identifier, literal

SCHEMA = "wolfscale"

GLOBAL_SETTINGS = (
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.global_settings (name VARCHAR(64) CHARACTER SET ascii NOT NULL "
    "PRIMARY KEY, value TEXT CHARACTER SET utf8mb4 NULL, quoted BOOLEAN NOT NULL, set_by VARCHAR(128) "
    "CHARACTER SET utf8mb4 NOT NULL, changed_at DATETIME NOT NULL) ENGINE=InnoDB;"
)
"""Global variables that clients have set for the whole cluster."""


def schema_statements() -> list[str]:
    """Return the statements that make the schema; running them again changes nothing."""
    return [
        f"CREATE DATABASE IF NOT EXISTS {SCHEMA};",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.term (id INT NOT NULL PRIMARY KEY, term BIGINT UNSIGNED "
        "NOT NULL, node VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT "
        "'1970-01-02 00:00:00') ENGINE=InnoDB;",
        f"INSERT IGNORE INTO {SCHEMA}.term VALUES (1, 0, '', '1970-01-02 00:00:00');",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.enabled_event (schema_name VARCHAR(64) CHARACTER SET utf8mb3 "
        "COLLATE utf8mb3_bin NOT NULL, event_name VARCHAR(64) CHARACTER SET utf8mb3 COLLATE "
        "utf8mb3_general_ci NOT NULL, PRIMARY KEY (schema_name, event_name)) ENGINE=InnoDB;",
        GLOBAL_SETTINGS,
    ]


def account_statements(user: str, native_hash: str) -> list[str]:
    """Return the statements that leave the node's account, and `mariadb.sys`, as the only ones.

    Args:
        user: the account's name.
        native_hash: "*" and forty hexadecimal digits, as mysql_native_password stores it.
    """
    account = f"{identifier(user)}@localhost"
    return [
        "FLUSH PRIVILEGES;",  # a bootstrap has no accounts loaded and would refuse CREATE USER
        f"DELETE FROM mysql.global_priv WHERE User NOT IN ('mariadb.sys', {literal(user)});",
        "DELETE FROM mysql.db;",
        "DELETE FROM mysql.proxies_priv;",
        "FLUSH PRIVILEGES;",
        f"CREATE OR REPLACE USER {account} IDENTIFIED VIA mysql_native_password USING "
        f"{literal(native_hash)};",
        f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;",
    ]
