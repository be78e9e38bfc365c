"""`wolfscale start`: run a node until it is told to stop."""

from typing import Annotated

import typer

from wolfscale import logs
from wolfscale.app.founding import note_path
from wolfscale.app.member import run
from wolfscale.cli.configuration import ConfigOption, as_command_error, locate, read
from wolfscale.cli.events import LogFormatOption, LogLevel, LogLevelOption, configure_logs
from wolfscale.config import ConfigError


def command(
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap",
            help="Make a new cluster with this node alone. On a node that has been a member it only rejoins.",
        ),
    ] = False,
    config: ConfigOption = None,
    log_format: LogFormatOption = logs.LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run a node: its log, its MariaDB, its proxy and its HTTP side, until SIGTERM or Ctrl-C."""
    settings = read(config)
    configure_logs(settings, log_format, log_level)
    try:
        code = run(settings, bootstrap=bootstrap, note=note_path(locate(config)))
    except ConfigError as error:
        raise as_command_error(error) from error
    raise typer.Exit(code)
