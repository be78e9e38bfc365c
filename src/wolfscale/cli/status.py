"""`wolfscale status`: the cluster as one node sees it."""

from typing import Annotated

import trio
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from wolfscale.api.client import Access, Diagnosis, fetch_diagnosis, fetch_status
from wolfscale.api.dashboard_models import Severity
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
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: ""}


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

    Below them stands what is wrong, if anything is, and what to do about it.

    Exits with 0 when the node that answers can serve clients, 1 when it cannot, 3 when none answers, 4 when
    it wants a token.
    """
    url, credentials = target(endpoint, config, token_file, ca_file)
    if watch:
        try:
            trio.run(_watch_json if as_json else _watch, url, credentials)
        except KeyboardInterrupt:
            raise typer.Exit(int(Exit.OK)) from None
    try:
        if as_json:
            status = trio.run(_fetch, url, credentials)
            typer.echo(status.model_dump_json(indent=2))
        else:
            diagnosis = trio.run(_diagnose, url, credentials)
            status = diagnosis.status
            wide_console().print(_shown(diagnosis))
    except ApiError as error:
        raise no_answer(error) from error
    raise typer.Exit(int(Exit.OK if health(status).healthy else Exit.FAILED))


async def _fetch(endpoint: str, credentials: Access) -> NodeStatus:
    return await fetch_status(endpoint, access=credentials)


async def _diagnose(endpoint: str, credentials: Access) -> Diagnosis:
    return await fetch_diagnosis(endpoint, access=credentials)


def _shown(diagnosis: Diagnosis) -> Group:
    lines = [
        line
        for finding in diagnosis.findings
        for line in (
            Text(f"{finding.severity.value}: {finding.what}", style=_STYLES[finding.severity]),
            Text(f"  next: {finding.next_step}"),
        )
    ]
    return Group(member_table(diagnosis.status), Text(_summary(diagnosis.status)), *lines)


def _summary(status: NodeStatus) -> str:
    answer = health(status)
    leader = f"leader {status.leader.name}" if status.leader else "no leader"
    verdict = "can serve clients" if answer.healthy else f"cannot serve clients: {answer.reason}"
    return f"{status.name} answers: term {status.term}, {leader}; it {verdict}"


async def _watch(endpoint: str, credentials: Access) -> None:
    with Live(console=wide_console(), auto_refresh=False) as live:
        while True:
            try:
                shown = _shown(await _diagnose(endpoint, credentials))
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
