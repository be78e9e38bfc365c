"""The commands by name, each in a module of its own that is imported only when it is asked for.

`wolfscale start` lives as long as its node: it must not carry what only `demo` or `status` need.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import typer

from wolfscale import __version__
from wolfscale.cli.exits import expected_errors, leave
from wolfscale.errors import WolfScaleError

COMMANDS: Final = ("start", "proxy", "status", "info", "validate", "wal", "demo", "reference")
_HIDDEN: Final = frozenset({"reference"})

_HELP = "MariaDB on several machines: commits by quorum, automatic failover, any node takes any statement."
_EPILOG = (
    "Exit codes: 0 done, 1 failed or not in order, 2 the command line or the configuration cannot be used, "
    "3 no node answers."
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wolfscale {__version__}")
        raise typer.Exit


def build(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands; each module `wolfscale.cli.<name>` has its `command`."""
    app = typer.Typer(
        name="wolfscale",
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        """Options before the command; a callback also keeps typer from dropping a lone command's name."""

    for name in names:
        command = importlib.import_module(f"wolfscale.cli.{name}").command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, hidden=name in _HIDDEN, epilog=_EPILOG)(command)
    # Without this typer would take the callback's own docstring as the program's help.
    app.info.help = _HELP
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; expected errors end the process with a message and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    names = [given[0]] if given and given[0] in COMMANDS else COMMANDS
    if given == ["--version"]:
        names = []
    try:
        build(names)(given, prog_name="wolfscale")
    except (WolfScaleError, BaseExceptionGroup) as error:
        expected = expected_errors(error)
        if not expected:
            raise
        leave(*expected)
