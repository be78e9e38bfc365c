"""docs/command-line.md, written from the commands so that it cannot say anything else than `--help`."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

import typer

from wolfscale.cli.commands import COMMANDS, HIDDEN, build, build_command
from wolfscale.cli.exits import Exit

_HEAD: Final = """\
# Command line

`wolfscale COMMAND --help` says the same as this page. An error is one line that says what happened, and a
line `next:` with what to do; there is no traceback for anything but a bug of WolfScale's own.

## Exit codes

| code | meaning |
|---|---|
"""

_EXITS: Final = {
    Exit.OK: "Done. `status`: the node that answers can serve clients. `start`, `proxy`: stopped as told to.",
    Exit.FAILED: "It did not work, or what was looked at is not in order: a node that cannot serve, a step "
    "of the tour that did not hold, a disk that is full, a port that is taken.",
    Exit.USAGE: "The command line or the configuration cannot be used; trying again changes nothing. systemd "
    "does not start the service again after it.",
    Exit.UNREACHABLE: "No node answers at the endpoint.",
    Exit.REFUSED: "A node answers and wants a token, or another one.",
    Exit.INTERRUPTED: "Ended by Ctrl-C, where that is not the way to end it (as it is of `start`, `proxy`, "
    "`demo` and `status --watch`).",
}

_MORE: Final = """
## Environment

| variable | instead of |
|---|---|
| `WOLFSCALE_CONFIG` | `--config` |
| `WOLFSCALE_ENDPOINT` | `--endpoint` |
| `WOLFSCALE_TOKEN` | `--token-file`: the token itself; as an argument every user would see it |
| `WOLFSCALE_CA_FILE` | `--ca-file` |
| `WOLFSCALE_LOG_FORMAT` | `--log-format`, also of the nodes of `demo` |
| `WOLFSCALE_LOG_LEVEL` | `--log-level`, also of the nodes of `demo` |
| `WOLFSCALE_SECRET` | `secret` in `[cluster]` of the configuration |

## Completion

`wolfscale --install-completion` makes the shell complete commands and options (bash, zsh, fish, PowerShell);
`wolfscale --show-completion` shows what it would install.

## Events

`start` and `proxy` write one line an event to standard error: the time, the level, the part of the system,
what happened, and named values.

    2026-01-31T12:00:01.377+01:00 info    node.elections: leader elected leader=db2 term=2 seconds=0.097
    2026-01-31T12:00:02.224+01:00 info    replication.lifecycle: MariaDB is primary term=2 seconds=0.749

With `--log-format json` each line is an object with `time` (UTC), `level`, `logger`, `event` and the values,
numbers as numbers. What fails again and again has a line a minute, with `times`. No line holds a password, a
token or the cluster's secret: `[hidden]` stands there instead, in messages of MariaDB's too.

## As a service

`install_service.sh` makes WolfScale a systemd service; `--dry-run` shows what it would do, `--help` its
options. It installs the program in /opt/wolfscale, asks for the configuration where there is none, and never
overwrites one.

    sudo ./install_service.sh node --bootstrap    # on the cluster's first machine: makes the cluster, once
    sudo ./install_service.sh node                # on every other one, with a copy of the first one's secret
    sudo ./install_service.sh proxy               # on a machine without a node

What stands behind `--` goes to `wolfscale init`, which then asks nothing:

    sudo ./install_service.sh node -- --yes --id db2 --peer db1:7400 --secret-file /etc/wolfscale/secret

A node runs as the user `wolfscale` and needs no further right; with an external MariaDB, which it starts and
stops, as root with few capabilities. `systemctl stop wolfscale-node` hands leadership over and stops MariaDB
in good order, which takes some seconds. Run the script again to update: one machine after the other, each
when `wolfscale status` shows the one before as caught up.
"""

_FOOT: Final = """
This page is written by `make reference`; change `src/wolfscale/cli/` instead.
"""


def command_line_page() -> str:
    """The page as Markdown: exit codes, variables, then each command with its options."""
    parts = [_HEAD]
    parts += [f"| {code.value} | {meaning} |\n" for code, meaning in _EXITS.items()]
    parts.append(_MORE)
    context = typer.Context(build(), info_name="wolfscale")
    for name in COMMANDS:
        if name not in HIDDEN:
            parts += _sections(f"wolfscale {name}", build_command(name), context)
    parts.append(_FOOT)
    return "".join(parts)


def _sections(path: str, command: Any, context: Any) -> Iterator[str]:
    """A command's section; those of its commands where it has some."""
    commands = getattr(command, "commands", {})
    for name, inner in commands.items():
        yield from _sections(f"{path} {name}", inner, context)
    if not commands:
        yield f"\n## {path}\n\n{inspect.cleandoc(command.help or '')}\n"
        yield "\n| option | meaning |\n|---|---|\n"
        for parameter in command.params:
            yield _row(parameter, context)


def _row(parameter: Any, context: Any) -> str:
    names, meaning = (" ".join(text.split()) for text in parameter.get_help_record(context))
    # typer shows what an argument's type is beside its name.
    names = (
        names.removesuffix(" <path>")
        .removesuffix(" <str>")
        .replace("|", " \\| ")
        .replace("<", "")
        .replace(">", "")
    )
    return f"| `{names}` | {meaning.replace('|', chr(92) + '|')} |\n"
