"""`wolfscale start`: run a node until it is told to stop."""

from typing import Annotated

import typer

from wolfscale import logs
from wolfscale.app.founding import note_path
from wolfscale.app.member import run
from wolfscale.cli.configuration import ConfigOption, as_command_error, locate, read
from wolfscale.config import Config, ConfigError

LogFormatOption = Annotated[
    logs.LogFormat, typer.Option("--log-format", help="How events are written to standard error.")
]


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
) -> None:
    """Run a node: its log, its MariaDB, its proxy and its HTTP side, until SIGTERM or Ctrl-C."""
    settings = read(config)
    configure_logs(settings, log_format)
    try:
        code = run(settings, bootstrap=bootstrap, note=note_path(locate(config)))
    except ConfigError as error:
        raise as_command_error(error) from error
    raise typer.Exit(code)


def configure_logs(config: Config, log_format: logs.LogFormat) -> None:
    """Send events to standard error, and keep the configuration's secrets out of them."""
    hidden = [config.database.password, config.cluster.secret]
    logs.configure(
        format=log_format, secrets=[secret.get_secret_value() for secret in hidden if secret is not None]
    )
