"""`wolfscale status`: the cluster as one node sees it."""

from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.live import Live

from wolfscale.api.client import fetch_status
from wolfscale.api.errors import ApiError
from wolfscale.api.health import health
from wolfscale.api.models import NodeStatus
from wolfscale.cli.configuration import ConfigOption, as_command_error
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.cli.tables import member_table, wide_console
from wolfscale.config import ConfigError, find_config, load, parse_address

_DEFAULT_ENDPOINT = "http://127.0.0.1:8080"
_WATCH_SECONDS = 1.0


def command(
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            "-e",
            metavar="URL",
            help="A node's HTTP side, as in http://host:8080. Default: [api] bind_address as configured.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the node answers as JSON.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again each second until Ctrl-C.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Show the cluster's members: role, state, term, log, commit, applied, lag and MariaDB's state.

    Exits with 0 when the node that answers can serve clients, 1 when it cannot, 3 when none answers.
    """
    target = endpoint or configured_endpoint(config)
    if watch and not as_json:
        _watch(target)
        return
    status = _ask(target)
    if as_json:
        typer.echo(status.model_dump_json(indent=2))
    else:
        console = wide_console()
        console.print(member_table(status))
        console.print(_summary(status), highlight=False)
    raise typer.Exit(int(Exit.OK if health(status).healthy else Exit.FAILED))


def configured_endpoint(config: Path | None) -> str:
    """The HTTP side of the node whose configuration this is; the default port without a usable one."""
    try:
        address = parse_address(load(config or find_config()).api.bind_address)
    except ConfigError as error:
        if config is not None:
            raise as_command_error(error) from error
        return _DEFAULT_ENDPOINT
    host = "127.0.0.1" if address.is_wildcard else address.host
    return f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"


def _ask(endpoint: str) -> NodeStatus:
    try:
        return trio.run(fetch_status, endpoint)
    except ApiError as error:
        raise CommandError(
            str(error),
            exit_code=Exit.UNREACHABLE,
            next_step="is the node running (`wolfscale start`), and is this its [api] bind_address? "
            "Name another node with --endpoint http://HOST:PORT",
        ) from error


def _summary(status: NodeStatus) -> str:
    answer = health(status)
    leader = f"leader {status.leader.name}" if status.leader else "no leader"
    verdict = "can serve clients" if answer.healthy else f"cannot serve clients: {answer.reason}"
    return f"{status.name} answers: term {status.term}, {leader}; it {verdict}"


def _watch(endpoint: str) -> None:
    async def loop() -> None:
        with Live(console=wide_console(), auto_refresh=False) as live:
            while True:
                try:
                    live.update(member_table(await fetch_status(endpoint)), refresh=True)
                except ApiError as error:
                    live.update(str(error), refresh=True)
                await trio.sleep(_WATCH_SECONDS)

    try:
        trio.run(loop)
    except KeyboardInterrupt:
        return
