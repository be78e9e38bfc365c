"""`wolfscale reference`: pages of docs/ that are made from the code (hidden: for developers)."""

from enum import StrEnum
from typing import Annotated

import typer

from wolfscale.app.observation.metrics.page import metrics_page
from wolfscale.cli.page import command_line_page
from wolfscale.config import configuration_reference


class Page(StrEnum):
    """What can be printed."""

    CONFIGURATION = "configuration"
    METRICS = "metrics"
    COMMAND_LINE = "command-line"


_PAGES = {
    Page.CONFIGURATION: configuration_reference,
    Page.METRICS: metrics_page,
    Page.COMMAND_LINE: command_line_page,
}


def command(page: Annotated[Page, typer.Argument(help="Which page.")] = Page.CONFIGURATION) -> None:
    """Print a page of the documentation as Markdown: all configuration keys, metrics or commands."""
    typer.echo(_PAGES[page](), nl=False)
