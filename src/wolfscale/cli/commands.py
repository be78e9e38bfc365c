"""The commands by name, each in a module of its own that is imported only when it is asked for.

`wolfscale start` lives as long as its node: it must not carry what only `demo` or `status` need. The list
and the shell's completion need no command at all, so they are quick.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import typer
import typer.core
import typer.main

from wolfscale import __version__
from wolfscale.cli.exits import Exit, expected_errors, leave
from wolfscale.errors import WolfScaleError

COMMANDS: Final = {
    "init": "Write a commented configuration.",
    "validate": "Check a configuration.",
    "start": "Run a node.",
    "proxy": "Run a proxy where there is no node.",
    "status": "Show the cluster's members.",
    "switch-over": "Hand leadership to another member.",
    "account": "Create an account for clients, or change its password.",
    "info": "Show versions and what is configured.",
    "wal": "Look into a node's log.",
    "demo": "Run a whole cluster on this machine.",
    "reference": "Print a page of the documentation.",
}
"""Each command with the line that the list of commands shows."""
HIDDEN: Final = frozenset({"reference"})

HELP: Final = (
    "MariaDB on several machines: commits by quorum, automatic failover, any node takes any statement."
)
EPILOG: Final = (
    "Exit codes: 0 done, 1 failed or not in order, 2 the command line or the configuration cannot be used, "
    "3 no node answers, 4 the node wants a token, 130 ended by Ctrl-C."
)
_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


class CommandGroup(typer.core.TyperGroup):
    """The program: knows its commands by name and imports one when it is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # typer reads the names here for its "did you mean"; the commands themselves come from `get_command`.
        self.commands = dict.fromkeys(name for name in COMMANDS if name not in HIDDEN)  # type: ignore[assignment]
        self._lists = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, or what stands for it in a list; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        if self._lists:
            return typer.core.TyperCommand(
                name=cmd_name,
                help=COMMANDS[cmd_name],
                hidden=cmd_name in HIDDEN,
                rich_markup_mode=None,
            )
        return build_command(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        with self._listing():
            super().format_commands(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """What the shell offers for the beginning of a command's name or of an option."""
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _listing(self) -> Iterator[None]:
        self._lists = True
        try:
            yield
        finally:
            self._lists = False


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wolfscale {__version__}")
        raise typer.Exit


def build_command(name: str) -> Any:
    """One command, imported now: `command` of its module in `wolfscale.cli`, named alike with underscores."""
    command = importlib.import_module(f"wolfscale.cli.{name.replace('-', '_')}").command
    if isinstance(command, typer.Typer):
        built = typer.main.get_command(command)
        built.name = name
        return built
    app = _typer()
    app.command(name, epilog=EPILOG)(command)
    return typer.main.get_command(app)


def build() -> Any:
    """The whole command line."""
    app = _typer(add_completion=True)

    @app.callback(cls=CommandGroup, epilog=EPILOG, no_args_is_help=True)
    def options(
        version: bool = typer.Option(
            False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        """Options before the command."""

    # Without this typer would take the callback's own docstring as the program's help.
    app.info.help = HELP
    return typer.main.get_command(app)


def _typer(*, add_completion: bool = False) -> typer.Typer:
    return typer.Typer(
        name="wolfscale",
        help=HELP,
        add_completion=add_completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; expected errors end the process with a message and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build()(given, prog_name="wolfscale")
    except KeyboardInterrupt:
        raise SystemExit(int(Exit.INTERRUPTED)) from None
    except (WolfScaleError, BaseExceptionGroup, OSError) as error:
        expected = expected_errors(error)
        if not expected:
            raise
        leave(*expected)
