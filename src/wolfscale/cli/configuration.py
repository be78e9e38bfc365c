"""Finding and reading the configuration for a command, with the way out when it is wrong."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wolfscale.cli.exits import CommandError, Exit
from wolfscale.config import Config, ConfigError, InvalidConfigError, find_config, load

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        readable=False,  # told below, with the next step
        help="The configuration. Default: WOLFSCALE_CONFIG, ./wolfscale.toml, /etc/wolfscale/wolfscale.toml.",
    ),
]


def locate(path: Path | None) -> Path:
    """The given file, or the one that counts when none is given."""
    try:
        return path if path is not None else find_config()
    except ConfigError as error:
        raise CommandError(
            str(error), exit_code=Exit.USAGE, next_step="`wolfscale init` writes a configuration"
        ) from error


def read(path: Path | None) -> Config:
    """The configuration, ready to use.

    Raises:
        CommandError: there is none, or it cannot be used; lists every problem.
    """
    found = locate(path)
    try:
        return load(found)
    except ConfigError as error:
        raise as_command_error(error) from error


def as_command_error(error: ConfigError) -> CommandError:
    """A configuration error as a command's end."""
    if not isinstance(error, InvalidConfigError):
        return CommandError(str(error), exit_code=Exit.USAGE, next_step="see docs/configuration.md")
    if not error.path.exists():
        return CommandError(
            f"there is no configuration {error.path}",
            exit_code=Exit.USAGE,
            next_step=f"check the name, or write one with `wolfscale init --config {error.path}`",
        )
    if not os.access(error.path, os.R_OK) or not error.path.is_file():
        return CommandError(
            str(error), exit_code=Exit.USAGE, next_step="name a file that this user may read with --config"
        )
    count = len(error.problems)
    headline = "the configuration cannot be used" if count == 1 else f"the configuration has {count} problems"
    return CommandError(
        f"{headline}:\n{error}",
        exit_code=Exit.USAGE,
        next_step=f"correct {error.path}, then try `wolfscale validate --config {error.path}`",
    )
