"""Other people's own test suites give the same results through a proxy as from a server itself.

They take minutes, so `make compat` runs them.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import compat_environment
import pytest
from compat_addresses import Address, Addresses
from test_compat_drivers import SCRIPTS

pytestmark = pytest.mark.compat

LIMIT_SECONDS = 1800
SQLALCHEMY_TESTS = ("test/dialect/test_suite.py", "test/dialect/mysql")
DJANGO_APPS = {
    "connections": (
        *("transactions", "get_or_create", "select_for_update", "bulk_create", "datatypes", "constraints"),
        *("backends", "introspection", "inspectdb", "timezones", "transaction_hooks"),
    ),
    "queries": (
        *("aggregation", "aggregation_regress", "annotations", "basic", "custom_lookups", "dates"),
        *("datetimes", "db_functions", "defer", "delete", "expressions", "expressions_case"),
        *("expressions_window", "lookup", "ordering", "prefetch_related", "queries", "raw_query"),
        *("select_related", "update"),
    ),
    "models": (
        *("force_insert_update", "generic_relations", "m2m_through", "many_to_many", "many_to_one"),
        *("model_fields", "model_forms", "model_inheritance", "multiple_database", "proxy_models"),
        *("contenttypes_tests", "fixtures", "sessions_tests", "validation"),
    ),
}
"""By what they try most. `schema` and `migrations` take too long here; `serializers` measures time."""
_DJANGO_OUTCOME = re.compile(
    r"^\w+ \((\S+)\)(?:\n.*)?? \.\.\. .*?(ok|ERROR|FAIL|skipped|expected failure|unexpected success)\b",
    re.MULTILINE,
)
_OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS) (\S+)", re.MULTILINE)


def version_of(package: str) -> str:
    """The pinned version."""
    lines = compat_environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.lower().startswith(package.lower() + "=="))


def outcomes(command: list[str | Path], directory: Path, **environment: str) -> dict[str, str]:
    """Run a pytest; the outcome of each test by its name (skips have no name)."""
    done = subprocess.run(
        [*command, "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", "-p", "no:logging"],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_SECONDS,
        check=False,
    )
    found = {name: outcome for outcome, name in _OUTCOME.findall(done.stdout)}
    assert found, done.stdout[-5000:] + done.stderr[-5000:]
    return found


def assert_same(addresses: Addresses, run: Callable[[Address], dict[str, str]], least: int) -> None:
    direct, proxied = run(addresses.direct), run(addresses.proxied)
    assert sum(outcome == "PASSED" for outcome in direct.values()) >= least
    differences = {
        name: (direct.get(name), proxied.get(name))
        for name in direct.keys() | proxied.keys()
        if direct.get(name) != proxied.get(name)
    }
    assert not differences


@pytest.mark.parametrize("dialect", ["pymysql", "mysqldb"])
def test_sqlalchemy_suite_gives_the_same_results(addresses: Addresses, dialect: str) -> None:
    python = compat_environment.python_drivers()
    source = compat_environment.source_distribution("sqlalchemy", version_of("sqlalchemy"))

    def run(address: Address) -> dict[str, str]:
        account = f"{address.user}:{address.password}@{address.host}:{address.port}"
        command: list[str | Path] = [python, "-m", "pytest", *SQLALCHEMY_TESTS, "--maxfail=100000"]
        return outcomes([*command, "--dburi", f"mysql+{dialect}://{account}/test?charset=utf8mb4"], source)

    assert_same(addresses, run, least=2000)


def test_mysqlclient_suite_gives_the_same_results(addresses: Addresses, tmp_path: Path) -> None:
    python = compat_environment.python_drivers()
    source = compat_environment.source_distribution("mysqlclient", version_of("mysqlclient"))

    def run(address: Address) -> dict[str, str]:
        options = tmp_path / f"{address.port}.cnf"
        lines = {
            "host": address.host,
            "port": address.port,
            "user": address.user,
            "password": address.password,
            "database": "test",
            "default-character-set": "utf8mb4",
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        options.write_text(f"[MySQLdb-tests]\n{text}")
        # Without a configuration, or pytest would find that of the directories above.
        command: list[str | Path] = [python, "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "tests"]
        return outcomes(command, source, TESTDB=str(options))

    assert_same(addresses, run, least=150)


@pytest.mark.parametrize("apps", DJANGO_APPS.values(), ids=DJANGO_APPS)
def test_django_suite_gives_the_same_results(addresses: Addresses, apps: tuple[str, ...]) -> None:
    python = compat_environment.python_drivers()
    source = compat_environment.source_distribution("django", version_of("django"))

    def run(address: Address) -> dict[str, str]:
        done = subprocess.run(
            [
                python,
                "runtests.py",
                "--settings=django_settings",
                "--noinput",
                "--parallel=1",
                "-v2",
                *apps,
            ],
            cwd=source / "tests",
            env={
                **os.environ,
                "PYTHONPATH": f"{SCRIPTS}:{source}",
                "WOLFSCALE_HOST": address.host,
                "WOLFSCALE_PORT": str(address.port),
                "WOLFSCALE_USER": address.user,
                "WOLFSCALE_PASSWORD": address.password,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=LIMIT_SECONDS,
            check=False,
        )
        found = {
            name: "PASSED" if said == "ok" else said.upper()
            for name, said in _DJANGO_OUTCOME.findall(done.stdout)
        }
        assert found, done.stdout[-5000:]
        return found

    assert_same(addresses, run, least=500)
