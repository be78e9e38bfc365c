"""`wolfscale switch-over`: a planned change of the leader."""

from typing import Annotated

import trio
import typer

from wolfscale.api.client import Access, switch_over
from wolfscale.api.errors import ApiError
from wolfscale.api.switching import SwitchedOver, SwitchOverFailed
from wolfscale.cli.configuration import ConfigOption
from wolfscale.cli.endpoint import AuthorityOption, EndpointOption, TokenFileOption, no_answer, target
from wolfscale.cli.exits import CommandError

TIMEOUT_SECONDS = 60.0
"""Longer than any node takes to answer."""


def command(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="NODE", help="The member that is to lead. Default: the one that is placed best."
        ),
    ] = None,
    endpoint: EndpointOption = None,
    token_file: TokenFileOption = None,
    ca_file: AuthorityOption = None,
    config: ConfigOption = None,
) -> None:
    """Hand leadership to another member, without an error for any client; done when that one takes writes.

    Any node can be asked. Exits with 1 when the member cannot lead: the old leader goes on then.
    """
    url, credentials = target(endpoint, config, token_file, ca_file)
    done = _ask(url, to, credentials)
    verb = "leads now" if done.changed else "leads already"
    typer.echo(f"{done.leader} {verb} and takes writes (term {done.term}, {done.seconds:.1f} s)")


def _ask(url: str, to: str | None, credentials: Access) -> SwitchedOver:
    async def ask() -> SwitchedOver:
        return await switch_over(url, to, access=credentials, timeout_seconds=TIMEOUT_SECONDS)

    try:
        return trio.run(ask)
    except SwitchOverFailed as error:
        raise CommandError(str(error), next_step="look with `wolfscale status`") from error
    except ApiError as error:
        raise no_answer(error) from error
