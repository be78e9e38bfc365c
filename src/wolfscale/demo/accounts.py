"""The demo's account, which may do everything outside the system schemas, its database, and its table."""

ACCOUNT = "app"
PASSWORD = "secret"
DATABASE = "demo"

# A grant on one schema beats a grant on a pattern, whatever it allows (MariaDB's acl_get takes the most
# specific row of mysql.db alone). So these rows take the pattern's rights away where they apply.
_SHIELDED = ("mysql", "wolfscale", "sys")


def account_statements(user: str = ACCOUNT, password: str = PASSWORD) -> tuple[str, ...]:
    """The statements that create the account; running them again changes nothing.

    The account may hand its rights on, so that CREATE USER and GRANT can be tried. (It could therefore
    give a second account the pattern without the shields: fit for a demo, not for production.)
    """
    account = f"'{user}'@'%'"
    return (
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED VIA mysql_native_password "
        f"USING PASSWORD('{password}')",
        f"GRANT CREATE USER, PROCESS, RELOAD, SHOW DATABASES ON *.* TO {account}",
        *(f"GRANT SELECT ON `{schema}`.* TO {account}" for schema in _SHIELDED),
        f"GRANT ALL PRIVILEGES ON `%`.* TO {account} WITH GRANT OPTION",
    )


def database_statement(database: str = DATABASE) -> str:
    """The statement that creates the database."""
    return f"CREATE DATABASE IF NOT EXISTS `{database}`"


def users_statement(database: str = DATABASE) -> str:
    """The statement that creates the table of the README's HTTP requests.

    Its key has no AUTO_INCREMENT: an HTTP insert without one gets a snowflake id.
    """
    return (
        f"CREATE TABLE IF NOT EXISTS `{database}`.users (id BIGINT NOT NULL PRIMARY KEY, "
        "name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL, "
        "created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) "
        "CHARACTER SET utf8mb4"
    )
