"""How a long-running command writes its events: the options, and the start of logging."""

import logging
from enum import StrEnum
from typing import Annotated

import typer

from wolfscale import logs
from wolfscale.config import Config


class LogLevel(StrEnum):
    """From which level on events are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogFormatOption = Annotated[
    logs.LogFormat,
    typer.Option(
        "--log-format",
        envvar="WOLFSCALE_LOG_FORMAT",
        help="How events are written to standard error: text for people, a JSON object a line for programs.",
    ),
]
LogLevelOption = Annotated[
    LogLevel,
    typer.Option("--log-level", envvar="WOLFSCALE_LOG_LEVEL", help="The least important events written."),
]


def configure_logs(config: Config, log_format: logs.LogFormat, log_level: LogLevel) -> None:
    """Send events to standard error, and keep the configuration's secrets out of them."""
    hidden = [config.database.password, config.cluster.secret]
    logs.configure(
        format=log_format,
        level=logging.getLevelNamesMapping()[log_level.value.upper()],
        secrets=[secret.get_secret_value() for secret in hidden if secret is not None],
    )
