"""`wolfscale info`: what this machine and this configuration give a node."""

import json
import os
import platform
import shutil
import subprocess
import sys
from typing import Annotated

import typer

from wolfscale import __version__
from wolfscale.cli.configuration import ConfigOption
from wolfscale.config import Config, ConfigError, DatabaseMode, find_config, load, secret_path
from wolfscale.config.shape import SECTIONS

_PROGRAMS = ("mariadbd", "mariadb-backup", "mariadb-install-db", "mariadb")
_TELLS_NO_VERSION = frozenset({"mariadb-install-db"})
_VERSION_SECONDS = 10


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show versions, the MariaDB programs found, and the configuration in effect without its secrets."""
    rows = {"wolfscale": __version__, "python": f"{platform.python_version()} ({sys.executable})"}
    rows |= {program: _program(program) for program in _PROGRAMS}
    try:
        path = config or find_config()
        rows |= {"configuration": str(path), **_settings(load(path))}
    except ConfigError as error:
        rows["configuration"] = str(error)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        typer.echo(f"{name:<{width}}{value}")


def _program(name: str) -> str:
    path = shutil.which(name, path=_search_path())
    if path is None:
        return "not found: install mariadb-server, mariadb-client and mariadb-backup"
    if name in _TELLS_NO_VERSION:
        return path
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} (does not tell its version: {error})"
    first_line = (answer.stdout or answer.stderr).strip().partition("\n")[0]
    return path if answer.returncode or not first_line else f"{path} ({first_line})"


def _search_path() -> str:
    # Servers live in sbin, which is not in every user's PATH.
    return ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def _settings(config: Config) -> dict[str, str]:
    mode = config.database_mode
    rows = {
        "node": f"{config.node.id}{' (witness)' if config.node.witness else ''}",
        "data directory": str(config.data_dir),
        "data directory is": "there: this node has been started before"
        if config.data_dir.exists()
        else "new",
        "MariaDB": mode.value
        if mode is not DatabaseMode.EXTERNAL
        else f"external, {config.database_address}",
        "cluster secret": _secret(config),
    }
    try:
        rows["advertised address"] = config.advertised_address()
    except ConfigError as error:
        rows["advertised address"] = error.reason
    for section in SECTIONS:
        values = getattr(config, section)
        rows |= {
            f"{section}.{key}": _shown(value)
            for key in type(values).model_fields
            if (value := getattr(values, key)) is not None
        }
    return rows


def _secret(config: Config) -> str:
    if config.cluster.secret is not None:
        return "configured"
    path = secret_path(config)
    return f"in {path}" if path.exists() else f"none yet; `wolfscale start --bootstrap` makes {path}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
