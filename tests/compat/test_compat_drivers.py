"""Clients and drivers of other people run thirty operations each, alike through a proxy and without one."""

import json
import re
import subprocess
from pathlib import Path

import compat_environment
import pytest
from compat_addresses import Address, Addresses

pytestmark = pytest.mark.cluster

SCRIPTS = Path(__file__).parent / "scripts"
OPERATIONS = 30
LIMIT_SECONDS = 120
DBAPI_DRIVERS = (
    ("pymysql",),
    ("mysqlclient",),
    ("mysqlclient", "compress"),
    ("mariadb-connector-python",),
    ("mysql-connector-python",),
    ("mysql-connector-python", "compress"),
)

# A client that asks for session tracking is also told the GTIDs of its writes, which a server does not do
# unless it is configured so: docs/compatibility.md.
_GTIDS = re.compile(r',"stateChanges":\{"systemVariables":\{"last_gtid":"[0-9-]+"\}[^}]*\}')
_STATE_CHANGED = 0x4000


def run(command: list[str | Path], *, directory: Path | None = None, text: str | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_alike(direct: str, proxied: str) -> None:
    assert len(direct.splitlines()) >= OPERATIONS
    assert proxied.splitlines() == direct.splitlines()


@pytest.mark.parametrize("driver", DBAPI_DRIVERS, ids=" ".join)
def test_driver_runs_thirty_operations_alike(addresses: Addresses, driver: tuple[str, ...]) -> None:
    python = compat_environment.python_drivers()
    name, *options = driver

    def script(address: Address) -> str:
        return run([python, "-W", "ignore", SCRIPTS / "dbapi.py", name, *address.arguments(), *options])

    direct = script(addresses.direct)
    assert '"raised"' not in direct
    assert_alike(direct, script(addresses.proxied))


def test_asyncmy_runs_thirty_operations_alike(addresses: Addresses) -> None:
    python = compat_environment.python_drivers()

    def script(address: Address) -> str:
        return run([python, SCRIPTS / "asyncmy_script.py", *address.arguments()])

    assert_alike(script(addresses.direct), script(addresses.proxied))


@pytest.mark.parametrize("options", [[], ["compress"]], ids=["plain", "compressed"])
def test_mysql2_runs_thirty_operations_alike(addresses: Addresses, options: list[str]) -> None:
    directory = compat_environment.node_directory()
    if directory is None:
        pytest.skip("npm is not installed: apt-get install npm")

    def script(address: Address) -> str:
        command: list[str | Path] = ["node", SCRIPTS / "mysql2_script.mjs", *address.arguments(), *options]
        said = run(command, directory=directory)
        return "\n".join(_without_gtids(line) for line in said.splitlines())

    assert_alike(script(addresses.direct), script(addresses.proxied))


def _without_gtids(line: str) -> str:
    def lowered(match: re.Match[str]) -> str:
        return f'"serverStatus":{int(match[1]) & ~_STATE_CHANGED}'

    line = re.sub(r'"serverStatus":(\d+)', lowered, _GTIDS.sub("", line))
    json.loads(line)
    return line


@pytest.mark.parametrize("options", [[], ["--compress"]], ids=["plain", "compressed"])
def test_command_line_client_runs_its_script_alike(addresses: Addresses, options: list[str]) -> None:
    text = (SCRIPTS / "client.sql").read_text(encoding="utf-8")

    def script(address: Address) -> str:
        host, port, user, password, database = address.arguments()
        command = ["mariadb", f"-h{host}", f"-P{port}", f"-u{user}", f"-p{password}", *options]
        command += ["--force", "--table", "--show-warnings", "--default-character-set=utf8mb4", database]
        done = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert "ERROR 1064" in done.stdout
        return done.stdout

    assert_alike(script(addresses.direct), script(addresses.proxied))
