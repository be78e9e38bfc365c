"""Who may import whom, as a test: the contracts stand in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
LIGHT_MODULES = ("wolfscale.config", "wolfscale.logs", "wolfscale.api.client", "wolfscale.cli")
HEAVY = ("fastapi", "hypercorn", "sqlglot", "rich")


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out


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
