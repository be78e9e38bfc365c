"""Which node a command asks over HTTP, with which token, and what to do when it gives no answer."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Final

import typer

from wolfscale.api.client import Access
from wolfscale.api.errors import ApiError, AuthorityInvalidError, EndpointInvalidError, TokenRefusedError
from wolfscale.cli.configuration import as_command_error
from wolfscale.cli.exits import CommandError, Exit
from wolfscale.config import Address, Config, ConfigError, find_config, load, parse_address

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:8080"
TOKEN_VARIABLE: Final = "WOLFSCALE_TOKEN"
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a listener on every address is reached from its own machine."""

EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "-e",
        metavar="URL",
        envvar="WOLFSCALE_ENDPOINT",
        help="A node's HTTP side, as in http://host:8080. Default: [api] bind_address as configured.",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A file that holds the token for a node on another machine. "
        f"Default: the token in the variable {TOKEN_VARIABLE}.",
    ),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        envvar="WOLFSCALE_CA_FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The authority (PEM) that an https node's certificate must come from. Default: the system's.",
    ),
]


def target(
    endpoint: str | None, config: Path | None, token_file: Path | None, ca_file: Path | None
) -> tuple[str, Access]:
    """Which node to ask, and with what.

    The node whose configuration this is, unless an endpoint is given; its token and its authority are then
    read from its own files, where this user may.

    Raises:
        CommandError: the configuration was named and cannot be used, or what was given is no token.
    """
    given = access(token_file, ca_file)
    if endpoint is not None:
        return endpoint, given
    try:
        found = config or find_config()
    except ConfigError:
        return DEFAULT_ENDPOINT, given
    try:
        settings = load(found)
    except ConfigError as error:
        # Who may not read the secrets that the configuration names may still ask the node how it is.
        address = _bind_address(found)
        if address is not None:
            return _url(address), given
        if config is not None:
            raise as_command_error(error) from error
        return DEFAULT_ENDPOINT, given
    if not settings.api.enabled:
        raise CommandError(
            "this node serves no HTTP: enabled = false in [api]",
            exit_code=Exit.USAGE,
            next_step="name another node with --endpoint http://HOST:PORT",
        )
    url = _url(settings.api.bind_address, encrypted=settings.api.tls)
    return url, Access(
        token=given.token or _own_token(settings), ca_file=given.ca_file or _own_authority(settings)
    )


def _own_token(config: Config) -> str | None:
    path = config.api.tokens_file or config.data_dir / "api-tokens"
    try:
        return _token_in(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _own_authority(config: Config) -> Path | None:
    path = config.data_dir / "tls-authority.pem"
    own = config.api.tls and config.api.tls_cert is None
    return path if own and os.access(path, os.R_OK) else None


def _url(bind_address: str, *, encrypted: bool = False) -> str:
    address = parse_address(bind_address)
    host = _LOOPBACK.get(address.host, address.host)
    return f"{'https' if encrypted else 'http'}://{Address(host=host, port=address.port)}"


def _bind_address(path: Path) -> str | None:
    """The address in a configuration that cannot be used as a whole; None when even that cannot be read."""
    try:
        address = tomllib.loads(path.read_text(encoding="utf-8"))["api"]["bind_address"]
        parse_address(address)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return str(address)


def access(token_file: Path | None, ca_file: Path | None) -> Access:
    """The token from its file or from `WOLFSCALE_TOKEN`, and the authority.

    Raises:
        CommandError: what was given is no token.
    """
    if token_file is not None:
        text = token_file.read_text(encoding="utf-8", errors="replace")
        token = _token_in(text)
        if token is None:
            raise CommandError(
                f"{token_file} holds no token: wanted is a file with a token alone, or one like a node's "
                "api-tokens",
                exit_code=Exit.USAGE,
                next_step=_TOKENS,
            )
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip() or None
        if token is not None and not _is_token(token):
            raise CommandError(
                f"the variable {TOKEN_VARIABLE} holds something else than a token",
                exit_code=Exit.USAGE,
                next_step=_TOKENS,
            )
    return Access(token=token, ca_file=ca_file)


def _token_in(text: str) -> str | None:
    """The token in a file: alone, or with its right before it; of several the one that allows least."""
    lines = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    if len(lines) == 1 and len(lines[0]) == 1 and _is_token(lines[0][0]):
        return lines[0][0]
    by_right = {words[0]: words[1] for words in lines if len(words) == 2 and _is_token(words[1])}
    return next((by_right[right] for right in _RIGHTS if right in by_right), None)


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and not any(map(str.isspace, text))


_RIGHTS: Final = ("read", "write", "admin")
_TOKENS: Final = (
    "give one of the cluster's tokens with --token-file FILE or in the variable WOLFSCALE_TOKEN. Each node "
    "keeps them in the file api-tokens in its data directory, unless tokens_file in [api] names another one; "
    "on the node's own machine none is needed"
)


def no_answer(error: ApiError) -> CommandError:
    """The end of a command that got no answer."""
    if isinstance(error, TokenRefusedError):
        return CommandError(str(error), exit_code=Exit.REFUSED, next_step=_TOKENS)
    if isinstance(error, EndpointInvalidError):
        return CommandError(str(error), exit_code=Exit.USAGE, next_step="correct --endpoint")
    if isinstance(error, AuthorityInvalidError):
        return CommandError(
            str(error),
            exit_code=Exit.USAGE,
            next_step="name the node's tls-authority.pem, a copy from its data directory, with --ca-file",
        )
    return CommandError(
        str(error),
        exit_code=Exit.UNREACHABLE,
        next_step="is the node running (`wolfscale start`), and is this its [api] bind_address? "
        "Name another node with --endpoint http://HOST:PORT",
    )
