"""`wolfscale init`: a commented configuration, from answers or from options."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from wolfscale.cli.draft import Draft, Key, default_node_id, parsed_setting
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.cli.questions import ask_all
from wolfscale.config import parse_address
from wolfscale.durability import create_file, replace_file

_CONFIG_MODE = 0o644
_PRIVATE_MODE = 0o600


def command(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", metavar="FILE", envvar="WOLFSCALE_CONFIG", help="The file that is written."
        ),
    ] = Path("wolfscale.toml"),
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: what no option says has its default.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    node_id: Annotated[
        str | None,
        typer.Option("--id", metavar="NAME", help="The node's name. Default: this machine's."),
    ] = None,
    bind_address: Annotated[
        str | None,
        typer.Option("--bind-address", metavar="HOST:PORT", help="Where to listen for the other nodes."),
    ] = None,
    advertise_address: Annotated[
        str | None,
        typer.Option(
            "--advertise-address", metavar="HOST:PORT", help="Where the other nodes reach this one."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="The node's own directory.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="HOST:PORT", help="Another node; may be given several times."),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="The file with the cluster's secret. Default: cluster-secret in the data directory.",
        ),
    ] = None,
    make_secret: Annotated[
        bool,
        typer.Option(
            "--make-secret",
            help="Make that file with a new secret when it is missing: on the cluster's first machine only.",
        ),
    ] = False,
    proxy: Annotated[
        bool,
        typer.Option("--proxy", help="For `wolfscale proxy`, on a machine without a node: asks for less."),
    ] = False,
    witness: Annotated[bool, typer.Option("--witness", help="A node that votes and has no MariaDB.")] = False,
    external: Annotated[
        str | None,
        typer.Option(
            "--external",
            metavar="HOST:PORT",
            help="Use this machine's own MariaDB server, which must be there; without it, and without "
            "--witness, the node runs a server itself.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="The node's account on the server.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="The file with its password.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", help="A database that is created at the first start."),
    ] = None,
    clients: Annotated[
        str | None, typer.Option("--clients", metavar="HOST:PORT", help="Where to take MySQL clients.")
    ] = None,
    http: Annotated[
        str | None, typer.Option("--http", metavar="HOST:PORT", help="Where to serve HTTP.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Any other key, as in --set wal.retention_hours=24; may be given several times.",
        ),
    ] = None,
) -> None:
    """Write a configuration with every key explained, asking for what no option says.

    A file that is there is left as it is, unless --force is given.
    """
    if config.exists() and not force:
        raise CommandError(
            f"{config} is there already and stays as it is",
            next_step=f"`wolfscale validate --config {config}` checks it; --force replaces it, "
            "--config names another file",
        )
    draft = Draft(config)
    given: dict[Key, object] = {
        ("node", "id"): node_id,
        ("node", "bind_address"): bind_address,
        ("node", "advertise_address"): advertise_address,
        ("node", "data_dir"): data_dir and data_dir.absolute(),
        ("node", "witness"): witness or None,
        ("cluster", "peers"): peer or None,
        ("cluster", "secret_file"): secret_file and secret_file.absolute(),
        ("database", "user"): user,
        ("database", "password_file"): password_file and password_file.absolute(),
        ("database", "database"): database,
        ("proxy", "bind_address"): clients,
        ("api", "bind_address"): http,
        **_external(external),
        **dict(map(parsed_setting, settings or [])),
    }
    draft.values = {key: value for key, value in given.items() if value is not None}
    if proxy:
        draft.values.setdefault(("node", "id"), "proxy")
    if yes:
        draft.values.setdefault(("node", "id"), default_node_id())
    else:
        ask_all(draft, proxy=proxy)
    _write(draft, force=force, make_secret=make_secret, ask=not yes and not proxy)
    _show_next(draft.path, proxy=proxy)


def _external(address: str | None) -> dict[Key, object]:
    if address is None:
        return {}
    try:
        parsed = parse_address(address)
    except ValueError as error:
        raise CommandError(
            f"--external {address!r} {error}",
            exit_code=Exit.USAGE,
            next_step="write host and port of the MariaDB server, as in --external 127.0.0.1:3306",
        ) from error
    return {("database", "host"): parsed.host, ("database", "port"): parsed.port}


def _write(draft: Draft, *, force: bool, make_secret: bool, ask: bool) -> None:
    wrong, waiting = draft.problems()
    if wrong:
        raise CommandError(
            "no configuration was written:\n"
            + "\n".join(f"{problem.key}: {problem.reason}" for problem in wrong),
            exit_code=Exit.USAGE,
            next_step="correct the options; `wolfscale init --help` explains them",
        )
    secret_path = Path(str(draft.values.get(("cluster", "secret_file"), "")))
    if any(problem.key == "cluster.secret_file" for problem in waiting):
        if make_secret or (ask and _wants_secret(secret_path)):
            create_file(secret_path, secrets.token_hex(32).encode() + b"\n", mode=_PRIVATE_MODE)
            typer.echo(f"made a new secret in {secret_path}: every other machine needs a copy (mode 0600)")
        else:
            typer.echo(f"copy the cluster's secret to {secret_path} (mode 0600) before the node is started")
    for problem in waiting:
        section, _, key = problem.key.partition(".")
        if section == "database":
            what = key.removesuffix("_file").replace("_", " ")
            typer.echo(
                f"write the {what} to {draft.values[section, key]} (mode 0600) before the node is started"
            )
    mode = _PRIVATE_MODE if draft.holds_secrets() else _CONFIG_MODE
    write = replace_file if force else create_file
    write(draft.path, draft.text().encode(), mode=mode)
    typer.echo(f"wrote {draft.path}")


def _show_next(path: Path, *, proxy: bool) -> None:
    option = "" if _is_found(path) else f" --config {path}"
    if proxy:
        typer.echo(f"  next: `wolfscale validate{option}`; then `wolfscale proxy{option}`")
        return
    typer.echo(f"  next: `wolfscale validate{option}`; then")
    typer.echo(f"        `wolfscale start{option} --bootstrap` on the cluster's first machine, once")
    typer.echo(f"        `wolfscale start{option}` on every other one, and at every later start anywhere")


def _wants_secret(path: Path) -> bool:
    return typer.confirm(
        f"There is no {path}. Make a new secret there? Only on the cluster's first machine: "
        "the others need a copy of its file.",
        default=False,
    )


def _is_found(path: Path) -> bool:
    """Whether a command finds the file without being told its name."""
    return path.absolute() == Path("wolfscale.toml").absolute() or str(path) == os.environ.get(
        "WOLFSCALE_CONFIG"
    )
