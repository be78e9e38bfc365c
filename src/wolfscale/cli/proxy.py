"""`wolfscale proxy`: MySQL clients on a machine that has no node."""

from typing import Annotated

import typer

from wolfscale import logs
from wolfscale.app.standalone import run_proxy
from wolfscale.cli.configuration import ConfigOption, as_command_error, read
from wolfscale.cli.events import LogFormatOption, LogLevel, LogLevelOption, configure_logs
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.config import ConfigError, parse_address


def command(
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            "-l",
            metavar="HOST:PORT",
            help="Where to take MySQL clients. Default: [proxy] bind_address as configured.",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="HOST:PORT",
            help="A node's peer address; may be given several times. Default: the configuration's peers. "
            "All members are used, as these tell them.",
        ),
    ] = None,
    config: ConfigOption = None,
    log_format: LogFormatOption = logs.LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run a proxy alone: it holds no data; reads go to the followers, everything else to the leader."""
    for option, addresses in (("--listen", [listen] if listen else []), ("--peer", peer or [])):
        for address in addresses:
            try:
                parse_address(address)
            except ValueError as error:
                raise CommandError(
                    f"{option} {address!r} {error}",
                    exit_code=Exit.USAGE,
                    next_step="write host and port, as in --listen 0.0.0.0:3307 --peer db1:7400",
                ) from error
    settings = read(config)
    peers = tuple(peer) if peer else settings.cluster.peers
    if not peers:
        raise CommandError(
            "the proxy knows no node",
            exit_code=Exit.USAGE,
            next_step="name one with --peer HOST:PORT, or set peers in [cluster]",
        )
    configure_logs(settings, log_format, log_level)
    try:
        code = run_proxy(settings, listen or settings.proxy.bind_address, peers)
    except ConfigError as error:
        raise as_command_error(error) from error
    raise typer.Exit(code)
