"""Who may import whom, as a test: the contracts stand in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHT_MODULES = ("wolfscale.config", "wolfscale.logs", "wolfscale.api.client", "wolfscale.cli")
HEAVY = ("fastapi", "hypercorn", "sqlglot", "rich")


def test_import_contracts_hold() -> None:
    # In a process of its own: it configures logging, which disables every logger that there is.
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_module_imports_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_node_imports_neither_parser_nor_mimic() -> None:
    """They cost some 40 MiB each, and belong to the proxy's workers."""
    names = ("sqlglot", "mysql_mimic")
    program = f"import wolfscale.app.member, sys; print([name for name in {names!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
