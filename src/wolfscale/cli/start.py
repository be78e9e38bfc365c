"""`wolfscale start`: run a node until it is told to stop."""

import errno
from pathlib import Path
from typing import Annotated, Final

import typer

from wolfscale import logs
from wolfscale.app.founding import note_path
from wolfscale.app.member import run
from wolfscale.cli.configuration import ConfigOption, as_command_error, locate, read
from wolfscale.cli.events import LogFormatOption, LogLevel, LogLevelOption, configure_logs
from wolfscale.config import ConfigError

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


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
    except OSError as error:
        raise _in_directory(error, settings.data_dir) from error
    raise typer.Exit(code)


def _in_directory(error: OSError, directory: Path) -> OSError:
    """The same error; where the disk failed and no file is named, it was one of the node's."""
    if error.errno in _OF_THE_DISK and error.filename is None:
        return OSError(error.errno, error.strerror, str(directory))
    return error
