"""`wolfscale account`: the first account, and the password of one, from beside a node."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import trio
import typer

from wolfscale.app.accounts import NoLeader, change_password, create_account
from wolfscale.cli.configuration import ConfigOption, as_command_error, read
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.config import Config, ConfigError, find_secret

command = typer.Typer(
    help="Create an account for clients, or change its password.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help='A file with the password, or "-" for standard input. Default: it is asked for.',
    ),
]


@command.command("create")
def create(
    name: NameArgument,
    database: Annotated[
        str | None,
        typer.Option(
            "--database", metavar="DATABASE", help="Give all rights on this one; created if absent."
        ),
    ] = None,
    administrator: Annotated[
        bool,
        typer.Option(
            "--administrator",
            help="Give all rights outside the system schemas, with the right to hand them on.",
        ),
    ] = False,
    password_file: PasswordOption = None,
    config: ConfigOption = None,
) -> None:
    """Create an account for clients from any address; run it on any node's machine, as the node's user."""
    if database is None and not administrator:
        raise CommandError(
            "an account without rights is of no use",
            exit_code=Exit.USAGE,
            next_step="add --database DATABASE, or --administrator",
        )
    settings = _settings(config)
    password = _password(password_file)
    _run(lambda: create_account(settings, name, password, database=database, administrator=administrator))
    typer.echo(f"created {name}; it can log in at every node")


@command.command("password")
def change(name: NameArgument, password_file: PasswordOption = None, config: ConfigOption = None) -> None:
    """Change the password of an account for clients from any address."""
    settings = _settings(config)
    password = _password(password_file)
    _run(lambda: change_password(settings, name, password))
    typer.echo(f"changed the password of {name}")


def _settings(config: Path | None) -> Config:
    settings = read(config)
    try:
        find_secret(settings)
    except ConfigError as error:
        raise as_command_error(error) from error
    return settings


def _password(file: Path | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise CommandError(
                "there is no terminal to ask for a password",
                exit_code=Exit.USAGE,
                next_step='name a file with --password-file, or "-" and write it to standard input',
            )
        answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return answer
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}", exit_code=Exit.USAGE) from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise CommandError("the password must not be empty", exit_code=Exit.USAGE)
    return text


def _run(work: Callable[[], Awaitable[None]]) -> None:
    try:
        trio.run(work)
    except* NoLeader as group:
        raise CommandError(
            str(group.exceptions[0]), exit_code=Exit.UNREACHABLE, next_step="look with `wolfscale status`"
        ) from group
