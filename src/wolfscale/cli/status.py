"""`wolfscale status`: the cluster as one node sees it."""

from typing import Annotated

import trio
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from wolfscale.api.client import Access, fetch_status
from wolfscale.api.errors import ApiError
from wolfscale.api.health import health
from wolfscale.api.models import NodeStatus
from wolfscale.cli.configuration import ConfigOption
from wolfscale.cli.endpoint import (
    AuthorityOption,
    EndpointOption,
    TokenFileOption,
    no_answer,
    target,
)
from wolfscale.cli.exits import Exit
from wolfscale.cli.tables import member_table, wide_console

_WATCH_SECONDS = 1.0


def command(
    endpoint: EndpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the node answers as JSON.")] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Show it again each second until Ctrl-C; with --json, one line each time."
        ),
    ] = False,
    token_file: TokenFileOption = None,
    ca_file: AuthorityOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the cluster's members: role, state, term, log, commit, applied, lag and MariaDB's state.

    Exits with 0 when the node that answers can serve clients, 1 when it cannot, 3 when none answers, 4 when
    it wants a token.
    """
    url, credentials = target(endpoint, config, token_file, ca_file)
    if watch:
        try:
            trio.run(_watch_json if as_json else _watch, url, credentials)
        except KeyboardInterrupt:
            raise typer.Exit(int(Exit.OK)) from None
    status = _ask(url, credentials)
    if as_json:
        typer.echo(status.model_dump_json(indent=2))
    else:
        console = wide_console()
        console.print(member_table(status))
        console.print(_summary(status), highlight=False, markup=False)
    raise typer.Exit(int(Exit.OK if health(status).healthy else Exit.FAILED))


def _ask(endpoint: str, credentials: Access) -> NodeStatus:
    try:
        return trio.run(_fetch, endpoint, credentials)
    except ApiError as error:
        raise no_answer(error) from error


async def _fetch(endpoint: str, credentials: Access) -> NodeStatus:
    return await fetch_status(endpoint, access=credentials)


def _summary(status: NodeStatus) -> str:
    answer = health(status)
    leader = f"leader {status.leader.name}" if status.leader else "no leader"
    verdict = "can serve clients" if answer.healthy else f"cannot serve clients: {answer.reason}"
    return f"{status.name} answers: term {status.term}, {leader}; it {verdict}"


async def _watch(endpoint: str, credentials: Access) -> None:
    with Live(console=wide_console(), auto_refresh=False) as live:
        while True:
            try:
                status = await _fetch(endpoint, credentials)
                shown = Group(member_table(status), Text(_summary(status)))
            except ApiError as error:
                shown = Group(Text(_unless_final(error), style="red"))
            live.update(shown, refresh=True)
            await trio.sleep(_WATCH_SECONDS)


async def _watch_json(endpoint: str, credentials: Access) -> None:
    while True:
        try:
            typer.echo((await _fetch(endpoint, credentials)).model_dump_json())
        except ApiError as error:
            typer.echo(_unless_final(error), err=True)
        await trio.sleep(_WATCH_SECONDS)


def _unless_final(error: ApiError) -> str:
    """What to show while a node does not answer: it may come back, a token does not get better."""
    ended = no_answer(error)
    if ended.exit_code is Exit.REFUSED:
        raise ended from error
    return str(error)
