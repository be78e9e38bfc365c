"""`wolfscale reference`: docs/configuration.md from the models (hidden: for developers)."""

import typer

from wolfscale.config import configuration_reference


def command() -> None:
    """Print the reference of all configuration keys as Markdown."""
    typer.echo(configuration_reference(), nl=False)
