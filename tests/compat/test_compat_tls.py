"""Drivers of other people connect with TLS, verify the node, and log in to accounts that need it."""

from dataclasses import replace
from pathlib import Path

import compat_environment
import pytest
from compat_addresses import Address, Addresses
from test_compat_drivers import SCRIPTS, run

pytestmark = pytest.mark.cluster

PASSWORD = "only with TLS"


@pytest.fixture(scope="module")
def account(addresses: Addresses) -> Address:
    """An account that MariaDB lets in under TLS only."""
    address = addresses.proxied
    statements = (
        f"CREATE OR REPLACE USER guarded@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL; "
        f"GRANT ALL ON {address.database}.* TO guarded@'%'; "
        f"CREATE OR REPLACE USER signer@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}') REQUIRE SSL; "
        f"GRANT ALL ON {address.database}.* TO signer@'%'"
    )
    _command_line(address, statements)
    return replace(address, user="guarded", password=PASSWORD)


def _command_line(address: Address, sql: str, *options: str) -> str:
    host, port, user, password, database = address.arguments()
    command = ["mariadb", "--no-defaults", f"-h{host}", f"-P{port}", f"-u{user}", f"-p{password}", "-N"]
    return run([*command, *options, database], text=sql)


@pytest.mark.parametrize("user", ["guarded", "signer"])
def test_command_line_client_verifies_and_logs_in(addresses: Addresses, account: Address, user: str) -> None:
    verifying = (f"--ssl-ca={addresses.authority}", "--ssl-verify-server-cert")
    answer = _command_line(replace(account, user=user), "SELECT 40 + 2; \\s", *verifying)
    assert answer.startswith("42\n")
    assert "Cipher in use is" in answer


def test_python_drivers_verify_and_log_in(addresses: Addresses, account: Address) -> None:
    python = compat_environment.python_drivers()
    command: list[str | Path] = [
        python,
        "-W",
        "ignore",
        SCRIPTS / "tls_drivers.py",
        *account.arguments(),
        str(addresses.authority),
    ]
    assert run(command).splitlines() == [
        "pymysql 42 7",
        "MySQLdb 42 7",
        "mariadb 42 7",
        "mysql.connector 42 7",
        "asyncmy 42",
    ]


def test_mysql2_verifies_and_logs_in(addresses: Addresses, account: Address) -> None:
    directory = compat_environment.node_directory()
    if directory is None:
        pytest.skip("npm is not installed: apt-get install npm")
    command: list[str | Path] = [
        "node",
        SCRIPTS / "tls_mysql2.mjs",
        *account.arguments(),
        str(addresses.authority),
    ]
    assert run(command, directory=directory) == "mysql2 42\n"
