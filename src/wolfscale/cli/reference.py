"""`wolfscale reference`: pages of docs/ that are made from the code (hidden: for developers)."""

from enum import StrEnum
from typing import Annotated

import typer

from wolfscale.app.observation.metrics.page import metrics_page
from wolfscale.config import configuration_reference


class Page(StrEnum):
    """What can be printed."""

    CONFIGURATION = "configuration"
    METRICS = "metrics"


def command(page: Annotated[Page, typer.Argument(help="Which page.")] = Page.CONFIGURATION) -> None:
    """Print the reference of all configuration keys, or of all metrics, as Markdown."""
    typer.echo(configuration_reference() if page is Page.CONFIGURATION else metrics_page(), nl=False)
